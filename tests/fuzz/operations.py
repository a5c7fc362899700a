"""Maps, reductions, joins, products and losses as steps of a random program.

Each function looks at the program so far and adds a step to it, or none.

A form is the text of a step, `{0}`, `{1}`, ... its sources, then its attributes (see `program.Step`).
"""

from __future__ import annotations

import math

from .grower import Grower

SMOOTH = [
    "{0}.tanh()", "{0}.sigmoid()", "{0}.sin()", "{0}.cos()", "{0} * 0.37", "{0} / 3", "({0} * {0} + 1).log()",
    "({0}.square() + 0.5).sqrt()", "({0}.square() + 1.0).rsqrt()", "({0}.square() + 1).reciprocal()",
    "1.0 / ({0}.square() + 0.5)", "({0} * {0}).log1p()", "T.nn.functional.softplus({0})", "{0}.tanh().exp()",
    "{0}.sin().expm1()", "{0}.tanh().tan()", "2 ** {0}.tanh()", "({0}.square() + 0.25) ** 0.7",
]
"""Maps of one value without a jump."""

PLAIN = ["-{0}", "{0} + 1.5", "0.5 - {0}", "{0} * 2", "{0} / 4", "{0}.square()", "{0} ** 3", "{0}.clone()",
         "{0}.detach()", "{0}.detach().clone()", "{0}.contiguous()", "{0} - 0.25", "{0} * 1", "{0} + 0", "{0} * {0}",
         "{0} + {0}"]
"""Maps that are exact on a grid. Not `x ** 1`, the derivative of whose derivative is recorded in PyTorch, as 0 x^-1."""

JUMPING = ["{0}.abs()", "{0}.relu()", "{0}.clamp(-0.5, 0.75)", "{0}.clamp(min=0.25)", "{0}.clamp(max=0.5)",
           "{0}.sign()", "{0}.floor()", "{0}.ceil()", "{0}.trunc()", "{0}.round()", "{0} % 0.75"]
"""Maps whose value or derivative jumps, exact on a grid too."""

TWO = ["{0} / ({1}.square() + 1)", "{0} / (1.5 + {1}.tanh())", "({0}.square() + 0.5) ** {1}.tanh()"]
"""Maps of two values without a jump."""

TWO_PLAIN = ["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} * {1}", "{1} - {0}"]
"""Those that are exact on a grid. Not `add` with `alpha`, which is recorded here as a product: that is not to be walked
twice, where PyTorch's can be."""

TWO_JUMPING = [
    "{0}.maximum({1})", "{0}.minimum({1})", "T.where({0} > {1}, {0}, {1} * 0.5)", "T.where({0} == {1}, {0}, {1})",
    "T.where({0} < 0.25, {1}, 0.0)", "{0} * ({0} >= {1})", "{0}.clamp({1}, {1} + 0.5)"]
"""Those whose value or derivative jumps."""

COMPARISONS = ["{0} > {1}", "{0} <= {1}", "{0} == {1}", "{0} != {1}", "{0} >= 0.5", "{0} < 0"]


def unary(o: Grower) -> None:
    """A map of one value."""
    if o.chance(0.35) and (n := o.pick(exact=True)) is not None:
        o.add(o.choose(JUMPING), (n,), exact=True)
    elif (n := o.pick()) is not None:
        smooth = o.chance(0.6)
        o.add(o.choose(SMOOTH if smooth else PLAIN), (n,), exact=not smooth)


def binary(o: Grower) -> None:
    """A map of two values that broadcast."""
    n = o.pick()
    if n is None:
        return
    m = o.beside(n)
    if o.exact(n) and o.exact(m) and o.chance(0.4):
        o.add(o.choose(TWO_JUMPING), (n, m), exact=True)
    else:
        plain = o.chance(0.7)
        o.add(o.choose(TWO_PLAIN if plain else TWO), (n, m), exact=plain)


def compare(o: Grower) -> None:
    """A comparison, which makes a mask."""
    n = o.pick(exact=True)
    if n is None:
        return
    m = o.beside(n)
    if o.exact(m):
        form = o.choose(COMPARISONS)
        o.add(form, (n, m) if "{1}" in form else (n,))


