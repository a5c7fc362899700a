"""A step of training writes over the memory of the parameters and the state that it replaces, and nothing else.

Every scenario runs twice, once with nothing given away, and must leave the same bits. Interpreted, kernels are cut into
small programs that run one after another, so that one that reads what another has written over is noticed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain.compiler.executable import Executable
from microtrain.engine import step as engine_step
from microtrain.engine.plans import plans
from microtrain.graph import constants
from microtrain.kernels import tiles
from microtrain.runtime import backend
from microtrain.tensor.host import exported
from tests.conftest import DEVICE

STEPS = 3
on_triton = pytest.mark.skipif(DEVICE == "cpu", reason="on the cpu device no memory is given away")


@pytest.fixture(autouse=True, scope="module")
def small_programs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "INTERPRET_ELEMENTS", 16)
        plans.forget()
        yield
        plans.forget()


class Given:
    """The inputs whose memory runs were given, one for each time: their places and their specs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places, self.specs = list[int](), list[str]()
        allocate = Executable.allocate

        def counted(executable: Executable, memory: list[Any], free: Any) -> Any:
            over = allocate(executable, memory, free)
            self.places += [k for k, _ in over]
            self.specs += [str(executable.program.inputs[k].spec).split("@")[0] for k, _ in over]
            return over
        monkeypatch.setattr(Executable, "allocate", counted)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    # Numbers that are older than the leaves, from tests before, make another program of a step than new ones do, and a
    # program's first run gives nothing.
    monkeypatch.setattr(constants, "MAX_CONSTANTS", 0)
    constants.forget_constants()
    monkeypatch.setattr(constants, "MAX_CONSTANTS", 1 << 30)
    return Given(monkeypatch)


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def copied(value: Any) -> Any:
    """Values as arrays that nothing shares."""
    if isinstance(value, (list, tuple)):
        return [copied(v) for v in value]
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    return np.array(value.detach().cpu().numpy()) if isinstance(value, mt.Tensor) else np.array(value)


def equal(a: Any, b: Any) -> None:
    """Bit by bit."""
    if isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            equal(x, y)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a:
            equal(a[k], b[k])
    else:
        np.testing.assert_array_equal(a, b)


class Step:
    """Linear regression with momentum by hand, in the words of the notebooks."""

    def __init__(self) -> None:
        self.x, self.y = mt.tensor(data(6, 4)), mt.tensor(data(6, 8, seed=1))
        self.w = mt.tensor(data(4, 8, seed=2), requires_grad=True)
        self.m = mt.zeros(4, 8)
        self.loss: Any = None

    def __call__(self, **options: Any) -> Any:
        self.w.grad = None
        self.loss = ((self.x @ self.w - self.y) ** 2).mean()
        self.loss.backward(**options)
        self.update()
        return self.loss

    def update(self) -> None:
        with mt.no_grad():
            self.m = self.m * 0.9 + self.w.grad
            self.w -= 0.1 * self.m

    @property
    def state(self) -> list[Any]:
        return [self.w, self.m, self.loss]

    def run(self, before: Callable[[], Any] = lambda: None, after: Callable[[], Any] = lambda: None, read: bool = False,
            **options: Any) -> Any:
        """Steps, and what was kept before and after each of them."""
        kept = []
        for _ in range(STEPS):
            kept.append(before())
            loss = self(**options)
            if read:
                loss.item()
            kept.append(after())
        return [[one for one in kept if one is not None], *self.state]


def two_backwards(step: Step) -> Any:
    for _ in range(STEPS):
        step.w.grad = None
        for _ in range(2):
            step.loss = ((step.x @ step.w - step.y) ** 2).mean()
            step.loss.backward()
        step.update()
        step.loss.item()
    return step.state


def copies_computed(step: Step) -> Any:
    """A copy is the same memory, until one of the two changes."""
    def copy() -> Any:
        made = step.m.clone()
        made.sum().item()
        return made
    return step.run(before=copy, read=True)


