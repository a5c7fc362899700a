"""A random program in the making, run in PyTorch as it grows: what PyTorch refuses is not kept.

So shapes, strides, what is a leaf and what shares memory are looked up, not worked out a second time. Two things about
values are kept beside them. A value is *exact* when it lies on a coarse grid and only operations that are exact there
led to it: comparisons, extremes, rounding and other steps with a jump (in the value or in the derivative) are applied
to such values alone, so that rounding never decides which side is taken. And a value that grows large is brought back
by a tanh, so that programs stay well-conditioned.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .prelude import namespace
from .program import LEAF, Sizes, Step, array_of

GRIDS = {"float64": (4096, 2.0**11), "float32": (4096, 2.0**11), "float16": (16, 2.0**5), "bfloat16": (4, 2.0**4)}
"""Exact values of a dtype are multiples of 1/GRID, below BOUND in magnitude: a bit or two less than the dtype holds, so
that they are added and halved without rounding."""

LARGE = 32.0
"""Values beyond this are squashed."""

LACKING = ("not implemented for", "Autograd not support", "INTERNAL ASSERT")
"""What PyTorch says where it lacks something: no rule of it."""

HUGE = 2**20
"""Integers beyond this are not used."""


def form_of(text: str) -> str:
    """The form of a step (see `program.Step`) in which x, y, z and w stand for its sources, then its attributes."""
    return re.sub(r"\b[xyzw]\b(?!=)", lambda found: f"{{{'xyzw'.index(found[0])}}}", text)


def forms(text: str) -> list[str]:
    """Forms of steps, a semicolon between any two."""
    return [form_of(part) for part in " ".join(text.split()).split("; ")]


def picking(grow: Any = None, /, *, least: int = 0) -> Any:
    """A step about a value that is picked, of at least so many axes; no step where there is none."""
    if grow is None:
        return partial(picking, least=least)

    def picked(o: Grower) -> None:
        if (n := o.pick(least=least)) is not None:
            grow(o, n)
    return picked


class Scale(NamedTuple):
    """How large a program is: sizes of an axis, rare ones, the most elements of a tensor, and how many steps."""

    sizes: tuple[int, ...]
    rare: tuple[int, ...]
    elements: int
    steps: tuple[int, int]


USUAL = Scale((1, 1, 2, 2, 3, 3, 4, 5, 7), (127, 129, 257, 1025), 4000, (3, 13))
"""Sizes that catch mistakes: 1, primes and, rarely, those beside the size of a block."""

SMALL = Scale(USUAL.sizes, (17, 33), 600, (2, 6))
"""The same for where every program of a kernel costs milliseconds."""

WIDE = Scale((1, 3, 16, 16, 32, 32, 64, 64, 128), (100, 256, 784, 1024, 4096), 1 << 18, (3, 13))
"""Sizes that training has: most are powers of two."""


class Grower:
    """A program in the making: its steps, and the values that PyTorch gives them."""

    def __init__(self, seed: int, scale: Scale, *, attempts: bool = False, mixed: bool = False) -> None:
        import torch
        self.random = random.Random(seed)
        self.choose = self.random.choice
        self.scale = scale
        self.dtype = "float64" if self.random.random() < 0.2 and not mixed else "float32"
        self.names = namespace(torch, self.dtype, nullcontext)
        self.blocks: tuple[str, ...] = ()       # what the next steps stand in
        self.attempts = attempts                # whether steps that PyTorch refuses may be kept, as attempts
        self.squashes = not mixed               # whether large values are brought back, which is not exact
        self.steps: list[Step] = []
        self.floats: list[int] = []             # values that later steps may use, by kind
        self.masks: list[int] = []
        self.integers: list[int] = []
        self.inexact: set[int] = set()          # memory whose values were rounded
        self.frozen: set[int] = set()           # memory not to be changed any more
        self.repeated: set[int] = set()         # views in which several elements are one, or once were
        self.kept: list[Any] = []               # nothing is freed while it grows, so that addresses are not used again
        self.handles: list[int] = []            # hooks that may be removed
        self.logs: list[int] = []               # lists that hooks append to
        self.counts: dict[int, int] = {}        # versions read, and of which value
        self.warned = False                     # whether what was refused last is a warning
        self.empty = self.random.random() < 0.08
        self.finished = False

    # ------------------------------------------------------------------------------------------------ looking things up
    def __getitem__(self, n: int) -> Any:
        return self.names[f"v{n}"]

    def shape_of(self, n: int) -> tuple[int, ...]:
        return tuple(self[n].shape)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def memory(self, n: int) -> int:
        """The address of a value's memory: equal for values that share it. Nothing shares the memory of no elements."""
        return int(self[n].untyped_storage().data_ptr()) or -n

    def shared(self, n: int) -> bool:
        return any(self.memory(m) == self.memory(n) for m in self.floats if m != n)

    def is_leaf(self, n: int) -> bool:
        """Whether a value is a leaf; so is a view that PyTorch has forbidden, of which it does not tell."""
        try:
            return bool(self[n].is_leaf)
        except RuntimeError:
            return True

    def gradient(self, n: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # of one that is no leaf
            return self[n].grad

    def gradients(self) -> list[Any]:
        return [gradient for gradient in map(self.gradient, self.floats) if gradient is not None]

    def gradients_share(self) -> bool:
        places = [gradient.untyped_storage().data_ptr() for gradient in self.gradients() if gradient.numel()]
        return len(set(places)) < len(places)

    def exact(self, n: int) -> bool:
        value = self[n]                         # of a list nothing is known
        return hasattr(value, "untyped_storage") and not (value.is_floating_point() and self.memory(n) in self.inexact)

    def all_exact(self) -> bool:
        return all(map(self.exact, self.floats)) and all(map(on_grid, self.gradients()))

    def pick(self, exact: bool = False, least: int = 0) -> int | None:
        """A floating-point value of at least so many axes, a recent one more likely; None where there is none."""
        found = [n for n in self.floats if self[n].ndim >= least and (not exact or self.exact(n))]
        return self.choose(found[-4:] if self.chance(0.7) else found) if found else None

    # ------------------------------------------------------------------------------------------------ making things
    @contextmanager
    def within(self, *blocks: str) -> Iterator[None]:
        before, self.blocks = self.blocks, blocks
        yield
        self.blocks = before

    def size(self) -> int:
        """The size of an axis: one of the scale's, rarely a rare one, or empty."""
        if self.empty and self.chance(0.3):
            return 0
        return self.choose(self.scale.rare if self.chance(0.03) else self.scale.sizes)

    def shape(self, most: int = 4) -> tuple[int, ...]:
        while True:
            shape = tuple(self.size() for _ in range(self.choose([0, 1, 2, 2, 3, 3, 4][:most + 3])))
            if math.prod(shape) <= self.scale.elements // 2:
                return shape

    def leaf(self, shape: tuple[int, ...], requires_grad: bool | None = None) -> int:
        """A new leaf; on a coarse grid, where elements are often equal, as often as not."""
        low, high, unit = self.choose([(-2, 3, 2), (-96, 97, 64)]) if self.squashes else (-2, 3, 2)
        wanted = self.chance(0.7) if requires_grad is None else requires_grad
        made = self.add(LEAF, (), (self.random.randrange(1000), low, high, Sizes(shape), unit, wanted), exact=True)
        assert made is not None
        return made

    def beside(self, n: int) -> int:
        """A value that broadcasts with another one: one at hand, or a new leaf."""
        shape = self.shape_of(n)
        found = [m for m in self.floats if self.fits(self.shape_of(m), shape)]
        if found and self.chance(0.75):
            return self.choose(found)
        sizes = tuple(1 if self.chance(0.25) else size for size in shape)
        return self.leaf(sizes[self.random.randint(0, len(sizes)) if self.chance(0.4) else 0:])

    def fits(self, a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        """Whether two shapes broadcast to one that is not too large."""
        try:
            return math.prod(np.broadcast_shapes(a, b)) <= self.scale.elements
        except ValueError:
            return False

    def reaches(self, n: int, target: int) -> bool:
        shape = self.shape_of(target)
        return self.fits(self.shape_of(n), shape) and np.broadcast_shapes(self[n].shape, shape) == shape

    def add(self, form: str, sources: tuple[int, ...] = (), attributes: tuple[Any, ...] = (), *, exact: bool = False,
            makes: bool = True, attempts: bool = True) -> int | None:
        """Try a step; None where PyTorch refuses it, else the number of its value (or of what it changed). Sources that
        the form does not name are left out."""
        form, sources = self.written(form, sources, attributes)
        step = Step(form, sources, attributes, len(self.steps) if makes else None, self.blocks)
        if not self.tried(step, attempts):
            return None
        if not makes:
            self.steps.append(step)
            return sources[0]
        assert step.target is not None
        value, numbers = self[step.target], (self.floats, self.masks, self.integers)
        if not hasattr(value, "untyped_storage"):
            self.steps.append(step)
            return step.target
        shared = any(self.memory(n) == self.memory(step.target) for n in itertools.chain(*numbers))
        if not value.is_contiguous() and not shared:
            # PyTorch lays a result out as its operand is; here results are row-major, and a view of them is another. A
            # copy in both packages, so that in neither what is kept for the derivative is changed with the value.
            return self.add(f"({form}).contiguous().clone()", sources, attributes, exact=exact)
        if (value.numel() > self.scale.elements and form != LEAF) or not np.isfinite(array_of(value)).all():
            return None
        self.steps.append(step)
        self.kept.append(value)
        if not value.is_floating_point():
            if value.dtype != self.names["T"].bool and large(value.long(), HUGE):
                return None
            (self.masks if value.dtype == self.names["T"].bool else self.integers).append(step.target)
            return step.target
        if any(n in self.repeated for n in sources if shared) or 0 in strides(value):
            self.repeated.add(step.target)
        if not shared and not (exact and all(self.exact(n) for n in sources) and on_grid(value)):
            self.inexact.add(self.memory(step.target))
        if large(value):
            return self.add("x.tanh()", (step.target,)) if self.squashes else None
        self.floats.append(step.target)
        return step.target

    @staticmethod
    def written(form: str, sources: tuple[int, ...], attributes: tuple[Any, ...]) -> tuple[str, tuple[int, ...]]:
        form = form_of(form)
        return form, sources if attributes else sources[:1 + max(map(int, re.findall(r"{(\d)}", form)), default=-1)]

    def tried(self, step: Step, attempts: bool) -> bool:
        """Run a step in PyTorch; False where it raises: then it may be kept as an attempt."""
        try:
            exec(str(step), self.names)
        except (SyntaxError, NameError, AttributeError):
            raise
        except Exception as error:
            self.warned = isinstance(error, Warning)
            lacking = isinstance(error, (Warning, NotImplementedError)) or any(words in str(error) for words in LACKING)
            if "] *= " in step.form or "] += " in step.form:
                self.finished = True            # two steps, of which the first may have been done
            elif self.attempts and attempts and not lacking and self.chance(0.4):
                self.steps.append(replace(step, target=None, blocks=("attempt()", *step.blocks)))
            return False
        return True

    def change(self, form: str, sources: tuple[int, ...], attributes: tuple[Any, ...] = (), *, exact: bool = False,
               attempts: bool = True) -> None:
        """Try a step that changes its first source in place. What repeats elements may not be: that is refused here,
        and in PyTorch too unless what is left of the view is a single element."""
        form, sources = self.written(form, sources, attributes)
        target, *others = sources
        if self.memory(target) in self.frozen or target in self.repeated:
            return
        whole = "copy_(" in form or "] = " in form
        if any(self.memory(n) == self.memory(target) for n in others if whole or n != target):
            return          # PyTorch leaves open what is read where an operand overlaps what is written
        misfits = [n for n in others if not self.reaches(n, target)] if self.attempts else []
        if misfits and (any(self[n].requires_grad for n in sources)
                        or any(self[n].ndim > self[target].ndim for n in misfits)):
            return          # refused for two reasons, of which either package may say either
        if self.attempts and self[target]._is_view() and self[target].requires_grad:
            # PyTorch takes a view whose base came to require grad for a leaf, until its grad_fn is looked at.
            form = "{0}.grad_fn; " + form
        known = exact and all(self.exact(n) for n in sources)
        if self.add(form, sources, attributes, makes=False, attempts=attempts) is None or \
                not self[target].is_floating_point():
            return
        if not (known and on_grid(self[target])):
            self.inexact.add(self.memory(target))
        if large(self[target]):
            self.change("x.tanh_()", (target,))

    def forget(self, n: int) -> None:
        for numbers in (self.floats, self.masks, self.integers):
            if n in numbers:
                numbers.remove(n)


def strides(value: Any) -> list[int]:
    """How far apart elements lie along the axes that have more than one."""
    return [stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1]


def on_grid(value: Any) -> bool:
    """Whether every element is a multiple of 1/GRID below BOUND."""
    grid, bound = GRIDS[str(value.dtype).removeprefix("torch.")]
    scaled = array_of(value) * grid
    return bool((scaled == np.rint(scaled)).all() and (np.abs(scaled) < bound * grid).all())


def large(value: Any, most: float = LARGE) -> bool:
    return bool((np.abs(array_of(value)) > most).any())
