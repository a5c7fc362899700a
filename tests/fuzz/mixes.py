"""Values of several dtypes that meet: conversions, promotion, in-place results that do not fit, integers and masks.

Values stay exact (see `grower`): what is tested is which dtype a result has, and what PyTorch refuses, not rounding.
"""

from __future__ import annotations

from typing import Any

from .grower import Grower
from .program import Sizes
from .views import advanced, basic

FLOATS = ["single", "half", "brain", "T.float64"]
INTEGERS = ["T.int64", "T.int32", "T.int16", "T.int8", "T.uint8", "T.bool"]
LEAF = "T.tensor(np.random.default_rng({0}).integers({1}, {2}, {3}), dtype={4})"

TWO = [
    "{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} > {1}", "{0} == {1}", "{0} <= {1}", "{0} != {1}", "{0}.maximum({1})",
    "{0}.minimum({1})", "T.where({0} > 0, {0}, {1})", "T.add({0}.detach(), {1}.detach(), alpha=2)",
    "T.stack([{0}, {1}.expand_as({0})])", "T.cat([{0}.reshape(-1), {1}.reshape(-1)])", "{0}.logical_and({1})",
    "{0}.logical_xor({1})", "{0} & {1}", "{0} | {1}", "{0} ^ {1}", "{0}.type_as({1})", "{0}.to({1}.dtype)",
    "{0}.to({1})", "T.result_type({0}, {1}) == T.promote_types({0}.dtype, {1}.dtype)", "{0}.masked_fill({1}, 2)",
    "{0}[{1}]"]
ONE = [
    "-{0}", "{0} + 1", "{0} + 0.5", "{0} + True", "2 - {0}", "{0} * 2", "{0} * 0.5", "{0} / 2", "{0} // 2",
    "{0} % 3", "{0} ** 2", "{0} ** 2.0", "~{0}", "{0} > 1", "{0} == 0.5", "{0} & 3", "{0} | 1", "{0} & True",
    "{0}.abs()", "{0}.sign()", "{0}.square()", "{0}.clamp(0, 2)", "{0}.clamp(min=0.5)", "{0}.sum()", "{0}.sum(0)",
    "{0}.prod()", "{0}.amax()", "{0}.max()", "{0}.min(-1)[0]", "{0}.any()", "{0}.all(0)", "{0}.argmax()",
    "{0}.cumsum(0)", "{0}.mean()", "{0}.sum(dtype=T.float64)", "{0}.sum(dtype=T.int64)", "{0}.mean(dtype=T.float64)",
    "{0}.count_nonzero()", "{0}.floor()", "{0}.round()", "{0}.trunc()", "T.zeros_like({0})",
    "T.ones_like({0}, dtype=T.int32)", "T.full_like({0}, 2)", "{0}.new_zeros(2)", "{0}.new_tensor([1.5, 2])",
    "{0}.sort(-1)[0]", "{0}.flip(0)", "{0}.relu()", "{0}.isnan()", "{0}.logical_not()", "{0}.sqrt() * 0",
    "{0}.exp() * 0", "{0}.float()", "{0}.half()", "{0}.double()", "{0}.bfloat16()",
    "{0}.item() if {0}.numel() == 1 else None", "{0}.tolist()", "{0}.reciprocal() * 0", "{0}.std() * 0",
    "T.eye(2, dtype={0}.dtype)"]
CONVERSIONS = [
    "{0}.to({1})", "{0}.to({1})", "{0}.type({1})", "{0}.to(dtype={1})", "{0}.to({1}, copy=True)"]
IN_PLACE = [
    "{0} += 1", "{0} += 0.5", "{0} *= 2", "{0} *= 0.5", "{0} /= 2", "{0} //= 2", "{0} -= 1", "{0} &= 1", "{0} |= 1",
    "{0}.zero_()", "{0}.fill_(1)", "{0}.fill_(0.5)", "{0}.neg_()", "{0}.abs_()", "{0}.add_(True)",
    "{0}.clamp_(0, 1)", "{0} **= 2", "{0} %= 2"]
