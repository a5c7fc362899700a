"""A step is an object: it is held, printed, and run again with other buffers and numbers bound to its ports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain.engine import session
from microtrain.engine.plans import plans
from microtrain.engine.step import Step
from microtrain.graph.node import Node
from microtrain.runtime import backend
from tests.conftest import DEVICE
from tests.engine.test_donation import Given


def tensor(value: np.ndarray) -> mt.Tensor:
    return mt.tensor(value, device=DEVICE)


def found(*tensors: mt.Tensor) -> tuple[Step, list[Node]]:
    """The step that reading some tensors would run, and its nodes."""
    step, order = plans.find([t.node for t in tensors], tensors[0].node.device)
    assert step is not None
    return step, order


def buffer(value: np.ndarray) -> Any:
    return tensor(value).node.buffer


def array(value: Any, device: Any) -> np.ndarray:
    return np.asarray(backend(device.type, device.index).to_numpy(value))


def results(step: Step, out: list[Any]) -> dict[tuple[int, ...], np.ndarray]:
    """What a run gave, by shape."""
    return {port.spec.shape: array(value, port.spec.device)
            for port, value in zip(step.ports[len(step.inputs):], out, strict=True)}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def logistic(rate: float = 0.3) -> tuple[mt.Tensor, mt.Tensor, Node, Step, list[Node]]:
    """A step of logistic regression, recorded and not computed: weight, its value before, the loss; and the step."""
    x, y, w = tensor(random(16, 5)), tensor((random(16) > 0).astype(np.float32)), tensor(random(5))
    w.requires_grad_()
    before = w.node
    p = (x @ w).sigmoid()
    loss = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    loss.backward()
    with mt.no_grad():
        w -= rate * w.grad
    w.grad = None
    step, order = found(loss, w)
    return w, loss, before, step, order


def by_hand(x: np.ndarray, y: np.ndarray, w: np.ndarray, rate: float) -> tuple[float, np.ndarray]:
    x, y, w = (a.astype(np.float64) for a in (x, y, w))
    p = 1 / (1 + np.exp(-x @ w))
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))), w - rate * x.T @ (p - y) / len(y)


def test_a_step_runs_again_with_other_arguments_and_numbers() -> None:
    w, loss, _, step, order = logistic()
    step = step.of(order)
    rate = step.numbers.index(next(number for number in step.numbers if abs(number - 0.3) < 1e-6))
    x, y, v = random(16, 5) * 2, (random(16) < 0).astype(np.float32), random(5) - 1
    arguments = [port for port in step.ports if port.kind in ("argument", "parameter")]
    values = {(16, 5): x, (16,): y, (5,): v}
    count = session.current().ordinal()
    for by in (0.3, 0.01):
        numbers = [by if place == rate else number for place, number in enumerate(step.numbers)]
        found = results(step, step.run([buffer(values[port.spec.shape]) for port in arguments], numbers))
        want = by_hand(x, y, v, by)
        np.testing.assert_allclose(found[()], want[0], rtol=2e-5)
        np.testing.assert_allclose(found[5,], want[1], rtol=2e-5, atol=1e-6)
    assert session.current().ordinal() - count <= 8, "only the buffers that were put on the device are counted"
    want = by_hand(random(16, 5), (random(16) > 0).astype(np.float32), random(5), 0.3)
    np.testing.assert_allclose(loss.item(), want[0], rtol=2e-5)
    np.testing.assert_allclose(w.tolist(), want[1], rtol=2e-5, atol=1e-6)


def test_the_recorded_values_are_those_of_a_replay_bit_for_bit() -> None:
    w, loss, _, step, order = logistic()
    replayed = results(step, step.of(order).run([order[port.place].buffer for port in step.ports
                                                 if port.kind == "argument"]))
    assert replayed[()] == loss.detach().cpu().numpy()
    assert (replayed[5,] == w.detach().cpu().numpy()).all()


def test_ports_say_who_they_were_in_a_recording() -> None:
    _, _, before, step, order = logistic()
    assert {port.kind for port in step.ports} == {"argument", "number", "output"}
    known = step.of(order)
    parameters = [port for port in known.ports if port.kind == "parameter"]
    assert [port.spec.shape for port in parameters] == [(5,)]
    becomes = parameters[0].becomes
    assert becomes is not None and known.ports[len(known.inputs) + becomes].spec.shape == (5,)
    assert order[parameters[0].place] is before
    assert known.executable is step.executable and step.ports != known.ports


def test_state_is_known_by_its_name_or_by_its_memory() -> None:
    state, x = tensor(random(4)), tensor(random(4))
    before = state.node
    with mt.no_grad():
        state.mul_(0.9).add_(x)
    step, order = found(state)
    assert {port.kind for port in step.of(order).ports} == {"argument", "number", "output"}, "who changed is not told"
    named = step.of(order, {"momentum": (before, state.node), "x": (x.node, x.node)})
    [port] = [port for port in named.ports if port.kind == "state"]
    assert (port.name, port.becomes) == ("momentum", 0)
    assert [port.name for port in named.ports if port.kind == "argument"] == ["x"]

    base = tensor(random(4, 2))
    column = base[:, 0]
    column += 1                                     # through a view: the memory is known by its count of changes
    step, order = found(base)
    [port] = [port for port in step.of(order).ports if port.kind == "state"]
    assert port.becomes == 0


def test_the_seed_is_a_port() -> None:
    mt.manual_seed(1234567)
    noise = mt.rand(6, device=DEVICE)
    step, order = found(noise)
    step = step.of(order)
    places = [place for place, port in enumerate(step.ports[:len(step.inputs)]) if port.kind == "seed"]
    assert 1234567 in [step.numbers[place] for place in places]
    others = [number + (place in places) for place, number in enumerate(step.numbers)]
    same, other = (array(step.run([], numbers)[0], noise.node.device) for numbers in (None, others))
    assert (same == noise.cpu().numpy()).all() and (same != other).any()


def test_an_update_is_written_over_memory_that_is_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Given(monkeypatch)
    w, x = tensor(random(8)), tensor(random(8) + 1)
    before = w.node
    w -= 0.25 * x
    step, order = found(w)
    step = step.of(order, {"w": (before, w.node)})
    place = next(number for number, port in enumerate(step.ports) if port.kind == "state")
    value, other = random(8) - 3, random(8) * 2
    for rounds in range(3):
        arguments = [buffer(value if port.kind == "state" else other)
                     for port in step.ports[:len(step.inputs)] if port.kind != "number"]
        out = step.run(arguments, [0.25] * sum(port.kind == "number" for port in step.ports), (place,))
        value = value - np.float32(0.25) * other
        np.testing.assert_array_equal(array(out[0], w.node.device), value, err_msg=f"round {rounds}")
    assert given.places == ([] if DEVICE == "cpu" else [place] * 3)
    assert place in step.executable.donatable or DEVICE == "cpu"


def test_a_step_says_its_ports_and_launches() -> None:
    _, _, before, step, order = logistic()
    text = repr(step.of(order, {"weight": (before, before)}))
    assert f"parameter weight: float32[5]@{before.device}" in text and "-> output" in text
    assert f"number float32[]@{before.device}" in text and "output float32[]" in text
    assert text.startswith(f"<Step on {before.device}\n") and text.endswith(">")
    statements = step.executable.describe().count("\n    ") - 1         # all but the one that returns
    assert (f"one function of {statements} statements" if DEVICE == "cpu" else "kernel 1: ") in text


def test_too_few_or_too_many_values_are_refused() -> None:
    _, _, _, step, _ = logistic()
    with pytest.raises(ValueError, match="this step takes 3 buffers and 2 numbers, not 0 and 3"):
        step.run([], [1.0, 2.0, 3.0])
