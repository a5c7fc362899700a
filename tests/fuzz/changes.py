"""Changes in place, and who shares the memory that is changed: steps of a random program.

Tensors that share memory without being views on the tape live on and are changed, from both sides, with and without
grad mode: detached aliases and their views, parameters made by hand, copies, `.data` and `detach_`. What PyTorch
refuses may be kept as an attempt.
"""

from __future__ import annotations

from .grower import Grower, forms, picking
from .views import advanced, basic

IN_PLACE = forms("""
    x.tanh_(); x.sigmoid_(); x.sin_(); x.mul_(0.37); x *= 0.5; x.neg_(); x += 1.5; x.zero_(); x.fill_(0.5);
    x.sub_(0.25); x /= 2; x.square_(); x.detach().mul_(0.5)""")
IN_PLACE_JUMPING = forms("x.abs_(); x.relu_(); x.clamp_(-0.5, 0.5); x.floor_()")
IN_PLACE_TWO = forms("""
    x.add_(y); x += y; x.mul_(y); x *= y; x.sub_(y); x -= y; x.copy_(y); x.copy_(y); x.div_(y.square() + 1);
    x.addcmul_(y, y, value=0.5); x[...] = y""")
MASKED = forms("x[y] = 0.5; x.masked_fill_(y, 0.25); x[y] *= 2; x[y] = x[y] + 1")
INDEXED = forms("x[y] = 0.25; x[y] *= -2; x[y] += 1")
INDEXED_TWO = forms("x[z] = y; x[z] = y; x[z] += y; x[z] *= y")


def change(o: Grower) -> None:
    """A value changed in place, with all that share its memory."""
    if (n := changeable(o)) is None:
        return
    beside = o.beside(n) if o.chance(0.45) else None
    with o.within(*["T.no_grad()"] * o.chance(0.1)):
        if beside is not None:
            o.change(o.choose(IN_PLACE_TWO), (n, beside), exact=True)
        else:
            o.change(o.choose(IN_PLACE_JUMPING if o.exact(n) and o.chance(0.3) else IN_PLACE), (n,), exact=True)


def changeable(o: Grower) -> int | None:
    """A value that can be changed in place: a result that nothing may have kept, or a copy of some value."""
    found = [n for n in o.floats if not (o.is_leaf(n) and o[n].requires_grad) and o[n].numel()]
    if found and o.chance(0.55):
        return o.choose(found)
    return None if (n := o.pick()) is None else o.add("x.clone()", (n,), exact=True)


def assign(o: Grower) -> None:
    """Part of a value set, by a view, a mask or lists of integers that name no element twice."""
    n = changeable(o)
    if n is None or not o[n].ndim:
        return
    shape = o.shape_of(n)
    same = [m for m in o.masks if o.shape_of(m) == shape]
    if same and o.chance(0.5):
        o.change(o.choose(MASKED), (n, o.choose(same)), exact=True)
        return
    index = basic(o, shape) if o.chance(0.65) else advanced(o, shape, repeats=False)
    if index is None:
        return
    part = tuple(o[n].detach()[tuple(index)].shape)
    if 0 in part and 0 not in shape:
        return                  # in PyTorch that changes what is on the tape, but not the version
    found = [m for m in o.floats if o.fits(o.shape_of(m), part) and o[m].ndim <= len(part) and m != n
             and all(a in (1, b) for a, b in zip(o.shape_of(m)[::-1], part[::-1], strict=False))]
    if o.chance(0.35):
        o.change(o.choose(INDEXED), (n,), (index,), exact=True)
    else:
        m = o.choose(found) if found and o.chance(0.7) else o.leaf(part)
        o.change(o.choose(INDEXED_TWO), (n, m), (index,), exact=True)


# ------------------------------------------------------------------------------------------------------- shared memory
ALIASES = forms("""
    x.detach(); x.detach(); x.data; x[...]; x.view_as(x); x.detach().requires_grad_(); copy.copy(x); x.requires_grad_();
    T.nn.Parameter(x); T.nn.Parameter(x.detach()); x.mT""")
