"""Tensors print as PyTorch's do, letter for letter: arrays of every dtype, magnitude and shape against its repr."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.tensor import printing
from tests.support.hypotheses import given, settings, st

DTYPES = ("float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool")
SPECIALS = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, 0.1, 1e-5, 12345.678, 1e9]


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    yield
    torch.set_printoptions(profile="default")
    printing.set_printoptions(profile="default")


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


@st.composite
def tensors(draw: Any, dtypes: tuple[str, ...] = DTYPES) -> torch.Tensor:
    """Normal values of one magnitude, some of them spread, rounded or special."""
    dtype = getattr(torch, draw(st.sampled_from(dtypes)))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    if draw(st.integers(0, 9)) == 0:
        shape = tuple(draw(st.lists(st.integers(1, 13), min_size=1, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = np.asarray(rng.standard_normal(shape) * 10.0 ** draw(st.integers(-9, 12)))
    if draw(st.booleans()):
        values = values * 10.0 ** rng.integers(-3, 3, shape)
    if draw(st.booleans()):
        values = np.round(values)
    if draw(st.booleans()):
        values = np.where(rng.random(shape) < 0.4, rng.choice(SPECIALS, shape), values)
    tensor = torch.tensor(values)
    if not dtype.is_floating_point:
        tensor = torch.nan_to_num(tensor).clamp(-1e9, 1e9)
    return tensor.to(dtype)


@settings(max_examples=1000)
@given(tensor=tensors())
def test_default_options(tensor: torch.Tensor) -> None:
    assert printing.format_array(as_numpy(tensor), str(tensor.dtype), []) == repr(tensor)


@settings(max_examples=600)
@given(
    tensor=tensors(dtypes=("float32", "float64", "bfloat16", "int64")),
    options=st.fixed_dictionaries(
        {},
        optional={
            "precision": st.integers(0, 8),
            "threshold": st.sampled_from([0, 5, 20]),
            "edgeitems": st.integers(0, 4),
            "linewidth": st.sampled_from([10, 20, 40, 120]),
            "sci_mode": st.booleans(),
            "profile": st.sampled_from(["default", "short", "full"]),
        },
    ),
    graph=st.booleans(),
)
def test_every_option(tensor: torch.Tensor, options: dict[str, Any], graph: bool) -> None:
    suffixes = []
    if graph and tensor.is_floating_point():
        tensor = tensor.requires_grad_().abs()
        suffixes = ["grad_fn=<AbsBackward0>"]
    torch.set_printoptions(profile="default")
    printing.set_printoptions(profile="default")
    torch.set_printoptions(**options)
    printing.set_printoptions(**options)
    assert printing.format_array(as_numpy(tensor), str(tensor.dtype), suffixes) == repr(tensor)


@pytest.mark.parametrize(
    "shape", [(1000,), (1001,), (7, 200), (200, 7), (6, 6, 40), (3, 2, 400), (40, 1, 40), (11, 11, 11)]
)
def test_summaries(shape: tuple[int, ...]) -> None:
    """The elements that are not shown do not decide the format either."""
    tensor = torch.linspace(-3, 9, int(np.prod(shape))).reshape(shape)
    tensor.view(-1)[500] = 1e12
    assert printing.format_array(as_numpy(tensor), "float32", []) == repr(tensor)


def test_dtype_and_device_and_graph_are_said_in_that_order() -> None:
    text = printing.format_array(np.zeros((0, 3)), "float64", ["device='cuda:0'", "requires_grad=True"])
    assert text == "tensor([], device='cuda:0', size=(0, 3), dtype=torch.float64,\n       requires_grad=True)"


def test_options_are_restored() -> None:
    before = printing.get_printoptions()
    with pytest.raises(KeyError), printing.printoptions(precision=2, sci_mode=True):
        assert printing.format_array(np.float32([1.25]), "float32", []) == "tensor([1.25e+00])"
        raise KeyError
    assert printing.get_printoptions() == before


def test_an_unknown_profile_is_refused_and_changes_nothing() -> None:
    before = printing.get_printoptions()
    with pytest.raises(ValueError, match=r"unknown profile 'long'; known profiles: default, short, full"):
        printing.set_printoptions(precision=1, profile="long")
    assert printing.get_printoptions() == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0, 0.0], [3.0, 255.0]], 7.0, [], [[]]])
def test_repr_of_a_tensor(values: Any, dtype: str) -> None:
    """The default device is not named, whichever it is, as PyTorch does not name that of its default tensor type."""
    def made(T: Any) -> str:
        return repr(T.tensor(values, dtype=getattr(T, dtype)))

    assert made(mt) == made(torch) == str(mt.tensor(values, dtype=getattr(mt, dtype)))


@pytest.mark.parametrize(
    "build",
    [
        lambda T: T.tensor([1.0, 2.0], requires_grad=True),
        lambda T: T.tensor(3.0, requires_grad=True) ** 2,
        lambda T: T.tensor([5.0], requires_grad=True) - T.tensor([6.0]),
        lambda T: 1 - T.tensor([0.5, 0.25], requires_grad=True),
        lambda T: 1 / T.tensor([0.5, 0.25], requires_grad=True),
        lambda T: (T.ones(3, requires_grad=True) * 2).sum(),
        lambda T: T.ones(3, 3, requires_grad=True).mean(),
        lambda T: T.ones(3, 3, requires_grad=True).sum(0),
        lambda T: T.ones(3, requires_grad=True).exp(),
        lambda T: T.ones(3, requires_grad=True).log(),
        lambda T: -T.ones(3, requires_grad=True),
        lambda T: T.sigmoid(T.zeros(2, requires_grad=True)),
        lambda T: T.relu(T.zeros(2, requires_grad=True)),
        lambda T: T.tanh(T.zeros(2, requires_grad=True)),
        lambda T: T.ones(2, 3, requires_grad=True) @ T.ones(3, 2),
        lambda T: T.ones(2, 3, requires_grad=True).t(),
        lambda T: T.ones(2, 3, requires_grad=True)[0],
        lambda T: T.ones(2, 3, requires_grad=True)[:, 1:],
        lambda T: T.ones(2, 3, requires_grad=True).reshape(3, 2),
        lambda T: T.ones(2, 3, requires_grad=True).max(),
        lambda T: T.ones(2, 3, requires_grad=True).clamp(0, 2),
        lambda T: T.ones(2, 3, requires_grad=True).double(),
        lambda T: T.ones(2, 3, requires_grad=True).softmax(1),
        lambda T: T.ones(2, 3, requires_grad=True).detach(),
        lambda T: T.ones(2, 3, requires_grad=True) > 0,
    ],
)
def test_repr_names_the_function_behind_a_tensor(build: Any, device: str) -> None:
    text = repr(build(mt))
    if device == "cuda":
        text = text.replace(" device='cuda:0',", "").replace(", device='cuda:0'", "")
    assert text == repr(build(torch))


def test_format_of_a_single_element_is_the_numbers() -> None:
    x = mt.tensor(0.41211849451065063)
    assert f"{x}" == "0.41211849451065063" == f"{torch.tensor(0.41211849451065063)}"
    assert f"{mt.tensor(2.5):.3f}" == "2.500"
    with pytest.raises(TypeError, match="unsupported format string"):
        format(mt.tensor([1.0, 2.0]), ".3f")
