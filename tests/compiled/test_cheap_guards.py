"""What a replay looks at in the least time is missed where it is gone, or somebody else's."""

from __future__ import annotations

import threading
import types
from typing import Any

import pytest

import microtrain as mt
from microtrain.runtime.lock import lock

RATE = 2.0


def scaled(x: Any) -> Any:
    return x * RATE


def test_a_global_that_is_gone_is_missed() -> None:
    space: dict[str, Any] = {"RATE": 2.0}
    step, x = mt.compile(types.FunctionType(scaled.__code__, space)), mt.tensor(3.0)
    assert [step(x).item() for _ in range(3)] == [6, 6, 6]
    del space["RATE"]
    with pytest.raises(NameError):
        step(x)
    space["RATE"] = 3.0
    assert [step(x).item() for _ in range(3)] == [9, 9, 9]


def test_a_tensors_attributes_are_in_the_dict_that_somebody_holds() -> None:
    x, w = mt.tensor(3.0), mt.tensor(1.0, requires_grad=True)
    w.rate = 2.0
    held = vars(w)
    step = mt.compile(lambda x: (x * w * w.rate).detach())
    assert [step(x).item() for _ in range(3)] == [6, 6, 6]
    held["rate"] = 5.0
    assert vars(w) is held and [step(x).item() for _ in range(3)] == [15, 15, 15]
    w.rate = 7.0
    assert [step(x).item() for _ in range(3)] == [21, 21, 21]


def test_a_tensors_attributes_are_as_they_were() -> None:
    x, w = mt.tensor(3.0), mt.tensor(1.0, requires_grad=True)
    w.rate = 2.0
    step = mt.compile(lambda x: (x * w * w.rate).detach())
    assert [step(x).item() for _ in range(3)] == [6, 6, 6]
    assert w.is_leaf and w.grad is None and w.rate == 2.0 and w._version == 0
    w.grad = mt.tensor(1.0)
    assert [step(x).item() for _ in range(3)] == [6, 6, 6] and w.grad.item() == 1
    w.grad = None
    with mt.no_grad():
        w.add_(1)
    assert w._version == 1 and step(x).item() == 12
    del w.rate
    with pytest.raises(AttributeError):
        step(x)


def test_one_of_several_threads_waits_for_the_others() -> None:
    step, x = mt.compile(scaled), mt.tensor(3.0)
    assert [step(x).item() for _ in range(3)] == [6, 6, 6]
    made: list[float] = []
    with lock:
        other = threading.Thread(target=lambda: made.append(step(x).item()))
        other.start()
        other.join(0.2)
        assert not made
    other.join()
    assert made == [6]


def test_a_warning_names_the_line_that_calls() -> None:
    w = mt.tensor(1.0, requires_grad=True)
    step = mt.compile(lambda x: x * w)
    with pytest.warns(UserWarning, match="run as it is") as told:
        step(mt.tensor(3.0))
    assert told[0].filename == __file__
