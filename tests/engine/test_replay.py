"""A step met again is recognised and its backward replayed: with the same results, or else not at all.

Structures that begin alike are run in turn, so that each is compared with the others' functions before its own.
"""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.autograd import replay as replaying
from microtrain.autograd import walk as walking
from microtrain.autograd.replay import MAX_REPLAYS, replays
from microtrain.engine import plans as planning
from microtrain.engine import run
from microtrain.engine.match import recogniser
from microtrain.engine.plans import MAX_RECENT, linearize, plans
from microtrain.engine.session import MAX_PENDING

Tensors = Callable[[Any, Any, Any], Any]

# Sums of two terms or products of two factors: equal roots, and behind them other operations, other operands, values
# shared or computed twice, leaves met once or twice, the order of recording turned round.
ALIKE: dict[str, Tensors] = {
    "two products": lambda a, b, c: (a * b) + (b * c),
    "a product with itself": lambda a, b, c: (a * a) + (b * c),
    "one product twice": lambda a, b, c: twice(a * b),
    "the same product made twice": lambda a, b, c: (a * b) + (a * b),
    "operands swapped": lambda a, b, c: (b * a) + (c * b),
    "terms recorded the other way round": lambda a, b, c: backwards(lambda: b * c, lambda: a * b),
    "another operation": lambda a, b, c: (a - b) + (b * c),
    "an output kept by its rule": lambda a, b, c: a.exp() + (b * c),
    "the same output read twice": lambda a, b, c: read_twice(a.exp(), b * c),
    "a constant": lambda a, b, c: (a * 2) + (b * c),
    "a number": lambda a, b, c: (a * 0.3) + (b * c),
    "a power of a number": lambda a, b, c: (a ** 2.5) + (b * c),
    "a value off the tape": lambda a, b, c: (a * b).detach() + (b * c),
    "broadcast": lambda a, b, c: (a * b) + (b.sum() * c),
    "three leaves": lambda a, b, c: a + b * c,
    "two leaves": lambda a, b, c: a + b * b,
    "no leaf": lambda a, b, c: a + (b * 2) * c,
}


def twice(x: Any) -> Any:
    return x + x


def backwards(second: Callable[[], Any], first: Callable[[], Any]) -> Any:
    y = second()
    return first() + y


def read_twice(e: Any, x: Any) -> Any:
    return (e * e) + (e * x)


def leaves(shift: float) -> list[Any]:
    rng = np.random.default_rng(int(shift * 10))
    return [mt.tensor(rng.uniform(0.5, 2, 3).astype(np.float32), requires_grad=True) for _ in range(3)]


def gradients(function: Tensors, shift: float) -> list[Any]:
    """The loss and the leaves' gradients, in one program."""
    inputs = leaves(shift)
    loss = (function(*inputs) * mt.tensor([1.0, -2.0, 0.5])).sum()
    loss.backward()
    return [loss.detach().cpu().numpy(), *[None if x.grad is None else x.grad.cpu().numpy() for x in inputs]]


