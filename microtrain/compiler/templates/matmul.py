"""Products of matrices (`kernels/matmul.py`), with what is done to operands as they are loaded and to the result."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property

from ... import ops, settings
from ...graph import dtypes
from ...graph.dtypes import HALF, DType
from ...graph.node import Kind
from ...kernels import loop_tiles, tiles
from ...kernels.matmul_tiles import MatmulTile, matmul_tiles
from ..access import accesses, operand_coords, product_shape, reduced_sizes, reduction_coords
from ..emit_value import STORAGE, Body, accumulator, settled
from ..index import Coords, Index, combine
from ..jit import function
from ..program import Value
from .template import Fold, Group, Kernel, Launch, Members, Offer, Template, options, symbol

# The kinds of matrix operands by the type that their tiles are rounded to; integers are the rest
OPERANDS = {"tl.float16": "half", "tl.bfloat16": "half", "tl.float32": "float32", "tl.float64": "float64"}


@dataclass(frozen=True)
class Matmul(Template):
    """`batch` products of an m x k with a k x n matrix."""

    batch: int
    size_m: int
    size_n: int
    size_k: int
    name = "matmul"
    spread = "bmn"
    b, m, n, k = (symbol(*pair) for pair in (("b", "batch"), ("m", "size_m"), ("n", "size_n"), ("k", "size_k")))

    @classmethod
    def of(cls, product: Value) -> Matmul:
        """The template of a product."""
        return cls(*product_shape(product))

    @classmethod
    def opened(cls, value: Value) -> Matmul | None:
        return cls.of(value) if value.primitive.kind is Kind.MATMUL else None

    @cached_property
    def numel(self) -> int:
        return self.batch * self.size_m * self.size_n

    @cached_property
    def terms(self) -> int:
        return self.size_k

    def layouts(self, numel: int) -> list[Index]:
        """An element of the product, each matrix in rows or transposed; beside one product a value for a row of A or a
        column of B, too."""
        matrix = self.size_m * self.size_n
        ways = [combine([(self.b, matrix), (self.m, self.size_n), (self.n, 1)]),
                combine([(self.b, matrix), (self.n, self.size_m), (self.m, 1)])] if numel == self.numel else []
        return ways + [fold.kept for fold in self.folds(numel, self.size_k)]

    def folds(self, kept: int, folded: int) -> list[Fold]:
        """An operand's sums over K, which is at hand in tiles anyway: of A for each m, of B for each n."""
        if self.batch > 1 or folded != self.size_k:
            return []
        ways = [(self.size_m, self.m, "a"), (self.size_n, self.n, "b")]
        return [Fold(place, self.k, over) for size, place, over in ways if size == kept]

    def entry(self, value: Value, position: Index) -> list[tuple[Value, Coords]]:
        if value.primitive.kind is Kind.MATMUL:
            return list(zip(value.sources, self.operands(value), strict=True))
        return super().entry(value, position)

    def operands(self, product: Value) -> tuple[Coords, Coords]:
        """Where a product reads its two operands."""
        return operand_coords(product, self.b, self.m, self.n, self.k)

    def extent(self) -> str:
        product = f"({self.size_m} x {self.size_k}) @ ({self.size_k} x {self.size_n})"
        return product if self.batch == 1 else f"{self.batch} of {product}"

    def with_reduction(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        product = next(iter(members))
        for fold in self.folds(*reduced_sizes(value)):
            if sums_operand(value, fold, product, self, place):
                yield Offer(self, {**members, value: fold.kept})

    def welcomes(self, value: Value, shares: bool) -> bool:
        """The sums of an operand."""
        return shares and value.primitive.kind is Kind.REDUCE

    def reduced(self, body: Body, value: Value, position: Index) -> str:
        over = self.fold(value, position).over
        return body.let(settled(f"sum_{over}", value.dtype), "m" if over == "a" else "n")

    def write(self, kernel: Kernel) -> None:
        group, root = kernel.group, kernel.group.root
        sizes = []
        for role, columns, source, coords in zip("AB", ("m, k", "k, n"), root.sources, self.operands(root),
                                                 strict=True):
            symbols = frozenset(columns.split(", "))
            load = kernel.begin({symbols: "mask"})
            value = load.value(source, coords)
            sizes.append(bytes_loaded(group, load, symbols))
            if not zero_outside(load, value, symbols):
                value = f"tl.where(mask, {value}, 0)"
            kernel.functions[f"LOAD_{role}"] = function(f"load_{role.lower()}", f"ptrs, scalars, b, {columns}, mask",
                                                        [*load.lines, f"return {value}"])
        epilogue = kernel.begin({frozenset("mn"): "mask"})
        epilogue.owners = {frozenset("m"): "once_m", frozenset("n"): "once_n"}
        epilogue.registers[root] = epilogue.let(settled("acc", root.dtype), "mn")
        rest = list(group.members)[1:]
        sums = [self.fold(value, group.members[value]).over for value in rest if value.primitive.kind is Kind.REDUCE]
        parameters = "ptrs, scalars, b, m, n, acc, sum_a, sum_b, mask, once_m, once_n"
        kernel.functions["EPILOGUE"] = function("epilogue", parameters, epilogue.finished(rest, self.reduced))
        kernel.constants |= {"SUM_A": int("a" in sums), "SUM_B": int("b" in sums), "ACC": accumulator(root.dtype),
                             "OPERAND": operand_type(root)}
        kernel.operand_bytes = (sizes[0], sizes[1])

    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        for tile in matmul_tiles(self.size_m, self.size_n, self.size_k, multiplied(kernel, arch), batch=self.batch,
                                 arch=arch, loads=kernel.operand_bytes):
            yield self.launch(kernel, tile, arch)

    def looped(self, kernel: Kernel, arch: str, num_warps: int) -> Launch:
        kind = multiplied(kernel, arch)
        tile = loop_tiles.matmul_tile(self.size_m, self.size_n, self.size_k, kind, num_warps)
        return self.launch(kernel, tile, arch)

    def launch(self, kernel: Kernel, tile: MatmulTile, arch: str) -> Launch:
        """The launch with a tile."""
        from ...kernels.matmul import matmul_kernel
        kind = multiplied(kernel, arch)
        sizes = {"M": self.size_m, "N": self.size_n, "K": self.size_k}
        blocks = dict(zip(sizes, (tile.block_m, tile.block_n, tile.block_k), strict=True))
        fixed = kernel.constexprs(DOT=tile.dot, PRECISION="tf32" if kind == "tf32" else "ieee",
                                  **{f"BLOCK_{name}": block for name, block in blocks.items()},
                                  **{f"DIVISOR_{name}": math.gcd(sizes[name], blocks[name]) for name in sizes})
        if kind in ("float32", "tf32"):                 # half precisions end in fewer digits than one part gives
            for name, lines in ("SUM_A", tile.block_m), ("SUM_B", tile.block_n):
                fixed[name] *= tile.sharing(lines)
        if kind == "half" and arch == tiles.INTERPRET:
            fixed["OPERAND"] = fixed["ACC"]             # the interpreter's own half-precision products are wrong
        return Launch(kernel, matmul_kernel, tile.grid(self.size_m, self.size_n, self.batch), sizes, fixed,
                      options(tile.num_warps, tile.num_stages))

    def coarser(self, root: Value) -> list[DType]:
        """TF32 has float16's 11 significant bits."""
        tf32 = settings.matmul_precision.value != "highest" and root.dtype is dtypes.float32
        return [dtypes.float16] if tf32 else []


def multiplied(kernel: Kernel, arch: str) -> str:
    """How the operands of a product are multiplied on an architecture: as their kind, or rounded to TF32."""
    kind = operand_kind(kernel)
    relaxed = settings.matmul_precision.value != "highest" and arch != tiles.INTERPRET     # which does not have TF32
    return "tf32" if kind == "float32" and relaxed else kind


def operand_kind(kernel: Kernel) -> str:
    """What the operands of a product are rounded to, as a kind of number."""
    return OPERANDS.get(kernel.constants["OPERAND"], "integer")


def operand_type(product: Value) -> str:
    """What the operands' tiles are rounded to: a half precision also where they were only widened from it, for products
    of such numbers are exact in float32, and tensor cores add them up in float32."""
    if product.dtype in HALF:
        return STORAGE[product.dtype]
    widened = {source.sources[0].dtype for source in product.sources if source.primitive is ops.CAST}
    both = all(source.primitive is ops.CAST for source in product.sources)
    if both and product.dtype is dtypes.float32 and len(widened) == 1 and widened <= set(HALF):
        return STORAGE[widened.pop()]
    return accumulator(product.dtype)


def zero_outside(load: Body, value: str, symbols: frozenset[str]) -> bool:
    """Whether an operand's tile is 0 outside its matrix as it is: a load of each element, with nothing done to it."""
    return len(load.lines) == len(load.loads) and symbols <= load.symbols[value]


def bytes_loaded(group: Group, load: Body, symbols: frozenset[str]) -> int:
    """What is read from memory for one element of a matrix operand; what its rows or columns share does not count."""
    return sum(value.dtype.itemsize for (value, *_), name in load.known.items()
               if (value.primitive is ops.BUFFER or load.place.get(value, group) is not group)
               and symbols <= load.symbols[name])


def sums_operand(value: Value, fold: Fold, product: Value, template: Matmul, place: Container[Value]) -> bool:
    """Whether a reduction adds up exactly what a product reads as operand "a" or "b", `fold.over`."""
    if value.primitive is not ops.SUM or value.dtype is not product.dtype or not value.dtype.is_floating_point:
        return False
    k = "ab".index(fold.over)
    coords = template.operands(product)[k]
    return (behind(product.sources[k], coords, place)
            == behind(value.sources[0], reduction_coords(value, fold.kept, fold.folded), place))


def behind(value: Value, coords: Coords, place: Container[Value]) -> tuple[Value, Coords]:
    """The element that inline views look at."""
    while value.primitive.kind is Kind.VIEW and value not in place:
        found = accesses(value, coords)
        if len(found) != 1 or found[0].guards:
            break
        value, coords, _ = found[0]
    return value, coords
