"""What a refused change, backward or evaluation leaves behind: nothing."""

from collections.abc import Callable
from typing import Any

import pytest

import microtrain as mt
from microtrain.engine import step as engine_step
from microtrain.engine.plans import plans

HARMLESS: dict[str, Callable[[Any], Any]] = {
    "add_": lambda x: x.add_(mt.ones(7)),
    "mul_ dtype": lambda x: x.mul_("2"),
    "copy_": lambda x: x.copy_(mt.ones(5, 5)),
    "setitem value": lambda x: x.__setitem__(0, mt.ones(9)),
    "setitem index": lambda x: x.__setitem__((0, 99), 1.0),
    "setitem type": lambda x: x.__setitem__(0, "one"),
    "data": lambda x: setattr(x, "data", 3.0),
    "grad": lambda x: setattr(x, "grad", mt.ones(9)),
    "view": lambda x: x.view(-1)[99].zero_(),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_refused_change_leaves_no_trace(name: str) -> None:
    x = mt.arange(6.0).reshape(2, 3)
    row = x[1]
    with pytest.raises((RuntimeError, TypeError, IndexError, ValueError)):
        HARMLESS[name](x)
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert row.tolist() == [3.0, 4.0, 5.0] and x.grad is None
    x.add_(1)
    assert row.tolist() == [4.0, 5.0, 6.0]


def test_a_refused_backward_leaves_the_gradients() -> None:
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()

    def fail(gradient: Any) -> None:
        raise ZeroDivisionError("from the hook")

    y = x * 3
    y.register_hook(fail)
    with pytest.raises(ZeroDivisionError, match="from the hook"):
        y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_an_evaluation_that_fails_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When memory runs out, say: nothing that was recorded is lost, and nothing is half computed."""

    def fail(*arguments: Any) -> Any:
        raise MemoryError("planted")

    x = mt.tensor([1.0, 2.0], requires_grad=True)
    other = x.detach() * 3
    y = (x * x).sum()
    y.backward()
    with monkeypatch.context() as planted:
        planted.setattr(engine_step, "build", fail)
        planted.setattr(plans, "known", {})
        planted.setattr(plans, "recent", {})
        with pytest.raises(MemoryError, match="planted"):
            y.item()
    assert y.item() == 5.0
    assert x.grad.tolist() == [2.0, 4.0] and other.tolist() == [3.0, 6.0]


def test_errors_come_when_the_operation_is_written_not_when_it_is_read() -> None:
    """Evaluation is lazy; the checks are not."""
    x = mt.ones(2, 3)
    with pytest.raises(RuntimeError, match="must match the size"):
        x + mt.ones(4)
    with pytest.raises(IndexError, match="out of range"):
        x.sum(5)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        x @ x


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)) as refused:
        mt.manual_seed("seven")  # type: ignore[arg-type]
    assert "seven" in str(refused.value) or "str" in str(refused.value)
