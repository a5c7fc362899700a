"""Modes as decorators: of functions, generators, coroutines and asynchronous generators, closed and thrown into."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import microtrain as mt
from microtrain import settings
from tests.support.both import both

MODES = {"no_grad": (lambda T: T.no_grad(), False), "enable_grad": (lambda T: T.enable_grad(), True),
         "set_grad_enabled": (lambda T: T.set_grad_enabled(False), False),
         "inference_mode": (lambda T: T.inference_mode(), False)}


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    """Every test begins and ends with the tape on."""
    assert mt.is_grad_enabled()
    yield
    assert mt.is_grad_enabled()


@both
@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("outside", [True, False])
def test_a_generator_runs_in_its_mode_and_its_caller_does_not(T: Any, name: str, outside: bool) -> None:
    mode, inside = MODES[name]
    seen: list[Any] = []

    @mode(T)
    def steps(n: int) -> Iterator[Any]:
        try:
            for i in range(n):
                seen.append((yield T.is_grad_enabled(), i))
                seen.append(T.is_grad_enabled())
        finally:
            seen.append(("closed", T.is_grad_enabled()))
        return "done"

    def outer() -> Iterator[Any]:
        seen.append((yield from steps(2)))

    with T.set_grad_enabled(outside):
        found = outer()
        assert next(found) == (inside, 0) and T.is_grad_enabled() is outside
        assert found.send("sent") == (inside, 1) and T.is_grad_enabled() is outside
        assert next(found, None) is None and T.is_grad_enabled() is outside
    assert seen == ["sent", inside, None, inside, ("closed", inside), "done"]
    assert inspect.isgeneratorfunction(steps) and steps.__name__ == "steps"


@both
def test_a_generator_that_is_closed_dropped_or_thrown_into(T: Any) -> None:
    seen: list[Any] = []

    @T.no_grad()
    def steps() -> Iterator[int]:
        try:
            yield 1
        except KeyError as error:
            seen.append((error.args, T.is_grad_enabled()))
            yield 2
        finally:
            seen.append(T.is_grad_enabled())

    thrown = steps()
    assert next(thrown) == 1 and thrown.throw(KeyError("in")) == 2 and T.is_grad_enabled()
    thrown.close()
    assert seen == [(("in",), False), False] and T.is_grad_enabled()
    dropped = steps()
    next(dropped)
    del dropped
    assert seen[2:] == [False] and T.is_grad_enabled()
    raising = steps()
    next(raising)
    with pytest.raises(ZeroDivisionError):
        raising.throw(ZeroDivisionError())
    assert T.is_grad_enabled()


def test_the_mode_within_a_generator_is_kept_while_it_waits() -> None:
    @mt.no_grad()
    def steps() -> Iterator[bool]:
        with mt.enable_grad():
            yield mt.is_grad_enabled()
            yield mt.is_grad_enabled()
        yield mt.is_grad_enabled()

    assert list(steps()) == [True, True, False]


@pytest.mark.parametrize("name", MODES)
def test_coroutines_run_in_their_mode_and_what_runs_while_they_wait_does_not(name: str) -> None:
    mode, inside = MODES[name]
    order: list[Any] = []

    @mode(mt)
    async def waits(n: int) -> int:
        for _ in range(2):
            order.append(("in", n, mt.is_grad_enabled()))
            await asyncio.sleep(0)
        with pytest.raises(ZeroDivisionError):
            await fails()
        return n

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def other() -> None:
        for _ in range(3):
            order.append(("out", mt.is_grad_enabled()))
            await asyncio.sleep(0)

    async def both() -> Any:
        return await asyncio.gather(waits(1), other(), waits(2))

    assert asyncio.run(both()) == [1, None, 2]
    assert {entry[-1] for entry in order if entry[0] == "in"} == {inside}
    assert {entry[-1] for entry in order if entry[0] == "out"} == {True}
    assert inspect.iscoroutinefunction(waits)


def test_a_coroutine_that_is_cancelled_leaves_the_mode() -> None:
    seen: list[bool] = []

    @mt.no_grad()
    async def forever() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append(mt.is_grad_enabled())

    async def cancelled() -> bool:
        task = asyncio.ensure_future(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return mt.is_grad_enabled()

    assert asyncio.run(cancelled()) and seen == [False]


def test_asynchronous_generators_run_in_their_mode() -> None:
    seen: list[Any] = []

    @mt.no_grad()
    async def steps() -> AsyncIterator[bool]:
        try:
            for _ in range(3):
                await asyncio.sleep(0)
                seen.append(mt.is_grad_enabled())
                yield mt.is_grad_enabled()
        finally:
            seen.append("closed")

    async def run() -> list[Any]:
        found: list[Any] = []
        async for inside in steps():
            found.append((inside, mt.is_grad_enabled()))
        half = steps()
        found.append(await half.__anext__())
        await half.aclose()                         # type: ignore[attr-defined]
        return found

    assert asyncio.run(run()) == [(False, True)] * 3 + [False]
    assert seen == [False] * 3 + ["closed", False, "closed"]


@both
def test_a_mode_is_entered_while_it_is_on(T: Any) -> None:
    outer, inner = T.no_grad(), T.enable_grad()
    with outer:
        with inner, T.no_grad():
            assert not T.is_grad_enabled()
        assert not T.is_grad_enabled()

    @T.no_grad()
    def again(n: int) -> bool:
        return again(n - 1) if n else T.is_grad_enabled()

    assert not again(3) and T.is_grad_enabled()
    with T.no_grad(), T.inference_mode(False):
        assert T.is_grad_enabled()
    if T is mt:                             # PyTorch's object forgets what it was entered from first
        with outer:
            with outer:
                assert not T.is_grad_enabled()
            assert not T.is_grad_enabled()


@both
@pytest.mark.parametrize("decorate", [lambda T: T.no_grad, lambda T: T.no_grad(), lambda T: T.inference_mode,
                                      lambda T: T.inference_mode(), lambda T: T.set_grad_enabled(False)])
def test_functions_methods_and_partial_ones(T: Any, decorate: Any) -> None:
    class Of:
        @decorate(T)
        def method(self) -> Any:
            return self, T.is_grad_enabled()

    of = Of()
    assert of.method() == (of, False) and T.is_grad_enabled()
    assert decorate(T)(functools.partial(lambda a, b: (a, b, T.is_grad_enabled()), 1))(2) == (1, 2, False)
    assert T.is_grad_enabled()


@both
def test_a_class_that_is_decorated_warns(T: Any) -> None:
    class Of:
        def __init__(self) -> None:
            self.recording = T.is_grad_enabled()

    with pytest.warns(FutureWarning, match="Decorating classes is deprecated and will be disabled in future versions"):
        made = T.no_grad()(Of)
    assert not made().recording and T.is_grad_enabled()


def test_switches_decorate_alike() -> None:
    @settings.fuse(False)
    def function() -> bool:
        return settings.fuse.value

    @settings.fuse(False)
    def steps() -> Iterator[bool]:
        yield settings.fuse.value
        yield settings.fuse.value

    @settings.fuse(False)
    async def waits() -> bool:
        await asyncio.sleep(0)
        return settings.fuse.value

    assert settings.fuse.value and not function() and settings.fuse.value
    for inside in steps():
        assert not inside and settings.fuse.value
    assert not asyncio.run(waits()) and settings.fuse.value
    switch = settings.fuse(False)
    with pytest.raises(KeyError), switch, switch:
        raise KeyError
    assert settings.fuse.value