@pytest.fixture
def nothing_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plan, no graph and no walk was met before."""
    monkeypatch.setattr(replays, "known", {})
    monkeypatch.setattr(replays, "made", {})
    monkeypatch.setattr(plans, "known", {})
    monkeypatch.setattr(plans, "recent", {})


def refuse(*arguments: Any) -> Any:
    raise AssertionError("a step met before was looked up, or walked, once more")


@pytest.mark.usefixtures("nothing_met")
@pytest.mark.parametrize("name", ALIKE)
def test_the_third_time_a_step_is_recognised_and_replayed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for shift in (0.1, 0.2):
        gradients(ALIKE[name], shift)
    expected = gradients(ALIKE[name], 0.3)
    monkeypatch.setattr(walking, "explore", refuse)
    monkeypatch.setattr(planning, "linearize", refuse)
    for found, wanted in zip(gradients(ALIKE[name], 0.3), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.usefixtures("nothing_met")
def test_steps_that_begin_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = {}
    for name, function in ALIKE.items():
        replays.known.clear()
        replays.made.clear()
        plans.recent.clear()
        fresh[name] = gradients(function, 0.3)
    for _ in range(3):                          # each is met again with the others' functions at hand
        for name, function in ALIKE.items():
            for found, wanted in zip(gradients(function, 0.3), fresh[name], strict=True):
                np.testing.assert_array_equal(found, wanted, err_msg=name)
    assert 0 < max(map(len, replays.known.values())) <= MAX_REPLAYS
    assert 0 < max(map(len, plans.recent.values())) <= MAX_RECENT


# What a function of the first must refuse in the second, and (True) what it may take for it: more sharing inside.
PAIRS = [
    ("two products", "a product with itself", False), ("a product with itself", "two products", False),
    ("two products", "another operation", False), ("two products", "a value off the tape", False),
    ("one product twice", "the same product made twice", False),
    ("the same product made twice", "one product twice", True), ("two products", "operands swapped", False),
    ("two products", "terms recorded the other way round", True), ("two products", "two products", True),
    ("three leaves", "two leaves", False), ("three leaves", "no leaf", False)]


@pytest.mark.parametrize("known, other, same", PAIRS)
def test_a_recogniser_looks_at_every_edge(known: str, other: str, same: bool) -> None:
    a, b, c = leaves(0.1)
    root = ALIKE[known](a, b, c)
    function = recogniser(linearize([root.node])[0], [root.node])
    again = ALIKE[other](b, c, a)
    found = function([again.node])
    assert (found is not None) is same
    if found is not None:
        assert set(found) == set(linearize([again.node])[0])


def test_a_recogniser_looks_at_what_the_tape_keeps() -> None:
    a, b, _ = leaves(0.1)
    kept, dropped = (a.exp() * 2 + b), (a.exp() * 2 + b)
    dropped.sum().backward()
    functions = [recogniser(linearize([y.node])[0], [y.node]) for y in (kept, dropped)]
    assert [[f([y.node]) is not None for f in functions] for y in (kept, dropped)] == [[True, False], [False, True]]


@pytest.mark.usefixtures("nothing_met")
@pytest.mark.parametrize("known, other", [
    *[(a, b) for a, b, same in PAIRS if not same and {a, b}.isdisjoint({"operands swapped", "a value off the tape"})],
    ("the same product made twice", "one product twice"), ("two products", "terms recorded the other way round")])
def test_a_replay_looks_at_every_edge_and_at_the_order(known: str, other: str) -> None:
    for _ in range(2):
        a, b, c = leaves(0.1)
        ALIKE[known](a, b, c).sum().backward()
    [[replay]] = replays.known.values()
    a, b, c = leaves(0.2)
    ct = one(a)
    assert replay.function(ALIKE[other](a, b, c).sum().node, ct) is None
    assert replay.function(ALIKE[known](a, b, c).sum().node, ct) is not None


def changed_result() -> Any:
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    before = h * 3
    with mt.no_grad():
        h.add_(1)
    (before + h * 5).sum().backward()
    return x.grad


def changed_parameter() -> Any:
    w = mt.tensor([1.0, 2.0], requires_grad=True)
    before = w * 3
    with mt.no_grad():
        w += 1
    (before * 2 + w * w.detach()).sum().backward()
    return w.grad


def nothing_kept() -> Any:
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    middle = x + 1
    loss = middle.sum()
    loss.backward()
    loss.backward()
    (middle * 2).sum().backward()
    return x.grad


@pytest.mark.usefixtures("nothing_met")
@pytest.mark.parametrize(("step", "gradient", "walked"), [
    (changed_result, [16.0, 16.0], True), (changed_parameter, [8.0, 9.0], False), (nothing_kept, [4.0, 4.0], False)])
def test_a_place_on_the_tape_of_two_values_and_what_is_walked_again(step: Any, gradient: Any, walked: bool) -> None:
    for _ in range(4):
        np.testing.assert_array_equal(step().cpu().numpy(), gradient)
    assert not (walked and any(replays.known.values()))


@pytest.mark.usefixtures("nothing_met")
def test_more_walks_than_are_tried_do_not_emit_their_functions_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def power(k: int) -> Tensors:
        def function(a: Any, b: Any, c: Any) -> Any:
            for _ in range(k):
                a = a * b
            return a + c
        return function

    many = [power(k) for k in range(MAX_REPLAYS + 2)]
    for _ in range(2):
        for function in many:
            gradients(function, 0.1)
    monkeypatch.setattr(replaying, "Walk", refuse)
    monkeypatch.setattr(planning, "recogniser", refuse)
    for function in many:
        gradients(function, 0.1)


@pytest.mark.usefixtures("nothing_met")
def test_a_plan_is_recognised_from_whichever_of_its_outputs_are_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """exp's value is kept by the tape, so it is an output whether a tensor holds it or not: one plan, other roots."""
    monkeypatch.setattr(run, "isolate", refuse)

    def graph() -> tuple[mt.Tensor, mt.Tensor]:
        x = mt.tensor([0.5, 1.0]).requires_grad_()
        middle = x.exp()
        return middle, middle * 3

    for held in (True, True, True, False, False, False, True):
        middle, out = graph()
        if not held:
            del middle
        np.testing.assert_allclose(out.detach().cpu().numpy(), 3 * np.exp([0.5, 1.0]), rtol=1e-6)
    assert len(plans.known) == 1 and len(plans.recent) == 2


