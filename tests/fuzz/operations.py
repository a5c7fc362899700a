"""Maps, reductions, joins, products and losses as steps of a random program.

Each function looks at the program so far and adds a step to it, or none. `grower.forms` says how forms are written.
"""

from __future__ import annotations

import math

from .grower import Grower, forms, picking

SMOOTH = forms("""
    x.tanh(); x.sigmoid(); x.sin(); x.cos(); x * 0.37; x / 3; (x * x + 1).log(); (x.square() + 0.5).sqrt();
    (x.square() + 1.0).rsqrt(); (x.square() + 1).reciprocal(); 1.0 / (x.square() + 0.5); (x * x).log1p();
    T.nn.functional.softplus(x); x.tanh().exp(); x.sin().expm1(); x.tanh().tan(); 2 ** x.tanh();
    (x.square() + 0.25) ** 0.7""")
"""Maps of one value without a jump."""

PLAIN = forms("""
    -x; x + 1.5; 0.5 - x; x * 2; x / 4; x.square(); x ** 3; x.clone(); x.detach(); x.detach().clone(); x.contiguous();
    x - 0.25; x * 1; x + 0; x * x; x + x""")
"""Maps that are exact on a grid. Not `x ** 1`, the derivative of whose derivative is recorded in PyTorch, as 0 x^-1."""

JUMPING = forms("""
    x.abs(); x.relu(); x.clamp(-0.5, 0.75); x.clamp(min=0.25); x.clamp(max=0.5); x.sign(); x.floor(); x.ceil();
    x.trunc(); x.round(); x % 0.75""")
"""Maps whose value or derivative jumps, exact on a grid too."""

TWO = forms("x / (y.square() + 1); x / (1.5 + y.tanh()); (x.square() + 0.5) ** y.tanh()")
"""Maps of two values without a jump."""

TWO_PLAIN = forms("x + y; x - y; x * y; x * y; y - x")
"""Those that are exact on a grid. Not `add` with `alpha`, which is recorded here as a product: that is not to be walked
twice, where PyTorch's can be."""

TWO_JUMPING = forms("""
    x.maximum(y); x.minimum(y); T.where(x > y, x, y * 0.5); T.where(x == y, x, y); T.where(x < 0.25, y, 0.0);
    x * (x >= y); x.clamp(y, y + 0.5)""")
"""Those whose value or derivative jumps."""

COMPARISONS = forms("x > y; x <= y; x == y; x != y; x >= 0.5; x < 0")
OF_MASKS = forms("""
    T.where(x, y, z); T.where(x, y, 0.5); T.where(x, -1.0, y); y.masked_fill(x, 0.5); ~x; x & y; x.to(dtype); x | y;
    y * x; y[x]; x.sum().to(dtype); y[~x]; x.any(); x.all(); y.masked_select(x)""")
"""Of a mask, and two values or another mask of its shape."""


def unary(o: Grower) -> None:
    if o.chance(0.35) and (n := o.pick(exact=True)) is not None:
        o.add(o.choose(JUMPING), (n,), exact=True)
    elif (n := o.pick()) is not None:
        smooth = o.chance(0.6)
        o.add(o.choose(SMOOTH if smooth else PLAIN), (n,), exact=not smooth)


@picking
def binary(o: Grower, n: int) -> None:
    m = o.beside(n)
    if o.exact(n) and o.exact(m) and o.chance(0.4):
        o.add(o.choose(TWO_JUMPING), (n, m), exact=True)
    else:
        plain = o.chance(0.7)
        o.add(o.choose(TWO_PLAIN if plain else TWO), (n, m), exact=plain)


def compare(o: Grower) -> None:
    if (n := o.pick(exact=True)) is not None and o.exact(m := o.beside(n)):
        o.add(o.choose(COMPARISONS), (n, m))


def masked(o: Grower) -> None:
    """Something with a mask: a choice, a filling, a picking, a count."""
    if not o.masks:
        return compare(o)
    mask = o.choose(o.masks)
    shape = o.shape_of(mask)
    found = [n for n in o.floats if o.fits(o.shape_of(n), shape)]
    n = o.choose(found) if found and o.chance(0.8) else o.leaf(shape)
    m = o.beside(n)
    same = [k for k in o.masks if o.shape_of(k) == shape]
    others = {"&": o.choose(same), "|": o.choose(same)}
    form = o.choose(OF_MASKS)
    o.add(form, (mask, next((k for sign, k in others.items() if sign in form), n), m), exact=True)


def axes(o: Grower, n: int) -> tuple[int, ...]:
    """Some axes of a value, at least one, some counted from the end."""
    ndim = o[n].ndim
    chosen = o.random.sample(range(ndim), o.random.randint(1, ndim))
    return tuple(d - ndim if o.chance(0.4) else d for d in chosen)


WHOLE = forms("x.sum(); x.sum(); x.mean(); x.prod()")
PLACES = forms("""
    x.max(y, keepdim=z).values; x.min(y, keepdim=z).values; x.argmax(y, keepdim=z).to(dtype); x.argmin(y, keepdim=z);
    x.max(y, keepdim=z)[1].to(dtype)""")
EXTREMES = forms("x.amax(y, keepdim=z); x.amin(y, keepdim=z)")


