"""Interrupts at any point of a training step: what is left trains on, with the step taken or not, bit for bit.

    python -m tests.stress.interrupts                       # 3,000 interrupts, at points chosen at random
    python -m tests.stress.interrupts --count 500 --scenario adam --signals
    python -m tests.stress.interrupts --sweep               # each point once where Python looks for signals

Python looks for signals after a call, at the end of a loop's body and where a function begins. `Injector` counts these
points in the package's own code, by tracing, and raises at one of them; `--signals` has a real timer go off instead.
"""

from __future__ import annotations

import argparse
import dis
import random
import signal
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

import microtrain as mt
from microtrain import nn, optim
from microtrain.engine.plans import plans
from microtrain.nn import functional as F
from microtrain.runtime.lock import lock

PACKAGE = str(Path(mt.__file__).parent)
STEPS = 4
LOOKS = {number for name, number in dis.opmap.items() if name in ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME")
         or ("JUMP_BACKWARD" in name and "NO_INTERRUPT" not in name)}
"""Instructions after which Python looks for signals."""


@cache
def handlers(code: CodeType) -> dict[int, int]:
    """By an instruction's offset, where an exception in it is handled; not in there where it is not."""
    return {offset: entry.target for entry in reversed(dis._parse_exception_table(code))     # type: ignore[attr-defined]
            for offset in range(entry.start, entry.end)}


def finalizes(frame: FrameType | None) -> bool:
    """Whether a function is called as something goes away: Python itself drops what is raised there."""
    while frame is not None:
        if frame.f_code is weakref.finalize.__call__.__code__ or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


