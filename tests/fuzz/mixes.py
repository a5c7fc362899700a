"""Values of several dtypes that meet: conversions, promotion, in-place results that do not fit, integers and masks.

Values stay exact (see `grower`): what is tested is which dtype a result has, and what PyTorch refuses, not rounding.
"""

from __future__ import annotations

from typing import Any

from .grower import Grower, forms
from .program import Sizes
from .views import advanced, basic

FLOATS = ["single", "half", "brain", "T.float64"]
INTEGERS = ["T.int64", "T.int32", "T.int16", "T.int8", "T.uint8", "T.bool"]
LEAF = "T.tensor(np.random.default_rng({0}).integers({1}, {2}, {3}), dtype={4})"

TWO = forms("""
    x + y; x - y; x * y; x > y; x == y; x <= y; x != y; x.maximum(y); x.minimum(y); T.where(x > 0, x, y);
    T.add(x.detach(), y.detach(), alpha=2); T.stack([x, y.expand_as(x)]); T.cat([x.reshape(-1), y.reshape(-1)]);
    x.logical_and(y); x.logical_xor(y); x & y; x | y; x ^ y; x.type_as(y); x.to(y.dtype); x.to(y);
    T.result_type(x, y) == T.promote_types(x.dtype, y.dtype); x.masked_fill(y, 2); x[y]""")
ONE = forms("""
    -x; x + 1; x + 0.5; x + True; 2 - x; x * 2; x * 0.5; x / 2; x // 2; x % 3; x ** 2; x ** 2.0; ~x; x > 1; x == 0.5;
    x & 3; x | 1; x & True; x.abs(); x.sign(); x.square(); x.clamp(0, 2); x.clamp(min=0.5); x.sum(); x.sum(0);
    x.prod(); x.amax(); x.max(); x.min(-1)[0]; x.any(); x.all(0); x.argmax(); x.cumsum(0); x.mean();
    x.sum(dtype=T.float64); x.sum(dtype=T.int64); x.mean(dtype=T.float64); x.count_nonzero(); x.floor(); x.round();
    x.trunc(); T.zeros_like(x); T.ones_like(x, dtype=T.int32); T.full_like(x, 2); x.new_zeros(2);
    x.new_tensor([1.5, 2]); x.sort(-1)[0]; x.flip(0); x.relu(); x.isnan(); x.logical_not(); x.sqrt() * 0; x.exp() * 0;
    x.float(); x.half(); x.double(); x.bfloat16(); x.item() if x.numel() == 1 else None; x.tolist();
    x.reciprocal() * 0; x.std() * 0; T.eye(2, dtype=x.dtype)""")
CONVERSIONS = forms("x.to(y); x.to(y); x.type(y); x.to(dtype=y); x.to(y, copy=True)")
IN_PLACE = forms("""
    x += 1; x += 0.5; x *= 2; x *= 0.5; x /= 2; x //= 2; x -= 1; x &= 1; x |= 1; x.zero_(); x.fill_(1); x.fill_(0.5);
    x.neg_(); x.abs_(); x.add_(True); x.clamp_(0, 1); x **= 2; x %= 2""")
IN_PLACE_TWO = forms("""
    x += y; x -= y; x *= y; x.add_(y); x.mul_(y); x.copy_(y); x.copy_(y); x[...] = y; x.div_(y * 0 + 2);
    x.masked_fill_(y, 1)""")
MASKED = forms("x[y] = 1; x[y] = 0.5; x[y] += 1; x.masked_fill_(y, 2)")
LISTED = forms("""
    x[T.tensor(y)] = 1; x[T.tensor(y)] *= 2; x.index_fill_(0, T.tensor(y), 1); x[T.tensor(y, dtype=T.int32)] = 0.5;
    x.index_add_(0, T.tensor(y), x[:z].clone()); x.index_copy_(0, T.tensor(y), x[-z:].clone())""")
INDEXED = forms("x[y] = 1; x[y] = 0.5; x[y] = True; x[y] += 1; x[y] *= 0.5")


