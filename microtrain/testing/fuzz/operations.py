"""What a random program is made of: each growth looks at the program so far and adds a step to it, or none.

A form is the text of a step, `{0}`, `{1}`, ... its sources, then its attributes (see `program.Step`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .growth import Grower
from .program import Index, Sizes, Step

SMOOTH = [
    "{0}.tanh()", "{0}.sigmoid()", "{0}.sin()", "{0}.cos()", "{0} * 0.37", "{0} / 3", "({0} * {0} + 1).log()",
    "({0}.square() + 0.5).sqrt()", "({0}.square() + 1.0).rsqrt()", "({0}.square() + 1).reciprocal()",
    "1.0 / ({0}.square() + 0.5)", "({0} * {0}).log1p()", "T.nn.functional.softplus({0})", "{0}.tanh().exp()",
    "{0}.sin().expm1()", "{0}.tanh().tan()", "2 ** {0}.tanh()", "({0}.square() + 0.25) ** 0.7",
]
"""Maps of one value without a jump."""

PLAIN = ["-{0}", "{0} + 1.5", "0.5 - {0}", "{0} * 2", "{0} / 4", "{0}.square()", "{0} ** 3", "{0}.clone()", "{0}.detach()",
         "{0}.detach().clone()", "{0}.contiguous()", "{0} - 0.25", "{0} * 1", "{0} + 0", "{0} * {0}",
         "{0} + {0}"]
"""Maps that are exact on a grid. Not `x ** 1`, the derivative of whose derivative is recorded in PyTorch, as 0 x^-1."""

JUMPING = ["{0}.abs()", "{0}.relu()", "{0}.clamp(-0.5, 0.75)", "{0}.clamp(min=0.25)", "{0}.clamp(max=0.5)", "{0}.sign()",
           "{0}.floor()", "{0}.ceil()", "{0}.trunc()", "{0}.round()", "{0} % 0.75"]
"""Maps whose value or derivative jumps, exact on a grid too."""

TWO = ["{0} / ({1}.square() + 1)", "{0} / (1.5 + {1}.tanh())", "({0}.square() + 0.5) ** {1}.tanh()"]
"""Maps of two values without a jump."""

TWO_PLAIN = ["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} * {1}", "{1} - {0}"]
"""Those that are exact on a grid. Not `add` with `alpha`, which is recorded here as a product: that is not to be walked
twice, where PyTorch's can be."""

TWO_JUMPING = ["{0}.maximum({1})", "{0}.minimum({1})", "T.where({0} > {1}, {0}, {1} * 0.5)", "T.where({0} == {1}, {0}, {1})",
               "T.where({0} < 0.25, {1}, 0.0)", "{0} * ({0} >= {1})", "{0}.clamp({1}, {1} + 0.5)"]
"""Those whose value or derivative jumps."""

COMPARISONS = ["{0} > {1}", "{0} <= {1}", "{0} == {1}", "{0} != {1}", "{0} >= 0.5", "{0} < 0"]


def unary(o: Grower) -> None:
    """A map of one value."""
    if o.chance(0.35) and (n := o.pick(exact=True)) is not None:
        o.add(o.random.choice(JUMPING), (n,), exact=True)
    elif (n := o.pick()) is not None:
        smooth = o.chance(0.6)
        o.add(o.random.choice(SMOOTH if smooth else PLAIN), (n,), exact=not smooth)


def binary(o: Grower) -> None:
    """A map of two values that broadcast."""
    n = o.pick()
    if n is None:
        return
    m = o.beside(n)
    if o.exact(n) and o.exact(m) and o.chance(0.4):
        o.add(o.random.choice(TWO_JUMPING), (n, m), exact=True)
    else:
        plain = o.chance(0.7)
        o.add(o.random.choice(TWO_PLAIN if plain else TWO), (n, m), exact=plain)


def compare(o: Grower) -> None:
    """A comparison, which makes a mask."""
    n = o.pick(exact=True)
    if n is None:
        return
    m = o.beside(n)
    if o.exact(m):
        form = o.random.choice(COMPARISONS)
        o.add(form, (n, m) if "{1}" in form else (n,))


