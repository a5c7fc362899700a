"""PyTorch's database of optimizers: every configuration and every refusal of SGD, against torch.optim.SGD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.testing.database.operators import mapped
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

INDIFFERENT = {"foreach", "fused"}
"""Options that choose between implementations of one update; here there is one (`test_optim` sets them)."""


def converted(kwargs: dict[str, Any], params: Any = ()) -> tuple[Any, dict[str, Any]]:
    """Parameters and options of PyTorch's as this package's; a tensor met twice is one tensor."""
    def change(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        new = mt.tensor(value.detach().numpy().copy())
        return new.requires_grad_() if value.requires_grad else new

    (params,), kwargs = mapped(change, (params,), kwargs)
    return params, kwargs


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
    ours = trained(mt, mt.optim.SGD, converted(config.kwargs)[1], np.float32)
    single = trained(torch, torch.optim.SGD, config.kwargs, np.float32)
    double = trained(torch, torch.optim.SGD, config.kwargs, np.float64)
    for a, b, c in zip(ours, single, double, strict=True):
        close(torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(c), config.desc)


def test_configurations_are_told_apart() -> None:
    ends = [trained(mt, mt.optim.SGD, {"lr": 0.1, **converted(config.kwargs)[1]}, np.float32)[-3] for config in INPUTS]
    assert len({end.tobytes() for end in ends}) >= len(INPUTS) - 2     # the default's lr is set to 0.1 here


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.optimizer_error_input.desc)
def test_every_refusal_is_the_same(error: Any) -> None:
    assert error.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR
    config = error.optimizer_error_input
    params, kwargs = converted(config.kwargs, [torch.ones(1, requires_grad=True)] if config.params is None
                               else config.params)
    if issubclass(error.error_type, Warning):
        with pytest.warns(error.error_type, match=error.error_regex):
            mt.optim.SGD(params, **kwargs)
        return
    with pytest.raises(error.error_type, match=error.error_regex) as caught:
        mt.optim.SGD(params, **kwargs)
    assert type(caught.value) is error.error_type
    value = config.kwargs.get("momentum")
    assert value is None or str(value) in str(caught.value)


@pytest.mark.parametrize("option", REFUSED)
def test_a_refused_option_says_so(option: str) -> None:
    with pytest.raises(NotImplementedError, match=option):
        mt.optim.SGD([mt.ones(1, requires_grad=True)], lr=0.1, **{option: True})


def test_every_implementation_that_pytorch_lists_is_accounted_for() -> None:
    assert set(SGD.supported_impls) == REFUSED.keys() | INDIFFERENT
