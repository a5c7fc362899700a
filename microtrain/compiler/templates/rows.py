"""Rows held on chip (`kernels/row.py`), slabs of rows each held by one program, and rows too long for that, which are
folded in tiles (`kernels/reduce.py`)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from ...graph.node import Kind
from ...kernels import loop_tiles, tiles
from ...kernels.tiles import ROW_MAX, RowTile
from ..access import reduced_sizes, reduction_coords
from ..emit_value import COMPUTE, Body, accumulator, settled
from ..index import ZERO, Index, combine, linear, stride, substituted
from ..jit import function
from ..lower import SLABS_MIN
from ..program import Value
from .matmul import Matmul, sums_operand
from .template import SMALL, Fold, Kernel, Launch, Members, Offer, Template, options, symbol


@dataclass(frozen=True)
class Rows(Template):
    """`rows` rows of `cols` elements each."""

    rows: int
    cols: int
    spread = "r"
    r, c = symbol("r", "rows"), symbol("c", "cols")

    @cached_property
    def numel(self) -> int:
        return self.rows * self.cols

    @cached_property
    def terms(self) -> int:
        return self.cols

    def folds(self, kept: int, folded: int) -> list[Fold]:
        return [Fold(self.r, self.c, "c")] if (kept, folded) == (self.rows, self.cols) else []

    def extent(self) -> str:
        return f"{self.rows} row{'s' if self.rows != 1 else ''} of {self.cols}"

    def attracts(self, value: Value, alone: bool) -> bool:
        """A value for each row takes no time where the row was reduced."""
        return alone or value.spec.numel == self.rows


@dataclass(frozen=True)
class Row(Rows):
    """A row held on chip, or several. `arguments` are the symbols that its function takes."""

    name = "row"
    arguments: ClassVar[str] = "r, c"

    @classmethod
    def opened(cls, value: Value) -> Row | None:
        if value.primitive.kind is not Kind.REDUCE:
            return None
        rows, cols = reduced_sizes(value)
        return cls(rows, cols) if cols <= ROW_MAX else None

    def layouts(self, numel: int) -> list[Index]:
        """A value for each row, or for each element: rows contiguous, or columns."""
        found = [self.r] if numel == self.rows else []
        if numel == self.rows * self.cols:
            found += [combine([(self.r, self.cols), (self.c, 1)]), combine([(self.c, self.rows), (self.r, 1)])]
        return found

    def with_map(self, members: Members, value: Value) -> Iterator[Offer]:
        """Also at the elements that a reduction in it reads."""
        positions = self.layouts(value.spec.numel)
        if value.spec.numel == self.numel:
            positions += [elements(member, self.fold(member, where)) for member, where in members.items()
                          if member.primitive.kind is Kind.REDUCE and member.sources[0].spec.numel == self.numel]
        for position in dict.fromkeys(positions):
            yield Offer(self, {**members, value: position})

    def with_reduction(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        rows, cols = reduced_sizes(value)
        for target, old, new in self.widened(value):
            moved = members if old == new else {m: substituted(where, old, new) for m, where in members.items()}
            for fold in target.folds(rows, cols):
                yield Offer(target, {**moved, value: fold.kept})

    def with_product(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        """A kernel of sums over rows becomes that of a product which has what they sum as an operand."""
        wanted = Matmul.of(value)
        if wanted.batch > 1 or any(position != self.r for position in members.values()):
            return
        for fold in wanted.folds(self.rows, self.cols):
            if all(sums_operand(m, fold, value, wanted, place) for m in members if m.primitive.kind is Kind.REDUCE):
                yield Offer(wanted, {value: wanted.position(value), **dict.fromkeys(members, fold.kept)})

    def widened(self, value: Value) -> Iterator[tuple[Row, Index, Index]]:
        """What this can become for a reduction, each with the variable that is another there, and what it is.

        Rows may be held whole. A single row of n elements can be the rows, or the columns, of a reduction held whole.
        And for partial sums over `cols` of its rows at a time, rows can be cut into slabs.
        """
        rows, cols = reduced_sizes(value)
        itemsize = value.dtype.itemsize
        yield self, ZERO, ZERO
        for slab in Slab.of(1, self.rows, self.cols, itemsize):
            yield slab, ZERO, ZERO
        if self.rows == 1:
            for slab in Slab.of(1, rows, cols, itemsize):
                if self.cols == cols:
                    yield slab, ZERO, ZERO
                if self.cols == rows:
                    yield slab, self.c, slab.r
        elif self.rows % cols == 0 and rows in (self.rows // cols, self.rows // cols * self.cols):
            for slab in Slab.of(self.rows // cols, cols, self.cols, itemsize):
                yield slab, self.r, slab.r

    def welcomes(self, value: Value, shares: bool) -> bool:
        """What reads the same memory, is small, or can be reduced without reading rows another time."""
        return shares or self.numel <= SMALL or (value.primitive.kind is Kind.REDUCE and any(
            wider.folds(*reduced_sizes(value)) for wider, *_ in self.widened(value)))

    def reduced(self, body: Body, value: Value, position: Index) -> str:
        """Over what is held on chip."""
        fold = self.fold(value, position)
        name = body.let(settled(folded(body, value, fold), value.dtype), "c" if fold.over == "r" else "r")
        body.tall.add(name)
        return name

    def write(self, kernel: Kernel) -> None:
        """The one function of a kernel that holds its rows."""
        self.finish(kernel, kernel.begin({frozenset("r"): "row_mask", frozenset("rc"): "mask"}))

    def finish(self, kernel: Kernel, body: Body) -> None:
        """That function, of a body begun."""
        parameters = f"ptrs, scalars, {self.arguments}, row_mask, mask"
        kernel.functions["BODY"] = function(self.name, parameters, body.finished(kernel.group.members, self.reduced))

    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        best = tiles.row_tile(self.rows, self.cols, along_rows=strided(kernel.bodies[0]), held=held(kernel), arch=arch)
        for tile in tiles.row_tiles(best, self.rows, arch=arch):
            yield self.launch(kernel, tile)

    def looped(self, kernel: Kernel, arch: str, num_warps: int) -> Launch:
        return self.launch(kernel, loop_tiles.row_tile(self.rows, self.cols, num_warps))

    def launch(self, kernel: Kernel, tile: RowTile) -> Launch:
        """The launch with a tile."""
        from ...kernels.row import row_kernel
        fixed = kernel.constexprs(COLS=self.cols, BLOCK_R=tile.block_r, BLOCK_C=tile.block_c)
        return Launch(kernel, row_kernel, tile.grid(self.rows), {"rows": self.rows}, fixed, options(tile.num_warps))


@dataclass(frozen=True)
class Slab(Row):
    """The rows in `blocks` slabs of equal height, each held on chip by one program, which may therefore fold its rows
    too.

    One slab is a small training step in one kernel. Many leave a partial sum each, of data that is read once.
    """

    blocks: int
    name = "slab"
    spread = "b"
    arguments = "b, r, c"
    b, row = symbol("b", "blocks"), symbol("r", "height")
    r = cached_property(lambda slab: combine([(slab.b, slab.height), (slab.row, 1)]))

    @staticmethod
    def of(blocks: int, height: int, cols: int, itemsize: int) -> list[Slab]:
        """The template, where a slab of numbers of `itemsize` bytes fits one program."""
        return [Slab(blocks * height, cols, blocks)] if tiles.slab_fits(height, cols, itemsize) else []

    @classmethod
    def opened(cls, value: Value) -> Slab | None:
        """For what `lower` makes of a sum over the rows of a matrix: a sum over the rows of each slab."""
        if value.primitive.kind is not Kind.REDUCE:
            return None
        source = value.sources[0]
        if len(source.shape) < 3 or value.attrs[0] != (1,) or source.shape[0] == 1 or source.spec.numel < SLABS_MIN:
            return None
        height, cols = source.shape[1], source.shape[-1]
        return next(iter(cls.of(value.spec.numel // cols, height, cols, value.dtype.itemsize)), None)

    @property
    def height(self) -> int:
        """Rows of a slab."""
        return self.rows // self.blocks

    @cached_property
    def terms(self) -> int:
        return self.cols * self.height

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

    def extent(self) -> str:
        if self.blocks == 1:
            return super().extent()
        return f"{self.blocks} slabs of {self.height} rows of {self.cols}"

    def with_product(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        yield from ()

    def widened(self, value: Value) -> Iterator[tuple[Row, Index, Index]]:
        yield self, ZERO, ZERO

    def reduced(self, body: Body, value: Value, position: Index) -> str:
        """One that leaves a single value leaves a scalar."""
        fold = self.fold(value, position)
        if fold.kept != self.b:
            return super().reduced(body, value, position)
        text = f"only({folded(body, value, fold)})"
        return body.let(settled(text, value.dtype), "b" if fold.kept.terms else "")

    def write(self, kernel: Kernel) -> None:
        """Also with the values of rows as vectors, and that one where it pays."""
        super().write(kernel)
        plain, = kernel.bodies
        operations = row_operations(plain)
        if not operations:
            return
        written = kernel.functions["BODY"]
        body = kernel.begin({frozenset("r"): "flat_mask", frozenset("rc"): "mask"}, flat=True)
        body.lines += ["flat_r = flat_rows(r)", f"flat_mask = flat_r < {self.height}"]
        self.finish(kernel, body)
        handed = len(body.forms) - 1                    # all but the rows' numbers
        along_rows = strided(plain)
        if tiles.flat_pays(tiles.slab_tile(self.height, self.cols), self.height if along_rows else self.cols,
                           itemsize(plain), operations, handed, along_rows=along_rows):
            kernel.bodies = [body]
        else:
            kernel.bodies, kernel.functions["BODY"] = [plain], written

    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        yield self.launch(kernel, tiles.slab_tile(self.height, self.cols))

    def looped(self, kernel: Kernel, arch: str, num_warps: int) -> Launch:
        body, = kernel.bodies
        if body.flat and not strided(body):
            return self.launch(kernel, loop_tiles.slab_tile_in_parts(self.height, self.cols, num_warps, itemsize(body)))
        return self.launch(kernel, replace(tiles.slab_tile(self.height, self.cols), num_warps=num_warps))

    def launch(self, kernel: Kernel, tile: RowTile) -> Launch:
        from ...kernels.row import slab_kernel
        told = options(tile.num_warps)
        if self.blocks == 1:
            # A lone program may have all registers: left alone, ptxas spills to keep room for a second one.
            told["maxnreg"] = tiles.registers(tile.num_warps)
        fixed = kernel.constexprs(ROWS=self.height, COLS=self.cols, BLOCK_R=tile.block_r, BLOCK_C=tile.block_c,
                                  PARTS=tile.parts)
        return Launch(kernel, slab_kernel, (self.blocks,), {}, fixed, told)


@dataclass(frozen=True)
class Reduce(Rows):
    """Rows too long for the chip, folded into one value each."""

    name = "reduce"

    @classmethod
    def opened(cls, value: Value) -> Reduce | None:
        return cls(*reduced_sizes(value)) if value.primitive.kind is Kind.REDUCE else None

    def layouts(self, numel: int) -> list[Index]:
        """A value for each row."""
        return [self.r] if numel == self.rows else []

    def write(self, kernel: Kernel) -> None:
        group, root = kernel.group, kernel.group.root
        load = kernel.begin({frozenset("rc"): "mask"})
        value = load.value(root.sources[0], reduction_coords(root, self.r, self.c))
        kernel.functions["LOAD"] = function("load", "ptrs, scalars, r, c, mask", [*load.lines, f"return {value}"])
        epilogue = kernel.begin({frozenset("r"): "row_mask"})
        epilogue.registers[root] = epilogue.let(settled("acc", root.dtype), "r")
        lines = epilogue.finished(list(group.members)[1:], self.reduced)
        kernel.functions["EPILOGUE"] = function("reduced", "ptrs, scalars, r, acc, row_mask", lines)
        kernel.constants |= {"ACC": accumulator(root.dtype), "IDENTITY": root.primitive.identity(root.dtype)}

    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        best = tiles.reduce_tile(self.rows, self.cols, along_rows=strided(kernel.bodies[0]), arch=arch)
        for tile in tiles.row_tiles(best, self.rows, arch=arch):
            yield self.launch(kernel, tile)

    def looped(self, kernel: Kernel, arch: str, num_warps: int) -> Launch:
        return self.launch(kernel, loop_tiles.reduce_tile(self.rows, self.cols, num_warps))

    def launch(self, kernel: Kernel, tile: RowTile) -> Launch:
        """The launch with a tile."""
        from ...kernels import reductions
        from ...kernels.reduce import reduce_kernel
        fold = kernel.group.root.primitive.triton
        fixed = kernel.constexprs(BLOCK_R=tile.block_r, BLOCK_C=tile.block_c,
                                  COMBINE=getattr(reductions, f"combine_{fold}"),
                                  FINISH=getattr(reductions, f"finish_{fold}"))
        return Launch(kernel, reduce_kernel, tile.grid(self.rows), {"rows": self.rows, "cols": self.cols}, fixed,
                      options(tile.num_warps))


def held_whole(value: Value) -> Row | None:
    """The template that holds the rows of a reduction on chip; None where they are too long, or none are reduced."""
    return Slab.opened(value) or Row.opened(value)


def elements(reduction: Value, fold: Fold) -> Index:
    """The row-major position, in a reduction's source, of the element at the symbols of a template that does it so."""
    return linear(reduction_coords(reduction, fold.kept, fold.folded), reduction.sources[0].shape)