def masked(o: Grower) -> None:
    """Something with a mask: a choice, a filling, a picking, a count."""
    if not o.masks:
        compare(o)
        return
    mask = o.random.choice(o.masks)
    shape = tuple(o[mask].shape)
    found = [n for n in o.floats if o.fits(tuple(o[n].shape), shape)]
    n = o.random.choice(found) if found and o.chance(0.8) else o.leaf(shape)
    m = o.beside(n)
    same = [k for k in o.masks if tuple(o[k].shape) == shape]
    form, sources, exact = o.random.choice([
        ("T.where({0}, {1}, {2})", (mask, n, m), True), ("T.where({0}, {1}, 0.5)", (mask, n), True),
        ("T.where({0}, -1.0, {1})", (mask, n), True), ("{1}.masked_fill({0}, 0.5)", (mask, n), True),
        ("~{0}", (mask,), True), ("{0} & {1}", (mask, o.random.choice(same)), True), ("{0}.to(dtype)", (mask,), True),
        ("{0} | {1}", (mask, o.random.choice(same)), True), ("{1} * {0}", (mask, n), True),
        ("{1}[{0}]", (mask, n), True), ("{0}.sum().to(dtype)", (mask,), True), ("{1}[~{0}]", (mask, n), True),
        ("{0}.any()", (mask,), True), ("{0}.all()", (mask,), True), ("{1}.masked_select({0})", (mask, n), True)])
    o.add(form, sources, exact=exact)


def axes(o: Grower, n: int) -> tuple[int, ...]:
    """Some axes of a value, at least one, some counted from the end."""
    ndim = o[n].ndim
    chosen = o.random.sample(range(ndim), o.random.randint(1, ndim))
    return tuple(d - ndim if o.chance(0.4) else d for d in chosen)


def count(o: Grower, n: int, dims: tuple[int, ...]) -> int:
    """The number of elements over which a reduction runs."""
    return math.prod(o[n].shape[d] for d in dims)


def fold(o: Grower) -> None:
    """A reduction over some axes."""
    n = o.pick()
    if n is None:
        return
    if not o[n].ndim or o.chance(0.15):
        form = o.random.choice(["{0}.sum()", "{0}.sum()", "{0}.mean()", "{0}.prod()" if o[n].ndim else "{0}.sum()"])
        o.add(form, (n,), exact=form != "{0}.mean()")
        return
    dims, keep = axes(o, n), o.chance(0.5)
    elements = count(o, n, dims)
    if o.exact(n) and o.chance(0.4):
        if o.chance(0.4):
            form = o.random.choice(["{0}.max({1}, keepdim={2}).values", "{0}.min({1}, keepdim={2}).values",
                                    "{0}.argmax({1}, keepdim={2}).to(dtype)", "{0}.argmin({1}, keepdim={2})",
                                    "{0}.max({1}, keepdim={2})[1].to(dtype)"])
            o.add(form, (n,), (dims[0], keep), exact=True)
            return
        form = o.random.choice(["{0}.amax({1}, keepdim={2})", "{0}.amin({1}, keepdim={2})"])
        o.add(form, (n,), (dims, keep), exact=True)
    elif o.chance(0.35):
        o.add("{0}.sum({1}, keepdim={2})", (n,), (dims if o.chance(0.8) else dims[0], keep), exact=True)
    elif o.chance(0.3):
        if elements:
            o.add("{0}.mean({1}, keepdim={2})", (n,), (dims, keep))
    elif o.chance(0.4):
        if elements > 1:
            o.add("{0}.var({1}, correction={2}, keepdim={3})", (n,), (dims, o.random.choice([0, 1]), keep))
    elif o.chance(0.5):
        if elements:
            o.add("{0}.logsumexp({1}, keepdim={2})", (n,), (dims, keep))
    elif o[n].shape[dims[0]] < 10:
        o.add("{0}.prod({1}, keepdim={2})", (n,), (dims[0], keep), exact=True)


def normalise(o: Grower) -> None:
    """A softmax, or a deviation from the mean."""
    n = o.pick(least=1)
    if n is None or not o[n].numel():
        return
    form = o.random.choice(["{0}.softmax({1})", "{0}.softmax({1})", "{0}.log_softmax({1})",
                            "{0} - {0}.mean({1}, keepdim=True)",
                            "({0} - {0}.mean({1}, keepdim=True)) * ({0}.var({1}, correction=0, keepdim=True) + 0.5).rsqrt()",
                            "{0} / ({0}.square().sum({1}, keepdim=True) + 1)"])
    o.add(form, (n,), (axes(o, n)[0],))


# ---------------------------------------------------------------------------------------------------------------- views
def view(o: Grower) -> None:
    """A view of a value, or now and then a copy that moves elements."""
    n = o.pick()
    if n is None:
        return
    ndim = o[n].ndim
    if not ndim:
        o.add(o.random.choice(["{0}.unsqueeze(0)", "{0}.view(1, 1)", "{0}.expand(3)", "{0}.reshape(-1)"]), (n,), exact=True)
        return
    o.random.choice([permuted, permuted, reshaped, reshaped, expanded, sliced, sliced, sliced, picked])(o, n)


