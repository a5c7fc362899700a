"""Strides as PyTorch would have them: values here know none, but they decide what is a view and what a copy."""

from __future__ import annotations

from ..graph.spec import Shape


def contiguous_strides(shape: Shape) -> Shape:
    """Row-major strides of a shape, in elements."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def same_layout(shape: Shape, strides: Shape) -> bool:
    """Whether elements with these strides lie in row-major order."""
    if 0 in shape:
        return True
    return all(size == 1 or a == b for size, a, b in zip(shape, strides, contiguous_strides(shape), strict=True))


def dense(shape: Shape, strides: Shape) -> bool:
    """Whether the elements fill the memory from first to last, in whatever order of the axes; not so where none are."""
    step = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return step > 0


def repeats(shape: Shape, strides: Shape) -> bool:
    """Whether several elements are one place in memory, as they are after `expand`."""
    return 0 not in shape and any(size > 1 and stride == 0 for size, stride in zip(shape, strides, strict=True))


def along(shape: Shape, axis: int, start: int, length: int, step: int = 1) -> tuple[Shape, Shape, Shape]:
    """The starts, sizes and steps that slice `length` elements along one axis."""
    return (tuple(start if i == axis else 0 for i in range(len(shape))), (*shape[:axis], length, *shape[axis + 1:]),
            tuple(step if i == axis else 1 for i in range(len(shape))))


def view_strides(shape: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Strides under which the same memory has the shape `new`, or None where only a copy can have it. Old axes are
    merged into runs that are contiguous in themselves; each run must be split by the new shape exactly."""
    if 0 in shape:
        return contiguous_strides(new)
    runs: list[list[int]] = []                      # [size, stride of the last axis]
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if runs and runs[-1][1] == size * stride:
            runs[-1] = [runs[-1][0] * size, stride]
        else:
            runs.append([size, stride])
    result: list[int] = []
    left, step = 1, 1
    for size in reversed(new):
        if left == 1 and size != 1:
            if not runs:
                return None
            left, step = runs.pop()
        if left % size:
            return None
        result.append(step)
        step *= size
        left //= size
    return tuple(reversed(result)) if left == 1 and not runs else None