class Injector:
    """Raises `error` at the k-th point; counts the points where k is None."""

    def __init__(self, k: int | None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.k, self.error, self.count = k, error, 0
        self.where = ""

    def __enter__(self) -> Injector:
        sys.settrace(self.entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def entered(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith((PACKAGE, "<microtrain")) and frame.f_code is not Training.step.__code__:
            return None
        if finalizes(frame):
            return None
        frame.f_trace_opcodes = True
        code, before, caller = frame.f_code.co_code, [-1], frame.f_back
        # Where a property begins, an error of a trace function is lost in CPython 3.11: a TypeError comes in its place.
        of_property = caller is not None and caller.f_code.co_code[caller.f_lasti] == dis.opmap["LOAD_ATTR"]

        def traced(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "opcode":
                last, before[0] = before[0], frame.f_lasti
                awaited = last >= 0 and code[last] == dis.opmap["RESUME"] and (code[last + 1] > 1 or of_property)
                # What is raised after a call is raised in it, which is in a block that ends with it.
                within = handlers(frame.f_code).get(last) == handlers(frame.f_code).get(frame.f_lasti)
                if last >= 0 and code[last] in LOOKS and not awaited and within:
                    self.count += 1
                    if self.count == self.k:
                        self.where = f"{name.removeprefix(PACKAGE)}:{frame.f_lineno} in {frame.f_code.co_name}"
                        sys.settrace(None)
                        raise self.error
            return traced
        return traced


class Training:
    """A model in training, whose state can be looked at after each step."""

    def __init__(self, scenario: str) -> None:
        rng = np.random.default_rng(0)
        self.x = mt.tensor(rng.standard_normal((6, 4)).astype(np.float32))
        self.y = mt.tensor(rng.standard_normal((6, 1)).astype(np.float32))
        between = [nn.BatchNorm1d(5)] if "norm" in scenario else []
        self.model = nn.Sequential(nn.Linear(4, 5), *between, nn.ReLU(), nn.Linear(5, 1))
        with mt.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(mt.tensor(rng.standard_normal(parameter.shape).astype(np.float32) / 3))
        self.optimizer: Any = (optim.Adam(self.model.parameters(), lr=0.01) if "adam" in scenario else
                               optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9))
        self.saves = "saves" in scenario
        self.reads = "reads" in scenario
        self.kept: Any = None

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss = F.mse_loss(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        if self.saves:
            self.kept = self.model.state_dict(), self.optimizer.state_dict()
        if self.reads:
            loss.item()
            with mt.no_grad():
                self.model(self.x)

    def state(self) -> list[Any]:
        """Parameters, and all that the optimizer knows of each."""
        found = []
        for parameter in self.model.parameters():
            found.append(np.array(parameter.detach().cpu().numpy()))
            for key, value in sorted(self.optimizer.state.get(parameter, {}).items()):
                found.append(np.array(value.detach().cpu().numpy()) if isinstance(value, mt.Tensor) else (key, value))
        return found

    def statistics(self) -> list[Any]:
        return [np.array(buffer.numpy()) for buffer in self.model.buffers()]


ERRORS = {error.__name__: error for error in (KeyboardInterrupt, MemoryError, SystemExit, RuntimeError)}
SCENARIOS = ("sgd", "sgd saves", "adam", "adam saves", "adam reads", "sgd norm")


def equal(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) else x == y
        for x, y in zip(a, b, strict=True))


class Reference:
    """The states after each step of a training that nobody interrupts."""

    def __init__(self, scenario: str) -> None:
        training = Training(scenario)
        self.states, self.statistics = [training.state()], [training.statistics()]
        for _ in range(STEPS + 2):
            training.step()
            self.states.append(training.state())
            self.statistics.append(training.statistics())

    def steps_of(self, state: list[Any]) -> int:
        """After how many steps that is the state. Raises AssertionError where it is after none."""
        found = [steps for steps, known in enumerate(self.states) if equal(state, known)]
        assert found, "a step is half taken"
        return found[0]


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Collects what Python would say of exceptions that nobody can catch."""
    said: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda told: said.append(f"{told.err_msg} {told.object!r}: {told.exc_value!r}")
    try:
        yield said
    finally:
        sys.unraisablehook = before


def check(training: Training, reference: Reference, said: list[str]) -> int:
    """That a training which was interrupted is as it was after some whole step, and trains on. After how many steps."""
    assert mt.is_grad_enabled(), "the grad mode is not as it was"
    assert not said, said
    free = []
    thread = threading.Thread(target=lambda: free.append(lock.acquire(timeout=5) and not lock.release()))
    thread.start()
    thread.join()
    assert free == [True], "the lock is held"
    grads = [parameter.grad is None for parameter in training.model.parameters()]
    assert len(set(grads)) == 1, "some have gradients, some have none"
    steps = reference.steps_of(training.state())
    moved = training.statistics()
    assert any(equal(moved, known) for known in reference.statistics[steps:steps + 2]), "statistics are half moved"
    for _ in range(steps, min(steps + 2, STEPS + 2)):
        training.step()
    assert equal(training.state(), reference.states[min(steps + 2, STEPS + 2)]), "it does not train on as it would have"
    return steps


def points(scenario: str) -> int:
    training = Training(scenario)
    with Injector(None) as injector:
        for _ in range(STEPS):
            training.step()
    return injector.count


def interrupt(scenario: str, reference: Reference, k: int, error: type[BaseException] = KeyboardInterrupt) -> str:
    """Interrupt a fresh training at its k-th point, and look at it. Where that was."""
    training = Training(scenario)
    with quiet() as said:
        injector = Injector(k, error)
        try:
            with suppress(error), injector:
                for _ in range(STEPS):
                    training.step()
            check(training, reference, said)
        except Exception as wrong:
            raise AssertionError(f"{scenario}: {error.__name__} at point {k}, {injector.where}: {wrong!r}") from wrong
    return injector.where


def by_signal(scenario: str, reference: Reference, seconds: float) -> None:
    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    training = Training(scenario)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with quiet() as said:
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, seconds)
                for _ in range(STEPS):
                    training.step()
                signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            check(training, reference, said)
    finally:
        signal.signal(signal.SIGALRM, before)


def spread(count: int, total: int, seed: int) -> list[int]:
    """So many points, chosen at random; all of them where there are no more."""
    every = range(1, total + 1)
    return list(every) if count >= total else sorted(random.Random(seed).sample(every, count))


def works_of(scenario: str, count: int, seed: int, signals: bool = False,
             error: type[BaseException] = KeyboardInterrupt) -> list[Callable[[], Any]]:
    """So many interrupts of a scenario, each to be called."""
    start = time.perf_counter()
    reference = Reference(scenario)
    whole = (time.perf_counter() - start) * STEPS / (STEPS + 2)
    draw = random.Random(seed)
    if signals:
        return [partial(by_signal, scenario, reference, draw.uniform(1e-6, whole)) for _ in range(count)]
    return [partial(interrupt, scenario, reference, k, error) for k in spread(count, points(scenario), seed)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    parser.add_argument("--sweep", action="store_true", help="each point once")
    parser.add_argument("--signals", action="store_true", help="by a timer, at random times")
    parser.add_argument("--error", choices=ERRORS, default="KeyboardInterrupt")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    scenarios = given.scenario or SCENARIOS
    wrong = Counter[str]()
    done, begun = 0, time.perf_counter()
    for scenario in scenarios:
        Reference(scenario)         # plans are made now
        count = 10 ** 9 if given.sweep else given.count // len(scenarios)
        for work in works_of(scenario, count, given.seed, given.signals, ERRORS[given.error]):
            try:
                work()
            except AssertionError as error:
                wrong[str(error)] += 1
                plans.forget()
                mt.set_grad_enabled(True)       # each is looked at by itself
            done += 1
    for text, times in wrong.most_common(40):
        print(f"{times} x {text}")
    print(f"{done} interrupts in {len(scenarios)} scenarios, {time.perf_counter() - begun:.0f} s: "
          f"{sum(wrong.values())} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
