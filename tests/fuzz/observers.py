"""Gradients as steps of a random program: taken, read, set, used, and what watches them on their way.

PyTorch may use the memory of a cotangent, or of a view of one, as a leaf's gradient, and a later backward then adds to
both: hence the copies, and no second backward where two gradients share memory. Where PyTorch raises (a graph walked
twice, a value that was overwritten) the program ends there, with the step that raises or without.
"""

from __future__ import annotations

from .grower import Grower, forms, picking
from .program import Step

HOOK = "(x.grad_fn, x.register_hook({}))[1]"
"""PyTorch crashes where a hook is put on a view whose base was changed, unless its `grad_fn` was looked at since; and
`retain_grad` does nothing there."""

HOOKS = forms("lambda g: g * 2; lambda g: -g; lambda g: None; lambda g: g + 1; lambda g: g.clone()")
USER = forms("""
    Halved.apply(x, 0.5); Tanh.apply(x); Product.apply(x, x); Pair.apply(x)[0]; Pair.apply(x)[1]; Cube.apply(x)""")
BACKWARD = forms("x.backward(y.clone(), retain_graph=z); (x * y).sum().backward(retain_graph=z)")
DESCENT = forms("x -= 0.25 * x.grad; x.mul_(0.5); x.sub_(x.grad); x.detach().mul_(0.5)")
SET = forms("x.grad = y.clone(); x.grad = y.detach() * 2")
GRADIENTS = forms("""
    x.grad = None; x.grad.zero_(); x.grad.mul_(2); x.grad += 1; x.grad = x.grad.clone(); x.grad.detach_()""")
UPDATES = forms("""
    T.optim.SGD([x], lr=0.5).step(); T.optim.SGD([x], lr=0.5, momentum=0.5).step(); x.data -= 0.5 * x.grad;
    x.data = x.data - x.grad; x.detach().sub_(x.grad); x.data.sub_(x.grad); x.sub_(x.grad); x -= 0.5 * x.grad""")


def recorded(o: Grower) -> list[int]:
    return [n for n in o.floats if o[n].requires_grad]


def results(o: Grower) -> list[int]:
    """Those of them that are no leaves."""
    return [n for n in recorded(o) if not o.is_leaf(n)]


def differentiable(o: Grower) -> list[int]:
    """The leaves that have a gradient."""
    return [n for n in recorded(o) if o.is_leaf(n) and o.gradient(n) is not None]


def ends(o: Grower) -> list[int]:
    """One value that requires grad, or two, late ones more likely."""
    if not (found := results(o)):
        return []
    chosen = [o.choose(found[-3:])]
    return [*chosen, o.choose(found)] if len(found) > 1 and o.chance(0.4) else chosen


def backward(o: Grower) -> None:
    """Gradients of one value or two, with random cotangents."""
    outputs = ends(o)
    if not outputs or o.gradients_share():
        return
    sources = (*outputs, *[o.leaf(o.shape_of(n), requires_grad=False) for n in outputs])
    retain = o.chance(0.4)
    form = "T.autograd.backward([{0}, {1}], [{2}.clone(), {3}.clone()], retain_graph={4})"
    if len(outputs) == 1:
        form = o.choose(BACKWARD)
    if o.add(form, sources, (retain,), makes=False) is None:
        o.finished = True
        if o.chance(0.3):
            o.steps.append(Step(form, sources, (retain,)))


def derive(o: Grower) -> None:
    """A gradient as a value that can be differentiated again."""
    outputs = ends(o)[:1]
    inputs = [n for n in recorded(o) if n not in outputs]
    if outputs and inputs:
        cotangent = o.leaf(o.shape_of(outputs[0]), requires_grad=o.chance(0.3))
        o.add("T.autograd.grad(x, y, z, create_graph=True)[0].clone()",
              (*outputs, o.choose(inputs[:3] if o.chance(0.5) else inputs), cotangent))


def descend(o: Grower) -> None:
    """A leaf changed by its gradient, as an optimizer does; or the gradient taken as a value, or dropped."""
    if not (found := differentiable(o)):
        return
    n = o.choose(found)
    if o.chance(0.6):
        form = o.choose(DESCENT)
        with o.within(*["T.no_grad()"] * ("detach" not in form)):
            o.change(form, (n,))
    elif o.chance(0.4):
        o.add("x.grad = None", (n,), makes=False)
    elif not o.gradients_share():
        o.add("x.grad", (n,))


def retain(o: Grower) -> None:
    """`retain_grad` on a tensor, a leaf or one off the tape among them."""
    if found := results(o) if o.chance(0.8) else o.floats:
        o.add("x.grad_fn, x.retain_grad()", (o.choose(found),), makes=False)