def permuted(o: Grower, n: int) -> None:
    """Axes in another order, reversed, or of size 1."""
    ndim = o[n].ndim
    dims = tuple(o.random.sample(range(ndim), ndim))
    form, attributes = o.random.choice([
        ("{0}.permute({1})", (tuple(d - ndim if o.chance(0.3) else d for d in dims),)), ("{0}.flip({1})", (axes(o, n),)),
        ("{0}.transpose({1}, {2})", (dims[0], dims[-1])), ("{0}.unsqueeze({1})", (o.random.randint(-1 - ndim, ndim),)),
        ("{0}.squeeze({1})", (dims[0],)), ("{0}.squeeze()", ()), ("{0}.movedim({1}, {2})", (dims[0], dims[-1]))])
    o.add(form, (n,), attributes, exact=True)


def reshaped(o: Grower, n: int) -> None:
    """The same elements in another shape.

    Whether `reshape` gives a view or a copy of a value that is not contiguous is left open by PyTorch's documentation:
    a copy is made of it, so that nothing depends on that.
    """
    rest, shape = o[n].numel(), []
    if not rest:
        o.add("{0}.reshape({1})", (n,), (Sizes((*o[n].shape, 3)[::-1]),), exact=True)
        return
    while rest > 1:
        divisors = [d for d in range(2, rest + 1) if rest % d == 0]
        shape.append(o.random.choice(divisors))
        rest //= shape[-1]
    if o.chance(0.4):
        shape.insert(o.random.randint(0, len(shape)), 1)
    if shape and o.chance(0.4):
        shape[o.random.randrange(len(shape))] = -1
    o.add("{0}.view({1})" if o[n].is_contiguous() else "{0}.reshape({1}).clone()", (n,), (Sizes(shape),), exact=True)


def expanded(o: Grower, n: int) -> None:
    """Axes repeated."""
    shape = [o.random.randint(2, 3) if size == 1 and o.chance(0.7) else -1 if o.chance(0.3) else size
             for size in o[n].shape]
    if o.chance(0.4):
        shape.insert(0, o.random.randint(1, 3))
    o.add("{0}.expand({1})", (n,), (Sizes(shape),), exact=True)


