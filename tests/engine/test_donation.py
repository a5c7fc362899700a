"""A step of training writes over the memory of the parameters and the state that it replaces, and nothing else.

Every scenario runs twice, once with nothing given away, and must leave the same bits. Interpreted, kernels are cut into
small programs that run one after another, so that one that reads what another has written over is noticed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiler import memory
from microtrain.compiler.emit_triton import emit
from microtrain.compiler.executable import Executable
from microtrain.compiler.index import ZERO, combine
from microtrain.compiler.schedule import schedule
from microtrain.compiler.templates.matmul import Matmul
from microtrain.compiler.templates.rows import Slab
from microtrain.compiler.templates.user_kernel import UserKernel
from microtrain.engine import step as engine_step
from microtrain.engine.plans import plans
from microtrain.graph.node import BUFFER
from microtrain.kernels import tiles
from microtrain.runtime import backend
from microtrain.tensor.transfer import exported
from tests.conftest import DEVICE
from tests.support.programs import blank, program, tensor

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
    """The specs of the inputs whose memory runs were given, one for each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.specs: list[str] = []
        allocate = Executable.allocate

        def counted(executable: Executable, memory: list[Any], free: Any) -> Any:
            over = allocate(executable, memory, free)
            self.specs += [str(executable.program.inputs[k].spec).split("@")[0] for k, _ in over]
            return over
        monkeypatch.setattr(Executable, "allocate", counted)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
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


def read(step: Step) -> Any:
    for _ in range(STEPS):
        step().item()
    return step.state


def never_read(step: Step) -> Any:
    for _ in range(STEPS):
        step()
    return step.state


def detached_losses(step: Step) -> Any:
    return [[step().detach() for _ in range(STEPS)], *step.state]


def losses(step: Step) -> Any:
    return [[step() for _ in range(STEPS)], *step.state]


def gradients_kept(step: Step) -> Any:
    kept = []
    for _ in range(STEPS):
        step()
        kept.append(step.w.grad)
    return [kept, *step.state]


def two_backwards(step: Step) -> Any:
    for _ in range(STEPS):
        step.w.grad = None
        for _ in range(2):
            step.loss = ((step.x @ step.w - step.y) ** 2).mean()
            step.loss.backward()
        step.update()
        step.loss.item()
    return step.state


def old_clones(step: Step) -> Any:
    kept = []
    for _ in range(STEPS):
        kept.append(step.w.detach().clone())
        step()
    return [kept, *step.state]


def old_clone_pending(step: Step) -> Any:
    kept = []
    for _ in range(STEPS):
        old = step.w * 1
        step()
        kept.append(old)
    return [kept, *step.state]


def copies_computed(step: Step) -> Any:
    """A copy is the same memory, until one of the two changes."""
    kept = []
    for _ in range(STEPS):
        kept.append(step.m.clone())
        kept[-1].sum().item()
        step().item()
    return [kept, *step.state]


def old_states(step: Step) -> Any:
    kept = []
    for _ in range(STEPS):
        kept.append(step.m)
        step().item()
    return [kept, *step.state]


def alias(step: Step) -> Any:
    other, seen = step.w.detach(), []
    for _ in range(STEPS):
        step().item()
        seen.append(other.sum().item())
    return [other, seen, *step.state]


def alias_of_each(step: Step) -> Any:
    seen = []
    for _ in range(STEPS):
        other = step.w.detach()
        step().item()
        seen.append(other * 2)
    return [seen, *step.state]


def a_row(step: Step) -> Any:
    row, seen = step.w.detach()[1], []
    for _ in range(STEPS):
        step().item()
        seen.append(row + 0)
    return [row, seen, *step.state]


def saved_state(step: Step) -> Any:
    """The tape alone keeps old states: no name of theirs is left."""
    v = mt.tensor(data(4, 8, seed=3), requires_grad=True)
    products = []
    for _ in range(STEPS):
        products.append((v * step.m).sum())
        step().item()
    return [mt.autograd.grad(sum(products), v)[0], *step.state]


def retained(step: Step) -> Any:
    held = []
    for _ in range(STEPS):
        loss = step(retain_graph=True)
        loss.item()
        held.append(loss)
    return step.state


def hooked(step: Step) -> Any:
    kept: list[Any] = []
    step.w.register_hook(kept.append)
    for _ in range(STEPS):
        step().item()
    return [kept, *step.state]