PARTS = forms("x.detach()[y]; x[y].detach(); x.data[y]; x[y]; x[y]")
SEVERAL = forms("x.unbind()[0].add_(1); x.chunk(2)[0].mul_(2); x.split(1)[-1].neg_(); x.unbind()[0].copy_(y)")
"""Changes of one of several views made together, which PyTorch refuses while recording."""

ALTERED = forms("""
    x.mul_(2); x *= 0.5; x += 1; x.sub_(0.5); x.zero_(); x.fill_(0.5); x.neg_(); x.tanh_(); x.square_();
    x.detach().mul_(2); x.data.add_(1); x.data += 1; x.abs_()""")
ALTERED_PARTS = forms("""
    x[y] = 0.5; x[y] *= 2; x[y].mul_(2); x[y].detach().add_(1); x.detach()[y].add_(1); x.data[y] = 1""")
LEAVING = forms("""
    x.detach_(); x.detach_(); x.requires_grad_(False); x.requires_grad_(); x.requires_grad = True; x.data = y.data;
    x.data = y.detach().clone()""")
MODES = [("T.no_grad()",), ("T.no_grad()",), ("T.enable_grad()",), ("T.no_grad()", "T.enable_grad()"),
         ("T.set_grad_enabled(False)",)]


@picking
def alias(o: Grower, n: int) -> None:
    """A tensor of the same memory."""
    if o[n].ndim and o.chance(0.4):
        o.add(o.choose(PARTS), (n,), (basic(o, o.shape_of(n)),), exact=True)
    else:
        form = o.choose(ALIASES)
        if form != "{0}.mT" or o[n].ndim > 1:
            o.add(form, (n,), exact=True)


@picking
def alter(o: Grower, n: int) -> None:
    """Any tensor changed in place, a leaf that requires grad among them."""
    if not o[n].numel():
        return
    if o.chance(0.05):
        with o.within("T.inference_mode()"):
            o.change(o.choose(ALTERED), (n,), exact=True)
    elif o.chance(0.3):
        o.change(o.choose(IN_PLACE_TWO), (n, o.beside(n)), exact=True)
    elif o.chance(0.1) and o[n].ndim:
        o.change(o.choose(SEVERAL), (n, o.leaf(())), exact=True)
    elif o.chance(0.3) and o[n].ndim:
        index = basic(o, o.shape_of(n))
        if o[n].detach()[tuple(index)].numel():         # see `assign`
            o.change(o.choose(ALTERED_PARTS), (n,), (index,), exact=True)
    else:
        o.change(o.choose(ALTERED), (n,), exact=True)


@picking
def leave(o: Grower, n: int) -> None:
    """A tensor taken off the tape, put on it, or given other memory: in PyTorch its views would be of another then."""
    same = [m for m in o.floats if m != n and o[m].shape == o[n].shape and o[m].dtype == o[n].dtype]
    form = o.choose(LEAVING)
    if "{1}" not in form:
        o.add(form, (n,), makes=False)
    elif same and not o.shared(n):
        o.add(form, (n, o.choose(same)), makes=False)


@picking
def duplicate(o: Grower, n: int) -> None:
    """Copies of two tensors, made together or alone."""
    near = [m for m in o.floats if o.memory(m) == o.memory(n)]
    if o.chance(0.3):
        o.add("copy.deepcopy(x)", (n,), exact=True)
    elif (both := o.add("copy.deepcopy([x, y])", (n, o.choose(near if o.chance(0.8) else o.floats)))) is not None:
        o.add("x[0]", (both,))
        o.add("x[1]", (both,))


@picking
def count(o: Grower, n: int) -> None:
    """How often a tensor was changed since it was asked before: PyTorch's own kernels leave versions in results."""
    if before := [m for m in o.counts if o.counts[m] == n]:
        o.add("x._version - y[0]", (n, o.choose(before)))
    elif (made := o.add("(x._version,)", (n,))) is not None:
        o.counts[made] = n


@picking
def read(o: Grower, n: int) -> None:
    """A value read in the middle, or dropped."""
    if o.chance(0.4):
        o.add("x.tolist()", (n,))
    elif o[n].numel() == 1:
        o.add("x.item()", (n,))
    elif len(o.floats) > 2 and not o.is_leaf(n):
        o.add("del x", (n,), makes=False)
        o.forget(n)
