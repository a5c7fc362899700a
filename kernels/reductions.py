"""Reductions of a tile along an axis, and the pairs that the `reduce` template takes.

`row_*(value, mask)` reduce [BLOCK_R, BLOCK_C] to [BLOCK_R, 1] and `column_*(value, mask)` to [1, BLOCK_C]; lanes
outside `mask` count as the identity, whatever they hold. Maxima and minima propagate NaN, as PyTorch's do. A column may
be a vector, [BLOCK_R], too.
`combine_*(a, b)` join two tiles lane by lane and `finish_*(acc, AXIS)` reduce one, all of whose lanes count, along an
axis that is kept with size 1.
"""

import triton
import triton.language as tl

# Of a tile whose columns are in parts, a thread is to have some of each part, and the rows are to be spread over the
# threads. Triton spreads the last axis first, then until 3.6 the first one, and from 3.7 on the last but one. So a tile
# is [PARTS, BLOCK_R, columns], rows [BLOCK_R, 1]; until 3.6 [BLOCK_R, PARTS, columns], rows [BLOCK_R, 1, 1].
PARTS_FIRST = tl.constexpr(tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 7))


@triton.constexpr_function
def extreme(dtype, largest):
    """The largest or the smallest value of a dtype, infinities included."""
    if dtype.is_floating():
        return float("inf") if largest else float("-inf")
    bits = dtype.primitive_bitwidth
    if dtype.is_int_unsigned() or bits == 1:
        return 2**bits - 1 if largest else 0
    return 2 ** (bits - 1) - 1 if largest else -(2 ** (bits - 1))


@triton.jit
def flip_below_zero(bits):
    """Make the bits of floats sort as integers, or back: below 0 they run backwards, so all but the sign flip."""
    return bits ^ ((bits >> (bits.dtype.primitive_bitwidth - 1)) & extreme(bits.dtype, True))


@triton.jit
def extreme_with_nan(value, LARGEST: tl.constexpr, AXIS: tl.constexpr):
    """The largest or smallest float along an axis, NaN if there is one, in one integer reduction.

    As integers NaN can stand beyond infinity; reductions on floats drop it, and asking for it apart reduces twice.
    """
    if value.dtype == tl.float32:
        key = flip_below_zero(value.to(tl.int32, bitcast=True))
    else:
        key = flip_below_zero(value.to(tl.int64, bitcast=True))
    beyond = tl.full(key.shape, extreme(key.dtype, LARGEST), key.dtype)  # decodes to a NaN
    key = tl.where(value != value, beyond, key)
    if LARGEST:
        key = tl.max(key, axis=AXIS, keep_dims=True)
    else:
        key = tl.min(key, axis=AXIS, keep_dims=True)
    return flip_below_zero(key).to(value.dtype, bitcast=True)


@triton.jit
def finish_sum(acc, AXIS: tl.constexpr = 1):
    """The sum along an axis."""
    return tl.sum(acc, axis=AXIS, keep_dims=True).to(acc.dtype)


@triton.jit
def finish_max(acc, AXIS: tl.constexpr = 1):
    """The largest along an axis; NaN propagates."""
    if acc.dtype.is_floating():
        return extreme_with_nan(acc, True, AXIS)
    else:
        return tl.max(acc, axis=AXIS, keep_dims=True).to(acc.dtype)


@triton.jit
def finish_min(acc, AXIS: tl.constexpr = 1):
    """The smallest along an axis; NaN propagates."""
    if acc.dtype.is_floating():
        return extreme_with_nan(acc, False, AXIS)
    else:
        return tl.min(acc, axis=AXIS, keep_dims=True).to(acc.dtype)


@triton.jit
def finish_prod(acc, AXIS: tl.constexpr = 1):
    """The product along an axis: the last of the running product.

    `tl.reduce` with a multiplying function runs in Python, element by element, in the interpreter; the scan does not.
    """
    place = tl.arange(0, acc.shape[AXIS])
    for axis in tl.static_range(len(acc.shape)):
        if axis != AXIS:
            place = tl.expand_dims(place, axis)
    running = tl.cumprod(acc, axis=AXIS)
    return finish_sum(tl.where(place == acc.shape[AXIS] - 1, running, tl.zeros(acc.shape, acc.dtype)), AXIS)