@picking
def fold(o: Grower, n: int) -> None:
    """A reduction over some axes. A long product is of any size, and as inexact as it is long."""
    if not o[n].ndim or o.chance(0.15):
        form = o.choose(WHOLE if o[n].ndim and o[n].numel() < 10 else [*WHOLE[:3], WHOLE[0]])
        o.add(form, (n,), exact="mean" not in form)
        return
    dims, keep = axes(o, n), o.chance(0.5)
    elements = math.prod(o[n].shape[d] for d in dims)
    if o.exact(n) and o.chance(0.4):
        one = o.chance(0.4)
        o.add(o.choose(PLACES if one else EXTREMES), (n,), (dims[0] if one else dims, keep), exact=True)
    elif o.chance(0.35):
        o.add("x.sum(y, keepdim=z)", (n,), (dims if o.chance(0.8) else dims[0], keep), exact=True)
    elif o.chance(0.3):
        if elements:
            o.add("x.mean(y, keepdim=z)", (n,), (dims, keep))
    elif o.chance(0.4):
        if elements > 1:
            o.add("x.var(y, correction=z, keepdim=w)", (n,), (dims, o.choose([0, 1]), keep))
    elif o.chance(0.5):
        if elements:
            o.add("x.logsumexp(y, keepdim=z)", (n,), (dims, keep))
    elif o[n].shape[dims[0]] < 10:
        o.add("x.prod(y, keepdim=z)", (n,), (dims[0], keep), exact=True)


NORMALISED = forms("""
    x.softmax(y); x.softmax(y); x.log_softmax(y); x - x.mean(y, keepdim=True);
    (x - x.mean(y, keepdim=True)) / (x.var(y, correction=0, keepdim=True) + 0.5);
    x / (x.square().sum(y, keepdim=True) + 1)""")


@picking(least=1)
def normalise(o: Grower, n: int) -> None:
    """A softmax, or a deviation from the mean."""
    if o[n].numel():
        o.add(o.choose(NORMALISED), (n,), (axes(o, n)[0],))


@picking(least=1)
def join(o: Grower, n: int) -> None:
    """Values joined along an axis, an old one or a new one. PyTorch has rules of its own for vectors of no elements."""
    if o[n].shape == (0,):
        return
    shape, dim = o.shape_of(n), o.random.randrange(o[n].ndim)
    like = [m for m in o.floats if o[m].ndim == len(shape) and o[m].shape != (0,)
            and all(a == b or d == dim for d, (a, b) in enumerate(zip(shape, o[m].shape, strict=True)))]
    size = o.random.randint(len(shape) == 1, 3)
    m = o.choose(like) if o.chance(0.6) else o.leaf((*shape[:dim], size, *shape[dim + 1:]))
    if o.chance(0.3) and o[n].shape == o[m].shape:
        o.add("T.stack([x, y], z)", (n, m), (o.random.randint(-1 - len(shape), len(shape)),), exact=True)
    elif o.chance(0.3):
        o.add("T.cat([x, y, x], z)", (n, m), (dim,), exact=True)
    else:
        o.add("T.cat([x, y], z)", (n, m), (dim - len(shape),), exact=True)


@picking(least=1)
def product(o: Grower, n: int) -> None:
    """A matrix product: of vectors, matrices and batches that broadcast.

    Of a batch PyTorch may keep a copy for the derivative, and so not notice that an operand is changed, where this
    package raises: operands of those are left as they are.
    """
    shape, k = o.shape_of(n), o.size()
    batch = tuple(1 if o.chance(0.3) else size for size in shape[:-2])[o.random.randint(0, max(len(shape) - 2, 0)):]
    if len(shape) >= 2 and o.chance(0.15):
        m, form = n, o.choose(["x @ x.mT", "x.mT @ x"])
    elif len(shape) == 1:
        m, form = o.leaf(o.choose([shape, (*shape, k), (o.random.randint(1, 3), *shape, k)])), "x @ y"
    elif o.chance(0.5):
        m, form = o.leaf(o.choose([(shape[-1],), (shape[-1], k), (*batch, shape[-1], k)])), "x @ y"
    elif o.chance(0.7):
        m, form = o.leaf(o.choose([(shape[-2],), (k, shape[-2]), (*batch, k, shape[-2])])), "y @ x"
    else:
        m, form = o.leaf((k, shape[-1])), "T.nn.functional.linear(x, y, z)"
    sources = (n, m, o.leaf((k,))) if "linear" in form else (n, m)
    if o.add(form, sources, exact=True) is not None and max(o[n].ndim, o[m].ndim) > 2:
        o.frozen |= {o.memory(n), o.memory(m)}


OF_TARGETS = forms("T.nn.functional.mse_loss(x, y, reduction=z); "
                   "T.nn.functional.binary_cross_entropy_with_logits(x, y.sigmoid(), reduction=z)")


@picking(least=1)
def loss(o: Grower, n: int) -> None:
    """A loss of a value and a target.

    Of cross entropy PyTorch keeps the logarithms of probabilities, this package what they were computed from: that is
    left as it is.
    """
    if not o[n].numel():
        return
    shape, reduction = o.shape_of(n), o.choose(["mean", "sum", "none"])
    if len(shape) == 2 and o.chance(0.6):
        classes = [o.random.randrange(shape[1]) for _ in range(shape[0])]
        o.add("T.nn.functional.cross_entropy(x, T.tensor(y), reduction=z)", (n,), (classes, reduction))
        o.frozen.add(o.memory(n))
    else:
        m = o.leaf(shape)
        o.add(o.choose(OF_TARGETS), (n, m), (reduction,))
