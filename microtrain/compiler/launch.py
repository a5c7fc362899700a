"""A kernel's template, tile, grid and arguments: the last step before it runs or is compiled for a named target."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from .. import settings
from ..graph.dtypes import DType
from ..kernels import tiles
from ..kernels.matmul_tiles import MatmulTile, matmul_tiles
from ..runtime.compile_cache import sealed
from ..runtime.compiling import POINTERS, compile_kernel, divisible_by_16, settle
from .domain import MatmulDomain, OpaqueDomain, ReduceDomain, RowDomain, SlabDomain
from .emit_numpy import NumpyExecutable
from .emit_triton import Kernel
from .horizontal import parts_of
from .jit import jitted


@dataclass(eq=False)
class Launch:
    """One kernel launch but for its buffers and scalars.

    `sizes` are the run-time integers that follow `ptrs` and `scalars`, `constexprs` what is known when it is compiled,
    `options` what the compiler is told: warps, stages, whether it may contract multiplications and additions.
    """

    kernel: Kernel
    template: Any
    grid: tuple[int, ...]
    sizes: dict[str, int]
    constexprs: dict[str, Any]
    options: dict[str, Any]
    queue: Any = None       # how the device queues it, once it has

    @cached_property
    def rest(self) -> tuple[Any, ...]:
        """The arguments that follow `ptrs` and `scalars`, the same in every run."""
        known = self.sizes | self.constexprs
        return tuple([known[name] for name in self.template.arg_names[2:]])

    @cached_property
    def meaning(self) -> NumpyExecutable:
        """What the kernel computes, in NumPy: from what its group reads, in that order, to what it stores."""
        from .validate import reference
        return reference(self.kernel.group)

    def arguments(self, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> tuple[Any, ...]:
        """All arguments of the kernel, in the order of its parameters."""
        return (pointers, scalars, *self.rest)

    def signature(self) -> tuple[dict[str, Any], list[str]]:
        """The types of the kernel's parameters, and the integers divisible by 16."""
        integer = "i64" if self.kernel.wide else "i32"
        kinds: dict[str, Any] = {"ptrs": self.pointer_types(), "scalars": ("i64",) * len(self.kernel.scalars)}
        return ({name: kinds.get(name, integer if name in self.sizes else "constexpr")
                 for name in self.template.arg_names},
                [name for name, size in self.sizes.items() if size % 16 == 0])

    def pointer_types(self) -> tuple[str, ...]:
        """How Triton writes the types of the pointers."""
        return tuple([POINTERS[node.dtype.name] for node in self.kernel.pointers])

    def compiled(self, kernels: dict[Any, Any]) -> Any:
        """Triton's CompiledKernel for the GPU at hand, good for every run.

        `kernels` are those that were compiled for it before: equal launches of different plans share one.
        """
        signature, even = self.signature()
        settle(self.template)
        # An emitted function's name tells it from all others; equal numbers of different types must not meet.
        key = (self.template, repr((signature, even, self.constexprs, self.options)))
        kernel = kernels.get(key)
        if kernel is None:
            kernel = kernels[key] = compile_kernel(self.template, signature, self.constexprs,
                                                   divisible_by_16(signature, even), self.options)
        return kernel