def test_what_the_tape_keeps_is_part_of_what_is_recognised() -> None:
    x = mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for keeps in (True, True, True, False, True, False, True):
        x.grad = None
        loss = (x.exp() * 2).sum()
        value = loss * 1.5
        if not keeps:
            loss.backward()
        assert value.item() == pytest.approx(3 * np.exp([1.0, 2.0, 3.0]).sum(), rel=1e-6)
        if keeps:                               # from the value that was computed and kept above
            loss.backward()
        np.testing.assert_allclose(x.grad.cpu().numpy(), 2 * np.exp([1.0, 2.0, 3.0]), rtol=1e-6)


def step(x: Any, **options: Any) -> Any:
    loss = (x * x.exp()).sum()
    loss.backward(**options)
    return loss


POINTS = np.array([0.5, 1.0])


@pytest.fixture
def walked(nothing_met: None) -> Any:
    """A leaf, after steps like the test's were met often enough to be replayed."""
    x = mt.tensor([0.5, 1.0], requires_grad=True)
    for _ in range(3):
        x.grad = None
        step(x)
    x.grad = None
    return x


def test_a_graph_replayed_is_freed_as_a_walk_frees_it_unless_it_is_retained(walked: Any) -> None:
    with pytest.raises(RuntimeError, match="second time"):
        step(walked).backward()
    walked.grad = None
    step(walked, retain_graph=True).backward()
    np.testing.assert_allclose(walked.grad.cpu().numpy(), 2 * (1 + POINTS) * np.exp(POINTS), rtol=1e-6)


def test_a_kept_value_that_was_changed_in_place_raises_in_a_replay_too(walked: Any) -> None:
    e = walked.exp()
    loss = (walked * e).sum()
    with mt.no_grad():
        e.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_hooks_are_called_and_a_graph_that_is_differentiated_again_is_walked(walked: Any) -> None:
    seen: list[Any] = []
    handle = walked.register_hook(seen.append)
    step(walked, create_graph=True)
    handle.remove()
    assert seen[0].tolist() == walked.grad.tolist()
    first, = mt.autograd.grad(walked.grad.sum(), walked)
    np.testing.assert_allclose(first.cpu().numpy(), (2 + POINTS) * np.exp(POINTS), rtol=1e-6)


def one(x: Any) -> Any:
    """The cotangent of a loss."""
    return g.constant(1, x.node.dtype, x.node.device)


