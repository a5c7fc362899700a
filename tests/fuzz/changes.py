"""Changes in place, reading, differentiating: the steps of a random program that do more than make a value."""

from __future__ import annotations

from .grower import Grower
from .program import Step
from .views import advanced, basic


def changeable(o: Grower) -> int | None:
    """A value that can be changed in place: a result that nothing may have kept, or a copy of some value."""
    found = [n for n in o.floats if not (o.is_leaf(n) and o[n].requires_grad) and o[n].numel()]
    if found and o.chance(0.55):
        return o.choose(found)
    n = o.pick()
    return None if n is None else o.add("{0}.clone()", (n,), exact=True)


IN_PLACE = ["{0}.tanh_()", "{0}.sigmoid_()", "{0}.sin_()", "{0}.mul_(0.37)", "{0} *= 0.5", "{0}.neg_()", "{0} += 1.5",
            "{0}.zero_()", "{0}.fill_(0.5)", "{0}.sub_(0.25)", "{0} /= 2", "{0}.square_()", "{0}.detach().mul_(0.5)"]
IN_PLACE_JUMPING = ["{0}.abs_()", "{0}.relu_()", "{0}.clamp_(-0.5, 0.5)", "{0}.floor_()"]
IN_PLACE_TWO = ["{0}.add_({1})", "{0} += {1}", "{0}.mul_({1})", "{0} *= {1}", "{0}.sub_({1})", "{0} -= {1}",
                "{0}.copy_({1})", "{0}.copy_({1})", "{0}.div_({1}.square() + 1)",
                "{0}.addcmul_({1}, {1}, value=0.5)", "{0}[...] = {1}"]


def change(o: Grower) -> None:
    """A value changed in place, with all that share its memory."""
    n = changeable(o)
    if n is None:
        return
    beside = o.beside(n) if o.chance(0.45) else None
    with o.within(*["T.no_grad()"] * o.chance(0.1)):
        if beside is not None:
            o.change(o.choose(IN_PLACE_TWO), (n, beside), exact=True)
        elif o.exact(n) and o.chance(0.3):
            o.change(o.choose(IN_PLACE_JUMPING), (n,), exact=True)
        else:
            o.change(o.choose(IN_PLACE), (n,), exact=True)


def assign(o: Grower) -> None:
    """Part of a value set, by a view, a mask or lists of integers that name no element twice."""
    n = changeable(o)
    if n is None or not o[n].ndim:
        return
    shape = tuple(o[n].shape)
    same = [m for m in o.masks if tuple(o[m].shape) == shape]
    if same and o.chance(0.5):
        form = o.choose(["{0}[{1}] = 0.5", "{0}.masked_fill_({1}, 0.25)", "{0}[{1}] *= 2",
                         "{0}[{1}] = {0}[{1}] + 1"])
        o.change(form, (n, o.choose(same)), exact=True)
        return
    index = basic(o, shape) if o.chance(0.65) else advanced(o, shape, repeats=False)
    if index is None:
        return
    part = tuple(o[n].detach()[tuple(index)].shape)
    if 0 in part and 0 not in shape:
        return                  # in PyTorch that changes what is on the tape, but not the version
    found = [m for m in o.floats if o.fits(tuple(o[m].shape), part) and o[m].ndim <= len(part) and m != n
             and all(a in (1, b) for a, b in zip(tuple(o[m].shape)[::-1], part[::-1], strict=False))]
    if o.chance(0.35):
        o.change(o.choose(["{0}[{1}] = 0.25", "{0}[{1}] *= -2", "{0}[{1}] += 1"]), (n,), (index,), exact=True)
    else:
        m = o.choose(found) if found and o.chance(0.7) else o.leaf(part)
        form = o.choose(["{0}[{2}] = {1}", "{0}[{2}] = {1}", "{0}[{2}] += {1}", "{0}[{2}] *= {1}"])
        o.change(form, (n, m), (index,), exact=True)


# --------------------------------------------------------------------------------------------- reading, differentiating
def read(o: Grower) -> None:
    """A value read in the middle, or dropped."""
    n = o.pick()
    if n is None:
        return
    if o.chance(0.4):
        o.add("{0}.tolist()", (n,))
    elif o[n].numel() == 1:
        o.add("{0}.item()", (n,))
    elif len(o.floats) > 2 and not o.is_leaf(n):
        o.add("del {0}", (n,), makes=False)
        o.forget(n)


def ends(o: Grower) -> list[int]:
    """One value that requires grad, or two, late ones more likely."""
    found = [n for n in o.floats if o[n].requires_grad and not o.is_leaf(n)]
    if not found:
        return []
    chosen = [o.choose(found[-3:])]
    if len(found) > 1 and o.chance(0.4):
        chosen.append(o.choose(found))
    return chosen


def backward(o: Grower) -> None:
    """Gradients of one value or two, with random cotangents.

    Where PyTorch raises (a graph walked twice, a value that was overwritten) the program ends there, with the step that
    raises or without. PyTorch may use the
    memory of a cotangent, or of a view of one, as a leaf's gradient, and a later backward then adds to both: hence the
    copies, and no second backward where two gradients share memory.
    """
    outputs = ends(o)
    if not outputs or o.gradients_share():
        return
    cotangents = [o.leaf(tuple(o[n].shape), requires_grad=False) for n in outputs]
    retain = o.chance(0.4)
    if len(outputs) == 2:
        form = "T.autograd.backward([{0}, {1}], [{2}.clone(), {3}.clone()], retain_graph={4})"
    else:
        form = o.choose(["{0}.backward({1}.clone(), retain_graph={2})",
                         "({0} * {1}).sum().backward(retain_graph={2})"])
    sources = (*outputs, *cotangents)
    if o.add(form, sources, (retain,), makes=False) is None:
        o.finished = True
        if o.chance(0.3):
            o.steps.append(Step(form, sources, (retain,)))


def derive(o: Grower) -> None:
    """A gradient as a value that can be differentiated again."""
    outputs = ends(o)[:1]
    inputs = [n for n in o.floats if o[n].requires_grad and n not in outputs]
    if not outputs or not inputs:
        return
    cotangent = o.leaf(tuple(o[outputs[0]].shape), requires_grad=o.chance(0.3))
    o.add("T.autograd.grad({0}, {1}, {2}, create_graph=True)[0].clone()",
          (*outputs, o.choose(inputs[:3] if o.chance(0.5) else inputs), cotangent))


def descend(o: Grower) -> None:
    """A leaf changed by its gradient, as an optimizer does; or the gradient taken as a value, or dropped."""
    found = [n for n in o.floats if o.is_leaf(n) and o[n].requires_grad and o[n].grad is not None]
    if not found:
        return
    n = o.choose(found)
    if o.chance(0.6):
        form = o.choose(["{0} -= 0.25 * {0}.grad", "{0}.mul_(0.5)", "{0}.sub_({0}.grad)", "{0}.detach().mul_(0.5)"])
        with o.within(*["T.no_grad()"] * ("detach" not in form)):
            o.change(form, (n,))
    elif o.chance(0.4):
        o.add("{0}.grad = None", (n,), makes=False)
    elif not o.gradients_share():
        o.add("{0}.grad", (n,))