def masked(o: Grower) -> None:
    """Something with a mask: a choice, a filling, a picking, a count."""
    if not o.masks:
        compare(o)
        return
    mask = o.choose(o.masks)
    shape = tuple(o[mask].shape)
    found = [n for n in o.floats if o.fits(tuple(o[n].shape), shape)]
    n = o.choose(found) if found and o.chance(0.8) else o.leaf(shape)
    m = o.beside(n)
    same = [k for k in o.masks if tuple(o[k].shape) == shape]
    form, sources, exact = o.choose([
        ("T.where({0}, {1}, {2})", (mask, n, m), True), ("T.where({0}, {1}, 0.5)", (mask, n), True),
        ("T.where({0}, -1.0, {1})", (mask, n), True), ("{1}.masked_fill({0}, 0.5)", (mask, n), True),
        ("~{0}", (mask,), True), ("{0} & {1}", (mask, o.choose(same)), True), ("{0}.to(dtype)", (mask,), True),
        ("{0} | {1}", (mask, o.choose(same)), True), ("{1} * {0}", (mask, n), True),
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
        few = o[n].ndim and o[n].numel() < 10           # a long product is of any size, and as inexact as it is long
        form = o.choose(["{0}.sum()", "{0}.sum()", "{0}.mean()", "{0}.prod()" if few else "{0}.sum()"])
        o.add(form, (n,), exact=form != "{0}.mean()")
        return
    dims, keep = axes(o, n), o.chance(0.5)
    elements = count(o, n, dims)
    if o.exact(n) and o.chance(0.4):
        if o.chance(0.4):
            form = o.choose(["{0}.max({1}, keepdim={2}).values", "{0}.min({1}, keepdim={2}).values",
                                    "{0}.argmax({1}, keepdim={2}).to(dtype)", "{0}.argmin({1}, keepdim={2})",
                                    "{0}.max({1}, keepdim={2})[1].to(dtype)"])
            o.add(form, (n,), (dims[0], keep), exact=True)
            return
        form = o.choose(["{0}.amax({1}, keepdim={2})", "{0}.amin({1}, keepdim={2})"])
        o.add(form, (n,), (dims, keep), exact=True)
    elif o.chance(0.35):
        o.add("{0}.sum({1}, keepdim={2})", (n,), (dims if o.chance(0.8) else dims[0], keep), exact=True)
    elif o.chance(0.3):
        if elements:
            o.add("{0}.mean({1}, keepdim={2})", (n,), (dims, keep))
    elif o.chance(0.4):
        if elements > 1:
            o.add("{0}.var({1}, correction={2}, keepdim={3})", (n,), (dims, o.choose([0, 1]), keep))
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
    form = o.choose(["{0}.softmax({1})", "{0}.softmax({1})", "{0}.log_softmax({1})",
                            "{0} - {0}.mean({1}, keepdim=True)",
                            "({0} - {0}.mean({1}, keepdim=True)) / ({0}.var({1}, correction=0, keepdim=True) + 0.5)",
                            "{0} / ({0}.square().sum({1}, keepdim=True) + 1)"])
    o.add(form, (n,), (axes(o, n)[0],))


def join(o: Grower) -> None:
    """Values joined along an axis, an old one or a new one. PyTorch has rules of its own for vectors of no elements."""
    n = o.pick(least=1)
    if n is None or o[n].shape == (0,):
        return
    shape, dim = list(o[n].shape), o.random.randrange(o[n].ndim)
    like = [m for m in o.floats if o[m].ndim == len(shape) and o[m].shape != (0,)
            and all(a == b or d == dim for d, (a, b) in enumerate(zip(shape, o[m].shape, strict=True)))]
    size = o.random.randint(len(shape) == 1, 3)
    m = o.choose(like) if o.chance(0.6) else o.leaf((*shape[:dim], size, *shape[dim + 1:]))
    if o.chance(0.3) and o[n].shape == o[m].shape:
        o.add("T.stack([{0}, {1}], {2})", (n, m), (o.random.randint(-1 - len(shape), len(shape)),), exact=True)
    elif o.chance(0.3):
        o.add("T.cat([{0}, {1}, {0}], {2})", (n, m), (dim,), exact=True)
    else:
        o.add("T.cat([{0}, {1}], {2})", (n, m), (dim - len(shape),), exact=True)


# ------------------------------------------------------------------------------------------------------------- products
def product(o: Grower) -> None:
    """A matrix product: of vectors, matrices and batches that broadcast.

    Of a batch PyTorch may keep a copy for the derivative, and so not notice that an operand is changed, where this
    package raises: operands of those are left as they are.
    """
    n = o.pick(least=1)
    if n is None:
        return
    shape, k = tuple(o[n].shape), o.size()
    batch = tuple(1 if o.chance(0.3) else size for size in shape[:-2])[o.random.randint(0, max(len(shape) - 2, 0)):]
    if len(shape) >= 2 and o.chance(0.15):
        m, form = n, o.choose(["{0} @ {0}.mT", "{0}.mT @ {0}"])
    elif len(shape) == 1:
        m, form = o.leaf(o.choose([(*shape,), (*shape, k), (o.random.randint(1, 3), *shape, k)])), "{0} @ {1}"
    elif o.chance(0.5):
        m, form = o.leaf(o.choose([(shape[-1],), (shape[-1], k), (*batch, shape[-1], k)])), "{0} @ {1}"
    elif o.chance(0.7):
        m, form = o.leaf(o.choose([(shape[-2],), (k, shape[-2]), (*batch, k, shape[-2])])), "{1} @ {0}"
    else:
        m, form = o.leaf((k, shape[-1])), "T.nn.functional.linear({0}, {1}, {2})"
    sources = (n, m, o.leaf((k,))) if "{2}" in form else (n, m)
    if o.add(form, sources, exact=True) is not None and max(o[n].ndim, o[m].ndim) > 2:
        o.frozen |= {o.memory(n), o.memory(m)}


def loss(o: Grower) -> None:
    """A loss of a value and a target.

    Of cross entropy PyTorch keeps the logarithms of probabilities, this package what they were computed from: that is
    left as it is.
    """
    n = o.pick(least=1)
    if n is None or not o[n].numel():
        return
    shape = tuple(o[n].shape)
    reduction = o.choose(["mean", "sum", "none"])
    if len(shape) == 2 and o.chance(0.6):
        classes = [o.random.randrange(shape[1]) for _ in range(shape[0])]
        o.add("T.nn.functional.cross_entropy({0}, T.tensor({1}), reduction={2})", (n,), (classes, reduction))
        o.frozen.add(o.memory(n))
        return
    m = o.leaf(shape)
    form = o.choose(["T.nn.functional.mse_loss({0}, {1}, reduction={2})",
                            "T.nn.functional.binary_cross_entropy_with_logits({0}, {1}.sigmoid(), reduction={2})"])
    o.add(form, (n, m), (reduction,))