def hook(o: Grower) -> None:
    """A hook registered that changes the gradient, or keeps what it sees; or one removed."""
    found = recorded(o) if o.chance(0.95) else o.floats
    found = [n for n in found if not o.steps[n].form.startswith("copy.copy(")]      # PyTorch may never call it there
    if o.handles and o.chance(0.25):
        o.add("x.remove()", (o.choose(o.handles),), makes=False)
    elif found:
        n = o.choose(found[-5:])
        if o.chance(0.4):
            kept = o.choose(o.logs) if o.logs and o.chance(0.5) else o.add("[]")
            o.logs.append(kept)
            made = o.add(HOOK.format("lambda g: y.append(g.clone())"), (n, kept))
        else:
            made = o.add(HOOK.format(o.choose(HOOKS)), (n,))
        if made is not None:
            o.handles.append(made)


@picking
def user_function(o: Grower, n: int) -> None:
    """A function of a user's own."""
    same = [m for m in o.floats if o[m].shape == o[n].shape]
    if o.chance(0.3):
        o.add("Product.apply(x, y)", (n, o.choose(same)), exact=True)
    elif o.chance(0.3) and o.gradient(n) is None:                       # which it would lose in PyTorch
        o.change("Doubled.apply(x)", (n,), exact=True, attempts=False)  # what it changes before it fails is open
    elif o.chance(0.15) and o.exact(n):
        o.add("Marked.apply(x)[0]", (n,), exact=True)
    else:
        form = o.choose(USER)
        o.add(form, (n,), exact="Tanh" not in form)


def outputs(o: Grower) -> list[int]:
    """One value on the tape or two, late ones more likely; rarely one that is not."""
    found = results(o) or recorded(o)
    if o.floats and o.chance(0.03):
        return [o.choose(o.floats)]
    if not found:
        return []
    return [o.choose(found[-4:]) if o.chance(0.8) else o.choose(found)] + ([o.choose(found)] if o.chance(0.2) else [])


def differentiate(o: Grower) -> None:
    """A backward into all leaves or into chosen inputs, or gradients as values."""
    ends = outputs(o)
    if not ends or o.gradients_share():
        return
    cotangents = [o.leaf(o.shape_of(n), requires_grad=False) for n in ends]
    wanted = recorded(o) if o.chance(0.97) else o.floats
    inputs = [o.choose(wanted) for _ in range(o.choose([1, 1, 2, 3]))] if wanted else []
    names = [f"{{{i}}}" for i in range(2 * len(ends) + len(inputs))]
    first, second, third = names[:len(ends)], names[len(ends):2 * len(ends)], names[2 * len(ends):]
    heads = ", ".join(first)
    weights = ", ".join(f"{name}.to({end}.dtype, copy=True)" for end, name in zip(first, second, strict=True))
    retain, create = o.chance(0.5), o.chance(0.25)
    options = f"retain_graph={retain}" + (", create_graph=True" if create else "")
    sources = (*ends, *cotangents)
    if o.chance(0.5) or not inputs:
        into = f", inputs=[{', '.join(third)}]" if inputs and o.chance(0.4) else ""
        form = o.choose([f"T.autograd.backward([{heads}], [{weights}], {options}{into})"] + (
            [f"{{0}}.backward({weights}, {options}{into})"] * 3 if len(ends) == 1 else []))
        if create and not into:
            form = form.replace(", create_graph=True", "")      # a gradient that holds its graph: PyTorch warns of it
        step = Step(form, sources + tuple(inputs) * bool(into))
        made = o.add(form, step.sources, makes=False, attempts=False)
    else:
        form = f"T.autograd.grad([{heads}], [{', '.join(third)}], [{weights}], {options}, allow_unused={o.chance(0.8)})"
        step = Step(form, (*sources, *inputs), target=len(o.steps))
        made = o.add(form, step.sources, attempts=False)
        for i, gradient in enumerate(o[made] if made is not None else ()):
            if gradient is not None and o.chance(0.6):
                o.add(f"{{0}}[{i}].clone()", (made,))
    if made is None:
        o.finished = True
        if o.chance(0.8) and not o.warned:
            o.steps.append(step)


def gradient(o: Grower) -> None:
    """A gradient read, changed, dropped, or set."""
    found = [n for n in o.floats if o.gradient(n) is not None]
    if o.chance(0.2) and o.floats:
        n = o.choose(recorded(o) or o.floats)
        if same := [m for m in o.floats if o[m].shape == o[n].shape and not o[m].requires_grad]:
            o.add(o.choose(SET), (n, o.choose(same)), makes=False)
    elif found:
        n, form = o.choose(found), o.choose(GRADIENTS)
        if o.chance(0.3):
            o.add("x.grad.clone()" if o.chance(0.5) else "x.grad", (n,))
        else:
            o.add(form, (n,), makes=False)


def update(o: Grower) -> None:
    """Leaves changed by their gradients, by hand or by an optimizer."""
    if not (found := differentiable(o)):
        return
    form, n = o.choose(UPDATES), o.choose(found)
    if form.startswith("{0}.data ="):
        if not o.shared(n):
            o.add(form, (n,), makes=False)
        return
    with o.within(*["T.no_grad()"] * form.startswith(("{0}.sub_", "{0} -="))):
        o.change(form, (n,), exact=True)
