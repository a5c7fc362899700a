"""What matrix products become on each GPU, read off the kernels that the whole compiler emits and Triton compiles.

Operands arrive by asynchronous copies of 16 bytes, tiles ahead, and tensor cores read them where those put them; no
tile of the tables spills, even in the weight gradient with everything fused into it. Broken on purpose, each is seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from microtrain import ops as g
from microtrain import settings
from microtrain.compiler.executable import Executable
from microtrain.compiler.templates import matmul
from microtrain.compiler.templates.template import Launch
from microtrain.graph import dtypes
from microtrain.graph.dtypes import DType
from microtrain.graph.node import Node, leaf
from microtrain.graph.spec import Device, spec
from microtrain.kernels import matmul_tiles, tiles
from microtrain.kernels.matmul_tiles import MatmulTile
from microtrain.runtime import backend
from microtrain.runtime.resources import TARGETS, Resources
from tests.support.programs import program

pytestmark = [
    pytest.mark.budgets,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels")]

NVIDIA = [target for target in TARGETS if target.startswith("sm_")]
PRODUCT = {"sm_80": "mma.sync.aligned", "sm_90": "wgmma.mma_async", "sm_100": "tcgen05.mma", "gfx942": "v_mfma_f32"}
DTYPES = {"half": dtypes.bfloat16, "float64": dtypes.float64}


class Memory:
    """Operands on the null device of a target: `x(64, 32)` is one in float32."""

    def __init__(self, target: str) -> None:
        self.target, self.device = target, Device(f"null:{target}")

    def __call__(self, *shape: int, dtype: DType = dtypes.float32) -> Node:
        of = spec(shape, dtype, self.device)
        return leaf(backend("null", self.target).empty(of), of)

    def compiled(self, *outputs: Node) -> list[tuple[Launch, Resources]]:
        """The kernels that compute `outputs`, with what each uses."""
        made, values = program(*outputs)
        executable = Executable(made)
        executable.run(values)
        resources = backend("null", self.target).resources
        return [(step, resources[step]) for step in executable.launches]

    def product(self, *outputs: Node) -> Resources:
        """What the one kernel that computes `outputs`, of the matmul template, uses."""
        (launch, resources), = self.compiled(*outputs)
        assert launch.kernel.group.template.name == "matmul"
        return resources


@pytest.fixture
def with_tile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`with_tile(tile)`: products have that one from now on."""
    def choose(tile: MatmulTile) -> None:
        monkeypatch.setattr(matmul, "matmul_tiles", lambda *shape, **options: [tile])
    return choose


@pytest.fixture
def tf32() -> Iterator[None]:
    with settings.matmul_precision("high"):
        yield


def linear(x: Memory, dtype: DType, m: int = 4096, n: int = 4096, k: int = 1024) -> Node:
    """A layer's forward: bias and activation in the epilogue."""
    return g.relu(g.add(g.matmul(x(m, k, dtype=dtype), x(k, n, dtype=dtype)), x(n, dtype=dtype)))


def weight_update(x: Memory, dtype: DType, masked: bool) -> list[Node]:
    """A weight gradient and the bias gradient with it, the activation's mask on their cotangent, and the update of
    weights, biases and momenta."""
    batch, into, out = 2048, 8192, 256
    ct = x(batch, out, dtype=dtype)
    if masked:
        ct = g.where(g.gt(x(batch, out, dtype=dtype), 0.0), ct, 0.0)
    outputs = []
    for gradient in (g.matmul(g.transpose(x(batch, into, dtype=dtype)), ct), g.sum(ct, (0,))):
        momentum = g.add(g.mul(x(*gradient.shape, dtype=dtype), 0.9), gradient)
        outputs += [momentum, g.sub(x(*gradient.shape, dtype=dtype), g.mul(momentum, 0.1))]
    return outputs


def copied(resources: Resources) -> list[int]:
    """The bytes of each asynchronous copy from global to shared memory."""
    return [int(size, 0) for size in re.findall(r"cp\.async\.c[ag]\.shared\.global[\w:.]* .*?, (0x\w+|\d+)",
                                                resources.assembly)]


# ------------------------------------------------------------------------------------------------- the way to the cores

@pytest.mark.parametrize(("target", "dtype"), [*[(target, dtypes.bfloat16) for target in NVIDIA],
                                               ("sm_90", dtypes.float16)])
