"""PyTorch's database of modules: for every module that is here too, all its inputs and all its errors.

Value, gradients of inputs and parameters, and buffers afterwards, with the same parameters, in training and evaluation.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.testing.closeness import EPSILON, Tolerance, allowance, difference, gap
from microtrain.testing.database.judge import NEIGHBOURS
from microtrain.testing.database.operators import mapped, nearby
from tests.conftest import DEVICE
from tests.support.beside import array

pytest.importorskip("expecttest", reason="PyTorch's databases need expecttest: pip install expecttest")
from torch.testing._internal.common_modules import FunctionInput, ModuleErrorEnum, ModuleInfo, ModuleInput, module_db

REQUIRED = (
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "L1Loss", "LayerNorm", "Linear", "MSELoss", "ReLU",
    "Sigmoid", "SmoothL1Loss", "Softmax", "Tanh", "AvgPool1d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv1d",
    "Conv2d", "Embedding", "HingeEmbeddingLoss", "KLDivLoss", "MaxPool1d", "MaxPool2d", "NLLLoss", "RMSNorm",
    "SoftMarginLoss",
)  # fmt: skip


def name_of(info: ModuleInfo) -> str:
    return info.module_cls.__name__


INFOS = [info for info in module_db if hasattr(mt.nn, name_of(info))]


def inputs_of(info: ModuleInfo, training: bool) -> list[Any]:
    """All inputs, of the same values whoever asks: float32, which every precision can take."""
    torch.manual_seed(2)
    return info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=True, training=training)


def errors_of(info: ModuleInfo) -> list[Any]:
    if info.module_error_inputs_func is None:
        return []
    return list(info.module_error_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False,
                                              training=True))


def arguments(T: Any, given: FunctionInput, dtype: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """For `torch` or this package, floats in `dtype` if one is given, leaves of their own."""
    def converted(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        wanted = dtype if dtype and value.is_floating_point() else str(value.dtype).rpartition(".")[2]
        tensor = T.tensor(value.detach().numpy().copy(), dtype=getattr(T, wanted))
        return tensor.requires_grad_() if value.requires_grad else tensor

    return mapped(converted, given.args, given.kwargs)


class Run(NamedTuple):
    """What a module made of an input."""

    outputs: list[np.ndarray]
    input_gradients: list[np.ndarray]
    gradients: list[np.ndarray]
    state: list[np.ndarray]


def run(T: Any, info: ModuleInfo, given: Any, dtype: str, training: bool, state: dict[str, np.ndarray]) -> Run:
    """Forward, and backward from a random cotangent; missing gradients count as zeros."""
    args, kwargs = arguments(T, given.constructor_input, dtype)
    module = getattr(T.nn, name_of(info))(*args, **kwargs).to(getattr(T, dtype))
    module.load_state_dict({key: T.tensor(value) for key, value in state.items()})
    module.train(training)
    args, kwargs = arguments(T, given.forward_input, dtype)
    out = module(*args, **kwargs)
    outputs = list(out) if isinstance(out, tuple | list) else [out]
    rng = np.random.default_rng(5)
    differentiable = [y for y in outputs if y.requires_grad]
    cotangents = [T.tensor(np.asarray(rng.standard_normal(tuple(y.shape))), dtype=y.dtype) for y in differentiable]
    if differentiable:
        T.autograd.backward(differentiable, cotangents)
    sources = [value for value in (*args, *kwargs.values()) if hasattr(value, "requires_grad") and value.requires_grad]

    def gradients(tensors: Any) -> list[np.ndarray]:
        return [np.zeros(tuple(t.shape)) if t.grad is None else array(t.grad) for t in tensors]

    return Run([array(y) for y in outputs], gradients(sources), gradients(module.parameters()),
               [array(value) for value in module.state_dict().values()])


def starting_state(info: ModuleInfo, given: Any) -> dict[str, np.ndarray]:
    """Parameters and buffers as PyTorch initialises them, and not quite: a weight of ones would hide a lost factor."""
    torch.manual_seed(1)
    args, kwargs = arguments(torch, given.constructor_input, "float32")
    state = info.module_cls(*args, **kwargs).state_dict()
    return {key: (value + 0.25 * torch.rand_like(value) if value.is_floating_point() else value).numpy()
            for key, value in state.items()}


def missed(got: np.ndarray, truth: np.ndarray, coarse: np.ndarray, dtype: str, near: float = 0.0) -> Any:
    """Where a result misses what PyTorch's own error, there or as it was found `near`, allows."""
    exact = truth.astype(np.float64)
    error = np.fmax(near, gap(coarse, exact)) * (EPSILON[dtype] / EPSILON["float32"])
    allowed = allowance(exact, error, dtype, Tolerance.REDUCTION, max(1, truth.size))
    return difference(got, coarse, exact, allowed, dtype)