def arrays_kept(step: Step) -> Any:
    views, copies = [], []
    for _ in range(STEPS):
        views.append(step.w.detach().cpu().numpy())
        copies.append(views[-1].copy())
        step().item()
        views.append(step.m.numpy(force=True))
        copies.append(views[-1].copy())
    equal(views, copies)
    return [views, *step.state]


def predictions_kept(step: Step) -> Any:
    kept = []
    for _ in range(STEPS):
        with mt.no_grad():
            kept.append(step.x @ step.w)
        step()
    return [kept, *step.state]


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


SCENARIOS: list[tuple[Callable[[Step], Any], int]] = [
    (read, 4), (never_read, 4), (detached_losses, 4), (losses, 4), (gradients_kept, 4), (two_backwards, 4),
    (old_clones, 1), (old_clone_pending, 1), (copies_computed, 1), (old_states, 1), (alias, 1), (alias_of_each, 1),
    (a_row, 1), (saved_state, 1), (retained, 1), (hooked, 4), (arrays_kept, 0), (predictions_kept, 4),
    (states_before_and_after, 0)]
"""With how often, at least, the parameter's or the momentum's memory is given away."""


@pytest.mark.parametrize(("scenario", "least"), SCENARIOS, ids=[s.__name__ for s, _ in SCENARIOS])
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


# ---------------------------------------------------------------------------------------- which inputs, at plan time

def updates(w: Any, c: Any, a: Any, b: Any) -> dict[str, tuple[list[Any], bool]]:
    """Programs from w (8, 8) and others alike, and whether w's memory may be used for an output."""
    half = g.slice(w, (0, 0), (4, 8), (1, 1))
    return {
        "map": ([g.sub(w, g.mul(c, 0.25))], True),
        "two results": ([g.sub(w, c), g.mul(g.add(w, c), 0.25)], True),
        "transposed": ([g.sub(c, g.permute(w, (1, 0)))], False),
        "both ways": ([g.sub(w, g.permute(w, (1, 0)))], False),
        "flipped": ([g.add(g.flip(w, (0,)), c)], False),
        "another row": ([g.add(w, g.slice(w, (0, 0), (1, 8), (1, 1)))], False),
        "halves swapped": ([g.cat((g.slice(w, (4, 0), (4, 8), (1, 1)), half), 0)], False),
        "rows": ([g.softmax(w, 1)], True),
        "columns": ([g.softmax(w, 0)], True),
        "rows and columns": ([g.softmax(w, 1), g.softmax(w, 0)], False),
        "minus its sum": ([g.sub(w, g.sum(w, (0, 1)))], True),
        "epilogue": ([g.sub(w, g.matmul(a, b))], True),
        "operand": ([g.matmul(w, b)], False),
        "operand and epilogue": ([g.sub(w, g.matmul(w, b))], False),
        "epilogue transposed": ([g.sub(g.permute(w, (1, 0)), g.matmul(a, b))], False),
        "read by a later product": ([g.sub(w, g.mul(c, 0.25)), g.matmul(w, b)], False),
        "a number": ([g.add(g.sum(w, (0, 1)), 0.37), g.mul(w, 0.37)], True),
        "one that is an output": ([g.identity(w), g.sub(w, g.sum(c, (0, 1)))], False),
    }


NAMES = list(updates(*[blank(8, 8)] * 4))


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_given_only_to_what_no_longer_needs_it(name: str) -> None:
    outputs, expected = updates(*(blank(8, 8) for _ in range(4)))[name]
    scheduled = schedule(program(*outputs)[0])
    found = memory.heirs([emit(group, scheduled) for group in scheduled], scheduled.program)
    first = next(node for node in scheduled.program.inputs if node.shape)       # in the order in which they were made
    assert all(donor.primitive is BUFFER for donors in found.values() for donor in donors)
    assert any(first in donors for donors in found.values()) is expected


def disturbed(names: Iterable[str]) -> set[str]:
    """The programs above that compute something else when they are given all the memory they would take."""
    found = set()
    for name in names:
        outputs, _ = updates(*(tensor(data(8, 8, seed=i), DEVICE) for i in range(4)))[name]
        made, values = program(*outputs)
        executable = Executable(made)
        to_numpy = executable.backend.to_numpy
        expected = [to_numpy(buffer).copy() for buffer in executable.run([*values])]
        given = [to_numpy(buffer) for buffer in executable.run([*values], executable.donatable)]
        if not all(np.array_equal(a, b) for a, b in zip(expected, given, strict=True)):
            found.add(name)
    return found


