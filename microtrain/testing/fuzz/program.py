"""A random program as data: steps over numbered values, which is also the Python text that it prints and runs as.

The text speaks of `T`, which is PyTorch or this package, and of `dtype`, so that the same program runs in both and in
PyTorch's float64. Names stay as they are when steps are dropped, so that what is left can be read beside the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from types import CodeType
from typing import Any

import numpy as np

from ...compiler import realize
from ...compiler.session import current
from ...errors import AcceleratorError
from ...graph.node import Node

FILE = "<random program>"


class Sizes(tuple[int, ...]):
    """A shape among a step's attributes: what the shrinker may make smaller."""

    __slots__ = ()


class Index(tuple[Any, ...]):
    """What stands between the brackets of `x[...]`; prints as it is written there."""

    __slots__ = ()

    def __repr__(self) -> str:
        return ", ".join(_written(item) for item in self)


def _written(item: Any) -> str:
    if item is Ellipsis:
        return "..."
    if not isinstance(item, slice):
        return repr(item)
    ends = ["" if n is None else str(n) for n in (item.start, item.stop)]
    return ":".join(ends if item.step in (None, 1) else [*ends, str(item.step)])


@dataclass(frozen=True)
class Step:
    """One line: `form` with the names of the sources, then the attributes, put in; its value is named by `target`."""

    form: str
    sources: tuple[int, ...] = ()
    attributes: tuple[Any, ...] = ()
    target: int | None = None

    def __str__(self) -> str:
        text = self.form.format(*[f"v{n}" for n in self.sources], *map(repr, self.attributes))
        return text if self.target is None else f"v{self.target} = {text}"

    @property
    def touched(self) -> int | None:
        """The value that the step made or, where it makes none, the first that it is about."""
        return self.target if self.target is not None else self.sources[0] if self.sources else None


LEAF = "T.tensor(np.random.default_rng({0}).integers({1}, {2}, {3}) / {4}, dtype=dtype, requires_grad={5})"
"""A leaf: numbers on a grid, exact in every dtype and in sums, so that ties are ties wherever they are computed."""


@dataclass(frozen=True)
class Outcome:
    """What a run left: every value still held, gradients under names such as `v0.grad`, and where it raised."""

    values: dict[str, np.ndarray]
    tracked: frozenset[str]
    line: int | None = None
    error: str | None = None


class EachAtOnce:
    """Computes every operation as it is recorded, the backward's too, as if nothing were lazy."""

    def __enter__(self) -> None:
        current().watchers.append(self.look)
        current().start_counting()

    def __exit__(self, *_: object) -> None:
        current().watchers.remove(self.look)
        current().start_counting()

    @staticmethod
    def look(node: Node, entry: Any, index: int) -> None:
        """Compute a node that was just recorded."""
        if node.buffer is None and node.sources:
            realize.compute([node], node.device)


@dataclass(frozen=True)
class Program:
    """Steps in order, run in `dtype`; `seed` says where they came from."""

    steps: tuple[Step, ...]
    dtype: str = "float32"
    seed: int | None = None

    @classmethod
    def of_text(cls, text: str, dtype: str = "float32") -> Program:
        """A program from its lines, each a step as it stands; without the three that a program prints first."""
        return cls(tuple(Step(line.strip()) for line in text.strip().splitlines()), dtype)

    @cached_property
    def code(self) -> CodeType:
        """The steps compiled, one a line."""
        return compile("\n".join(map(str, self.steps)), FILE, "exec")

    @cached_property
    def reading_code(self) -> CodeType:
        """The steps compiled, each value read as soon as it is made or changed."""
        lines = [f"{step}" if step.touched is None or step.form.startswith("del ") else f"{step}; look(v{step.touched})"
                 for step in self.steps]
        return compile("\n".join(lines), FILE, "exec")

    def __str__(self) -> str:
        origin = "" if self.seed is None else f"    # seed {self.seed}"
        return "\n".join(["import numpy as np", f"import microtrain as T         # or: import torch as T{origin}",
                          f"dtype = T.{self.dtype}", *map(str, self.steps)])

    def with_steps(self, steps: tuple[Step, ...]) -> Program:
        """The same program of other steps."""
        return replace(self, steps=steps)

    def run(self, T: Any, dtype: str | None = None, *, reading: bool = False) -> Outcome:
        """Run in the package `T`, in another dtype if one is named; `reading` reads each value as it is made.

        What a step raises ends the run and is part of the outcome: RuntimeError and its kin, never an error of the
        program's text.
        """
        names: dict[str, Any] = {"T": T, "np": np, "dtype": getattr(T, dtype or self.dtype), "look": array_of}
        line = error = None
        try:
            exec(self.reading_code if reading else self.code, names)
        except (SyntaxError, NameError, AcceleratorError):
            raise
        except Exception as raised:
            line, error = _line(raised), f"{type(raised).__name__}: {raised}"
        values, tracked = {}, set()
        held = {name: value for name, value in names.items() if name[0] == "v" and name[1:].isdigit()}
        try:
            for name, value in held.items():
                values[name] = array_of(value)
                if getattr(value, "requires_grad", False):
                    tracked.add(name)
                    if (value.is_leaf or value.retains_grad) and value.grad is not None:
                        values[f"{name}.grad"] = array_of(value.grad)
        except Exception as raised:         # a value that cannot be computed says so only when it is read
            line, error = len(self.steps), f"{type(raised).__name__} when {name} was read: {raised}"
        return Outcome(values, frozenset(tracked), line, error)


def array_of(value: Any) -> np.ndarray:
    """A tensor's values, or a number's or a list's, on the host and no longer shared."""
    return np.array(value.detach().cpu().numpy(force=True) if hasattr(value, "detach") else value)


def _line(error: Exception) -> int:
    """The number of the program's line (from 0) that raised."""
    lines, frame = [0], error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == FILE:
            lines.append(frame.tb_lineno)
        frame = frame.tb_next
    return lines[-1] - 1
