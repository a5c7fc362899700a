"""What a kernel runs over: the symbols its template hands to the emitted functions, and the places it can store to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..graph.opaque import KernelCall
from .index import ZERO, Index, combine, variable


@dataclass(frozen=True)
class MapDomain:
    """Every element of tensors of `numel` elements: the map template."""

    numel: int
    template = "map"

    @cached_property
    def i(self) -> Index:
        return variable("i", self.numel)

    def layouts(self, numel: int) -> list[Index]:
        """The row-major positions at which a node of `numel` elements can be computed here."""
        return [self.i] if numel == self.numel else []


@dataclass(frozen=True)
class RowDomain:
    """`rows` rows of `cols` elements each, a row held on chip: the row template."""

    rows: int
    cols: int
    template = "row"

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

    @property
    def numel(self) -> int:
        return self.rows * self.cols


@dataclass(frozen=True)
class ReduceDomain(RowDomain):
    """`rows` rows too long for the chip, folded into one value each: the reduce template."""

    template = "reduce"

    def layouts(self, numel: int) -> list[Index]:
        """A value for each row."""
        return [self.r] if numel == self.rows else []


@dataclass(frozen=True)
class MatmulDomain:
    """`batch` products of an m x k with a k x n matrix: the matmul template."""

    batch: int
    size_m: int
    size_n: int
    size_k: int
    template = "matmul"

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
        """An element of the product, each matrix in rows or transposed."""
        if numel != self.numel:
            return []
        matrix = self.size_m * self.size_n
        return [combine([(self.b, matrix), (self.m, self.size_n), (self.n, 1)]),
                combine([(self.b, matrix), (self.n, self.size_m), (self.m, 1)])]


@dataclass(frozen=True)
class OpaqueDomain:
    """One call of a user's kernel: nothing else is computed in it."""

    call: KernelCall
    template = "opaque"
    numel = 0

    def layouts(self, numel: int) -> list[Index]:
        """What a call writes has its place in memory alone; 0 stands for it."""
        return [ZERO]


Domain = MapDomain | RowDomain | ReduceDomain | MatmulDomain | OpaqueDomain