def alias(step: Step) -> Any:
    other = step.w.detach()
    return [other, *step.run(after=lambda: other.sum().item(), read=True)]


def alias_of_each(step: Step) -> Any:
    others: list[Any] = []
    return step.run(before=lambda: others.append(step.w.detach()), after=lambda: others.pop() * 2, read=True)


def a_row(step: Step) -> Any:
    row = step.w.detach()[1]
    return [row, *step.run(after=lambda: row + 0, read=True)]


def saved_state(step: Step) -> Any:
    """The tape alone keeps old states: no name of theirs is left."""
    v = mt.tensor(data(4, 8, seed=3), requires_grad=True)
    products, *state = step.run(before=lambda: (v * step.m).sum(), read=True)
    return [mt.autograd.grad(sum(products), v)[0], *state]


def hooked(step: Step) -> Any:
    kept: list[Any] = []
    step.w.register_hook(kept.append)
    return [kept, *step.run(read=True)]


def arrays_kept(step: Step) -> Any:
    copies: list[Any] = []

    def array(value: mt.Tensor) -> Any:
        view = value.numpy(force=True)
        copies.append(view.copy())
        return view
    views, *state = step.run(before=lambda: array(step.w), after=lambda: array(step.m), read=True)
    equal(views, copies)
    return [views, *state]


def predictions_kept(step: Step) -> Any:
    return step.run(before=lambda: mt.no_grad()(lambda: step.x @ step.w)())


def states_before_and_after(step: Step) -> Any:
    """Old and new in one program."""
    kept = []
    for _ in range(STEPS):
        before = step.m
        step()
        kept += [before + 1, before.t() @ step.m, step.m - before]
        del before
        step.loss.item()
    return [kept, *step.state]


SCENARIOS: dict[str, tuple[Callable[[Step], Any], int]] = {
    "read": (lambda step: step.run(read=True), 4),
    "never read": (lambda step: step.run(), 4),
    "detached losses": (lambda step: step.run(after=lambda: step.loss.detach()), 4),
    "losses": (lambda step: step.run(after=lambda: step.loss), 4),
    "gradients kept": (lambda step: step.run(after=lambda: step.w.grad), 4),
    "old clones": (lambda step: step.run(before=lambda: step.w.detach().clone()), 1),
    "old clones pending": (lambda step: step.run(before=lambda: step.w * 1), 1),
    "old states": (lambda step: step.run(before=lambda: step.m, read=True), 1),
    "retained": (lambda step: step.run(after=lambda: step.loss, read=True, retain_graph=True), 1),
    "two backwards": (two_backwards, 4), "copies computed": (copies_computed, 1), "alias": (alias, 1),
    "alias of each": (alias_of_each, 1), "a row": (a_row, 1), "saved state": (saved_state, 1), "hooked": (hooked, 4),
    "arrays kept": (arrays_kept, 0), "predictions kept": (predictions_kept, 4),
    "states before and after": (states_before_and_after, 0)}
"""With how often, at least, the parameter's or the momentum's memory is given away."""