class CallLaunch(Launch):
    """The launch of a user's kernel, whose pointers and numbers are parameters of their own.

    `constexprs` are the user's, and the ones among the numbers: Triton makes constants of those.
    """

    @property
    def numbers(self) -> tuple[int | float, ...]:
        """What follows the pointers."""
        domain = self.kernel.group.domain
        assert isinstance(domain, OpaqueDomain)
        return domain.call.scalars

    @cached_property
    def slots(self) -> list[tuple[int, Any]]:
        """For each parameter the pointer that it takes, or -1 and its value."""
        domain = self.kernel.group.domain
        assert isinstance(domain, OpaqueDomain)
        constants = domain.call.constants
        given = iter([*[(k, None) for k in range(len(self.kernel.pointers))], *[(-1, n) for n in self.numbers]])
        return [(-1, constants[name]) if name in constants else next(given) for name in self.template.arg_names]

    def arguments(self, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> tuple[Any, ...]:
        return tuple([value if k < 0 else pointers[k] for k, value in self.slots])

    def signature(self) -> tuple[dict[str, Any], list[str]]:
        types, even = {}, []
        pointers = self.pointer_types()
        for name, (k, value) in zip(self.template.arg_names, self.slots, strict=True):
            if k >= 0:
                types[name] = pointers[k]
            elif name in self.constexprs:
                types[name] = "constexpr"
            elif isinstance(value, float):
                types[name] = "fp32"
            else:
                types[name] = "i32" if abs(value) < 2 ** 31 else "i64"
                even += [name] if value % 16 == 0 else []
        return types, even

    def compiled(self, kernels: dict[Any, Any]) -> Any:
        """As Triton specialises it, which has kept it if it was called before: the kernel may be annotated, and may ask
        that a number be left alone."""
        from triton.runtime import MockTensor
        pointers = tuple([MockTensor(node.dtype.name) for node in self.kernel.pointers])
        settle(self.template)
        with sealed():
            return self.template.warmup(*self.arguments(pointers, ()), grid=self.grid, **self.options)


def launch_of(kernel: Kernel, arch: str) -> Launch:
    """The launch of a kernel with the tile that is the best guess for an architecture ("sm_90", "interpret")."""
    return launches_of(kernel, arch, at_most=1)[0]


def launches_of(kernel: Kernel, arch: str, at_most: int) -> list[Launch]:
    """The launches of a kernel with the tiles that `kernels` offers, the best guess first."""
    tiles_of, launch_with = TEMPLATES[kernel.group.domain.template]
    return [launch_with(kernel, arch, tile) for tile in tiles_of(kernel, arch)[:at_most]]


def encoded(value: Any, dtype: DType) -> int:
    """A run-time number of a dtype as the int64 that a kernel takes: a float as the bits of a float64."""
    if dtype.is_floating_point:
        return struct.unpack("<q", struct.pack("<d", value))[0]
    return int(value)


def constexprs(kernel: Kernel, **tile: Any) -> dict[str, Any]:
    """The emitted functions, type names resolved, and the tile."""
    import triton.language as tl

    def resolved(value: Any) -> Any:
        return getattr(tl, value[3:]) if isinstance(value, str) and value.startswith("tl.") else value

    found = {name: tuple(map(jitted, given)) if isinstance(given, tuple) else jitted(given)
             for name, given in kernel.functions.items()}
    found |= {name: resolved(value) for name, value in (kernel.constants | {"INDEX": kernel.index_type}).items()}
    return found | tile


def options(num_warps: int, num_stages: int = 3) -> dict[str, Any]:
    """What the compiler is told of our own kernels."""
    return {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": tiles.ENABLE_FP_FUSION}


def _map_tiles(kernel: Kernel, arch: str) -> list[tiles.MapTile]:
    numel = sum(part.domain.numel for part in parts_of(kernel.group))
    return tiles.map_tiles(numel, itemsize=min(node.dtype.itemsize for node in kernel.pointers), arch=arch)


def _map(kernel: Kernel, arch: str, tile: tiles.MapTile) -> Launch:
    from ..kernels.map import map_kernel
    numel = kernel.group.domain.numel
    # Of a size that is no multiple of 16 Triton must know more than that for accesses wider than an element.
    known = {} if numel % 16 == 0 else {"numel": numel}
    return Launch(kernel, map_kernel, tile.grid(numel), {} if known else {"numel": numel},
                  constexprs(kernel, BLOCK=tile.block, **known), options(tile.num_warps))


def _maps(kernel: Kernel, arch: str, tile: tiles.MapTile) -> Launch:
    from ..kernels.map import maps_kernel
    starts = tuple(accumulate([tile.grid(size)[0] for size in kernel.constants["NUMELS"]], initial=0))
    return Launch(kernel, maps_kernel, (starts[-1],), {}, constexprs(kernel, STARTS=starts, BLOCK=tile.block),
                  options(tile.num_warps))


def _row_tiles(kernel: Kernel, arch: str) -> list[tiles.RowTile]:
    domain = kernel.group.domain
    assert isinstance(domain, RowDomain)
    if domain.template == "reduce":
        best = tiles.reduce_tile(domain.rows, domain.cols, along_rows=kernel.along_rows, arch=arch)
    else:
        best = tiles.row_tile(domain.rows, domain.cols, along_rows=kernel.along_rows, held=kernel.held, arch=arch)
    return tiles.row_tiles(best, domain.rows, arch=arch)


def _row(kernel: Kernel, arch: str, tile: tiles.RowTile) -> Launch:
    from ..kernels.row import row_kernel
    domain = kernel.group.domain
    assert isinstance(domain, RowDomain)
    return Launch(kernel, row_kernel, tile.grid(domain.rows), {"rows": domain.rows},
                  constexprs(kernel, COLS=domain.cols, BLOCK_R=tile.block_r, BLOCK_C=tile.block_c),
                  options(tile.num_warps))


def _slab_tiles(kernel: Kernel, arch: str) -> list[tiles.RowTile]:
    domain = kernel.group.domain
    assert isinstance(domain, SlabDomain)
    return [tiles.slab_tile(domain.height, domain.cols)]


def _slab(kernel: Kernel, arch: str, tile: tiles.RowTile) -> Launch:
    from ..kernels.row import slab_kernel
    domain = kernel.group.domain
    assert isinstance(domain, SlabDomain)
    told = options(tile.num_warps)
    if domain.blocks == 1:
        # A lone program may have all registers: left alone, ptxas spills to keep room for a second one.
        told["maxnreg"] = tiles.registers(tile.num_warps)
    return Launch(kernel, slab_kernel, (domain.blocks,), {},
                  constexprs(kernel, ROWS=domain.height, COLS=domain.cols, BLOCK_R=tile.block_r, BLOCK_C=tile.block_c),
                  told)


def _reduce(kernel: Kernel, arch: str, tile: tiles.RowTile) -> Launch:
    from ..kernels import reductions
    from ..kernels.reduce import reduce_kernel
    domain, root = kernel.group.domain, kernel.group.root
    assert isinstance(domain, ReduceDomain)
    fold = root.primitive.triton
    fixed = constexprs(kernel, BLOCK_R=tile.block_r, BLOCK_C=tile.block_c,
                       COMBINE=getattr(reductions, f"combine_{fold}"), FINISH=getattr(reductions, f"finish_{fold}"))
    return Launch(kernel, reduce_kernel, tile.grid(domain.rows), {"rows": domain.rows, "cols": domain.cols}, fixed,
                  options(tile.num_warps))


OPERANDS = {"tl.float16": "half", "tl.bfloat16": "half", "tl.float32": "float32", "tl.float64": "float64"}
"""The kinds of matrix operands by the type that their tiles are rounded to; integers are the rest."""


def relaxed(kernel: Kernel, arch: str) -> bool:
    """Whether a product is of float32 numbers that may be rounded to TF32, which the interpreter does not have."""
    return (kernel.constants["OPERAND"] == "tl.float32" and settings.matmul_precision.value != "highest"
            and arch != tiles.INTERPRET)


def _matmul_tiles(kernel: Kernel, arch: str) -> list[MatmulTile]:
    domain = kernel.group.domain
    assert isinstance(domain, MatmulDomain)
    kind = "tf32" if relaxed(kernel, arch) else OPERANDS.get(kernel.constants["OPERAND"], "integer")
    return matmul_tiles(domain.size_m, domain.size_n, domain.size_k, kind, batch=domain.batch, arch=arch,
                        loads=kernel.operand_bytes)


def _matmul(kernel: Kernel, arch: str, tile: MatmulTile) -> Launch:
    from ..kernels.matmul import matmul_kernel
    domain = kernel.group.domain
    assert isinstance(domain, MatmulDomain)
    sizes = {"M": domain.size_m, "N": domain.size_n, "K": domain.size_k}
    blocks = (tile.block_m, tile.block_n, tile.block_k)
    fixed = constexprs(kernel, DOT=tile.dot, PRECISION="tf32" if relaxed(kernel, arch) else "ieee",
                       **{f"BLOCK_{name}": block for name, block in zip(sizes, blocks, strict=True)},
                       **{f"DIVISOR_{name}": math.gcd(size, block)
                          for (name, size), block in zip(sizes.items(), blocks, strict=True)})
    if kernel.constants["OPERAND"] == "tl.float32":         # half precisions end in fewer digits than one part gives
        for name, lines in ("SUM_A", tile.block_m), ("SUM_B", tile.block_n):
            fixed[name] *= tile.sharing(lines)
    if arch == tiles.INTERPRET and OPERANDS.get(kernel.constants["OPERAND"]) == "half":
        fixed["OPERAND"] = fixed["ACC"]         # the interpreter's own half-precision products are wrong
    return Launch(kernel, matmul_kernel, tile.grid(domain.size_m, domain.size_n, domain.batch), sizes, fixed,
                  options(tile.num_warps, tile.num_stages))


def _opaque_tiles(kernel: Kernel, arch: str) -> list[None]:
    return [None]               # a user's kernel is launched as the user says


def _opaque(kernel: Kernel, arch: str, tile: None) -> Launch:
    domain = kernel.group.domain
    assert isinstance(domain, OpaqueDomain)
    call = domain.call
    free = [name for name in call.kernel.arg_names if name not in call.constants]
    ones = {name: n for name, n in zip(free[len(kernel.pointers):], call.scalars, strict=True)
            if isinstance(n, int) and n == 1}
    return CallLaunch(kernel, call.kernel, call.grid, {}, call.constants | ones, call.options)


TEMPLATES: dict[str, tuple[Callable[..., list[Any]], Callable[..., Launch]]] = {
    "map": (_map_tiles, _map), "maps": (_map_tiles, _maps), "row": (_row_tiles, _row), "slab": (_slab_tiles, _slab),
    "reduce": (_row_tiles, _reduce), "matmul": (_matmul_tiles, _matmul), "opaque": (_opaque_tiles, _opaque)}
"""For each template the tiles that a kernel may have, the best guess first, and its launch with one of them."""