def basic(o: Grower, shape: tuple[int, ...]) -> Index:
    """An index of slices, integers, None and an ellipsis, one that a value of this shape takes."""
    items: list[Any] = []
    for size in shape[:o.random.randint(1, len(shape))]:
        start = o.random.randint(0, size)
        if size and o.chance(0.25):
            items.append(o.random.randint(-size, size - 1))
        else:
            items.append(slice(o.random.choice([None, start, start // 2]), o.random.choice([None, None, size - start // 2, -1]),
                               o.random.choice([None, None, 2, 3])))
    if o.chance(0.15):
        items.insert(o.random.randint(0, len(items)), None)
    if len(items) <= len(shape) and o.chance(0.2):
        items.append(Ellipsis)
    return Index(items)


def sliced(o: Grower, n: int) -> None:
    """A part of a value: a view.

    PyTorch refuses to read one of several views made together once their base has changed, so of those a copy is made.
    """
    shape = tuple(o[n].shape)
    if o.chance(0.6):
        o.add("{0}[{1}]", (n,), (basic(o, shape),), exact=True)
        return
    dim = o.random.randrange(len(shape))
    size = shape[dim]
    if not size:
        return
    start = o.random.randrange(size)
    form, attributes = o.random.choice([
        ("{0}.narrow({1}, {2}, {3})", (dim, start, o.random.randint(1, size - start))), ("{0}.select({1}, {2})", (dim, start)),
        ("{0}.chunk({1}, {2})[0].clone()", (o.random.randint(1, 3), dim)), ("{0}.unbind({1})[{2}].clone()", (dim, start)),
        ("{0}.split({1}, {2})[-1].clone()", (o.random.randint(1, size), dim))])
    o.add(form, (n,), attributes, exact=True)


def advanced(o: Grower, shape: tuple[int, ...], repeats: bool) -> Index | None:
    """An index with a list of integers, or with two of them."""
    dims = [d for d, size in enumerate(shape) if size]
    if not dims:
        return None
    chosen = o.random.sample(dims, min(len(dims), o.random.choice([1, 1, 1, 2])))
    length = o.random.randint(1, 4) if repeats else o.random.randint(1, min(3, *[shape[d] for d in chosen]))
    items: list[Any] = [slice(None)] * (max(chosen) + 1)
    for d in chosen:
        items[d] = ([o.random.randrange(-shape[d], shape[d]) for _ in range(length)] if repeats else
                    o.random.sample(range(shape[d]), length))
    return Index(items)


def picked(o: Grower, n: int) -> None:
    """Elements picked by lists of integers: a copy."""
    index = advanced(o, tuple(o[n].shape), repeats=True)
    if index is not None:
        o.add("{0}[{1}]", (n,), (index,), exact=True)


def join(o: Grower) -> None:
    """Values joined along an axis, an old one or a new one. PyTorch has rules of its own for vectors of no elements."""
    n = o.pick(least=1)
    if n is None or o[n].shape == (0,):
        return
    shape, dim = list(o[n].shape), o.random.randrange(o[n].ndim)
    like = [m for m in o.floats if o[m].ndim == len(shape) and o[m].shape != (0,)
            and all(a == b or d == dim for d, (a, b) in enumerate(zip(shape, o[m].shape, strict=True)))]
    m = o.random.choice(like) if o.chance(0.6) else o.leaf((*shape[:dim], o.random.randint(len(shape) == 1, 3), *shape[dim + 1:]))
    if o.chance(0.3) and o[n].shape == o[m].shape:
        o.add("T.stack([{0}, {1}], {2})", (n, m), (o.random.randint(-1 - len(shape), len(shape)),), exact=True)
    elif o.chance(0.3):
        o.add("T.cat([{0}, {1}, {0}], {2})", (n, m), (dim,), exact=True)
    else:
        o.add("T.cat([{0}, {1}], {2})", (n, m), (dim - len(shape),), exact=True)


# ------------------------------------------------------------------------------------------------------------- products
def product(o: Grower) -> None:
    """A matrix product: of vectors, matrices and batches that broadcast.

    Of a batch PyTorch may keep a copy for the derivative, and so not notice that an operand is changed, where this package
    raises: operands of those are left as they are.
    """
    n = o.pick(least=1)
    if n is None:
        return
    shape, k = tuple(o[n].shape), o.size()
    batch = tuple(1 if o.chance(0.3) else size for size in shape[:-2])[o.random.randint(0, max(len(shape) - 2, 0)):]
    if len(shape) >= 2 and o.chance(0.15):
        m, form = n, o.random.choice(["{0} @ {0}.mT", "{0}.mT @ {0}"])
    elif len(shape) == 1:
        m, form = o.leaf(o.random.choice([(*shape,), (*shape, k), (o.random.randint(1, 3), *shape, k)])), "{0} @ {1}"
    elif o.chance(0.5):
        m, form = o.leaf(o.random.choice([(shape[-1],), (shape[-1], k), (*batch, shape[-1], k)])), "{0} @ {1}"
    elif o.chance(0.7):
        m, form = o.leaf(o.random.choice([(shape[-2],), (k, shape[-2]), (*batch, k, shape[-2])])), "{1} @ {0}"
    else:
        m, form = o.leaf((k, shape[-1])), "T.nn.functional.linear({0}, {1}, {2})"
    sources = (n, m, o.leaf((k,))) if "{2}" in form else (n, m)
    if o.add(form, sources, exact=True) is not None and max(o[n].ndim, o[m].ndim) > 2:
        o.frozen |= {o.memory(n), o.memory(m)}


def loss(o: Grower) -> None:
    """A loss of a value and a target."""
    n = o.pick(least=1)
    if n is None or not o[n].numel():
        return
    shape = tuple(o[n].shape)
    reduction = o.random.choice(["mean", "sum", "none"])
    if len(shape) == 2 and o.chance(0.6):
        classes = [o.random.randrange(shape[1]) for _ in range(shape[0])]
        o.add("T.nn.functional.cross_entropy({0}, T.tensor({1}), reduction={2})", (n,), (classes, reduction))
        return
    m = o.leaf(shape)
    form = o.random.choice(["T.nn.functional.mse_loss({0}, {1}, reduction={2})",
                            "T.nn.functional.binary_cross_entropy_with_logits({0}, {1}.sigmoid(), reduction={2})"])
    o.add(form, (n, m), (reduction,))


# -------------------------------------------------------------------------------------------------------- in-place steps
def changeable(o: Grower) -> int | None:
    """A value that can be changed in place: a result that nothing may have kept, or a copy of some value."""
    found = [n for n in o.floats if not (o[n].is_leaf and o[n].requires_grad) and o[n].numel()]
    if found and o.chance(0.55):
        return o.random.choice(found)
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
    before = "with T.no_grad(): " if o.chance(0.1) else ""
    if o.chance(0.45):
        o.change(before + o.random.choice(IN_PLACE_TWO), (n, o.beside(n)), exact=True)
    elif o.exact(n) and o.chance(0.3):
        o.change(before + o.random.choice(IN_PLACE_JUMPING), (n,), exact=True)
    else:
        o.change(before + o.random.choice(IN_PLACE), (n,), exact=True)


def assign(o: Grower) -> None:
    """Part of a value set, by a view, a mask or lists of integers that name no element twice."""
    n = changeable(o)
    if n is None or not o[n].ndim:
        return
    shape = tuple(o[n].shape)
    same = [m for m in o.masks if tuple(o[m].shape) == shape]
    if same and o.chance(0.5):
        form = o.random.choice(["{0}[{1}] = 0.5", "{0}.masked_fill_({1}, 0.25)", "{0}[{1}] *= 2", "{0}[{1}] = {0}[{1}] + 1"])
        o.change(form, (n, o.random.choice(same)), exact=True)
        return
    index = basic(o, shape) if o.chance(0.65) else advanced(o, shape, repeats=False)
    if index is None:
        return
    part = tuple(o[n].detach()[tuple(index)].shape)
    found = [m for m in o.floats if o.fits(tuple(o[m].shape), part) and o[m].ndim <= len(part) and m != n
             and all(a in (1, b) for a, b in zip(tuple(o[m].shape)[::-1], part[::-1], strict=False))]
    if o.chance(0.35):
        o.change(o.random.choice(["{0}[{1}] = 0.25", "{0}[{1}] *= -2", "{0}[{1}] += 1"]), (n,), (index,), exact=True)
    else:
        m = o.random.choice(found) if found and o.chance(0.7) else o.leaf(part)
        form = o.random.choice(["{0}[{2}] = {1}", "{0}[{2}] = {1}", "{0}[{2}] += {1}", "{0}[{2}] *= {1}"])
        o.change(form, (n, m), (index,), exact=True)


# ------------------------------------------------------------------------------------------------- reading, differentiating
def read(o: Grower) -> None:
    """A value read in the middle, or dropped."""
    n = o.pick()
    if n is None:
        return
    if o.chance(0.4):
        o.add("{0}.tolist()", (n,))
    elif o[n].numel() == 1:
        o.add("{0}.item()", (n,))
    elif len(o.floats) > 2 and not o[n].is_leaf:
        o.add("del {0}", (n,), makes=False)
        o.forget(n)


def ends(o: Grower) -> list[int]:
    """One value that requires grad, or two, late ones more likely."""
    found = [n for n in o.floats if o[n].requires_grad and not o[n].is_leaf]
    if not found:
        return []
    chosen = [o.random.choice(found[-3:])]
    if len(found) > 1 and o.chance(0.4):
        chosen.append(o.random.choice(found))
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
        form = o.random.choice(["{0}.backward({1}.clone(), retain_graph={2})", "({0} * {1}).sum().backward(retain_graph={2})"])
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
          (*outputs, o.random.choice(inputs[:3] if o.chance(0.5) else inputs), cotangent))


def descend(o: Grower) -> None:
    """A leaf changed by its gradient, as an optimizer does; or the gradient taken as a value, or dropped."""
    found = [n for n in o.floats if o[n].is_leaf and o[n].requires_grad and o[n].grad is not None]
    if not found:
        return
    n = o.random.choice(found)
    if o.chance(0.6):
        form = o.random.choice(["with T.no_grad(): {0} -= 0.25 * {0}.grad", "with T.no_grad(): {0}.mul_(0.5)",
                                "with T.no_grad(): {0}.sub_({0}.grad)", "{0}.detach().mul_(0.5)"])
        o.change(form, (n,))
    elif o.chance(0.4):
        o.add("{0}.grad = None", (n,), makes=False)
    elif not o.gradients_share():
        o.add("{0}.grad", (n,))


TABLE: list[tuple[Callable[[Grower], None], float]] = [
    (unary, 5), (binary, 5), (compare, 1), (masked, 1.5), (fold, 3), (normalise, 1.2), (view, 6), (join, 1), (product, 1.5),
    (loss, 0.5), (change, 3), (assign, 2), (read, 1), (backward, 0.7), (derive, 0.6), (descend, 0.8)]
GROWTHS = [growth for growth, _ in TABLE]
WEIGHTS = [weight for _, weight in TABLE]
