"""PyTorch's database of optimizers: every configuration and every refusal of SGD, against torch.optim.SGD."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from tests.support.beside import array, close

pytest.importorskip("expecttest", reason="PyTorch's databases need expecttest: pip install expecttest")
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

STEPS = 5
(SGD,) = [info for info in optim_db if info.optim_cls is torch.optim.SGD]
INPUTS = SGD.optim_inputs_func(device="cpu")
ERRORS = SGD.optim_error_inputs_func(device="cpu", dtype=torch.float32)

REFUSED: dict[str, str] = {
    "differentiable": "a step is taken without gradients, so that its updates fuse and nothing is kept for them",
}
"""Options of torch.optim.SGD that are refused when they are set, and why."""

INDIFFERENT = {"foreach": (None, False, True), "fused": (None, False, True)}
"""Options that choose between implementations of one update; here there is one."""


def converted(value: Any, dtype: str = "float32") -> Any:
    """An argument of PyTorch's as one of this package's."""
    if isinstance(value, torch.Tensor):
        new = mt.tensor(value.detach().numpy().copy())
        return new.requires_grad_() if value.requires_grad else new
    if isinstance(value, dict):
        return {key: converted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(converted, value))
    return value


def trained(T: Any, optimizer_class: Any, options: dict[str, Any], dtype: type) -> list[np.ndarray]:
    """Parameters of three shapes after some steps on gradients that are the same in every package."""
    rng = np.random.default_rng(3)
    params = [T.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in ((3, 4), (5,), ())]
    optimizer = optimizer_class(params, **options)
    path = []
    for _ in range(STEPS):
        for param in params:
            param.grad = T.tensor(np.asarray(rng.standard_normal(tuple(param.shape))).astype(dtype))
        optimizer.step()
        path += [array(param).copy() for param in params]
    return path


@pytest.mark.parametrize("config", INPUTS, ids=lambda config: config.desc)
def test_every_configuration_takes_the_same_steps(config: Any) -> None:
    ours = trained(mt, mt.optim.SGD, converted(config.kwargs), np.float32)
    single = trained(torch, torch.optim.SGD, config.kwargs, np.float32)
    double = trained(torch, torch.optim.SGD, config.kwargs, np.float64)
    for a, b, c in zip(ours, single, double, strict=True):
        close(torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(c), config.desc)


def test_configurations_are_told_apart() -> None:
    ends = [trained(mt, mt.optim.SGD, {"lr": 0.1, **converted(config.kwargs)}, np.float32)[-3] for config in INPUTS]
    assert len({end.tobytes() for end in ends}) >= len(INPUTS) - 2     # the default's lr is set to 0.1 here


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.optimizer_error_input.desc)
def test_every_refusal_is_the_same(error: Any) -> None:
    assert error.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR
    config = error.optimizer_error_input
    tensors: dict[int, Any] = {}

    def same(value: Any) -> Any:
        """As `converted`, but a tensor met twice is one tensor."""
        if isinstance(value, torch.Tensor):
            return tensors.setdefault(id(value), converted(value))
        if isinstance(value, dict):
            return {key: same(item) for key, item in value.items()}
        return type(value)(map(same, value)) if isinstance(value, list | tuple) else value

    params = [mt.ones(1, requires_grad=True)] if config.params is None else same(config.params)
    if issubclass(error.error_type, Warning):
        with pytest.warns(error.error_type, match=error.error_regex):
            mt.optim.SGD(params, **same(config.kwargs))
        return
    with pytest.raises(error.error_type, match=error.error_regex) as caught:
        mt.optim.SGD(params, **same(config.kwargs))
    assert type(caught.value) is error.error_type
    value = config.kwargs.get("momentum")
    assert value is None or str(value) in str(caught.value)


@pytest.mark.parametrize("option", REFUSED)
def test_a_refused_option_says_so(option: str) -> None:
    with pytest.raises(NotImplementedError, match=option):
        mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=0.1, **{option: True})


@pytest.mark.parametrize(("option", "value"), [(option, v) for option, values in INDIFFERENT.items() for v in values])
def test_choices_of_an_implementation_change_nothing(option: str, value: Any) -> None:
    options = {"lr": 0.1, "momentum": 0.9}
    plain, chosen = (trained(mt, mt.optim.SGD, kw, np.float32) for kw in (options, {**options, option: value}))
    for a, b in zip(plain, chosen, strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_choices_at_once_are_refused() -> None:
    with pytest.raises(RuntimeError, match=re.escape("`fused` and `foreach` cannot be `True` together.")):
        mt.optim.SGD([mt.ones(1, requires_grad=True)], fused=True, foreach=True)


def test_every_implementation_that_pytorch_lists_is_accounted_for() -> None:
    assert set(SGD.supported_impls) == REFUSED.keys() | INDIFFERENT.keys()
