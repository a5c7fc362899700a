"""NumPy functions that the primitive table's `numpy` column names, beyond NumPy's own; twins of `kernels.math`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .philox import philox_bits

Array = np.ndarray
"""An array; or a NumPy scalar, which has the methods used here too."""

OVER = (-1.320210862e-08, 4.684752654e-06, 3.796080778e-04, 3.849614378e-03, 5.431690894e-02, 1.852033482e-01,
        1.128379169)
UNDER = (6.311034732e-05, 1.307569417e-03, 1.546209257e-02, 1.139584514e-01, 4.974656076e-01, 1.0)
"""erf(x) / x on |x| <= 4 as a rational function of x^2, highest power first, to 2.1e-9: enough for float32, where
erf(4) is 1. Fitted by C. L. Lawson's reweighted least squares (1961), the equation multiplied by the denominator."""


def polynomial(z: Array, coefficients: Sequence[float]) -> Array:
    """Horner's rule."""
    total = z * coefficients[0]
    total += coefficients[1]
    for coefficient in coefficients[2:]:
        total *= z
        total += coefficient
    return total


def erf(x: Array) -> Array:
    """The error function, in x's dtype. Within 0.55 ulp for float32; the C library's, element by element, for float64,
    which costs five times as much."""
    if x.dtype == np.float64:
        return each(math.erf, x)
    wide = np.minimum(np.maximum(x, -4, dtype=np.float64), 4)
    z = wide * wide
    return (wide * polynomial(z, OVER) / polynomial(z, UNDER)).astype(x.dtype)


def erfc(x: Array) -> Array:
    """1 - erf(x) with relative accuracy in the tail, in x's dtype: the C library's, element by element."""
    return each(math.erfc, x)


def each(function: Callable[[float], float], x: Array) -> Array:
    """A function of Python numbers on every element."""
    values = np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size)
    return values.reshape(x.shape).astype(x.dtype)[()]


