"""Emitted kernels, run by Triton's interpreter, against NumPy: what a kernel computes, not how many there are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from microtrain import ops as g
from microtrain import settings
from microtrain.compiler import lower as lowering
from microtrain.compiler import schedule as scheduling
from microtrain.compiler.cpu.emit_numpy import NumpyExecutable
from microtrain.compiler.executable import Executable
from microtrain.compiler.lower import lower
from microtrain.compiler.program import Program
from microtrain.compiler.templates import matmul
from microtrain.compiler.templates import rows as row_templates
from microtrain.graph import dtypes
from microtrain.graph.node import Node
from microtrain.graph.spec import Device, Spec, spec
from microtrain.kernels import matmul_tiles, tiles
from microtrain.kernels.matmul_tiles import MatmulTile
from microtrain.runtime import backend
from tests.support.programs import program, tensor
from tests.support.random_graphs import grown

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs Triton's interpreter: run with MICROTRAIN_DEVICE=interpret", allow_module_level=True)

HERE = Device("interpret")
ULPS = 256
"""Rounding errors allowed to a small random graph: two orders of one sum, and library functions good to a few ulps."""


def t(array: Any, dtype: Any = np.float32) -> Node:
    return tensor(np.asarray(array, dtype), "interpret")


def host(value: Any) -> Any:
    return backend("interpret").to_numpy(value) if hasattr(value, "untyped_storage") else value


class Guarded:
    """A device whose outputs lie between ones: the interpreter itself says nothing of a store out of bounds."""

    def __init__(self, device: Any) -> None:
        self.device, self.ends = device, list[Any]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.device, name)

    def empty(self, of: Spec) -> Any:
        whole = self.device.empty(spec((of.numel + 128,), of.dtype, of.device)).fill_(1)
        self.ends += [whole[:64], whole[-64:]]
        return whole[64:-64].reshape(of.shape)


def computed(*outputs: Node) -> tuple[Executable, list[np.ndarray], list[np.ndarray]]:
    """What the kernels compute and what NumPy does, output by output."""
    made, values = program(*outputs)
    executable = Executable(made)
    executable.backend = guarded = Guarded(executable.backend)
    results = [host(buffer) for buffer in executable.run(values)]
    assert all((ends == 1).all() for ends in guarded.ends), "a kernel wrote outside its output"
    expected = NumpyExecutable(lower(made)).run([host(value) for value in values])
    return executable, results, [np.asarray(array) for array in expected]


def check(*outputs: Node, kernels: int | None = None) -> Executable:
    executable, results, expected = computed(*outputs)
    coarsest = max((np.finfo(node.dtype.numpy).eps if node.dtype.name != "bfloat16" else 2.0 ** -7)
                   for node in executable.program.values if node.dtype.is_floating_point) if any(
                       node.dtype.is_floating_point for node in executable.program.values) else 0.0
    tolerance = float(coarsest) * (ULPS if coarsest < 1e-4 else 16)
    for node, have, want in zip(outputs, results, expected, strict=True):
        assert have.shape == node.shape and have.dtype == node.dtype.numpy
        if node.dtype.is_floating_point:
            have, want = have.astype(np.float64), want.astype(np.float64)
            largest = np.abs(want[np.isfinite(want)]).max(initial=0.0)
            np.testing.assert_allclose(have, want, rtol=tolerance, atol=tolerance * largest)
        else:
            np.testing.assert_array_equal(have, want)
    if kernels is not None:
        assert executable.kernels == kernels
    return executable


@pytest.fixture
def short_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rows of more than 16 elements count as too long for the chip, so that small tensors meet the reduce template."""
    for module in (lowering, row_templates, tiles):
        monkeypatch.setattr(module, "ROW_MAX", 16)
    monkeypatch.setattr(lowering, "COLUMNS_MAX", 16)
    monkeypatch.setattr(lowering, "CHUNK_MAX", 16)
    monkeypatch.setattr(lowering, "SPLIT_ROWS", 4)
    yield


# ---------------------------------------------------------------------------------------------------------- templates

FOLDS = {"sum": g.sum, "amax": g.amax, "amin": g.amin, "prod": g.prod}