IN_PLACE_TWO = [
    "{0} += {1}", "{0} -= {1}", "{0} *= {1}", "{0}.add_({1})", "{0}.mul_({1})", "{0}.copy_({1})", "{0}.copy_({1})",
    "{0}[...] = {1}", "{0}.div_({1} * 0 + 2)", "{0}.masked_fill_({1}, 1)"]


class Code(str):
    """Text that stands in a step as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def everything(o: Grower) -> list[int]:
    """All tensors that later steps may use."""
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
    n = any_value(o)
    if n is None:
        return
    integral = o.exact(n) and o.chance(0.4)
    dtype = o.choose(INTEGERS if integral else FLOATS)
    if dtype == "T.uint8" and (o[n] < 0).any():
        return
    o.add(o.choose(CONVERSIONS), (n,), (Code(dtype),), exact=True)


def meet(o: Grower) -> None:
    """An operation of two values of any dtypes."""
    n = any_value(o)
    if n is None:
        return
    fit = [m for m in everything(o) if o.fits(tuple(o[m].shape), tuple(o[n].shape))]
    m = o.choose(fit)
    form = o.choose(TWO)
    if form == "{0}[{1}]" and str(o[m].dtype) == "torch.uint8":
        return                                      # as a mask: PyTorch warns of it, if not always
    if o.exact(n) and o.exact(m):
        o.add(form, (n, m), exact=True)


def map_any(o: Grower) -> None:
    """An operation of one value of any dtype."""
    n = any_value(o)
    form = o.choose(ONE)
    if n is not None and o.exact(n) and not undefined(o, n, form):
        o.add(form, (n,), exact=True)


def change_any(o: Grower) -> None:
    """A value of any dtype changed in place by one of any dtype."""
    n = any_value(o)
    if n is None or not o.exact(n):
        return
    fit = [m for m in everything(o) if o.reaches(m, n) and o.exact(m)]
    form, m = o.choose(IN_PLACE if o.chance(0.5) else IN_PLACE_TWO), o.choose(fit)
    if not undefined(o, n, form, m):
        o.change(form, (n, m) if "{1}" in form else (n,), exact=True)


def assign_any(o: Grower) -> None:
    """Part of a value of any dtype set: by slices, a mask, lists or a tensor of integers."""
    n = any_value(o)
    if n is None or not o[n].ndim or not o[n].numel() or not o.exact(n):
        return
    shape = tuple(o[n].shape)
    index: Any = o.choose([basic, lambda o, shape: advanced(o, shape, repeats=False)])(o, shape)
    if not o[n].detach()[tuple(index)].numel():
        return                                      # see `assign`
    scalars = [m for m in everything(o) if o[m].numel() == 1 and o[m].ndim < 2 and o.exact(m)]
    masks = [m for m in o.masks if tuple(o[m].shape) == shape]
    if masks and o.chance(0.4):
        o.change(o.choose(["{0}[{1}] = 1", "{0}[{1}] = 0.5", "{0}[{1}] += 1", "{0}.masked_fill_({1}, 2)"]),
                 (n, o.choose(masks)), exact=True)
    elif scalars and o.chance(0.5):
        m = o.choose(scalars)
        if m != n and not undefined(o, n, "{0}[{2}] = {1}", m):
            o.change("{0}[{2}] = {1}", (n, m), (index,), exact=True)
    elif o.chance(0.5):
        at = o.random.sample(range(shape[0]), o.random.randint(1, shape[0]))
        form = o.choose(["{0}[T.tensor({1})] = 1", "{0}[T.tensor({1})] *= 2", "{0}.index_fill_(0, T.tensor({1}), 1)",
                         "{0}[T.tensor({1}, dtype=T.int32)] = 0.5",
                         "{0}.index_add_(0, T.tensor({1}), {0}[:{2}].clone())",
                         "{0}.index_copy_(0, T.tensor({1}), {0}[-{2}:].clone())"])
        o.change(form, (n,), (at, len(at)), exact=True)
    else:
        form = o.choose(["{0}[{1}] = 1", "{0}[{1}] = 0.5", "{0}[{1}] = True", "{0}[{1}] += 1", "{0}[{1}] *= 0.5"])
        o.change(form, (n,), (index,), exact=True)
