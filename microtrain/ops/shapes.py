"""Shape and dtype rules: what each operation gives, and that it can be. What cannot be is not recorded.

The functions of the tensor layer refuse bad arguments in PyTorch's words before it comes to this. Here stands what
holds for every way into the graph, a derivative's rule or a user's included; RuntimeError is raised for what does not.
The rules run once for each combination of shapes.
"""

from __future__ import annotations

import math

from ..graph.dtypes import DType, bool_, int64
from ..graph.spec import Shape, Spec, broadcast_shapes


def one_dtype(first: Spec, *others: Spec) -> DType:
    """The dtype of all. Raises RuntimeError where they differ."""
    for other in others:
        if other.dtype is not first.dtype:
            raise RuntimeError(f"expected one dtype, got {first.dtype!r} and {other.dtype!r}")
    return first.dtype


def same(*specs: Spec) -> tuple[Shape, DType]:
    """Elementwise: the broadcast shape, the one dtype."""
    dtype = one_dtype(*specs)
    return broadcast_shapes(*[s.shape for s in specs]), dtype


TWO_BOOLS = ("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
             "operator instead.")


def difference(x: Spec, y: Spec) -> tuple[Shape, DType]:
    """Two operands of one dtype, broadcast, but no bools: RuntimeError, in PyTorch's words."""
    if x.dtype is bool_ is y.dtype:
        raise RuntimeError(TWO_BOOLS)
    return same(x, y)


def comparison(x: Spec, y: Spec) -> tuple[Shape, DType]:
    """Two operands of one dtype, broadcast: bool."""
    return same(x, y)[0], bool_


def predicate(x: Spec) -> tuple[Shape, DType]:
    """One operand: bool, of its shape."""
    return x.shape, bool_


def selection(condition: Spec, x: Spec, y: Spec) -> tuple[Shape, DType]:
    """A bool condition and two operands of one dtype, broadcast. Raises RuntimeError for another condition."""
    if condition.dtype is not bool_:
        raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{condition.dtype!r}")
    return broadcast_shapes(condition.shape, same(x, y)[0]), x.dtype


def matrix_product(x: Spec, y: Spec) -> tuple[Shape, DType]:
    """x (..., m, k) with y (..., k, n): (..., m, n). Raises RuntimeError where k or the dtypes differ."""
    (m, k), (k2, n) = x.shape[-2:], y.shape[-2:]
    if k != k2:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    if x.dtype is not y.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {x.dtype.name} != {y.dtype.name}")
    return (*broadcast_shapes(x.shape[:-2], y.shape[:-2]), m, n), x.dtype


def reshaped(x: Spec, shape: Shape) -> tuple[Shape, DType]:
    """As many elements in another shape."""
    if math.prod(shape) != x.numel or any(n < 0 for n in shape):
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {x.numel}, of shape {list(x.shape)}")
    return shape, x.dtype


def permuted(x: Spec, dims: tuple[int, ...]) -> tuple[Shape, DType]:
    """Each axis once, in another order."""
    if sorted(dims) != list(range(x.ndim)):
        raise RuntimeError(f"permute: {list(dims)} does not name each axis of shape {list(x.shape)} once")
    return tuple([x.shape[d] for d in dims]), x.dtype


def expanded(x: Spec, shape: Shape) -> tuple[Shape, DType]:
    """Axes of size 1, and such as are not there, repeated."""
    lead = len(shape) - x.ndim
    if lead < 0 or any(n < 0 or size not in (1, n) for size, n in zip(x.shape, shape[lead:], strict=True)):
        raise RuntimeError(f"expand: shape {list(x.shape)} does not broadcast to {list(shape)}")
    return shape, x.dtype


def inside(shape: Shape, starts: Shape, sizes: Shape, steps: Shape) -> bool:
    """Whether elements starts[d] + i*steps[d], i < sizes[d], lie in `shape` along each axis."""
    if not len(shape) == len(starts) == len(sizes) == len(steps):
        return False
    return all(n == 0 or (n > 0 and step > 0 and start >= 0 and start + (n - 1) * step < size)
               for size, start, n, step in zip(shape, starts, sizes, steps, strict=True))


def sliced(x: Spec, starts: Shape, sizes: Shape, steps: Shape) -> tuple[Shape, DType]:
    """Elements starts[d] + i*steps[d], i < sizes[d]."""
    if not inside(x.shape, starts, sizes, steps):
        raise RuntimeError(f"slice: {list(sizes)} elements from {list(starts)} in steps of {list(steps)} do not lie in "
                           f"shape {list(x.shape)}")
    return sizes, x.dtype


def padded(x: Spec, starts: Shape, shape: Shape, steps: Shape) -> tuple[Shape, DType]:
    """Zeros of `shape` with x at starts[d] + i*steps[d]."""
    if not inside(shape, starts, x.shape, steps):
        raise RuntimeError(f"pad: {list(x.shape)} elements from {list(starts)} in steps of {list(steps)} do not lie in "
                           f"shape {list(shape)}")
    return shape, x.dtype


def updated(x: Spec, value: Spec, starts: Shape, steps: Shape) -> tuple[Shape, DType]:
    """x with a slice of it replaced by `value`."""
    one_dtype(x, value)
    sliced(x, starts, value.shape, steps)
    return x.shape, x.dtype