def masked(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """x (float32 or float64) where `keep` holds, else 0, also of infinities and NaN: its bits times 0 or 1."""
    return np.multiply(x.view(f"i{x.itemsize}"), keep).view(x.dtype)


def lone(function: Callable[[float], float], ufunc: Callable[..., object]) -> Callable[[float], float]:
    """A function of one number, Python's or NumPy's, by the C library and as a Python number. Where Python would raise
    (at a pole, outside of the domain, past the largest number) it is what NumPy says: infinite or NaN."""
    def apply(x: float) -> float:
        try:
            return function(x)
        except (ValueError, OverflowError):
            return float(ufunc(np.float64(x)))              # type: ignore[arg-type]
    return apply


def lone_pow(x: np.floating, y: np.floating, one: np.floating) -> np.floating | Array:
    """`power` of two NumPy scalars, `one` of their dtype."""
    if x.dtype.kind != "f":
        return power(np.asarray(x), np.asarray(y))
    try:
        return one * math.pow(x, y)
    except (ValueError, OverflowError):
        return one * float(np.power(np.float64(x), np.float64(y)))


def lone_sigmoid(x: float) -> float:
    """1 / (1 + exp(-x))."""
    try:
        return 1.0 / (1.0 + math.exp(-float(x)))
    except OverflowError:
        return 0.0


def lone_softplus(x: float) -> float:
    """log(1 + exp(x)), as `softplus`."""
    x = float(x)
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow: log1p(exp(-|x|)) + max(x, 0)."""
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def sign(x: Array) -> Array:
    """-1, 0 or 1 in x's dtype; 0 for NaN, as in PyTorch."""
    return np.greater(x, 0).astype(x.dtype) - np.less(x, 0).astype(x.dtype)


def power(x: Array, y: Array) -> Array:
    """x ** y; a negative power of an integer is 0, or 1 or -1 for those bases, as in PyTorch. Of booleans 0 ** 1
    alone is 0."""
    if np.result_type(x, y).kind == "f":
        return np.power(x, y)
    if np.result_type(x, y).kind == "b":
        return np.greater_equal(x, y)
    whole = np.power(x, np.maximum(y, 0))
    odd = np.where(np.equal(x, 1), 1, np.where(np.equal(x, -1), 1 - 2 * (np.asarray(y) & 1), 0))
    return np.where(np.less(y, 0), odd, whole).astype(whole.dtype)[()]


def whole_division(function: np.ufunc) -> Callable[[Array, Array], Array]:
    """Division of integers as PyTorch has it: by zero it raises."""
    def divide(x: Array, y: Array) -> Array:
        if np.result_type(x, y).kind != "f" and np.any(np.equal(y, 0)):
            raise RuntimeError("ZeroDivisionError: integer division or remainder by zero")
        return function(x, y)
    return divide


def scatter_slice(x: Array, starts: tuple[int, ...], shape: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` with x at starts[d] + i*steps[d]."""
    out = np.zeros(shape, x.dtype)
    out[_places(x.shape, starts, steps)] = x
    return out


def windows(x: Array, axis: int, shape: tuple[int, ...], step: int, dilation: int) -> np.ndarray:
    """A view of overlapping windows along `axis`, their elements along a new last axis; `shape` is the result's."""
    moved = x.strides[axis]
    strides = (*x.strides[:axis], moved * step, *x.strides[axis + 1:], moved * dilation)
    return as_strided(x, shape, strides, writeable=False)


def fold_windows(x: Array, axis: int, length: int, step: int, dilation: int) -> np.ndarray:
    """Windows added up where they overlap, in the order of their elements: the adjoint of `windows`."""
    wide = np.float32 if x.dtype.itemsize < 4 and x.dtype.kind not in "iub" else x.dtype
    out = np.zeros((*x.shape[:axis], length, *x.shape[axis + 1:-1]), wide)
    span = (x.shape[axis] - 1) * step + 1 if x.shape[axis] else 0
    for j in range(x.shape[-1]):
        start = j * dilation
        out[(slice(None),) * axis + (slice(start, start + span, step),)] += x[..., j]
    return out.astype(x.dtype, copy=False)


def slice_update(x: Array, value: Array, starts: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """A copy of x with the slice at (starts, steps) of value's shape replaced."""
    out = np.array(x)
    out[_places(value.shape, starts, steps)] = value
    return out


def _places(shape: tuple[int, ...], starts: tuple[int, ...], steps: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(a, a + (n - 1) * s + 1 if n else a, s) for a, n, s in zip(starts, shape, steps, strict=True))


def index_add(source: Array, index: Array, rows: int) -> np.ndarray:
    """Zeros (rows, ...) with source[i...] added to row index[i...], in order."""
    rest = source.shape[np.ndim(index):]
    wide = np.float32 if source.dtype.itemsize < 4 and source.dtype.kind not in "iub" else source.dtype
    out = np.zeros((rows, *rest), wide)
    np.add.at(out, np.asarray(index).reshape(-1), source.reshape(np.size(index), *rest))
    return out.astype(source.dtype)


def index_put(x: Array, index: Array, value: Array) -> np.ndarray:
    """A copy of x with rows `index` replaced by `value`; the last one written wins."""
    out = np.array(x)
    out[np.asarray(index).reshape(-1)] = np.asarray(value).reshape(np.size(index), *out.shape[1:])
    return out


def _wide(dtype: np.dtype) -> np.dtype:
    """In what a sequence of that dtype is folded: the next wider floating-point dtype; integers stay."""
    if dtype.kind in "iub" or dtype.itemsize == 8:
        return dtype
    return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)


def accumulate(ufunc: np.ufunc, x: Array, axis: int) -> np.ndarray:
    """All prefixes of an axis folded by `ufunc`, one element after the other, in the next wider dtype."""
    wide = _wide(x.dtype)
    return ufunc.accumulate(x.astype(wide, copy=False), axis, dtype=wide).astype(x.dtype)


def argsort(x: Array, axis: int, descending: bool) -> np.ndarray:
    """The order that sorts an axis, equals in the order in which they come; a NaN is larger than any number."""
    keys = x.astype(np.float32) if x.dtype.itemsize < 4 and x.dtype.kind not in "iub" else x
    if not descending:
        return np.argsort(keys, axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(keys, axis), axis, kind="stable"), axis)


def _along(index: Array, axis: int) -> tuple[Array, ...]:
    """Subscripts of the elements that `index` names along an axis."""
    places: list[Array] = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    places[axis] = index
    return tuple(places)


def scatter_add(source: Array, index: Array, axis: int, n: int) -> np.ndarray:
    """Zeros, n along an axis, with source elements added where the index says, in order, in the next wider dtype."""
    out = np.zeros((*source.shape[:axis], n, *source.shape[axis + 1:]), _wide(source.dtype))
    np.add.at(out, _along(index, axis), source)
    return out.astype(source.dtype)


def scatter(x: Array, index: Array, source: Array, axis: int) -> np.ndarray:
    """A copy of x with the elements that `index` names along an axis replaced; the last one written wins."""
    out = np.array(x)
    out[_along(index, axis)] = source
    return out


def random_words(seed: Array, stream: Array, shape: tuple[int, ...], word: int) -> np.ndarray:
    """Word `word` of Philox4x32-10 for each element of `shape`, as int64."""
    n = int(np.prod(shape, dtype=np.int64))
    return philox_bits(int(seed), int(stream), n, word).astype(np.int64).reshape(shape)


def binary_cross_entropy(p: Array, y: Array) -> Array:
    """-(y log p + (1 - y) log(1 - p)), logarithms floored at -100. Raises RuntimeError for p or y outside [0, 1]."""
    for name, values in (("input", p), ("target", y)):
        wrong = ~((values >= 0) & (values <= 1))
        if np.any(wrong):
            raise RuntimeError(f"all elements of {name} should be between 0 and 1, but binary_cross_entropy, "
                               f"whose loss is computed here, was given {np.extract(wrong, values)[0]}")
    return (y - 1) * np.maximum(np.log1p(-p), -100) - y * np.maximum(np.log(p), -100)


FEW = 64
"""Of so many elements that lie side by side a product with ones makes the sum in a third of the time of `np.add`."""


@lru_cache
def ones(count: int, dtype: np.dtype | type) -> np.ndarray:
    """Ones, which nobody writes to."""
    return np.ones(count, dtype)


Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of rows (N, C): less their maxima, e to the power of that, and its sums (N, 1)."""

Rows = tuple[np.ndarray, np.ndarray | None, np.floating]
"""Of classes (N,): the places of their elements in (N, C), which of them count (None: all), and how many that are."""


def softmax_parts(x: Array) -> Parts:
    """Of rows x (N, C), in float32 at least; less their maxima exp neither overflows nor loses its sum."""
    wide = x if x.dtype.itemsize >= 4 else x.astype(np.float32)
    top = np.maximum.reduce(wide, 1, keepdims=True) if wide.size else wide[:, :1]
    for _ in range(2):
        shift = wide - top
        powers = np.exp(shift)
        total = powers.dot(ones(len(powers[0]), powers.dtype)) if 0 < powers.size <= FEW * len(powers) \
            else np.add.reduce(powers, 1)
        if math.isfinite(total.dot(total)):
            break
        top = np.where(np.isinf(top), 0, top)       # seldom: a row has an infinity
    return shift, powers, total[:, None]


def class_rows(target: Array, classes: int, ignore_index: int) -> Rows:
    """Where the classes (N,) stand in rows (N, C). Raises IndexError, naming one, for a class out of range."""
    starts = np.arange(0, len(target) * classes, classes) if classes else np.zeros(len(target), np.int64)
    # Of unsigned integers those below 0 are the largest.
    if not target.size or (np.maximum.reduce(target.view(np.uint64)) < classes and not 0 <= ignore_index < classes):
        return starts + target, None, np.float32(len(target))
    valid = target != ignore_index
    outside = valid & ((target < 0) | (target >= classes))
    if outside.any():
        raise IndexError(f"Target {target[outside][0]} is out of bounds.")
    return starts + np.where(valid, target, 0), valid, np.float32(valid.sum())


def cross_entropy(parts: Parts, rows: Rows, reduction: str, dtype: type) -> Array:
    """Cross entropy of softmax(x) (N, C) with classes (N,), of what both are made into above."""
    (shift, _, total), (places, valid, count) = parts, rows
    loss = np.log(total)[:, 0] - shift.take(places)
    if valid is not None:
        loss = np.where(valid, loss, 0)
    if reduction != "none":
        loss = np.add.reduce(loss)
        if reduction == "mean":
            loss = loss / count
    return loss if loss.dtype == dtype else loss.astype(dtype)


def cross_entropy_backward(ct: Array, parts: Parts, rows: Rows, reduction: str, dtype: type) -> Array:
    """(softmax(x) - one_hot(target)) ct, over the number of rows that count for the mean; 0 for rows that do not."""
    (_, powers, total), (places, valid, count) = parts, rows
    out = np.divide(powers, total, order="C")
    out.reshape(-1)[places] -= 1
    if reduction == "mean":
        ct = ct / count
    out *= ct[:, None] if reduction == "none" else ct
    if valid is not None:
        out[~valid] = 0
    return out.astype(dtype, copy=False)


NUMPY = ("absolute add arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin asarray "
         "broadcast_to ceil concatenate copysign cos cosh divide empty exp exp2 expm1 flip floor hypot log log10 log1p "
         "log2 logaddexp matmul maximum minimum multiply negative rint signbit sin sinh sqrt subtract "
         "take_along_axis tan tanh trunc where float16 float32 float64 uint8 int8 int16 int32 int64")

OURS = (erf, erfc, binary_cross_entropy, softmax_parts, class_rows, cross_entropy, cross_entropy_backward, accumulate,
        argsort, scatter, scatter_add, sign, power, softplus, scatter_slice, slice_update, index_add, index_put,
        random_words, windows, fold_windows, lone_pow, lone_sigmoid, lone_softplus, masked)

LONE = "cos erf erfc exp expm1 log log10 log1p log2 sin sqrt tan tanh"
"""What NumPy scalars have functions of their own for, `lone_exp` and so on."""

NAMESPACE: dict[str, object] = {
    **{f"lone_{name}": lone(getattr(math, name), getattr(np, name, float)) for name in LONE.split()},
    **{f"quick_{name}": getattr(math, name) for name in LONE.split()},
    "bool": np.bool_, **{name: getattr(np, name) for name in NUMPY.split()}, **{one.__name__: one for one in OURS},
    **{one.__name__: whole_division(one) for one in (np.floor_divide, np.remainder, np.fmod)}}
