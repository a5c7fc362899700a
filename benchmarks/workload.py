"""What a workload is: inputs, the code on PyTorch's API, the same by hand, and what it costs at least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .draws import Draw
from .limits import Format, Limit, Target

Values = dict[str, Any]
"""Arrays by name: NumPy's, PyTorch's or JAX's."""

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What is done to a workload's functions before they run: nothing, or `torch.compile`."""

ByHand = Callable[[Any, Values], tuple[Any, Values]]
"""One call in the terms of an array module (NumPy, or JAX's twin of it), derivatives written out: the result, and the
new values of what it changes."""


@dataclass(frozen=True)
class Instance:
    """A workload on one package, ready to run.

    Attributes:
        run: one call: a training step, which returns its loss, or an operation, which returns its result or a tuple.
        state: what `run` changes, by name.
        optimizer: the optimizer that `run` steps, if it has one.
        wait: waits until what the last run queued is done, for a package that PyTorch does not wait for.
        advance: takes a number of steps in one call, for a package that can; `run` then takes `steps`.
        step, data: of a training step, `run` as a function of its data, and the data.
    """

    run: Callable[[], Any]
    state: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Any = None
    wait: Callable[[], Any] | None = None
    advance: Callable[[int], Any] | None = None
    steps: int = 1
    step: Callable[..., Any] | None = None
    data: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something to time, as a report knows it.

    Attributes:
        family: the name by which it is chosen.
        name: what a report calls it.
        about: what a call does.
        limit: what a call costs at least.
        format: of the numbers.
        loop: whether a call's time is that of a loop on the host, as for a training step; else it is its kernels'.
        targets: what is asked of the figure.
        rank: when it is measured: 0 first. What is left when the time is up is dropped.
    """

    family: str
    name: str
    about: str
    limit: Limit
    format: Format = "float32"
    loop: bool = False
    targets: tuple[Target, ...] = ()
    rank: int = 1


@dataclass(frozen=True, kw_only=True)
class Workload(Subject):
    """A function of tensors or a training step.

    Attributes:
        inputs: draws data and starting weights in float32, and int64 for classes.
        build: makes an Instance from a package with PyTorch's API (`torch` or `microtrain`), the inputs as its tensors,
            and what to do to the functions.
        by_hand: the same, see `ByHand`.
        state: the names of what a call changes and what is compared of it.
        steps: calls before the result is checked: 1 where a call changes nothing.
        peers: beside PyTorch eager, those that are worth the time they take to compile.
    """

    inputs: Callable[[Draw], Values]
    build: Callable[[Any, Mapping[str, Any], Compile], Instance]
    by_hand: ByHand
    state: tuple[str, ...] = ()
    steps: int = 1
    peers: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """The name of the dtype of its numbers."""
        return "bfloat16" if self.format == "bfloat16" else "float32"


def unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The Compile that does nothing."""
    return function


def training(step: Callable[..., Any], data: tuple[Any, ...], state: Mapping[str, Any], optimizer: Any = None
             ) -> Instance:
    """An Instance from a training step as a function of its data."""
    return Instance(lambda: step(*data), state, optimizer, step=step, data=data)


def by_hand(workload: Workload, xp: Any, values: Values) -> Instance:
    """The workload by hand on the arrays of a module."""
    return stepping(lambda current: workload.by_hand(xp, current), values, workload.state)


def stepping(step: Callable[[Values], tuple[Any, Values]], values: Values, state: tuple[str, ...]) -> Instance:
    """An Instance from a function that returns what it changes."""
    current = dict(values)
    kept = {name: current[name] for name in state}

    def run() -> Any:
        out, changed = step(current)
        current.update(changed)
        kept.update((name, current[name]) for name in state)
        return out

    return Instance(run, kept)


def results(instance: Instance, steps: int) -> Values:
    """Run `steps` calls: the last result, as "result" or "result[0]" and so on, and the state."""
    if instance.advance is not None:
        out = instance.advance(steps)
    else:
        for _ in range(steps):
            out = instance.run()
    if isinstance(out, tuple | list):
        return {**{f"result[{i}]": part for i, part in enumerate(out)}, **instance.state}
    return {"result": out, **instance.state}
