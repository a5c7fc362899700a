"""Numbers as arguments: the answer never depends on which numbers came before, and a new number is no new plan.

A number that is part of the structure (0, 1, an infinity) is simplified away in one plan, and another number takes
another; which of them is used must not show. So every function is called with all numbers, in random order, one process
long, and compared with PyTorch, gradients included; and once more as if it were the first.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.engine.plans import plans
from microtrain.graph import dtypes
from microtrain.graph.constants import constant
from microtrain.graph.node import LITERAL, SCALAR
from microtrain.graph.spec import Device
from microtrain.ops import PRIMITIVES
from tests.conftest import DEVICE

pytestmark = pytest.mark.usefixtures("nothing_pending")
inf, nan = math.inf, math.nan
Function = Callable[[Any, Any, Any], Any]

SOME = [0, 1, -1, 2, 3, 0.5, -0.5, -0.0, 0.1, -0.7, 1.5, 2.5, 4, 7.25, 1e-3, True]
ALL = [*SOME, inf, -inf, nan, 1e30, -1e30, 1e-45]
POSITIVE = [1, 2, 3, 0.5, 0.1, 1.5, 2.5, 4, 7.25, 1.25, True]


def F(T: Any) -> Any:
    return T.nn.functional


def ones(T: Any, x: Any) -> Any:
    return T.ones(x.numel(), dtype=x.dtype)


def filled(x: Any, n: Any) -> Any:
    x[0] = n
    return x


BOUNDS: dict[str, Function] = {
    "clamp min": lambda T, x, n: x.clamp(min=n), "clamp max": lambda T, x, n: T.clamp(x, max=n),
    "clamp from": lambda T, x, n: x.clamp(n, 0.75), "clamp to": lambda T, x, n: x.clip(-0.5, n),
    "clamp swapped": lambda T, x, n: x.clamp(n, -n), "clamp both": lambda T, x, n: x.clamp(n, n),
    "clamp in place": lambda T, x, n: (x * 1).clamp_(n, 1), "clamp_max": lambda T, x, n: T.clamp_max(x, n),
    "clamp by a tensor": lambda T, x, n: x.clamp(T.tensor(float(n), dtype=x.dtype), T.tensor(1.0, dtype=x.dtype)),
    "clamp by a value of its own": lambda T, x, n: (x * n).clamp(max=(x * n).max().item()),
    "hardtanh": lambda T, x, n: F(T).hardtanh(x, -2e30, n), "threshold": lambda T, x, n: F(T).threshold(x, n, 7.0),
    "value": lambda T, x, n: F(T).threshold(x, 0.1, n), "masked_fill": lambda T, x, n: x.masked_fill(x > 0.2, n),
    "where": lambda T, x, n: T.where(x > 0.2, x, n), "where, first": lambda T, x, n: T.where(x > 0.2, n, x),
    "gt": lambda T, x, n: x * (x > n), "le": lambda T, x, n: x * (x <= n), "eq": lambda T, x, n: x * (x == n),
    "fill_": lambda T, x, n: x * (x.detach() * 1).fill_(n),
    "setitem": lambda T, x, n: filled(x.reshape(-1) * 1, n),
    "nan_to_num": lambda T, x, n: T.nan_to_num(x / x, nan=n),
    "full": lambda T, x, n: x + T.full((1,), n, dtype=x.dtype),
    "add": lambda T, x, n: x + n, "sub": lambda T, x, n: x - n, "rsub": lambda T, x, n: n - x,
    "mul": lambda T, x, n: x * n, "div": lambda T, x, n: x / n, "rdiv": lambda T, x, n: n / x,
    "leaky_relu": lambda T, x, n: F(T).leaky_relu(x, n), "copysign": lambda T, x, n: T.copysign(x, n),
    "pad": lambda T, x, n: F(T).pad(x.reshape(1, -1), (1, 1), value=n),
}
FACTORS: dict[str, Function] = {
    "pow": lambda T, x, n: x ** n, "pow of |x|": lambda T, x, n: x.abs() ** n, "T.pow": lambda T, x, n: T.pow(x, n),
    "elu": lambda T, x, n: F(T).elu(x, n), "remainder": lambda T, x, n: x % n, "fmod": lambda T, x, n: T.fmod(x, n),
    "lerp": lambda T, x, n: T.lerp(x, x.detach() * 3, n),
    "addcmul": lambda T, x, n: T.addcmul(x, x.detach(), x, value=n),
    "sums": lambda T, x, n: (x * n).sum() * n + n, "softplus": lambda T, x, n: F(T).softplus(x, 1.5, n),
    "mean": lambda T, x, n: (x - n).mean() ** 2, "cumsum": lambda T, x, n: (x * n).reshape(-1).cumsum(0),
    "product": lambda T, x, n: T.addmm(x.reshape(-1, 1), x.reshape(-1, 1), T.ones(1, 1, dtype=x.dtype),
                                       beta=n, alpha=n),
}
WIDTHS: dict[str, Function] = {
    "rpow": lambda T, x, n: float(n) ** x, "celu": lambda T, x, n: F(T).celu(x, n),
    "softplus by": lambda T, x, n: F(T).softplus(x, n),
    "huber": lambda T, x, n: F(T).huber_loss(x, x.detach() / 2, delta=n),
    "smooth_l1": lambda T, x, n: F(T).smooth_l1_loss(x, x.detach() / 2, beta=n),
    "hardshrink": lambda T, x, n: F(T).hardshrink(x, n), "softshrink": lambda T, x, n: F(T).softshrink(x, n),
    "norm": lambda T, x, n: (x + 9).norm(n),
    "rms_norm": lambda T, x, n: F(T).rms_norm(x.reshape(1, -1) + 1, (x.numel(),), eps=float(n)),
    "logit": lambda T, x, n: T.logit(x.sigmoid(), n / 20),
    "label smoothing": lambda T, x, n: F(T).cross_entropy(x.reshape(1, -1), T.tensor([0]), label_smoothing=n / 10),
    "pos_weight": lambda T, x, n: F(T).binary_cross_entropy_with_logits(
        x.reshape(-1), ones(T, x), pos_weight=T.tensor([float(n)], dtype=x.dtype)),
}
CASES = [(name, function, n, shape) for table, numbers in ((BOUNDS, ALL), (FACTORS, SOME), (WIDTHS, POSITIVE))
         for name, function in table.items() for n in numbers for shape in ((6,), ())]
VALUES = [0.25, -0.6, 1.5, 0.0, -0.0, 3.0]


def outcome(T: Any, function: Function, n: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """The value and the gradient; or nothing, where the number is refused."""
    x = T.tensor(np.array(VALUES if shape else VALUES[:1], dtype).reshape(shape), requires_grad=True)
    try:
        y = function(T, x, n)
        y.sum().backward()
    except (RuntimeError, ValueError, TypeError):
        return ()
    return y.detach().cpu().numpy(), x.grad.cpu().numpy()


def drawn(seed: int, count: int) -> list[Any]:
    rng = random.Random(seed)
    return rng.sample(CASES, min(count, len(CASES)))


def test_numbers_in_any_order_as_in_pytorch() -> None:
    wrong = []
    with np.errstate(all="ignore"):
        for name, function, n, shape in drawn(1, 2000 if DEVICE == "cpu" else 60):
            got, want = outcome(mt, function, n, shape), outcome(torch, function, n, shape)
            if want and not (got and all(np.allclose(a, b, rtol=3e-5, atol=1e-6, equal_nan=True)
                                         for a, b in zip(got, want, strict=True))):
                wrong.append((name, n, shape, got, want))
    assert not wrong, f"{len(wrong)}: {wrong[:3]}"


def test_numbers_before_do_not_show() -> None:
    """To the bit, signs of zero included: of 0.0, -0.0 and False, or 1 and True, one is never taken for another."""
    sample = drawn(2, 300 if DEVICE == "cpu" else 30)
    sample += [(name, f, n, (6,)) for name, f in [*BOUNDS.items()][:30:3] for n in (0.0, -0.0, False, 1.0, True)]
    random.Random(3).shuffle(sample)

    def bits(name: str, function: Function, n: Any, shape: tuple[int, ...]) -> list[bytes]:
        with np.errstate(all="ignore"):
            return [array.tobytes() for array in outcome(mt, function, n, shape)]
    sample = sample[:None if DEVICE == "cpu" else 40]
    first, second = [bits(*case) for case in sample], [bits(*case) for case in reversed(sample)][::-1]
    assert [case for case, a, b in zip(sample, first, second, strict=True) if a != b] == []
    alone = []
    for case in sample[:60]:
        plans.forget()
        for primitive in PRIMITIVES.values():
            primitive.memo.clear()
        alone.append(bits(*case))
    assert [case for case, a, b in zip(sample, alone, first, strict=False) if a != b] == []


@pytest.mark.parametrize("name", ["clamp from", "clamp to", "hardtanh", "threshold", "value", "leaky_relu", "elu",
                                  "huber", "smooth_l1", "hardshrink", "softshrink", "mul", "pow", "masked_fill"])
def test_a_new_number_is_no_new_plan(name: str) -> None:
    function = {**BOUNDS, **FACTORS, **WIDTHS}[name]
    for n in (0.3125, 0.296875):        # the second time the constants of the structure are known
        outcome(mt, function, n, (6,))
    before = len(plans.known)
    for k in range(5 if DEVICE == "cpu" else 2):
        n = 0.3125 + (k + 1) / 64
        for a, b in zip(outcome(mt, function, n, (6,)), outcome(torch, function, n, (6,)), strict=True):
            np.testing.assert_allclose(a, b, rtol=3e-5, atol=1e-6)
    assert len(plans.known) == before


@pytest.mark.parametrize("combine", [lambda x, y: x.clamp(y, y + 0.5), lambda x, y: mt.lerp(x, y, y + 0.5),
                                     lambda x, y: mt.where(x > y, x, y + 0.5), lambda x, y: mt.addcmul(x, y, y + 0.5),
                                     lambda x, y: (y + 0.5).clamp(x, y)],
                         ids=["clamp", "lerp", "where", "addcmul", "clamp of a sum"])
def test_what_is_made_of_numbers_alone_has_its_dtype(combine: Any) -> None:
    """Bare numbers that met each other first would be of NumPy's widest dtype."""
    for shape in ((), (1, 1), (2,)):
        found = combine(mt.full(shape, 1.0), mt.full(shape, 2.0))
        assert found.cpu().numpy().dtype == np.float32


def test_which_numbers_are_part_of_the_structure() -> None:
    where = Device("cpu")
    structural = [0, 1, -1, 2, 4, 0.5, inf, -inf, nan]
    assert all(constant(n, dtypes.float32, where).primitive is LITERAL for n in structural)
    assert all(constant(n, dtypes.from_name("bool"), where).primitive is LITERAL for n in (True, False))
    assert all(constant(n, dtypes.float32, where).primitive is SCALAR for n in (0.1, 7, 1e30))
    assert constant(7, dtypes.int64, where).primitive is SCALAR