@pytest.mark.parametrize(("scenario", "least"), SCENARIOS.values(), ids=SCENARIOS)
def test_no_loop_sees_the_difference(scenario: Callable[[Step], Any], least: int, given: Given,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    build = engine_step.Step.__init__

    def trusted(plan: engine_step.Step, *arguments: Any) -> None:
        build(plan, *arguments)
        plan.trusted = True             # in its first run already, so that few steps will do
    monkeypatch.setattr(engine_step.Step, "__init__", trusted)
    found = copied(scenario(Step()))
    count = given.specs.count("float32[4, 8]")
    run = Executable.run
    monkeypatch.setattr(Executable, "run", lambda executable, values, free=(): run(executable, values))
    given.specs.clear()
    equal(found, copied(scenario(Step())))
    assert not given.specs, "the other run gave something away too"
    if DEVICE != "cpu":
        assert count >= least, f"memory was given away {count} times"


def test_optimizers_keep_their_parameters_and_state_where_they_are(given: Given) -> None:
    """The loops that people write: each step's memory is the one before's."""
    for make in (lambda p: mt.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: mt.optim.Adam(p)):
        mt.manual_seed(0)
        model = mt.nn.Linear(4, 8)
        optimizer = make(model.parameters())
        x, y = mt.tensor(data(6, 4)), mt.tensor(data(6, 8, seed=1))
        for step in range(6):
            given.specs.clear()
            optimizer.zero_grad()
            mt.nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            if step == 2:
                kept = copied(optimizer.state_dict()["state"][0])
                held = optimizer.state_dict()["state"][0]
        equal(copied(dict(held)), kept)
        states = 1 + len([v for v in held.values() if isinstance(v, mt.Tensor)])
        if DEVICE != "cpu":
            assert given.specs.count("float32[8, 4]") == states, given.specs


# ------------------------------------------------------------------------------------------------------- interrupted

def fail() -> None:
    raise ValueError("planted")


class Breaking:
    """A device whose launch (or allocation) number `left` fails, before or after the kernel has run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, left: int, late: bool = False,
                 act: Callable[[], None] = fail) -> None:
        self.left = left
        device = backend(DEVICE)
        method = getattr(device, name)

        def failing(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == -1 and not late:
                act()
            result = method(*arguments)
            if self.left == -1 and late:
                act()
            return result
        monkeypatch.setattr(device, name, failing)


def trained(steps: int) -> Step:
    """A step whose next run is given memory."""
    step = Step()
    for _ in range(steps):
        step().item()
    return step


@on_triton
@pytest.mark.parametrize(("when", "late"), [(1, False), (1, True), (2, False), (2, True)])
def test_after_a_failure_a_value_is_right_or_reading_it_raises(when: int, late: bool, given: Given,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of three launches, of which the last writes over the parameter and the momentum."""
    expected, step = copied(trained(5).state), trained(4)
    step()
    given.specs.clear()
    broken = Breaking(monkeypatch, "launch", when, late)
    whole = []
    try:
        step.loss.item()
    except RuntimeError as error:
        assert "this value is lost" in str(error)
    for value, want in zip(step.state, expected, strict=True):
        try:
            equal(copied(value), want)
            whole.append(True)
        except RuntimeError as error:
            assert "this value is lost" in str(error)
            whole.append(False)
    assert broken.left < 0 and "float32[4, 8]" in given.specs, "nothing failed, or not where it hurts"
    assert all(whole) is (when < 2)


@on_triton
def test_without_memory_for_a_run_nothing_is_lost(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, step = copied(trained(6).state), trained(4)
    step()
    broken = Breaking(monkeypatch, "workspace", 0)
    step.loss.item()
    assert broken.left < 0
    step()
    equal(copied(step.state), expected)


@on_triton
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM, signal.SIGTERM])
def test_a_signal_takes_effect_when_the_step_is_done(number: int, given: Given,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its handler raises: a parameter that is half written over is lost."""
    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    expected, step = copied(trained(6).state), trained(4)
    step()
    given.specs.clear()
    broken = Breaking(monkeypatch, "launch", 2, act=lambda: signal.raise_signal(number))
    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            step.loss.item()
        assert broken.left < 0 and "float32[4, 8]" in given.specs and signal.getsignal(number) is handler
        step()
        equal(copied(step.state), expected)
        with pytest.raises(KeyboardInterrupt):              # and later ones at once again
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


@on_triton
def test_kernels_that_write_over_what_they_read_are_checked_and_poisoned_too(given: Given) -> None:
    expected = copied(trained(6).state)
    with mt.settings.validate(True), mt.settings.poison(True):
        equal(copied(trained(6).state), expected)
    assert "float32[4, 8]" in given.specs


def test_a_buffer_that_was_handed_out_is_marked() -> None:
    x = mt.tensor(data(3)) * 2
    exported(x.node)
    assert x.node.shared
    y = mt.tensor(data(3))
    assert not getattr(y.node, "shared", False)
    z = y.detach()
    assert y.node.shared and z.node.shared