def test_half_precision_operands_are_copied_asynchronously_and_read_where_they_lie(target: str, dtype: DType) -> None:
    found = Memory(target).product(linear(Memory(target), dtype))
    assert PRODUCT[target] in found.assembly and found.spills == 0
    assert set(copied(found)) == {16}
    assert len(re.findall(r"cp\.async\.commit_group", found.assembly)) >= 3     # stages filled ahead, and the loop's
    assert re.search(r"cp\.async\.wait_group[\s]+[1-9]", found.assembly), "the loop waits for the copies just begun"
    # Nothing but the epilogue, which rearranges the result for its stores, writes a register to shared memory.
    body, epilogue = split_at_last_product(found.assembly, PRODUCT[target])
    assert "st.shared" not in body and "st.shared" in epilogue
    if target == "sm_90":
        assert re.search(r"wgmma\.mma_async\S* \{[^}]*\}, *%rd\d+, *%rd\d+", found.assembly), "both from shared memory"


def split_at_last_product(assembly: str, product: str) -> tuple[str, str]:
    """The text up to the last product of the loop, and what follows."""
    end = assembly.rindex(product)
    return assembly[:end], assembly[end:]


def test_a_select_between_load_and_product_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the template did once: every tile through registers and back."""
    monkeypatch.setattr(matmul, "zero_outside", lambda *load: False)
    x = Memory("sm_90")
    found = x.product(linear(x, dtypes.bfloat16, 1024, 1024, 1000))
    assert "st.shared" in split_at_last_product(found.assembly, PRODUCT["sm_90"])[0]


def test_amd_products_use_the_matrix_cores_with_wide_accesses() -> None:
    x = Memory("gfx942")
    found = x.product(linear(x, dtypes.bfloat16))
    assert PRODUCT["gfx942"] in found.assembly and found.spills == 0
    assert found.load_bits == 128 and re.search(r"ds_read(2st64)?_b(64|128)", found.assembly)


@pytest.mark.parametrize("target", NVIDIA)
def test_float32_products_are_ieee_unless_asked(target: str) -> None:
    x = Memory(target)
    found = x.product(linear(x, dtypes.float32, 1024, 1024))
    assert "tf32" not in found.assembly and "fma.rn.f32" in found.assembly
    assert set(copied(found)) == {16} and found.spills == 0


@pytest.mark.parametrize(("target", "precision"), [("sm_80", "high"), ("sm_90", "medium"), ("sm_100", "high")])
def test_tf32_products_use_tensor_cores(target: str, precision: str) -> None:
    x = Memory(target)
    with settings.matmul_precision(precision):
        found = x.product(linear(x, dtypes.float32, 256, 256, 256))
    assert "tf32" in found.assembly and found.spills == 0


@pytest.mark.parametrize("target", NVIDIA)
def test_tf32_operands_with_rows_along_k_are_copied_16_bytes_at_a_time(target: str, tf32: None) -> None:
    """Hopper and Blackwell take TF32 operands along k alone: another operand is transposed in copies of 4 bytes."""
    x = Memory(target)
    along = x.product(g.matmul(x(2048, 1024), g.transpose(x(2048, 1024))))
    assert PRODUCT[target] in along.assembly and set(copied(along)) == {16}
    across = x.product(g.matmul(x(2048, 1024), x(1024, 2048)))
    assert set(copied(across)) == ({16} if target == "sm_80" else {4, 16})


# ------------------------------------------------------------------------------------------------------ sizes and masks

@pytest.mark.parametrize(("shape", "bits"), [((128, 100, 100), 128), ((100, 10, 102), 64), ((100, 11, 101), 32)])
def test_accesses_are_as_wide_as_the_sizes_divide(shape: tuple[int, int, int], bits: int) -> None:
    x = Memory("sm_90")
    m, n, k = shape
    found = x.product(g.matmul(x(m, k), g.transpose(x(n, k))))
    assert max(found.loads) == bits


def test_sizes_that_the_tile_divides_take_no_masks() -> None:
    x = Memory("sm_90")
    comparisons = [x.product(g.matmul(x(m, k, dtype=dtypes.bfloat16), x(k, 1024, dtype=dtypes.bfloat16)))
                   .assembly.count("setp.") for m, k in ((1024, 512), (1024, 520), (1000, 512))]
    assert comparisons[0] < 9 < min(comparisons[1:]), "those of the loop itself, and of masks along K and M"


def test_products_past_2_to_the_31_elements_have_64_bit_indices() -> None:
    x = Memory("sm_90")
    wide = dtypes.bfloat16
    (launch, found), = x.compiled(g.matmul(x(1 << 16, 1 << 16, dtype=wide), x(1 << 16, 64, dtype=wide)))
    assert launch.kernel.wide and launch.kernel.index_type == "tl.int64"
    assert found.spills == 0 and set(copied(found)) == {16}
    (launch, _), = x.compiled(g.matmul(x(1 << 14, 1 << 14, dtype=wide), x(1 << 14, 64, dtype=wide)))
    assert launch.kernel.index_type == "tl.int32"


# ---------------------------------------------------------------------------------------------------------------- tiles

def tables() -> Iterator[tuple[str, str, tuple[int, ...], bool]]:
    """Each tile of each target, and whether it is the largest of its table. A tile that several kinds of operands share
    is that of the kind which needs most registers."""
    for target in TARGETS:
        table = matmul_tiles.TILES.get(target, matmul_tiles.OTHER)
        harder = {"float32": table["fused float32"]} | ({} if target in NVIDIA else {"tf32": table["float32"]})
        for kind, of_kind in table.items():
            own = [tile for tile in of_kind if tile not in harder.get(kind, ())]
            yield from [(target, kind, tile, tile is of_kind[0]) for tile in own]


@pytest.mark.parametrize(("target", "kind", "tile", "largest"), [*tables()])
def test_no_tile_spills(target: str, kind: str, tile: tuple[int, ...], largest: bool, with_tile: Any) -> None:
    """The largest with everything fused, the others, with half its numbers a thread, with a bias and an activation."""
    x, dtype = Memory(target), DTYPES.get(kind, dtypes.float32)
    with_tile(MatmulTile(*tile))
    fused = weight_update(x, dtype, masked=kind != "float32") if largest else [linear(x, dtype)]
    with settings.matmul_precision("high" if kind == "tf32" else "highest"):
        found = x.product(*fused)
    assert found.spills == 0 and 0 < found.registers <= 255
    assert found.shared_bytes <= tiles.architecture(target).shared_bytes
    bits = 8 * dtype.itemsize * tile[0] * tile[1] // (tile[3] * TARGETS[target].warp_size)      # a thread's
    assert found.load_bits == 128 and found.store_bits >= min(64, bits)
    if kind in ("half", "tf32"):        # below 64 rows, Hopper and Blackwell multiply as Ampere does
        assert PRODUCT["sm_80" if target in NVIDIA and tile[0] < 64 else target] in found.assembly


def test_a_tile_that_spills_is_caught(with_tile: Any) -> None:
    """The largest IEEE tile, with a prologue: why such products have tiles of their own."""
    x = Memory("sm_90")
    with_tile(MatmulTile(*matmul_tiles.HOPPER["float32"][0]))
    assert x.product(*weight_update(x, dtypes.float32, masked=True)).spills > 0


def test_an_operand_with_a_prologue_has_tiles_of_its_own() -> None:
    x = Memory("sm_90")
    for masked, expected in ((False, "float32"), (True, "fused float32")):
        (launch, _), = x.compiled(*weight_update(x, dtypes.float32, masked))
        blocks = tuple(launch.constexprs[f"BLOCK_{axis}"] for axis in "MNK")
        assert blocks == matmul_tiles.HOPPER[expected][0][:3]
        assert launch.kernel.operand_bytes == (4, 8 if masked else 4)


@pytest.mark.parametrize(("target", "dtype"), [("sm_90", dtypes.int64), ("gfx942", dtypes.int32)])
def test_integer_products_compile_without_dot(target: str, dtype: DType) -> None:
    x = Memory(target)
    found = x.product(g.matmul(x(256, 256, dtype=dtype), x(256, 256, dtype=dtype)))
    assert found.spills == 0 and found.load_bits >= 32


# -------------------------------------------------------------------------------------------- maps, rows and reductions

@pytest.mark.parametrize(("numel", "bits"), [(1 << 12, 128), (1000, 128), (101_770, 64), (999, 32)])
def test_maps_access_as_much_at_once_as_their_size_divides(numel: int, bits: int) -> None:
    x = Memory("sm_90")
    (_, found), = x.compiled(g.exp(x(numel)))
    assert set(found.loads) == {bits} == set(found.stores)


@pytest.mark.parametrize("target", TARGETS)
def test_the_longest_row_leaves_registers_for_a_second_program(target: str) -> None:
    x = Memory(target)
    ct, y = x(4096, tiles.ROW_MAX), g.softmax(x(4096, tiles.ROW_MAX), 1)
    (_, found), = x.compiled(g.mul(y, g.sub(ct, g.sum(g.mul(ct, y), (1,), keepdim=True))))
    assert found.spills == 0 and found.registers <= 128 and set(found.loads) == {128} == set(found.stores)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("fold", [g.sum, g.amax, g.amin, g.prod])
def test_long_reductions_take_few_registers(fold: Any, target: str) -> None:
    x = Memory(target)
    for of in (x(1024, 1 << 20), g.transpose(x(1 << 20, 1024))):       # along the columns, and along the rows
        (launch, found), = x.compiled(fold(of, (1,)))
        assert launch.kernel.group.template.name == "reduce"
        assert found.spills == 0 and found.registers <= 64 and set(found.loads) == {128}
