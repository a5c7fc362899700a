"""Views of values and elements picked from them, as steps of a random program."""

from __future__ import annotations

from typing import Any

from .grower import Grower, forms, picking
from .operations import axes
from .program import Index, Sizes

OF_POINTS = forms("x.unsqueeze(0); x.view(1, 1); x.expand(3); x.reshape(-1)")


@picking
def view(o: Grower, n: int) -> None:
    """A view of a value, or now and then a copy that moves elements."""
    if o[n].ndim:
        o.choose([permuted, permuted, reshaped, reshaped, expanded, sliced, sliced, sliced, picked])(o, n)
    else:
        o.add(o.choose(OF_POINTS), (n,), exact=True)


def permuted(o: Grower, n: int) -> None:
    """Axes in another order, reversed, or of size 1."""
    ndim = o[n].ndim
    dims = tuple(o.random.sample(range(ndim), ndim))
    form, attributes = o.choose([
        ("x.permute(y)", (tuple(d - ndim if o.chance(0.3) else d for d in dims),)), ("x.flip(y)", (axes(o, n),)),
        ("x.transpose(y, z)", (dims[0], dims[-1])), ("x.unsqueeze(y)", (o.random.randint(-1 - ndim, ndim),)),
        ("x.squeeze(y)", (dims[0],)), ("x.squeeze()", ()), ("x.movedim(y, z)", (dims[0], dims[-1]))])
    o.add(form, (n,), attributes, exact=True)


def reshaped(o: Grower, n: int) -> None:
    """The same elements in another shape.

    Whether `reshape` gives a view or a copy of a value that is not contiguous is left open by PyTorch's documentation:
    a copy is made of it, so that nothing depends on that.
    """
    rest, shape = o[n].numel(), []
    if not rest:
        o.add("x.reshape(y)", (n,), (Sizes((*o[n].shape, 3)[::-1]),), exact=True)
        return
    while rest > 1:
        shape.append(o.choose([d for d in range(2, rest + 1) if rest % d == 0]))
        rest //= shape[-1]
    if o.chance(0.4):
        shape.insert(o.random.randint(0, len(shape)), 1)
    if shape and o.chance(0.4):
        shape[o.random.randrange(len(shape))] = -1
    o.add("x.view(y)" if o[n].is_contiguous() else "x.reshape(y).clone()", (n,), (Sizes(shape),), exact=True)


def expanded(o: Grower, n: int) -> None:
    shape = [o.random.randint(2, 3) if size == 1 and o.chance(0.7) else -1 if o.chance(0.3) else size
             for size in o[n].shape]
    if o.chance(0.4):
        shape.insert(0, o.random.randint(1, 3))
    o.add("x.expand(y)", (n,), (Sizes(shape),), exact=True)


def basic(o: Grower, shape: tuple[int, ...]) -> Index:
    """An index of slices, integers, None and an ellipsis, one that a value of this shape takes."""
    items: list[Any] = []
    for size in shape[:o.random.randint(1, len(shape))]:
        start = o.random.randint(0, size)
        if size and o.chance(0.25):
            items.append(o.random.randint(-size, size - 1))
        else:
            stop = o.choose([None, None, size - start // 2, -1])
            items.append(slice(o.choose([None, start, start // 2]), stop, o.choose([None, None, 2, 3])))
    if o.chance(0.15):
        items.insert(o.random.randint(0, len(items)), None)
    if len(items) <= len(shape) and o.chance(0.2):
        items.append(Ellipsis)
    return Index(items)


def sliced(o: Grower, n: int) -> None:
    """A part of a value: a view.

    PyTorch refuses to read one of several views made together once their base has changed, so of those a copy is made.
    """
    shape = o.shape_of(n)
    if o.chance(0.6):
        o.add("x[y]", (n,), (basic(o, shape),), exact=True)
        return
    dim = o.random.randrange(len(shape))
    if size := shape[dim]:
        start = o.random.randrange(size)
        form, attributes = o.choose([
            ("x.narrow(y, z, w)", (dim, start, o.random.randint(1, size - start))),
            ("x.select(y, z)", (dim, start)), ("x.unbind(y)[z].clone()", (dim, start)),
            ("x.chunk(y, z)[0].clone()", (o.random.randint(1, 3), dim)),
            ("x.split(y, z)[-1].clone()", (o.random.randint(1, size), dim))])
        o.add(form, (n,), attributes, exact=True)


def advanced(o: Grower, shape: tuple[int, ...], repeats: bool) -> Index | None:
    """An index with a list of integers, or with two of them."""
    dims = [d for d, size in enumerate(shape) if size]
    if not dims:
        return None
    chosen = o.random.sample(dims, min(len(dims), o.choose([1, 1, 1, 2])))
    length = o.random.randint(1, 4) if repeats else o.random.randint(1, min(3, *[shape[d] for d in chosen]))
    items: list[Any] = [slice(None)] * (max(chosen) + 1)
    for d in chosen:
        items[d] = ([o.random.randrange(-shape[d], shape[d]) for _ in range(length)] if repeats else
                    o.random.sample(range(shape[d]), length))
    return Index(items)


def picked(o: Grower, n: int) -> None:
    """Elements picked by lists of integers: a copy."""
    if (index := advanced(o, o.shape_of(n), repeats=True)) is not None:
        o.add("x[y]", (n,), (index,), exact=True)
