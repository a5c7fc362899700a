"""Index arithmetic on symbols, with sizes known: what turns chains of views into one short address.

An `Index` is `const + sum of coefficient * digit`, where a digit is `(base // div) % mod` of a variable, of an index
loaded from memory, or of another Index. Coordinates that were split from a linear index are its digits, and adding them
up again with their strides gives back the index itself: a contiguous access stays recognisable as `i`.

Indices compare equal when they have the same terms. Bounds may be narrower than the terms say where a guard is known to
hold (inside a pad, say); outside the guard the value is never used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..graph.spec import Shape
from .program import Value


@dataclass(frozen=True)
class Var:
    """A run-time index 0, 1, ..., size-1 of a kernel."""

    name: str
    size: int


@dataclass(frozen=True)
class Loaded:
    """The element of an integer value at `coords`, used as an index 0, 1, ..., size-1."""

    value: Value
    coords: tuple[Index, ...]
    size: int


class Digit(NamedTuple):
    """(base // div) % mod."""

    base: Var | Loaded | Index
    div: int
    mod: int


def size_of(base: Var | Loaded | Index) -> int:
    """One more than the largest value of a base."""
    return base.high + 1 if isinstance(base, Index) else base.size


class Index:
    """const + sum of coefficient * digit, with inclusive bounds `low` and `high`."""

    __slots__ = ("_hash", "const", "high", "low", "terms")

    def __init__(self, terms: dict[Digit, int], const: int, low: int, high: int) -> None:
        self.terms, self.const, self.low, self.high = terms, const, low, high
        self._hash = hash((frozenset(terms.items()), const))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Index) and self._hash == other._hash
                                 and self.const == other.const and self.terms == other.terms)

    def __repr__(self) -> str:
        return text(self, repr)


def constant(value: int) -> Index:
    """A known index."""
    return Index({}, value, value, value)


ZERO = constant(0)


def variable(name: str, size: int) -> Index:
    """The Index of a kernel's variable; 0 where it can only be 0."""
    return of_base(Var(name, size))


def of_base(base: Var | Loaded) -> Index:
    """A whole base as an Index."""
    return bounded({Digit(base, 1, base.size): 1}, 0) if base.size > 1 else ZERO


def combine(pairs: Iterable[tuple[Index, int]], const: int = 0) -> Index:
    """The sum of factor * index over `pairs`, plus a constant."""
    terms: dict[Digit, int] = {}
    low = high = const
    for index, factor in pairs:
        const += index.const * factor
        ends = (index.low * factor, index.high * factor)
        low, high = low + min(ends), high + max(ends)
        for digit, coefficient in index.terms.items():
            terms[digit] = terms.get(digit, 0) + coefficient * factor
    if len(terms) > 1:
        terms = merged(terms)
    terms = {digit: c for digit, c in terms.items() if c}
    for digit, c in terms.items():
        if isinstance(digit.base, Index) and digit.div == 1 and digit.mod >= size_of(digit.base):
            del terms[digit]
            return narrowed(combine([(Index(terms, const, low, high), 1), (digit.base, c)]), low, high)
    return narrowed(bounded(terms, const), low, high)


def merged(terms: dict[Digit, int]) -> dict[Digit, int]:
    """Neighbouring digits of one base joined: c*((x // a) % m) + c*m*((x // (a*m)) % n) = c*((x // a) % (m*n))."""
    result = dict(terms)
    for lower, c in sorted(terms.items(), key=lambda item: item[0].div):
        while lower in result:
            for upper, c2 in result.items():
                if upper.div == lower.div * lower.mod and c2 == c * lower.mod and upper.base == lower.base:
                    del result[lower], result[upper]
                    lower = Digit(lower.base, lower.div, lower.mod * upper.mod)
                    result[lower] = result.get(lower, 0) + c
                    break
            else:
                break
    return result


def bounded(terms: dict[Digit, int], const: int) -> Index:
    """An Index with the bounds that its terms give."""
    low = high = const
    for digit, c in terms.items():
        if c > 0:
            high += c * (digit.mod - 1)
        else:
            low += c * (digit.mod - 1)
    return Index(terms, const, low, high)


def narrowed(index: Index, low: int, high: int) -> Index:
    """The same index where it is known to lie in [low, high]."""
    low, high = max(low, index.low), min(high, index.high)
    if low == high and index.terms:
        return constant(low)
    return index if (low, high) == (index.low, index.high) else Index(index.terms, index.const, low, high)