@on_triton
def test_given_memory_changes_no_result() -> None:
    assert not disturbed(NAMES)


@pytest.mark.skipif(DEVICE != "interpret", reason="a GPU may happen to read everything before it writes anything")
def test_memory_given_to_what_still_needs_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "elementwise", lambda *_: True)
    wrong = {"transposed", "both ways", "flipped", "another row", "halves swapped", "rows and columns"}
    assert disturbed(wrong) == wrong


def test_a_value_that_many_programs_read_is_not_written_by_one_of_them() -> None:
    """Beside a product of (32, 8) and (8, 16), programs of several rows would all read what stands at n."""
    product, slabs = Matmul(1, 32, 16, 8), Slab(64, 8, 4)
    assert product.in_one_program(combine([(product.m, 16), (product.n, 1)]))
    assert not product.in_one_program(product.n) and not product.in_one_program(product.m)
    assert slabs.in_one_program(slabs.r) and not slabs.in_one_program(slabs.c)
    assert Slab(16, 8, 1).in_one_program(Slab(16, 8, 1).c)
    assert not UserKernel(None).in_one_program(ZERO), "a template that says nothing of its programs"


def test_a_kernel_of_several_results_has_a_barrier_before_it_stores_over_what_it_reads() -> None:
    w, c = blank(8, 8), blank(8, 8)
    for outputs, fenced in (([g.sub(w, c)], False), ([g.sub(w, c), g.mul(w, c)], True), ([g.sum(w, (1,))], False)):
        scheduled = schedule(program(*outputs)[0])
        sources = [f.source for group in scheduled for f in emit(group, scheduled).emitted]
        assert any("debug_barrier()" in source for source in sources) is fenced
        for source in sources:
            assert "tl.load" not in source.partition("debug_barrier")[2] and source.count("debug_barrier") <= 1


# ------------------------------------------------------------------------------------------------------- interrupted

class Breaking:
    """A device whose launch (or allocation) number `when` fails once, before or after the kernel has run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, when: int, act: Callable[[], None],
                 late: bool = False) -> None:
        self.left: int | None = when
        device = backend(DEVICE)
        method = getattr(device, name)

        def failing(*arguments: Any) -> Any:
            if self.left == 0 and not late:
                self.left = None
                act()
            result = method(*arguments)
            if self.left == 0:
                self.left = None
                act()
            if self.left is not None:
                self.left -= 1
            return result
        monkeypatch.setattr(device, name, failing)


def trained(steps: int) -> Step:
    """A step whose next run is given memory."""
    step = Step()
    for _ in range(steps):
        step().item()
    return step


def fail() -> None:
    raise ValueError("planted")


@on_triton
@pytest.mark.parametrize(("when", "late"), [(1, False), (1, True), (2, False), (2, True)])
def test_after_a_failure_a_value_is_right_or_reading_it_raises(when: int, late: bool, given: Given,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of three launches, of which the last writes over the parameter and the momentum."""
    expected, step = copied(trained(5).state), trained(4)
    step()
    given.specs.clear()
    broken = Breaking(monkeypatch, "launch", when, fail, late)
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
    assert broken.left is None and "float32[4, 8]" in given.specs, "nothing failed, or not where it hurts"
    assert all(whole) is (when < 2)


@on_triton
def test_without_memory_for_a_run_nothing_is_lost(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, step = copied(trained(6).state), trained(4)
    step()
    broken = Breaking(monkeypatch, "workspace", 0, fail)
    step.loss.item()
    assert broken.left is None
    step()
    equal(copied(step.state), expected)


@on_triton
def test_an_interrupt_takes_effect_when_the_step_is_done(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, step = copied(trained(6).state), trained(4)
    step()
    given.specs.clear()
    broken = Breaking(monkeypatch, "launch", 2, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        step.loss.item()
    assert broken.left is None and "float32[4, 8]" in given.specs
    step()
    equal(copied(step.state), expected)
    with pytest.raises(KeyboardInterrupt):              # and later ones at once again
        signal.raise_signal(signal.SIGINT)


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