class Code(str):
    """Text that stands in a step as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def everything(o: Grower) -> list[int]:
    return [*o.floats, *o.integers, *o.masks]


def any_value(o: Grower) -> int | None:
    """A tensor of any dtype, a recent one more likely."""
    found = sorted(everything(o))
    return o.choose(found[-5:] if o.chance(0.7) else found) if found else None


def undefined(o: Grower, n: int, form: str, m: int | None = None) -> bool:
    """Whether PyTorch makes something of a step that is no more than a gap in it: `//` requires grad but has no
    derivative, and integers come to require grad by what is written to them."""
    return ("//" in form and o[n].requires_grad) or (
        m is not None and "{1}" in form and o[m].requires_grad and not o[n].is_floating_point())


def whole(o: Grower) -> None:
    """A leaf of integers or of truths."""
    dtype = o.choose(INTEGERS)
    low, high = (0, 2) if dtype == "T.bool" else (0, 5) if dtype == "T.uint8" else (-3, 5)
    o.add(LEAF, (), (o.random.randrange(1000), low, high, Sizes(o.shape()), Code(dtype)), exact=True)


def convert(o: Grower) -> None:
    """A value in another dtype; what is not exact stays a float, and what is negative never becomes unsigned."""
    if (n := any_value(o)) is not None:
        dtype = o.choose(INTEGERS if o.exact(n) and o.chance(0.4) else FLOATS)
        if not (dtype == "T.uint8" and (o[n] < 0).any()):
            o.add(o.choose(CONVERSIONS), (n,), (Code(dtype),), exact=True)


def meet(o: Grower) -> None:
    """An operation of two values of any dtypes. PyTorch warns of a mask of uint8, if not always."""
    if (n := any_value(o)) is not None:
        m = o.choose([m for m in everything(o) if o.fits(o.shape_of(m), o.shape_of(n))])
        form = o.choose(TWO)
        if not (form == "{0}[{1}]" and str(o[m].dtype) == "torch.uint8") and o.exact(n) and o.exact(m):
            o.add(form, (n, m), exact=True)


def map_any(o: Grower) -> None:
    n, form = any_value(o), o.choose(ONE)
    if n is not None and o.exact(n) and not undefined(o, n, form):
        o.add(form, (n,), exact=True)


def change_any(o: Grower) -> None:
    """A value of any dtype changed in place by one of any dtype."""
    if (n := any_value(o)) is not None and o.exact(n):
        fit = [m for m in everything(o) if o.reaches(m, n) and o.exact(m)]
        form, m = o.choose(IN_PLACE if o.chance(0.5) else IN_PLACE_TWO), o.choose(fit)
        if not undefined(o, n, form, m):
            o.change(form, (n, m), exact=True)


def assign_any(o: Grower) -> None:
    """Part of a value of any dtype set: by slices, a mask, lists or a tensor of integers."""
    n = any_value(o)
    if n is None or not o[n].ndim or not o[n].numel() or not o.exact(n):
        return
    shape = o.shape_of(n)
    index: Any = o.choose([basic, lambda o, shape: advanced(o, shape, repeats=False)])(o, shape)
    if not o[n].detach()[tuple(index)].numel():
        return                                      # see `assign`
    scalars = [m for m in everything(o) if o[m].numel() == 1 and o[m].ndim < 2 and o.exact(m)]
    masks = [m for m in o.masks if o.shape_of(m) == shape]
    if masks and o.chance(0.4):
        o.change(o.choose(MASKED), (n, o.choose(masks)), exact=True)
    elif scalars and o.chance(0.5):
        m = o.choose(scalars)
        if m != n and not undefined(o, n, "{0}[{2}] = {1}", m):
            o.change("x[z] = y", (n, m), (index,), exact=True)
    elif o.chance(0.5):
        at = o.random.sample(range(shape[0]), o.random.randint(1, shape[0]))
        o.change(o.choose(LISTED), (n,), (at, len(at)), exact=True)
    else:
        o.change(o.choose(INDEXED), (n,), (index,), exact=True)