def floordiv(index: Index, d: int) -> Index:
    """index // d for d > 0, where index is not negative."""
    if d == 1:
        return index
    if index.low >= 0 and index.high < d:
        return ZERO
    whole = {digit: c // d for digit, c in index.terms.items() if c % d == 0}
    rest = bounded({digit: c for digit, c in index.terms.items() if c % d}, index.const % d)
    if rest.low >= 0:
        quotient = bounded(whole, index.const // d)
        return narrowed(combine([(quotient, 1), (_quotient(rest, d), 1)]), index.low // d, index.high // d)
    return _of_digit(Digit(index, d, index.high // d + 1))


def _quotient(rest: Index, d: int) -> Index:
    """rest // d where no coefficient is a multiple of d and `rest` is not negative."""
    if rest.high < d:
        return ZERO
    if (common := math.gcd(d, *rest.terms.values())) > 1:
        return floordiv(_shrunk(rest, common), d // common)
    if (digit := _divisible(rest, d)) is not None:
        return _of_digit(Digit(digit.base, digit.div * d, -(-digit.mod // d)))
    return _of_digit(Digit(rest, d, rest.high // d + 1))


def modulo(index: Index, d: int) -> Index:
    """index % d for d > 0, where index is not negative."""
    if d == 1:
        return ZERO
    if index.low >= 0 and index.high < d:
        return index
    rest = bounded({digit: c for digit, c in index.terms.items() if c % d}, index.const % d)
    if rest.low < 0:
        rest = combine([(rest, 1)], -(rest.low // d) * d)
    if rest.high < d:
        return rest
    if (common := math.gcd(d, *rest.terms.values())) > 1:
        return combine([(modulo(_shrunk(rest, common), d // common), common)], rest.const % common)
    if (digit := _divisible(rest, d)) is not None:
        return _of_digit(Digit(digit.base, digit.div, d))
    return _of_digit(Digit(rest, 1, d))


def _shrunk(index: Index, common: int) -> Index:
    """index // common, which divides all coefficients."""
    return bounded({digit: c // common for digit, c in index.terms.items()}, index.const // common)


def _divisible(index: Index, d: int) -> Digit | None:
    """The digit that an index is, if the quotient and the remainder by d are digits of the same base."""
    (digit, c), *others = index.terms.items()
    limited = digit.div * digit.mod < size_of(digit.base)
    alone = not others and c == 1 and index.const == 0
    return digit if alone and not (limited and digit.mod % d) else None


def _of_digit(digit: Digit) -> Index:
    return combine([(bounded({digit: 1}, 0), 1)]) if digit.mod > 1 else ZERO


Coords = tuple[Index, ...]


def linear(coords: Sequence[Index], shape: Shape) -> Index:
    """The row-major position of `coords` in `shape`."""
    pairs, stride = [], 1
    for coordinate, size in zip(reversed(coords), reversed(shape), strict=True):
        if size != 1:
            pairs.append((coordinate, stride))
        stride *= size
    return combine(pairs)


def split(index: Index, shape: Shape) -> Coords:
    """The coordinates in `shape` of a row-major position."""
    coords = [ZERO] * len(shape)
    if 0 in shape:
        return tuple(coords)
    places = [axis for axis, size in enumerate(shape) if size != 1]
    for axis in reversed(places):
        coords[axis] = narrowed(index if axis == places[0] else modulo(index, shape[axis]), 0, shape[axis] - 1)
        index = floordiv(index, shape[axis])
    return tuple(coords)


def regroup(coords: Sequence[Index], shape: Shape, target: Shape) -> Coords:
    """The coordinates in `target`, a reshape of `shape`; axes that survive the reshape keep their coordinate.

    Raises ValueError where the sizes differ, so that no coordinates have a place there.
    """
    if math.prod(shape) != math.prod(target):
        raise ValueError(f"shape {list(target)} has not the {math.prod(shape)} elements of shape {list(shape)}")
    if 0 in shape:
        return (ZERO,) * len(target)
    result: list[Index] = []
    i = j = 0
    while i < len(shape) or j < len(target):
        first_i, first_j = i, j
        i, j = min(i + 1, len(shape)), min(j + 1, len(target))
        while (have := math.prod(shape[first_i:i])) != (want := math.prod(target[first_j:j])):
            i, j = (i + 1, j) if have < want else (i, j + 1)
        piece = target[first_j:j]
        if shape[first_i:i] == piece:
            result.extend(coords[first_i:i])
        else:
            result.extend(split(linear(coords[first_i:i], shape[first_i:i]), piece))
    return tuple(result)


def bases(index: Index) -> set[Var | Loaded]:
    """The variables and loaded indices that an Index is made of."""
    found: set[Var | Loaded] = set()
    for digit in index.terms:
        found |= bases(digit.base) if isinstance(digit.base, Index) else {digit.base}
    return found


def substituted(index: Index, old: Index, new: Index) -> Index:
    """The index with `new` in place of a whole variable, `old`, of the same size."""
    (variable, *_) = old.terms

    def value(digit: Digit) -> Index:
        if digit.base == variable.base:
            base = new
        elif isinstance(digit.base, Index):
            base = substituted(digit.base, old, new)
        else:
            return Index({digit: 1}, 0, 0, digit.mod - 1)
        whole = floordiv(base, digit.div)
        return modulo(whole, digit.mod) if digit.div * digit.mod < size_of(digit.base) else whole

    terms = [(value(digit), c) for digit, c in index.terms.items()]
    return narrowed(combine(terms, index.const), index.low, index.high)


def stride(index: Index, symbol: str) -> int:
    """How far the index moves when a variable grows by one; 0 where it does not depend on it simply."""
    return sum(abs(c) for digit, c in index.terms.items()
               if isinstance(digit.base, Var) and digit.base.name == symbol and digit.div == 1)


def text(index: Index, name: Callable[[Var | Loaded], str]) -> str:
    """The Index as an expression; `name` says what a variable or a loaded index is called."""
    parts: list[str] = []
    for digit, c in index.terms.items():
        base = digit.base
        word = f"({text(base, name)})" if isinstance(base, Index) else name(base)
        if digit.div > 1:
            word = f"({word} // {digit.div})"
        if digit.div * digit.mod < size_of(base):
            word = f"({word} % {digit.mod})"
        parts.append(word if c == 1 else f"{word} * {c}")
    if index.const or not parts:
        parts.append(str(index.const))
    return " + ".join(parts)