def folded(body: Body, value: Value, fold: Fold) -> str:
    """A reduction of what is held on chip, as text."""
    kind = value.primitive.triton
    name = body.value(value.sources[0], reduction_coords(value, fold.kept, fold.folded))
    mask = "row_mask" if fold.over == "r" else body.boundary(frozenset(fold.over))[0]
    if fold.over == "r" and body.vector(body.symbols[name]):
        name, mask = body.shaped(name, "r"), "flat_mask"
    else:
        name = body.shaped(name, "rc")
    if accumulator(value.dtype) != COMPUTE[value.dtype]:
        name = f"{name}.to({accumulator(value.dtype)})"
    text = f"column_{kind}({name}, {mask})" if fold.over == "r" else f"row_{kind}({name}, {mask})"
    return f"finish_{kind}({text}, 0)" if fold.over == "rc" else text


def row_operations(body: Body) -> int:
    """Operations on what varies with rows alone."""
    return len({name for (value, *_), name in body.known.items() if value.primitive.kind is Kind.MAP
                and "r" in body.symbols[name] and "c" not in body.symbols[name]})


def strided(body: Body) -> bool:
    """Whether more loads are contiguous in r than in c."""
    return sum((stride(index, "r") == 1) - (stride(index, "c") == 1) for _, index, *_ in body.loads) > 0


def itemsize(body: Body) -> int:
    """Bytes of the smallest numbers that are loaded for each element."""
    return min([touch.value.dtype.itemsize for touch in body.loads if len(touch.sizes) > 1], default=4)


def held(kernel: Kernel) -> int:
    """32-bit registers for what a kernel loads for each element."""
    return sum(-(-touch.value.dtype.itemsize // 4) for body in kernel.bodies for touch in body.loads
               if {"r", "c"} <= touch.sizes.keys())
