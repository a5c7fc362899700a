"""A row of the table: what an operation is called, on what it is tried, and how often it can be differentiated.

Below it: samplers, and short ways of writing rows.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.random import Generator

from microtrain.testing.cases import Sample
from microtrain.testing.closeness import Tolerance

INF, NAN = np.inf, np.nan
EXACT, ELEMENTWISE, REDUCTION = Tolerance
Function, Sampler = Callable[..., Any], Callable[[Generator], list[Sample]]


@dataclass(frozen=True)
class Op:
    """A row. `order`: how often it can be differentiated; `integers`: also tried on int32, int64, uint8 and bool.

    `boundary`: points where values and gradients are PyTorch's too; `twice`: points where second ones are.
    `slack`: the relative error of PyTorch's own second derivative, where its formula is an approximation.
    """

    name: str
    function: Function
    sampler: Sampler
    order: int = 2
    tolerance: Tolerance = ELEMENTWISE
    boundary: tuple[Sample, ...] = ()
    twice: tuple[Sample, ...] = ()
    integers: bool = False
    method: str | None = None
    slack: float = 0.0
    dtypes: tuple[str, ...] = ("float32", "float64", "float16", "bfloat16")


EXACTLY: dict[str, Any] = {"tolerance": EXACT, "integers": True}
"""Of rows that move, choose or compare elements."""


def array(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def at(*arrays: Any, terms: int | None = None, constant: tuple[int, ...] = (), **attributes: Any) -> Sample:
    """A sample of chosen values."""
    return Sample(tuple(map(array, arrays)), attributes, terms, constant)


SHAPES: tuple[tuple[int, ...], ...] = ((7, 13), (), (0, 3), (2, 3, 5))
BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((5, 7), (5, 7)), ((4, 1, 5), (3, 1)), ((), (6,)), ((2, 3), ()), ((0, 3), (1, 3)), ((1,), (1, 1)))


def unary(low: float = -3.0, high: float = 3.0, **attributes: Any) -> Sampler:
    return lambda rng: [Sample((rng.uniform(low, high, shape),), dict(attributes)) for shape in SHAPES]


def binary(low: float = -3.0, high: float = 3.0, low_b: float | None = None, high_b: float | None = None) -> Sampler:
    low_b, high_b = low if low_b is None else low_b, high if high_b is None else high_b
    return lambda rng: [
        Sample((rng.uniform(low, high, a), rng.uniform(low_b, high_b, b)), terms=max(1, int(np.prod(a + b)) // 4))
        for a, b in BROADCASTS]


def whole(rng: Generator) -> list[Sample]:
    """Pairs of small whole numbers, so that many are equal."""
    return [at(rng.integers(-2, 3, a), rng.integers(-2, 3, b)) for a, b in BROADCASTS]


def distinct(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values no two of which are equal, even in bfloat16: multiples of 1/8 (sizes up to 256)."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) - size // 2) / 8.0


def reduced(dims: Iterable[Any] = (None, 0, -1, (0, 2), (-1, -2)), degenerate: bool = True,
            **attributes: Any) -> Sampler:
    """A (4, 3, 5) array along each of `dims` (None: all of it); then a 0-d one, and an empty one with no result."""
    dims = tuple(dims)

    def sample(rng: Generator) -> list[Sample]:
        ways: list[dict[str, Any]] = [
            way for dim in dims for way in ([{"dim": dim, "keepdim": keep} for keep in (False, True)]
                                            if dim is not None else [{}])]
        samples = [Sample((distinct(rng, (4, 3, 5)),), {**way, **attributes}, terms=60) for way in ways]
        if degenerate:
            samples += [Sample((distinct(rng, ()) + 1.25,), {} if None in dims else {"dim": 0}),
                        Sample((np.zeros((3, 0)),), {"dim": 0})]
        return samples

    return sample


def given(*samples: Callable[[Generator], Sample] | Sample) -> Sampler:
    return lambda rng: [sample if isinstance(sample, Sample) else sample(rng) for sample in samples]


def normal(rng: Generator, *shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(rng.standard_normal(shape)) for shape in shapes)


def shaped(*shapes: tuple[int, ...], terms: int = 1, **attributes: Any) -> Callable[[Generator], Sample]:
    """One sample of standard normal tensors of these shapes."""
    return lambda rng: Sample(normal(rng, *shapes), dict(attributes), terms)


def named(name: str) -> Function:
    """The function of that name in the namespace, `nn.functional` written out."""
    def call(T: Any, *tensors: Any, **attributes: Any) -> Any:
        return reduce(getattr, name.split("."), T)(*tensors, **attributes)
    return call


def quiet(function: Function, message: str = "") -> Function:
    """The function without a warning that PyTorch gives."""
    def call(*arguments: Any, **attributes: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=message)
            return function(*arguments, **attributes)
    return call


def op(name: str, sampler: Sampler, **row: Any) -> Op:
    """A row for the function of that name, which is a method of the tensor too."""
    return Op(name, named(name), sampler, **{"method": name, **row})
