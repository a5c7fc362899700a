"""A random program as data: steps over numbered values, which is also the Python text that it prints and runs as.

The text speaks of `T`, which is PyTorch or this package, and of `dtype`, so that the same program runs in both and in
PyTorch's float64. Names stay as they are when steps are dropped, so that what is left can be read beside the whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from types import CodeType
from typing import Any

import numpy as np

from microtrain.engine import run
from microtrain.engine.session import current
from microtrain.errors import AcceleratorError
from microtrain.graph.node import Node

from .prelude import namespace, needed

FILE = "<random program>"


class Sizes(tuple[int, ...]):
    """A shape among a step's attributes: what the shrinker may make smaller."""

    __slots__ = ()


class Index(tuple[Any, ...]):
    """What stands between the brackets of `x[...]`; prints as it is written there."""

    __slots__ = ()

    def __repr__(self) -> str:
        return ", ".join("..." if item is Ellipsis else written(item) if isinstance(item, slice) else repr(item)
                         for item in self)


def written(item: slice) -> str:
    ends = ["" if n is None else str(n) for n in (item.start, item.stop)]
    return ":".join(ends if item.step in (None, 1) else [*ends, str(item.step)])


@dataclass(frozen=True)
class Step:
    """One line: `form` with the names of the sources, then the attributes, put in; its value is named by `target`."""

    form: str
    sources: tuple[int, ...] = ()
    attributes: tuple[Any, ...] = ()
    target: int | None = None
    blocks: tuple[str, ...] = ()            # what it stands in: `T.no_grad()`, or `attempt()` where PyTorch raises

    def __str__(self) -> str:
        text = self.form.format(*[f"v{n}" for n in self.sources], *map(repr, self.attributes))
        text = text if self.target is None else f"v{self.target} = {text}"
        return f"with {', '.join(self.blocks)}: {text}" if self.blocks else text

    @property
    def touched(self) -> int | None:
        """The value that the step made or, where it makes none, the first that it is about."""
        return self.target if self.target is not None else self.sources[0] if self.sources else None


LEAF = "T.tensor(np.random.default_rng({0}).integers({1}, {2}, {3}) / {4}, dtype=dtype, requires_grad={5})"
"""A leaf: numbers on a grid, exact in every dtype and in sums, so that ties are ties wherever they are computed."""


@dataclass(frozen=True)
class Outcome:
    """What a run left: every value still held, gradients under names such as `v0.grad`, members of lists under names
    such as `v0[1]`; what else is to be seen of each (see `FACTS`); what attempts raised, by line; where it ended."""

    values: dict[str, np.ndarray]
    facts: dict[str, dict[str, Any]]
    attempts: dict[int, str]
    line: int | None = None
    error: str | None = None


FACTS: dict[str, Callable[[Any], Any]] = {
    "dtype": lambda value: str(value.dtype).removeprefix("torch."), "requires_grad": lambda value: value.requires_grad,
    "is_leaf": lambda value: value.is_leaf, "retains_grad": lambda value: value.retains_grad}
"""What both packages can tell of a tensor beside its values."""


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
        if node.buffer is None and node.sources:
            run.compute([node], node.device)


