"""A step run plain and compiled: twins that are built alike, called alike, changed alike between calls, and must end
with the same bits."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn, settings
from microtrain.nn import functional as F
from microtrain.optim import SGD, Adam, Optimizer
from microtrain.optim.lr_scheduler import LRScheduler
from tests.conftest import DEVICE

sums_in_one_order = pytest.mark.skipif(DEVICE == "cuda", reason="one launch adds up in another order than many")
WITHIN = 12 if DEVICE == "cuda" else 0
"""That is four times what was found of it, in units in the last place."""

BEFORE, AFTER = 3, 2
"""Calls before and after a mutation."""


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def seen(value: Any) -> Any:
    """All that can be looked at in a value, as copies: numbers with their types, tensors with their gradients."""
    if isinstance(value, mt.Tensor):
        return {"value": seen(value.detach().cpu().numpy()), "dtype": str(value.dtype), "device": str(value.device),
                "grad": seen(value.grad) if value.is_leaf else None, "requires_grad": value.requires_grad}
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes(), str(value.tolist())
    if isinstance(value, nn.Module):
        return {"modules": {name: (type(module).__name__, module.training) for name, module in value.named_modules()},
                "tensors": {name: seen(tensor) for name, tensor in (*value.named_parameters(), *value.named_buffers())}}
    if isinstance(value, Optimizer):
        groups = [[seen(value.state.get(param)) for param in group["params"]] for group in value.param_groups]
        return [groups, [seen({k: v for k, v in group.items() if k != "params"}) for group in value.param_groups]]
    if isinstance(value, LRScheduler):
        return seen({k: v for k, v in value.state_dict().items() if not callable(v) and k != "lr_lambdas"})
    if isinstance(value, Mapping):
        return {key: seen(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(seen, value)]
    if isinstance(value, SimpleNamespace):
        return seen(vars(value))
    return type(value).__name__, repr(value)


def same(got: Any, want: Any, where: str = "", within: float = 0.0) -> None:
    """Bit by bit, naming the first place that differs; or floats of arrays within so many units in the last place of
    the largest of the array, or of 1."""
    if isinstance(want, dict) and isinstance(got, dict):
        assert [*got] == [*want], where
        for key in want:
            same(got[key], want[key], f"{where}.{key}", within)
    elif isinstance(want, list) and isinstance(got, list):
        assert len(got) == len(want), where
        for k, pair in enumerate(zip(got, want, strict=True)):
            same(*pair, f"{where}[{k}]", within)
    elif within and isinstance(want, tuple) and len(want) == 4 and want[0].startswith("float"):
        assert got[:2] == want[:2], where
        there, meant = (np.frombuffer(array[2], array[0]) for array in (got, want))
        error = np.max(np.abs(there - meant), initial=0) / np.max(np.abs(meant), initial=1) / np.finfo(meant.dtype).eps
        assert error <= within, f"{where}: {got[3]} where plain {want[3]}, {error:.1f} units apart"
    else:
        assert got == want, f"{where}: {got} where plain {want}"


class World:
    """A step, what it is called with, and what it holds; `held` is looked at in the end, by name an attribute.

    Attributes:
        step: the plain function.
        call: what is called: the step, or it compiled.
        results: what the calls gave, or the errors that they raised.
        kept: what a mutation keeps, to be looked at in the end.
        watched: whether all is looked at after each call; `log` has what was seen.
    """

    def __init__(self, step: Callable[..., Any], *args: Any, **held: Any) -> None:
        self.step, self.args, self.kwargs, self.held = step, args, dict[str, Any](), held
        self.call, self.results, self.kept = step, list[Any](), list[Any]()
        self.watched, self.log = False, list[Any]()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["held"][name]
        except KeyError:
            raise AttributeError(name) from None

    def set(self, **values: Any) -> None:
        """Others in place of what the step holds under these names in its closure, if it does."""
        self.held |= {name: value for name, value in values.items() if name in self.held}
        for name, value in values.items():
            cells = dict(zip(self.step.__code__.co_freevars, self.step.__closure__ or (), strict=True))
            if name in cells:
                cells[name].cell_contents = value

    def run(self, calls: int = 1, plainly: bool = False) -> None:
        for _ in range(calls):
            try:
                result = (self.step if plainly else self.call)(*self.args, **self.kwargs)
            except (mt.CompileError, Warning):
                raise
            except Exception as error:
                result = f"{type(error).__name__}: {error}"
            self.results.append(result)
            if self.watched:
                self.log.append(self.seen())

    def seen(self) -> dict[str, Any]:
        # Whether a result is on the tape is not for a mutation to say.
        def off(value: Any) -> Any:
            return value.detach() if isinstance(value, mt.Tensor) else value
        results = [[*map(off, result)] if isinstance(result, tuple) else off(result) for result in self.results]
        return {"results": seen(results), "held": seen(self.held), "kept": seen(self.kept),
                "random": seen(mt.get_rng_state())}


Build, Change = Callable[[], World], Callable[[World], Any]


def regression(make: Callable[..., Any] = SGD, layers: Callable[[], nn.Module] | None = None, **options: Any) -> World:
    """Least squares, with momentum unless told otherwise."""
    model = layers() if layers else nn.Linear(4, 3)
    options = options or {"lr": 0.1, "momentum": 0.9}
    return training(model, make(model.parameters(), **options), F.mse_loss, data(6, 4), data(6, 3, seed=1))


def training(model: Any, opt: Any, loss_fn: Callable[..., Any], *arrays: Any, **held: Any) -> World:
    """The usual step."""
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        opt.step()
        return loss
    return World(step, *[mt.tensor(array) for array in arrays], model=model, opt=opt, **held)


def adam() -> World:
    return regression(Adam, lr=0.05)


def mlp() -> World:
    return regression(layers=lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))


def dropout() -> World:
    return regression(layers=lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.3)))


def batch_norm() -> World:
    return regression(layers=lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)))


def options(w: World, **values: Any) -> None:
    for group in w.opt.param_groups:
        group.update(values)


def by_default() -> None:
    """The state of the process that a mutation may change, as it is in the beginning."""
    mt.set_default_dtype(mt.float32)
    mt.set_float32_matmul_precision("highest")
    mt.set_grad_enabled(True)
    settings.fuse.set(True)
    mt.manual_seed(0)


def lived(build: Build, change: Change | None = None, *, compiled: bool = False, watched: bool = False) -> World:
    """A world of three calls, a change, and three calls."""
    by_default()
    try:
        world = build()
        world.watched = watched
        if compiled:
            world.call = mt.compile(world.step)
        world.run(BEFORE)
        if change is not None:
            change(world)
        world.run(AFTER)
        world.log.append(world.seen())
        return world
    finally:
        by_default()


@cache
def unchanged(build: Build) -> Any:
    """What is seen where nothing happens between calls."""
    return lived(build, watched=True).log[-1]


class Mutation:
    """What happens between calls.

    Attributes:
        quiet: nothing of it can be seen in the plain run.
        refusable: the step may be refused, or run as it is with a warning, in these words; None where it may not.
    """

    def __init__(self, build: Build, change: Change, quiet: bool, refusable: str | None) -> None:
        self.build, self.change, self.quiet, self.refusable = build, change, quiet, refusable

    def check(self) -> None:
        plain = told(lambda: lived(self.build, self.change, watched=True))[0].log
        if not self.quiet:
            assert plain[-1] != unchanged(self.build), "the mutation changes nothing"
        for watched in (False, True):
            try:
                compiled, said = told(lambda: lived(self.build, self.change, compiled=True, watched=watched))   # noqa: B023
                same(compiled.log, plain if watched else plain[-1:], f"{watched=} ")
            except mt.CompileError as error:
                said = [str(error)]
            assert not said or (self.refusable is not None and self.refusable in said[0]), said


def told(run: Callable[[], World]) -> tuple[World, list[str]]:
    """What a run gives, and what it says of why a step is not compiled."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        world = run()
    return world, [str(warning.message) for warning in caught
                   if "not compiled" in str(warning.message) or warning.category is SyntaxWarning]


class Mutations(dict[str, Mutation]):
    """Mutations by name; a decorator that adds one."""

    def __call__(self, build: Build = regression, *, quiet: bool = False,
                 refusable: str | None = None) -> Callable[[Change], Change]:
        def add(change: Change) -> Change:
            assert change.__name__ not in self
            self[change.__name__] = Mutation(build, change, quiet, refusable)
            return change
        return add

    def test(self) -> Callable[[str], None]:
        @pytest.mark.parametrize("name", self)
        def test(name: str) -> None:
            self[name].check()
        return test


def entries(code: CodeType, run: Callable[[], Any]) -> int:
    """How often Python enters a function while `run` runs."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is code
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count
