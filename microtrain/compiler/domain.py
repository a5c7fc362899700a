"""What a kernel runs over: the symbols its template hands to the emitted functions, and the places it can store to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

from ..graph.opaque import KernelCall
from ..kernels.tiles import slab_fits
from .index import ZERO, Index, combine, variable


class Fold(NamedTuple):
    """How a domain does a reduction: the symbols that enumerate the axes it keeps and those it folds.

    `over` names what is folded: "c", "r" or "rc" of a tile of rows, or "a" or "b" for an operand of a product. The
    result stands at the row-major position `kept`.
    """

    kept: Index
    folded: Index
    over: str


class Domain:
    """What all domains have: the template, and the number of elements it runs over.

    `spread` are the symbols by which the elements that different programs compute are told apart; None if that is more
    than symbols can say.
    """

    template: ClassVar[str]
    spread: ClassVar[str | None] = None

    @property
    def numel(self) -> int:
        """Elements of the largest values computed."""
        return 0

    def layouts(self, numel: int) -> list[Index]:
        """The row-major positions at which a node of `numel` elements can be computed here."""
        return []

    def folds(self, kept: int, folded: int) -> list[Fold]:
        """The ways to reduce `kept` rows of `folded` elements here."""
        return []


@dataclass(frozen=True)
class MapDomain(Domain):
    """Every element of tensors of `numel` elements: the map template."""

    size: int
    template = "map"
    spread = "i"

    @property
    def numel(self) -> int:
        return self.size

    @cached_property
    def i(self) -> Index:
        return variable("i", self.size)

    def layouts(self, numel: int) -> list[Index]:
        return [self.i] if numel == self.size else []


@dataclass(frozen=True)
class RowDomain(Domain):
    """`rows` rows of `cols` elements each, a row held on chip: the row template."""

    rows: int
    cols: int
    template = "row"
    spread = "r"

    @cached_property
    def r(self) -> Index:
        return variable("r", self.rows)

    @cached_property
    def c(self) -> Index:
        return variable("c", self.cols)

    def layouts(self, numel: int) -> list[Index]:
        """A value for each row, or for each element: rows contiguous, or columns."""
        found = [self.r] if numel == self.rows else []
        if numel == self.rows * self.cols:
            found += [combine([(self.r, self.cols), (self.c, 1)]), combine([(self.c, self.rows), (self.r, 1)])]
        return found

    def folds(self, kept: int, folded: int) -> list[Fold]:
        return [Fold(self.r, self.c, "c")] if (kept, folded) == (self.rows, self.cols) else []

    @property
    def numel(self) -> int:
        return self.rows * self.cols


@dataclass(frozen=True)
class SlabDomain(RowDomain):
    """The rows in `blocks` slabs of equal height, each held on chip by one program, which may therefore fold its rows
    too: the slab template.

    One slab is a small training step in one kernel. Many leave a partial sum each, of data that is read once.
    """

    blocks: int
    template = "slab"
    spread = "b"

    @staticmethod
    def of(blocks: int, height: int, cols: int, itemsize: int) -> list[SlabDomain]:
        """The domain, where a slab of numbers of `itemsize` bytes fits one program."""
        return [SlabDomain(blocks * height, cols, blocks)] if slab_fits(height, cols, itemsize) else []

    @property
    def height(self) -> int:
        """Rows of a slab."""
        return self.rows // self.blocks

    @cached_property
    def b(self) -> Index:
        """The slab, and the program."""
        return variable("b", self.blocks)

    @cached_property
    def row(self) -> Index:
        """The row in its slab."""
        return variable("r", self.height)

    @cached_property
    def r(self) -> Index:
        return combine([(self.b, self.height), (self.row, 1)])

    def layouts(self, numel: int) -> list[Index]:
        """Also a value for each column of a slab, and for each slab."""
        found = super().layouts(numel)
        found += [combine([(self.b, self.cols), (self.c, 1)])] if numel == self.blocks * self.cols else []
        return found + ([self.b] if numel == self.blocks else [])

    def folds(self, kept: int, folded: int) -> list[Fold]:
        """Also over the rows of each slab: of values for each element, for each row (or column) alone, and of all."""
        found = super().folds(kept, folded)
        if (kept, folded) == (self.blocks * self.cols, self.height):
            found.append(Fold(combine([(self.b, self.cols), (self.c, 1)]), self.row, "r"))
        if kept == self.blocks:
            every = combine([(self.row, self.cols), (self.c, 1)])
            ways = [(self.height, self.row, "r"), (self.height * self.cols, every, "rc")]
            ways += [(self.cols, self.c, "c")] if self.blocks == 1 else []
            found += [Fold(self.b, place, over) for size, place, over in ways if size == folded]
        return found


@dataclass(frozen=True)
class ReduceDomain(RowDomain):
    """`rows` rows too long for the chip, folded into one value each: the reduce template."""

    template = "reduce"

    def layouts(self, numel: int) -> list[Index]:
        """A value for each row."""
        return [self.r] if numel == self.rows else []


@dataclass(frozen=True)
class MatmulDomain(Domain):
    """`batch` products of an m x k with a k x n matrix: the matmul template."""

    batch: int
    size_m: int
    size_n: int
    size_k: int
    template = "matmul"
    spread = "bmn"

    @cached_property
    def b(self) -> Index:
        return variable("b", self.batch)

    @cached_property
    def m(self) -> Index:
        return variable("m", self.size_m)

    @cached_property
    def n(self) -> Index:
        return variable("n", self.size_n)

    @cached_property
    def k(self) -> Index:
        return variable("k", self.size_k)

    @property
    def numel(self) -> int:
        return self.batch * self.size_m * self.size_n

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


@dataclass(frozen=True)
class OpaqueDomain(Domain):
    """One call of a user's kernel: nothing else is computed in it."""

    call: KernelCall
    template = "opaque"

    def layouts(self, numel: int) -> list[Index]:
        """What a call writes has its place in memory alone; 0 stands for it."""
        return [ZERO]