@pytest.mark.usefixtures("nothing_met")
@pytest.mark.parametrize("name", [*ALIKE, "a rule of many operations"])
def test_a_replay_records_what_the_walk_records_in_its_order(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def many(a: Any, b: Any, c: Any) -> Any:
        return mt.stack([a, b, c]).softmax(0).std(1) * mt.nn.functional.gelu(c) + a.cumprod(0) ** b

    keys: list[Any] = []
    for shift in (0.1, 0.1, 0.1):
        inputs = leaves(shift)
        if len(keys) == 2:
            monkeypatch.setattr(walking, "explore", refuse)
        ALIKE.get(name, many)(*inputs).sum().backward()
        keys.append(linearize([x.grad.node for x in inputs if x.grad is not None])[1])
    assert keys[1] == keys[2]           # the first makes the numbers that are kept for good


@pytest.mark.usefixtures("nothing_met")
def test_a_replay_looks_at_the_cotangent_and_at_what_its_rules_read() -> None:
    other, number = mt.tensor([1.0, 2.0, 3.0]), mt.tensor(0.5)
    for _ in range(2):
        a, *_ = leaves(0.1)
        (a * other).sum().backward()
    [[replay]] = replays.known.values()

    def run(factor: Any, ct: Any = None) -> Any:
        a, *_ = leaves(0.2)
        return replay.function((a * factor).sum().node, ct or one(a))

    assert run(other) is not None and run(mt.tensor([3.0, 2.0, 1.0])) is not None
    assert run(other * 2) is None, "a value that is not at hand"
    assert run(mt.tensor(2.0).expand(3)) is None, "one element, repeated"
    assert run(2) is None and run(0.3) is None and run(number) is None
    assert run(other, number.node) is None, "a buffer"
    assert run(other, g.constant(2, number.node.dtype, number.node.device)) is None, "another number"
    assert run(other, g.constant(1, mt.float64, number.node.device)) is None


@pytest.mark.usefixtures("nothing_met")
def test_numbers_that_rules_look_at_may_change_from_step_to_step() -> None:
    x = np.array([0.5, 1.5], np.float32)
    for exponent in (2.5, 3.5, 4.5, 0.3, 5, 2, 1, 0, 2.5):
        a = mt.tensor(x, requires_grad=True)
        (a ** exponent * 3).sum().backward()
        np.testing.assert_allclose(a.grad.cpu().numpy(), 3 * exponent * x ** (exponent - 1), rtol=1e-5)
    for number in (np.log(2).item(), 2):        # equal to one of a rule's: one node of the step, another in the next
        for factor in (number, number, 0.3, 4, number):
            a = mt.tensor(x, requires_grad=True)
            ((a.exp2() + a ** 2 + factor) * factor).sum().backward()
            np.testing.assert_allclose(a.grad.cpu().numpy(), factor * (np.log(2) * 2 ** x + 2 * x), rtol=1e-5)


@pytest.mark.usefixtures("nothing_met")
def test_a_step_that_is_computed_or_dropped_before_its_backward() -> None:
    for computed in (False, False, False, True, False, True, True, False):
        x = mt.tensor([0.5, 1.0], requires_grad=True)
        middle = x.exp()
        loss = (x * middle).sum()
        if computed:
            middle.tolist()
        loss.backward()
        np.testing.assert_allclose(x.grad.cpu().numpy(), [1.5 * np.exp(0.5), 2 * np.exp(1)], rtol=1e-6)
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            middle.sum().backward()


def test_what_is_computed_lets_go_of_what_no_rule_reads() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    middle = x * 3
    y = middle + 1
    node = weakref.ref(middle.node)
    del middle
    y.tolist()
    assert node() is None and y.grad_fn.next_functions[0][0].name == "MulBackward0"
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), [3.0, 3.0])


@pytest.mark.parametrize("hooked", [False, True])
def test_a_long_walk_holds_no_gradient_that_was_passed_on(hooked: bool) -> None:
    x = h = mt.tensor(np.ones(1000, np.float32), requires_grad=True)
    seen: list[Any] = []
    held: list[int] = []

    def look(gradient: Any) -> None:
        gradient.tolist()
        held.append(sum(node() is not None for node in seen))
        seen.append(weakref.ref(gradient.node))

    for k in range(MAX_PENDING // 4):
        h = (h * 1.01).tanh()
        if hooked and k % 8 == 0:
            h.register_hook(look)
    h.sum().backward()
    del h
    assert max(held, default=0) <= 1 and len(held) == hooked * MAX_PENDING // 32
    np.testing.assert_array_equal(np.isfinite(x.grad.cpu().numpy()), True)