def error_near(info: ModuleInfo, given: Any, training: bool, state: dict[str, np.ndarray], part: str, i: int) -> float:
    """PyTorch's largest error in float32 at inputs up to a percent smaller: where they are it may be right by luck."""
    worst = 0.0
    for number in range(NEIGHBOURS):
        args, kwargs = mapped(nearby(number), given.forward_input.args, given.forward_input.kwargs)
        moved = ModuleInput(given.constructor_input, FunctionInput(*args, **kwargs))
        fine, coarse = (getattr(run(torch, info, moved, kind, training, state), part)[i]
                        for kind in ("float64", "float32"))
        worst = max(worst, gap(coarse, fine).max(initial=0.0))
    return worst


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides", "ignore:Using padding='same' with even kernel lengths",
                            "ignore:Using a target size")
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_every_input_gives_the_same(info: ModuleInfo, dtype: str, training: bool) -> None:
    problems = []
    for given in inputs_of(info, training):
        told = f"{name_of(info)} {given.desc}"
        state = starting_state(info, given)
        truth, coarse = (run(torch, info, given, kind, training, state) for kind in ("float64", "float32"))
        got = run(mt, info, given, dtype, training, state)
        for part in Run._fields:
            mine, theirs, rough = getattr(got, part), getattr(truth, part), getattr(coarse, part)
            assert len(mine) == len(theirs), (told, part)
            for i, (a, b, c) in enumerate(zip(mine, theirs, rough, strict=True)):
                if a.shape != b.shape:
                    problems.append(f"{told} {part}[{i}]: shape {a.shape}, PyTorch {b.shape}")
                    continue
                miss = missed(a, b, c, dtype)
                if miss:
                    miss = missed(a, b, c, dtype, error_near(info, given, training, state, part, i))
                if miss:
                    problems.append(f"{told} {part}[{i}] {miss}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("info", [info for info in INFOS if errors_of(info)], ids=name_of)
def test_every_error_is_the_same(info: ModuleInfo) -> None:
    for error in errors_of(info):
        if DEVICE == "cuda" and error.error_type is IndexError:
            continue            # an index in a tensor is not looked at there
        given = error.module_error_input
        args, kwargs = arguments(mt, given.constructor_input, None)
        with pytest.raises(error.error_type, match=error.error_regex) as caught:
            module = getattr(mt.nn, name_of(info))(*args, **kwargs)
            if error.error_on is ModuleErrorEnum.FORWARD_ERROR:
                args, kwargs = arguments(mt, given.forward_input, None)
                module(*args, **kwargs)
        assert type(caught.value) is error.error_type


@pytest.mark.parametrize("info", INFOS, ids=name_of)
def test_every_module_is_shown_and_saved_as_pytorchs(info: ModuleInfo) -> None:
    for given in inputs_of(info, True):
        mine, theirs = (getattr(T.nn, name_of(info))(*args, **kwargs) for T in (mt, torch)
                        for args, kwargs in [arguments(T, given.constructor_input, "float32")])
        shown = repr(mine)
        if torch.__version__ < "2.13" and "bias=" not in repr(theirs):       # normalizations did not show it before
            shown = re.sub(r", bias=(True|False)", "", shown)
        assert shown == repr(theirs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = [{key: tuple(value.shape) for key, value in module.state_dict().items()}
                      for module in (mine, theirs)]
        assert shapes[0] == shapes[1]


def test_the_modules_that_must_be_here_are() -> None:
    assert set(REQUIRED) <= {name_of(info) for info in INFOS}
    assert sum(len(errors_of(info)) for info in INFOS) >= 7     # 8 from PyTorch 2.13 on