@pytest.mark.parametrize("fold", FOLDS)
def test_reductions_over_every_set_of_axes(fold: str, rng: np.random.Generator) -> None:
    x = t(rng.standard_normal((3, 4, 5, 2)))
    sets = [tuple(axis for axis in range(4) if bits >> axis & 1) for bits in range(1, 16)]
    check(*[FOLDS[fold](x, axes) for axes in sets])


@pytest.mark.parametrize("name", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("template", ["row", "reduce"])
def test_rows_alone_and_too_long_for_the_chip(template: str, fold: str, name: str, rng: np.random.Generator,
                                              request: pytest.FixtureRequest) -> None:
    """What is computed where the row has ended is 2: no identity of any fold."""
    if template == "reduce":
        request.getfixturevalue("short_rows")
    values = rng.choice([1, 3], (7, 50)) * (1 if fold == "amin" else -1) / 3
    if name.startswith("int"):
        x = g.add(t(np.rint(3 * values), dtypes.from_name(name).numpy), 2)
    else:
        values[3, 40] = np.nan
        x = g.add(g.exp(t(values, dtypes.from_name(name).numpy)), 1.0)
    total = FOLDS[fold](x, (1,))
    rest = [g.sub(x, g.reshape(total, (7, 1)))] if template == "row" else []
    executable = check(g.mul(total, 3), *rest, kernels=1)
    assert executable.groups[0].template.name == template


SHAPES = [((3, 50), (1,)), ((50, 3), (0,)), ((64,), (0,)), ((5, 3, 7), (0, 2)), ((37,), (0,))]


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("shape, axes", SHAPES)
def test_long_reductions_in_two_stages(fold: str, shape: tuple[int, ...], axes: tuple[int, ...],
                                       rng: np.random.Generator, short_rows: None) -> None:
    x = t(rng.standard_normal(shape))
    executable = check(FOLDS[fold](x, axes))
    assert executable.kernels >= 2


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("shape", [(12, 10), (10, 12), (16, 16), (5, 1), (3, 37)])
def test_rows_held_whole_are_folded_every_way(fold: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    """One program: for each row, for each column, of those of each row, and of everything, and what is made of them."""
    fn, x = FOLDS[fold], t(rng.standard_normal(shape))
    rows = fn(g.mul(x, 1.5), (1,))
    near = g.sub(x, g.reshape(rows, (shape[0], 1)))
    columns = fn(near, (0,))
    total, every = fn(rows, (0,)), fn(near, (0, 1))
    outputs = [g.mul(rows, 0.3), columns, g.sub(t(rng.standard_normal(shape[1])), g.mul(columns, 0.1)), total,
               g.div(every, 7.0), g.add(near, total), g.add(near, columns)]
    executable = check(*outputs, kernels=1)
    if shape[1] > 1:
        assert executable.launches[0].grid == (1,)


@pytest.mark.parametrize("fold", FOLDS)
def test_rows_and_columns_that_only_fill_up_a_tile_count_for_nothing(fold: str, rng: np.random.Generator) -> None:
    """12 rows of 10 are held in 16 of 16, and what is computed in the rest is 2: no identity of any fold."""
    fn, x = FOLDS[fold], t(rng.random((12, 10)) * (1 if fold == "amin" else -1))       # a minimum of 2 would be one
    twice = g.add(g.exp(x), 1.0)
    rows = fn(twice, (1,))
    smaller = g.sub(twice, 3.0) if fold in ("amax", "prod") else twice
    check(rows, fn(smaller, (0,)), fn(g.add(rows, 0.5), (0,)), fn(smaller, (0, 1)), kernels=1)


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16", "int32", "uint8"])
def test_rows_held_whole_in_other_dtypes(name: str, rng: np.random.Generator) -> None:
    x = t(rng.integers(0, 5, (9, 6)), dtypes.from_name(name).numpy)
    for fold in FOLDS.values():
        rows = fold(x, (1,))
        check(rows, fold(x, (0,)), fold(rows, (0,)), fold(x, (0, 1)), kernels=1)


def test_small_rows_that_are_met_first_join_a_whole_tile_as_its_rows_or_columns(rng: np.random.Generator) -> None:
    x, label, weight = t(rng.standard_normal((12, 10))), t(rng.random(12) > 0.3, np.bool_), t(rng.standard_normal(10))
    count = g.sum(g.cast(label, dtypes.float32), (0,))
    check(g.div(g.sum(g.where(label, g.sum(g.exp(x), (1,)), 0), (0,)), count), kernels=1)
    norm = g.sum(g.mul(weight, weight), (0,))
    check(g.sum(g.mul(g.add(x, weight), norm), (1,)), norm, kernels=1)


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("first", ["sum", "product"])
@pytest.mark.parametrize("operand", [0, 1])
def test_sums_of_an_operand_come_with_the_product(name: str, first: str, operand: int, rng: np.random.Generator,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """The bias gradient in the pass of the weight gradient, and the update of both, over several tiles each way."""
    monkeypatch.setattr(matmul_tiles, "INTERPRET_DOT", 16)
    dtype = dtypes.from_name(name).numpy
    x, ct = t(rng.standard_normal((33, 40)), dtype), t(rng.standard_normal((33, 24)), dtype)
    pair = (g.transpose(x), ct) if operand else (g.transpose(ct), x)
    if first == "sum":
        db = g.sum(ct, (0,))
        dw = g.matmul(*pair)
    else:
        dw = g.matmul(*pair)
        db = g.sum(ct, (0,))
    b, w = t(rng.standard_normal(24), dtype), t(rng.standard_normal(dw.shape), dtype)
    executable = check(g.sub(w, g.mul(dw, 0.1)), g.sub(b, g.mul(db, 0.1)), db, kernels=1)
    assert executable.launches[0].grid == (6, 1)


@pytest.mark.parametrize("operand", [0, 1])
def test_a_sum_beside_a_long_product_errs_no_more_than_pytorchs(operand: int, rng: np.random.Generator,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU's tile, whose blocks added up one after the other would err by three times as much."""
    monkeypatch.setattr(matmul, "matmul_tiles", lambda *of, **options: [MatmulTile(128, 128, 16, 8, 3)])
    ct, x = rng.standard_normal((4096, 128)).astype(np.float32), t(rng.standard_normal((4096, 4)))
    ct[7, 0] = np.inf
    pair = (g.transpose(x), t(ct)) if operand else (g.transpose(t(ct)), x)
    executable, (_, found), _ = computed(g.matmul(*pair), g.sum(pair[operand], (1 - operand,)))
    assert executable.kernels == 1 and found[0] == np.inf
    truth, theirs = ct[:, 1:].sum(0, dtype=np.float64), torch.from_numpy(ct[:, 1:]).sum(0).numpy()
    assert 0 < np.abs(found[1:] - truth).max() <= np.abs(theirs - truth).max()


def test_sums_of_a_computed_operand_see_what_the_product_sees(rng: np.random.Generator) -> None:
    x, ct = t(rng.standard_normal((33, 40))), t(rng.standard_normal((33, 24)))
    masked = g.where(g.gt(ct, 0), ct, 0.5)          # 0.5 where the tile ends, unless what is loaded there is masked
    check(g.matmul(g.transpose(x), masked), g.sum(masked, (0,)), kernels=1)
    other = check(g.matmul(g.transpose(x), masked), g.sum(ct, (0,)))
    assert other.kernels == 2, "a sum of something else is not the operand's"


@pytest.mark.parametrize("rows", [64, 60])
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_slabs_leave_partial_sums_of_rows_that_are_read_once(rows: int, name: str, rng: np.random.Generator,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """A logistic regression and a normalisation whose data is many slabs: of 16 or 4 rows here."""
    for module in (lowering, row_templates):
        monkeypatch.setattr(module, "SLABS_MIN", 256)
    monkeypatch.setattr(lowering, "HEIGHT_MIN", 2)
    monkeypatch.setattr(lowering, "SLAB_ELEMENTS", 16 * 16)
    monkeypatch.setattr(tiles, "ROW_MAX", 16 * 16)
    dtype = dtypes.from_name(name).numpy
    x, y = t(rng.standard_normal((rows, 9)), dtype), t(rng.random((rows, 1)) > 0.5, dtype)
    w, b = t(rng.standard_normal((9, 1)), dtype), t(rng.standard_normal(1), dtype)
    s = g.sigmoid(g.add(g.matmul(x, w), b))
    dz = g.mul(g.sub(s, y), 1 / rows)
    dw, db = g.matmul(g.transpose(x), dz), g.sum(dz, (0,))
    executable = check(g.mean(g.mul(dz, dz), (0, 1)), g.sub(w, g.mul(dw, 0.1)), g.sub(b, g.mul(db, 0.1)), dz)
    slab = executable.groups[0].template
    assert slab.name == "slab" and slab.blocks == rows // math.gcd(rows, 16)
    assert sum(any(node.shape == (rows, 9) for node in group.reads) for group in executable.groups) == 1

    ct, centred = t(rng.standard_normal((rows, 9)), dtype), g.sub(x, g.keep(g.mean(x, (1,)), x.shape, (1,)))
    executable = check(g.sum(g.mul(ct, centred), (0,)), g.sum(ct, (0,)), g.amax(g.mul(x, centred), (0,)), centred)
    assert [group.template.name for group in executable.groups][:1] == ["slab"]


@pytest.mark.parametrize("shape, axes", [((64, 24), (0,)), ((4, 24, 24), (0, 1)), ((60, 16), (0,))])
def test_columns_of_a_large_matrix_are_added_up_in_slabs(shape: tuple[int, ...], axes: tuple[int, ...],
                                                         rng: np.random.Generator,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (lowering, row_templates):
        monkeypatch.setattr(module, "SLABS_MIN", 256)
    monkeypatch.setattr(lowering, "HEIGHT_MIN", 2)
    monkeypatch.setattr(lowering, "SLAB_ELEMENTS", 16 * 8)
    monkeypatch.setattr(lowering, "SLAB_WIDTH", 8)
    monkeypatch.setattr(lowering, "SECTOR", 1000)
    x, b = t(rng.standard_normal(shape)), t(rng.standard_normal(shape[-1]))
    executable = check(g.sub(b, g.sum(g.mul(x, x), axes)))
    assert executable.groups[0].template.name == "slab"
    half = t(rng.standard_normal(shape), np.float16)
    check(g.sum(half, axes), g.amax(half, axes))


def test_maps_of_other_sizes_share_a_launch(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "INTERPRET_ELEMENTS", 64)        # several programs a part
    sizes = [(300,), (7, 9), (1,), (64,), (), (2, 100)]
    outputs = [g.sub(t(rng.standard_normal(size)), g.mul(t(rng.standard_normal(size)), 0.1)) for size in sizes]
    outputs.append(g.add(t(rng.integers(0, 5, 130), np.int64), 1))
    outputs.append(g.add(t(rng.integers(0, 5, (33, 3)), np.uint8), t(rng.integers(0, 5, 3), np.uint8)))
    executable = check(*outputs, kernels=1)
    assert executable.launches[0].grid == (5 + 1 + 1 + 1 + 1 + 4 + 3 + 2,)


def test_maps_that_differ_in_buffers_and_sizes_alone_are_compiled_once(rng: np.random.Generator,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "INTERPRET_ELEMENTS", 64)
    sizes = [160, 16, 48, 1600, 33, 7]              # four that 16 divides, two that nothing does

    def update(size: int) -> tuple[Node, Node]:
        momentum = g.add(g.mul(t(rng.standard_normal(size)), 0.9), t(rng.standard_normal(size)))
        return g.sub(t(rng.standard_normal(size)), g.mul(momentum, 0.1)), momentum

    other = g.exp(t(rng.standard_normal(320)))
    executable = check(*[node for size in sizes for node in update(size)], other, kernels=1)
    kernel = executable.launches[0].kernel
    parts = kernel.constants["PARTS"]
    counts = [end - start for start, end in pairwise(parts)]
    classes = zip(counts, kernel.constants["ROLES"], kernel.constants["DIVISORS"], strict=True)
    assert sorted(classes) == [(1, 2, 16), (2, 5, 1), (4, 5, 16)] and len(set(kernel.functions["EXPRS"])) == 2


def test_maxima_pass_nan_on(rng: np.random.Generator) -> None:
    values = rng.standard_normal((4, 6))
    values[1, 2], values[2, 0], values[3, 5] = np.nan, np.inf, -np.inf
    x = t(values)
    check(g.amax(x, (1,)), g.amin(x, (1,)), g.maximum(x, 0.0), g.sum(x, (0,)), g.argmax(x, 1), g.argmin(x, 0))
    check(g.amax(x, (0,)), g.amin(x, (0,)), g.amax(x, (0, 1)), g.amin(g.amax(x, (1,)), (0,)), kernels=1)


@pytest.mark.parametrize("m, n, k", [(17, 33, 9), (16, 16, 16), (2, 3, 1), (1, 5, 7), (5, 1, 7), (1, 1, 4), (64, 2, 9)])
def test_products(m: int, n: int, k: int, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    bias = t(rng.standard_normal(n))
    check(g.relu(g.add(g.matmul(t(x), t(y)), bias)), g.matmul(g.transpose(t(x.T.copy())), g.transpose(t(y.T.copy()))))


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "float16", "int64", "int32"])
@pytest.mark.parametrize("m, n, k", [(17, 33, 19), (33, 16, 40), (5, 7, 0)])
def test_products_in_several_tiles(m: int, n: int, k: int, name: str, rng: np.random.Generator,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a computed operand, which is not 0 where its tile ends; integers without `tl.dot`."""
    dtype, whole = dtypes.from_name(name).numpy, name.startswith("int")
    monkeypatch.setattr(matmul, "matmul_tiles", lambda *of, **options: [MatmulTile(16, 16, 16, 4, 1, dot=not whole)])
    x, y, bias = (t(rng.integers(-4, 5, shape) / (1 if whole else 4), dtype) for shape in ((2, m, k), (2, k, n), (n,)))
    check(g.relu(g.add(g.matmul(g.add(x, 1) if whole else g.exp(x), y), bias)))


def test_batched_products_with_broadcast_operands(rng: np.random.Generator) -> None:
    x, y = t(rng.standard_normal((2, 1, 4, 5))), t(rng.standard_normal((3, 5, 6)))
    product = g.matmul(x, y)
    check(product, g.mul(product, t(rng.standard_normal((2, 3, 1, 6)))), kernels=1)
    check(g.sub(t(rng.standard_normal((2, 3, 6, 4))), g.transpose(product)), kernels=1)


def test_operands_are_computed_as_they_are_loaded(rng: np.random.Generator) -> None:
    x, y = t(rng.standard_normal((8, 12))), t(rng.standard_normal((8, 9)))
    check(g.matmul(g.transpose(g.relu(x)), g.mul(y, 2.5)), kernels=1)


def test_outputs_may_be_views_and_constants_and_repeat_nothing(rng: np.random.Generator) -> None:
    x = t(rng.standard_normal((4, 6)))
    s = g.sum(x, (1,))
    check(g.transpose(x), g.reshape(x, (24,)), g.reshape(s, (4, 1)), s, g.full(1.5, (3, 2), dtypes.float32, HERE),
          g.full(2, (), dtypes.int64, HERE), g.full(7, (), dtypes.int64, HERE), g.iota(5, HERE))


def test_an_output_that_is_an_input_is_returned_as_it_is() -> None:
    x = t([1.0, 2.0])
    made, values = program(g.add(x, 1))
    made = Program(made.values, [made.inputs[0], *made.outputs])
    assert Executable(made).run(values)[0] is values[0]


# ---------------------------------------------------------------------------------------------------------------- fuzz

@pytest.mark.parametrize("block", range(8))
def test_random_graphs(block: int) -> None:
    for seed in range(32 * block, 32 * block + 32):
        check_grown(seed, 14)


def test_random_graphs_with_short_rows(short_rows: None) -> None:
    for seed in range(1000, 1048):
        check_grown(seed, 10)


def test_random_graphs_without_fusion() -> None:
    with settings.fuse(False):
        for seed in range(2000, 2024):
            check_grown(seed, 10)


def check_grown(seed: int, most: int) -> None:
    """Check a random graph; a failure says which."""
    outputs = grown(seed, most)
    if outputs:
        try:
            check(*outputs)
        except Exception as error:
            error.add_note(f"the graph of grown({seed}, {most})")
            raise


def test_random_graphs_meet_every_template() -> None:
    graphs = [outputs for seed in range(64) if (outputs := grown(seed, 14))]
    assert len(graphs) > 50
    seen = {group.template.name for outputs in graphs for group in scheduling.schedule(program(*outputs)[0])}
    assert seen == {"map", "maps", "row", "matmul"}