@dataclass(frozen=True)
class Program:
    """Steps in order, run in `dtype`; `seed` says where they came from, and `kind` what they are about.

    Of a program of several dtypes `rounded` says whether some value or gradient was rounded.
    """

    steps: tuple[Step, ...]
    dtype: str = "float32"
    seed: int | None = None
    kind: str = "numbers"
    rounded: bool = False

    @classmethod
    def of_text(cls, text: str, dtype: str = "float32") -> Program:
        """A program from its lines, each a step as it stands; without the three that a program prints first."""
        return cls(tuple(Step(line.strip()) for line in text.strip().splitlines()), dtype)

    @cached_property
    def text(self) -> str:
        return "\n".join(map(str, self.steps))

    @cached_property
    def code(self) -> CodeType:
        return compile(self.text, FILE, "exec")

    @cached_property
    def reading_code(self) -> CodeType:
        """The steps, each value read as soon as it is made or changed."""
        lines = [f"{step}" if step.touched is None or step.form.startswith("del ") else f"{step}; look(v{step.touched})"
                 for step in self.steps]
        return compile("\n".join(lines), FILE, "exec")

    def __str__(self) -> str:
        origin = "" if self.seed is None else f"    # seed {self.seed}"
        return "\n".join(["import copy", "import numpy as np",
                          f"import microtrain as T         # or: import torch as T{origin}",
                          f"dtype, single, half, brain = T.{self.dtype}, T.float32, T.float16, T.bfloat16",
                          *filter(None, [needed(self.text)]), self.text])

    def with_steps(self, steps: tuple[Step, ...]) -> Program:
        return replace(self, steps=steps)

    def with_step(self, i: int, step: Step) -> Program:
        return replace(self, steps=(*self.steps[:i], step, *self.steps[i + 1:]))

    def run(self, T: Any, dtype: str | None = None, *, reading: bool = False,
            within: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Outcome:
        """Run in the package `T`, in another dtype if one is named; `reading` reads each value as it is made; the steps
        run `within` a block.

        What a step raises ends the run, unless it is an attempt, and is part of the outcome: RuntimeError and its kin,
        never an error of the program's text.
        """
        attempts: dict[int, str] = {}
        names = namespace(T, dtype or self.dtype, lambda: Attempt(attempts), self.text) | {"look": seen}
        left = Left({}, {})
        line = error = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with within():
                    exec(self.reading_code if reading else self.code, names)
            except (SyntaxError, NameError, AcceleratorError):
                raise
            except Exception as raised:
                line, error = _line(raised), f"{type(raised).__name__}: {raised}"
            name = ""
            try:
                for name, value in names.items():
                    if name[0] == "v" and name[1:].isdigit():
                        left.add(name, value)
            except Exception as raised:         # a value that cannot be computed says so only when it is read
                line, error = len(self.steps), f"{type(raised).__name__} when {name} was read: {raised}"
        return Outcome(left.values, left.facts, attempts, line, error)


class Attempt:
    """A block that keeps what is raised in it, by the number of the line, and goes on."""

    def __init__(self, raised: dict[int, str]) -> None:
        self.raised = raised

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Exception) and not isinstance(error, (SyntaxError, NameError, AcceleratorError)):
            self.raised[_line(error)] = f"{type(error).__name__}: {error}"
            return True
        return False


@dataclass(frozen=True)
class Left:
    """What is left of names, as it is gathered."""

    values: dict[str, np.ndarray]
    facts: dict[str, dict[str, Any]]

    def add(self, name: str, value: Any) -> None:
        if isinstance(value, (list, tuple)) and (not value or hasattr(value[0], "detach") or value[0] is None):
            self.facts[name] = {"length": len(value)}
            for i, member in enumerate(value):
                self.add(f"{name}[{i}]", member)
        elif hasattr(value, "detach"):
            self.values[name] = array_of(value)
            self.facts[name] = {}
            for fact, look in FACTS.items():
                with suppress(RuntimeError):        # PyTorch does not tell of a view that it has forbidden
                    self.facts[name][fact] = look(value)
            if (gradient := value.grad) is not None:
                self.values[f"{name}.grad"] = array_of(gradient)
        elif isinstance(value, (bool, int, float, list)):
            self.values[name] = array_of(value)


def array_of(value: Any) -> np.ndarray:
    """A tensor's values, or a number's or a list's, on the host and no longer shared; of bfloat16 as float32."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if str(value.dtype).endswith("bfloat16") else value).cpu().numpy(force=True)
    return np.array(value)


def seen(value: Any) -> None:
    if hasattr(value, "detach"):
        array_of(value)


def _line(error: Exception) -> int:
    """The number of the program's line (from 0) that raised."""
    lines, frame = [0], error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == FILE:
            lines.append(frame.tb_lineno)
        frame = frame.tb_next
    return lines[-1] - 1
