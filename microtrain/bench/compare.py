"""Benchmarks of anybody's own functions and kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .ceilings import ceilings_here, clocks_here
from .comparison import Comparison, WrongResult
from .limits import Format, bound, over
from .measure import computed, measure, synchronize
from .timing import Contender

ROUNDS = 21
SECONDS = 0.02
"""Of one sample: long against the clock's resolution and a GPU's synchronisation, short against a machine's moods."""


def compare(functions: Mapping[str, Callable[[], Any]], check: Callable[[Any], object], *, rounds: int = ROUNDS,
            seconds: float = SECONDS, bytes: int = 0, operations: int = 0, format: Format = "float32") -> Comparison:
    """Time functions that compute the same thing, once each has shown that it does.

    >>> x = mt.rand(1024, 1024)
    >>> right = np.tanh(x.numpy().astype(np.float64))
    >>> print(compare({"ours": lambda: my_tanh(x), "microtrain": lambda: x.tanh()},
    ...               check=lambda out: np.testing.assert_allclose(out.numpy(), right, atol=1e-6)))

    Every function is called and checked before it is timed. They are timed in turn, `rounds` times, in a rotating
    order, so that a machine that slows down slows all of them; ratios are taken within a round. A microtrain tensor
    that a function returns is computed within its time.

    Where PyTorch has started CUDA a figure is the GPU's time, launches apart: calls replayed from a CUDA graph with L2
    cleared before each, or between events where a graph cannot hold them; beside it stand the other ways, the loop on
    the host among them. Elsewhere it is the loop's.

    Args:
        functions: name to function of no arguments. The others are compared with the first.
        check: takes a function's result; raises AssertionError, or returns what is false, where it is wrong.
        rounds: samples of each function.
        seconds: that a sample takes at least, unless one call takes longer.
        bytes: that a call has to read and write, each value once; held against a measured copy.
        operations: of matrix products that a call has to do (2mkn each); held against the measured rate of a large one.
        format: of those products.

    Returns:
        A Comparison; with `bytes` or `operations` it has the least time of a call and each function's `share` of it.
        Where a check failed or a function raised, its entry holds the failure and no figure; where the first one's did,
        nothing is timed.

    Raises:
        ValueError: no functions, `rounds` or `seconds` not above 0, `bytes` or `operations` below it.
        TypeError: `check` cannot be called.
    """
    if not callable(check):
        raise TypeError(f"compare(): check must be a function of a result, got {type(check).__name__}")
    if not functions:
        raise ValueError("compare(): there are no functions to compare")
    if rounds < 1 or not seconds > 0:
        raise ValueError(f"compare(): rounds should be at least 1 and seconds above 0, got {rounds} and {seconds}")
    if bytes < 0 or operations < 0:
        raise ValueError(f"compare(): bytes and operations should not be negative, got {bytes} and {operations}")
    found = measure({name: _contender(function, check) for name, function in functions.items()}, clocks_here(seconds),
                    rounds)
    if not bytes and not operations:
        return found
    machine = ceilings_here()
    return replace(found, least=bound({"bytes": over(bytes, machine.bandwidth()) if bytes else None,
                                       "operations": over(operations, machine.rate(format)) if operations else None}))


def _contender(function: Callable[[], Any], check: Callable[[Any], object]) -> Callable[[], Contender]:
    def call() -> Any:
        return computed(function())

    def judged() -> None:
        result = call()
        try:
            verdict = check(result)
            if verdict is not None and not verdict:
                raise WrongResult(f"its check returned {verdict}")
        except AssertionError as error:
            raise WrongResult(str(error)) from error

    return lambda: Contender(call, judged, synchronize)
