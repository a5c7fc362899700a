"""What watches gradients on their way: hooks, `retain_grad`, gradients read and set, with chosen inputs."""

from __future__ import annotations

from .grower import Grower
from .program import Step

HOOK = "({{0}}.grad_fn, {{0}}.register_hook({}))[1]"
"""PyTorch crashes where a hook is put on a view whose base was changed, unless its `grad_fn` was looked at since; and
`retain_grad` does nothing there."""

HOOKS = ["lambda g: g * 2", "lambda g: -g", "lambda g: None", "lambda g: g + 1", "lambda g: g.clone()"]
USER = ["Halved.apply({0}, 0.5)", "Tanh.apply({0})", "Product.apply({0}, {0})", "Pair.apply({0})[0]",
        "Pair.apply({0})[1]", "Cube.apply({0})"]


def recorded(o: Grower) -> list[int]:
    """The values that require grad."""
    return [n for n in o.floats if o[n].requires_grad]


def retain(o: Grower) -> None:
    """`retain_grad` on a tensor, a leaf or one off the tape among them."""
    found = [n for n in recorded(o) if not o.is_leaf(n)] if o.chance(0.8) else o.floats
    if found:
        o.add("{0}.grad_fn, {0}.retain_grad()", (o.choose(found),), makes=False)


def hook(o: Grower) -> None:
    """A hook registered that changes the gradient, or keeps what it sees; or one removed."""
    found = recorded(o) if o.chance(0.95) else o.floats
    found = [n for n in found if not o.steps[n].form.startswith("copy.copy(")]      # PyTorch may never call it there
    if o.handles and o.chance(0.25):
        o.add("{0}.remove()", (o.choose(o.handles),), makes=False)
    elif found:
        n = o.choose(found[-5:])
        if o.chance(0.4):
            kept = o.choose(o.logs) if o.logs and o.chance(0.5) else o.add("[]")
            assert kept is not None
            o.logs.append(kept)
            made = o.add(HOOK.format("lambda g: {1}.append(g.clone())"), (n, kept))
        else:
            made = o.add(HOOK.format(o.choose(HOOKS)), (n,))
        if made is not None:
            o.handles.append(made)


def user_function(o: Grower) -> None:
    """A function of a user's own."""
    n = o.pick()
    if n is None:
        return
    same = [m for m in o.floats if o[m].shape == o[n].shape]
    if o.chance(0.3):
        o.add("Product.apply({0}, {1})", (n, o.choose(same)), exact=True)
    elif o.chance(0.3) and o.gradient(n) is None:                          # which it would lose in PyTorch
        o.change("Doubled.apply({0})", (n,), exact=True, attempts=False)    # what it changes before it fails is open
    elif o.chance(0.15) and o.exact(n):
        o.add("Marked.apply({0})[0]", (n,), exact=True)
    else:
        form = o.choose(USER)
        o.add(form, (n,), exact="Tanh" not in form)


def outputs(o: Grower) -> list[int]:
    """One value on the tape or two, late ones more likely; rarely one that is not."""
    found = [n for n in recorded(o) if not o.is_leaf(n)] or recorded(o)
    if o.floats and o.chance(0.03):
        return [o.choose(o.floats)]
    if not found:
        return []
    return [o.choose(found[-4:]) if o.chance(0.8) else o.choose(found)] + ([o.choose(found)] if o.chance(0.2) else [])


def differentiate(o: Grower) -> None:
    """A backward into all leaves or into chosen inputs, or gradients as values; where PyTorch raises the program ends.

    PyTorch may use the memory of a cotangent as a gradient, and a later backward then adds to both: hence the copies,
    and no second backward where two gradients share memory.
    """
    ends = outputs(o)
    if not ends or o.gradients_share():
        return
    cotangents = [o.leaf(tuple(o[n].shape), requires_grad=False) for n in ends]
    wanted = recorded(o) if o.chance(0.97) else o.floats
    inputs = [o.choose(wanted) for _ in range(o.choose([1, 1, 2, 3]))] if wanted else []
    names = [f"{{{i}}}" for i in range(len(ends) + len(cotangents) + len(inputs))]
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
        if made is not None:
            for i, gradient in enumerate(o.names[f"v{made}"]):
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
        same = [m for m in o.floats if o[m].shape == o[n].shape and not o[m].requires_grad]
        if same:
            o.add(o.choose(["{0}.grad = {1}.clone()", "{0}.grad = {1}.detach() * 2"]), (n, o.choose(same)), makes=False)
    elif found:
        n = o.choose(found)
        form = o.choose(["{0}.grad = None", "{0}.grad.zero_()", "{0}.grad.mul_(2)", "{0}.grad += 1",
                         "{0}.grad = {0}.grad.clone()", "{0}.grad.detach_()"])
        if o.chance(0.3):
            o.add("{0}.grad.clone()" if o.chance(0.5) else "{0}.grad", (n,))
        else:
            o.add(form, (n,), makes=False)


def update(o: Grower) -> None:
    """Leaves changed by their gradients, by hand or by an optimizer."""
    found = [n for n in o.floats if o.is_leaf(n) and o[n].requires_grad and o.gradient(n) is not None]
    if not found:
        return
    form = o.choose(["T.optim.SGD([{0}], lr=0.5).step()", "T.optim.SGD([{0}], lr=0.5, momentum=0.5).step()",
                     "{0}.data -= 0.5 * {0}.grad", "{0}.data = {0}.data - {0}.grad", "{0}.detach().sub_({0}.grad)",
                     "{0}.data.sub_({0}.grad)", "{0}.sub_({0}.grad)", "{0} -= 0.5 * {0}.grad"])
    n = o.choose(found)
    if form.startswith("{0}.data ="):
        if not o.shared(n):
            o.add(form, (n,), makes=False)
        return
    with o.within(*["T.no_grad()"] * form.startswith(("{0}.sub_", "{0} -="))):
        o.change(form, (n,), exact=True)