def flipped(x: Spec, dims: tuple[int, ...]) -> tuple[Shape, DType]:
    """Some axes reversed."""
    if not set(dims) <= set(range(x.ndim)):
        raise RuntimeError(f"flip: {list(dims)} are not all axes of shape {list(x.shape)}")
    return x.shape, x.dtype


def joined(*arguments: Spec | int) -> tuple[Shape, DType]:
    """Specs and an axis: the sizes along the axis added up."""
    specs, dim = [one for one in arguments if isinstance(one, Spec)], arguments[-1]
    assert isinstance(dim, int)
    dtype, shape = one_dtype(*specs), specs[0].shape
    for other in specs:
        if other.shape[:dim] != shape[:dim] or other.shape[dim + 1:] != shape[dim + 1:]:
            raise RuntimeError(f"cat: shapes {list(shape)} and {list(other.shape)} differ beside axis {dim}")
    return (*shape[:dim], sum(other.shape[dim] for other in specs), *shape[dim + 1:]), dtype


def windows_along(length: int, size: int, step: int, dilation: int) -> int:
    """How many windows of `size` elements, `dilation` apart, start at 0, step, 2 step, ... and end inside."""
    return (length - dilation * (size - 1) - 1) // step + 1


def windowed(x: Spec, axis: int, size: int, step: int, dilation: int) -> tuple[Shape, DType]:
    """Windows along an axis: (..., n, ..., size)."""
    n = windows_along(x.shape[axis], size, step, dilation) if size > 0 and step > 0 and dilation > 0 else 0
    if n < 1:
        raise RuntimeError(f"windows: {size} elements, {dilation} apart, do not fit into axis {axis} of shape "
                           f"{list(x.shape)}")
    return (*x.shape[:axis], n, *x.shape[axis + 1:], size), x.dtype


def folded(x: Spec, axis: int, length: int, step: int, dilation: int) -> tuple[Shape, DType]:
    """Windows (..., n, ..., size) added up, to (..., length, ...)."""
    if windows_along(length, x.shape[-1], step, dilation) != x.shape[axis]:
        raise RuntimeError(f"fold_windows: shape {list(x.shape)} has not the windows of axis {axis} of length {length}")
    return (*x.shape[:axis], length, *x.shape[axis + 1:-1]), x.dtype


def reduced(x: Spec, axes: tuple[int, ...]) -> tuple[Shape, DType]:
    """x without the axes reduced over."""
    if not set(axes) <= set(range(x.ndim)):
        raise RuntimeError(f"reduction over {list(axes)}, which are not all axes of shape {list(x.shape)}")
    return tuple([size for i, size in enumerate(x.shape) if i not in axes]), x.dtype


def taken(x: Spec, index: Spec) -> tuple[Shape, DType]:
    """Rows of x (K, ...): index.shape + (...)."""
    if x.ndim < 1 or index.dtype is not int64:
        raise RuntimeError(f"take: rows of shape {list(x.shape)} by an index of {index.dtype!r}; it takes int64")
    return index.shape + x.shape[1:], x.dtype


def added_at(source: Spec, index: Spec, rows: int) -> tuple[Shape, DType]:
    """Rows of `source` (index.shape + (...)) added up in (rows, ...)."""
    if source.shape[:index.ndim] != index.shape:
        raise RuntimeError(f"index_add: a source of shape {list(source.shape)} for an index of {list(index.shape)}")
    return (rows, *source.shape[index.ndim:]), source.dtype


def put_at(x: Spec, index: Spec, value: Spec) -> tuple[Shape, DType]:
    """x (K, ...) with rows replaced by `value` (index.shape + (...))."""
    if value.shape != index.shape + x.shape[1:] or value.dtype is not x.dtype:
        raise RuntimeError(f"index_put: {value.dtype.name}{list(value.shape)} for rows {list(index.shape)} of "
                           f"{x.dtype.name}{list(x.shape)}")
    return x.shape, x.dtype


def gathered(x: Spec, index: Spec, axis: int) -> tuple[Shape, DType]:
    """Elements of x at an index along an axis; along the others the index is no longer than x."""
    along("gather", x, index, axis)
    return index.shape, x.dtype


def scattered(x: Spec, index: Spec, source: Spec, axis: int) -> tuple[Shape, DType]:
    """x with elements replaced by `source` (of the index's shape)."""
    along("scatter", x, index, axis)
    if source.shape != index.shape or source.dtype is not x.dtype:
        raise RuntimeError(f"scatter: {source.dtype.name}{list(source.shape)} at an index of {list(index.shape)} into "
                           f"{x.dtype.name}{list(x.shape)}")
    return x.shape, x.dtype


def scatter_added(source: Spec, index: Spec, axis: int, n: int) -> tuple[Shape, DType]:
    """`source` added at an index of its shape in an axis of length n."""
    if source.shape != index.shape:
        raise RuntimeError(f"scatter_add: a source of shape {list(source.shape)} at an index of {list(index.shape)}")
    return (*source.shape[:axis], n, *source.shape[axis + 1:]), source.dtype


def along(name: str, x: Spec, index: Spec, axis: int) -> None:
    """Refuse an index along an axis that is not int64 or does not fit beside it."""
    beside = zip(x.shape, index.shape, strict=False)
    if (index.dtype is not int64 or index.ndim != x.ndim
            or any(n > size for d, (size, n) in enumerate(beside) if d != axis)):
        raise RuntimeError(f"{name}: an index {index.dtype.name}{list(index.shape)} along axis {axis} of shape "
                           f"{list(x.shape)}")