@triton.jit
def only(value):
    """The one element of [1, 1] as a scalar."""
    return tl.sum(value).to(value.dtype)


@triton.jit
def combine_sum(a, b):
    """a + b."""
    return a + b


@triton.jit
def combine_max(a, b):
    """The larger, NaN if either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def combine_min(a, b):
    """The smaller, NaN if either is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def combine_prod(a, b):
    """a * b."""
    return a * b


@triton.jit
def masked(value, mask, IDENTITY: tl.constexpr):
    """`value` with the lanes outside `mask` replaced by a constant of the same dtype."""
    return tl.where(mask, value, tl.full(value.shape, IDENTITY, value.dtype))


@triton.jit
def along_row(value, FINISH: tl.constexpr):
    """Reduce each row of a tile, the parts of which are first reduced to one."""
    if len(value.shape) < 3:
        return FINISH(value, 1)
    elif PARTS_FIRST:
        return FINISH(tl.reshape(FINISH(value, 0), value.shape[1:]), 1)
    else:
        return FINISH(FINISH(value, 1), 2)


@triton.jit
def along_column(value, FINISH: tl.constexpr):
    """Reduce each column of a tile, or a vector."""
    return FINISH(value, 1 if PARTS_FIRST and len(value.shape) == 3 else 0)


@triton.jit
def row_sum(value, mask):
    """The sum of each row, in the dtype of `value` (widen small integers first)."""
    return along_row(masked(value, mask, 0), finish_sum)


@triton.jit
def row_max(value, mask):
    """The largest of each row, NaN if there is one."""
    return along_row(masked(value, mask, extreme(value.dtype, False)), finish_max)


@triton.jit
def row_min(value, mask):
    """The smallest of each row, NaN if there is one."""
    return along_row(masked(value, mask, extreme(value.dtype, True)), finish_min)


@triton.jit
def row_prod(value, mask):
    """The product of each row, in the dtype of `value`."""
    return along_row(masked(value, mask, 1), finish_prod)


@triton.jit
def column_sum(value, mask):
    """The sum of each column, in the dtype of `value` (widen small integers first)."""
    return along_column(masked(value, mask, 0), finish_sum)


@triton.jit
def column_max(value, mask):
    """The largest of each column, NaN if there is one."""
    return along_column(masked(value, mask, extreme(value.dtype, False)), finish_max)


@triton.jit
def column_min(value, mask):
    """The smallest of each column, NaN if there is one."""
    return along_column(masked(value, mask, extreme(value.dtype, True)), finish_min)


@triton.jit
def column_prod(value, mask):
    """The product of each column, in the dtype of `value`."""
    return along_column(masked(value, mask, 1), finish_prod)


@triton.jit
def flat_rows(r):
    """The rows of a slab, [BLOCK_R, 1], as a vector [BLOCK_R]."""
    return tl.arange(0, r.shape[0]).to(r.dtype)


@triton.jit
def flat(value):
    """What all threads of a row hold, [BLOCK_R, 1], as a vector [BLOCK_R], a part to each thread."""
    return handed(tl.reshape(value, [value.shape[0]]))


@triton.jit
def spread(value, r):
    """A vector [BLOCK_R] as what all threads of a row hold, of the shape of the rows' numbers `r`."""
    if len(r.shape) == 3:
        return handed(value)[:, None, None]
    else:
        return handed(value)[:, None]


@triton.jit
def handed(value):
    """The same vector, gathered by other threads than hold it, through shared memory: Triton leaves a mere change of
    layout out and has its operands computed in both."""
    place = tl.arange(0, value.shape[0])
    if value.dtype == tl.int1:
        return tl.gather(value.to(tl.int8), place, 0) != 0
    else:
        return tl.gather(value, place, 0)
