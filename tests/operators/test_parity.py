"""Value, gradient and second gradient of every operation, against PyTorch, on the device under test.

The yardstick is PyTorch in float64. PyTorch's own error against it in the dtype under test says how ill-conditioned a
result is; a tolerance is a small multiple of that error plus a few units in the last place. Cotangents are random, and
come contiguous, transposed, sliced and expanded: with a `.sum()` in place of a random cotangent the gradient of a
softmax is zero whatever its derivative, and a kernel that ignores strides passes every contiguous cotangent.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.testing.closeness import allowance, difference, exact_difference
from microtrain.testing.comparison import Subject
from microtrain.testing.running import LAYOUTS, Library, Trial, listed, run
from tests.conftest import DEVICE
from tests.op_table import EXACT, OPS, Op, Sample

INTEGERS = ("int32", "int64", "uint8", "bool")
OURS, THEIRS = Library(mt), Library(torch)


def dtype_name(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]


def check(op: Op, sample: Sample, dtype: str, order: int, layout: str = "contiguous", seed: int = 1) -> list[str]:
    """What differs between microtrain and PyTorch on one sample, up to the given order of derivative."""
    subject = Subject(op.name, partial(op.function, mt), partial(op.function, torch), DEVICE, op.tolerance, op.slack)
    trial = Trial(replace(sample, terms=sample.terms or 1), dtype, cotangents=layout, order=order, seed=seed)
    return [f"{op.name}{sample.shapes} {sample.attributes} {dtype} {layout}: {finding}"
            for finding in subject.findings(trial) if finding.wrong]


def samples(op: Op) -> list[Sample]:
    return op.sampler(np.random.default_rng(11))


def cases(dtypes: Sequence[str]) -> list[Any]:
    """Every operation in its dtypes; interpreted, where a launch costs milliseconds, those but float32 take turns."""
    return [
        pytest.param(op, dtype, id=f"{op.name}-{dtype}")
        for number, op in enumerate(OPS) for turn, dtype in enumerate(dtypes)
        if dtype in op.dtypes and (DEVICE != "interpret" or dtype == "float32" or (number + turn) % 2)
    ]  # fmt: skip


@pytest.mark.parametrize(("op", "dtype"), cases(("float32", "float64")))
def test_single_and_double(op: Op, dtype: str) -> None:
    problems = []
    for number, sample in enumerate(samples(op)):
        # An interpreted kernel costs milliseconds: there the layouts take turns over the samples.
        layouts = LAYOUTS if DEVICE == "cpu" and op.order else LAYOUTS[number % 4 : number % 4 + 1]
        for layout in layouts:
            problems += check(op, sample, dtype, op.order, layout, seed=number)
        if DEVICE != "cpu" and dtype == "float64":
            break
    assert not problems, "\n".join(problems)


@pytest.mark.skipif(DEVICE != "cpu", reason="the tape is the same on every device")
@pytest.mark.parametrize("op", [op for op in OPS if op.order], ids=lambda op: op.name)
def test_what_is_read_in_between_is_let_go_of_only_where_no_rule_reads_it(
        op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(replace(samples(op)[0], terms=1), "float64", order=op.order, seed=3)
    function, grad = partial(op.function, mt), mt.autograd.grad
    expected = run(OURS, function, trial).parts

    def read(outputs: list[mt.Tensor], *rest: Any, **options: Any) -> Any:
        for tensor in outputs:
            tensor.detach().numpy()
        return grad(outputs, *rest, **options)

    monkeypatch.setattr(mt.autograd, "grad", read)
    found = run(OURS, function, trial).parts
    assert found.keys() == expected.keys()
    for part, tensors in expected.items():
        for got, want in zip(found[part], tensors, strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("op", "dtype"), cases(("float16", "bfloat16")))
def test_half(op: Op, dtype: str) -> None:
    problems = []
    for number, sample in enumerate(samples(op)[: None if DEVICE == "cpu" else 1]):
        problems += check(op, sample, dtype, min(op.order, 1), LAYOUTS[number % 4])
    assert not problems, "\n".join(problems)


@pytest.mark.filterwarnings("ignore:.*degrees of freedom is <= 0")
@pytest.mark.parametrize(("op", "dtype"), [
    case for case in cases(("float32", "float64")) if case.values[0].boundary + case.values[0].twice])
def test_boundary_points(op: Op, dtype: str) -> None:
    problems = []
    for sample in op.boundary:
        problems += check(op, sample, dtype, min(op.order, 1))
    for sample in op.twice:
        problems += check(op, sample, dtype, 2)
    assert not problems, "\n".join(problems)


def integral(values: np.ndarray, dtype: str) -> np.ndarray:
    """Whole numbers out of a sampler's: nonzero where they were positive, none negative where the dtype has none."""
    if values.dtype.kind != "f":
        return values
    whole = np.ceil(np.abs(values)) * (1 if dtype in ("uint8", "bool") else np.where(values < 0, -1, 1))
    return whole.astype(dtype)


def outcome(T: Any, op: Op, sample: Sample, dtype: str) -> list[Any] | Exception:
    try:
        tensors = [T.tensor(integral(values, dtype)) for values in sample.arrays]
        results = listed(op.function(T, *tensors, **sample.attributes))
        for result in results:
            result.tolist()
        return results
    except Exception as error:
        return error


def told(result: list[Any] | Exception) -> str:
    if isinstance(result, Exception):
        return f"{type(result).__name__}: {result}"
    return ", ".join(f"{dtype_name(tensor)} {tuple(tensor.shape)}" for tensor in result)


def of_integers(op: Op, sample: Sample, got: np.ndarray, expected: np.ndarray) -> Any:
    """How a result of integers differs; floats that come of them may miss by a few units in the last place."""
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return f"{got.dtype} {got.shape}, PyTorch {expected.dtype} {expected.shape}"
    dtype = expected.dtype.name
    if expected.dtype.kind != "f" or op.tolerance is EXACT:
        return exact_difference(got, expected, dtype)
    truth = expected.astype(np.float64)
    allowed = allowance(truth, np.zeros_like(truth), dtype, op.tolerance, sample.terms or 1)
    return difference(got, expected, truth, allowed, dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OPS if op.integers])
def test_integers(op: Op, dtype: str) -> None:
    """Same values, or the same type of error; what PyTorch only lacks a kernel for may work here, or be refused."""
    problems = []
    for sample in samples(op)[: None if DEVICE == "cpu" else 1]:
        got, expected = outcome(mt, op, sample, dtype), outcome(torch, op, sample, dtype)
        if isinstance(expected, NotImplementedError) and isinstance(got, list | RuntimeError):
            continue
        if isinstance(got, Exception) or isinstance(expected, Exception):
            if type(got) is not type(expected):
                shapes = tuple(values.shape for values in sample.arrays)
                problems.append(f"{op.name}{shapes} {sample.attributes}: {told(got)}, PyTorch {told(expected)}")
            continue
        for ours, theirs in zip(got, expected, strict=True):
            wrong = of_integers(op, sample, OURS.array(ours), THEIRS.array(theirs))
            problems += [f"{op.name} {sample.attributes}: {wrong}"] if wrong else []
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OPS if op.method])
def test_method_is_the_function(op: Op) -> None:
    assert op.method is not None
    for sample in samples(op)[: None if DEVICE == "cpu" else 1]:
        first, *others = Trial(sample, order=0).arguments(OURS).args
        by_method = listed(getattr(first, op.method)(*others, **sample.attributes))
        by_function = listed(op.function(mt, first, *others, **sample.attributes))
        for a, b in zip(by_method, by_function, strict=True):
            np.testing.assert_array_equal(OURS.array(a), OURS.array(b))
            assert a.dtype == b.dtype


@pytest.mark.parametrize("name", ["max", "min"])
def test_max_along_a_dim_names_its_fields(name: str) -> None:
    result = getattr(mt.tensor([[1.0, 5.0], [7.0, 2.0]]), name)(dim=1)
    values, indices = result
    assert result.values.tolist() == values.tolist()
    assert result.indices.tolist() == indices.tolist() == ([1, 0] if name == "max" else [0, 1])


@pytest.mark.parametrize(
    ("name", "arguments", "mean", "deviation", "bounds"),
    [
        ("rand", (200, 50), 0.5, 12**-0.5, (0.0, 1.0)),
        ("randn", (200, 50), 0.0, 1.0, (-8.0, 8.0)),
        ("randint", (-3, 5, (200, 50)), 0.5, (63 / 12) ** 0.5, (-3, 4)),
    ],
)
def test_random_numbers(name: str, arguments: Any, mean: float, deviation: float, bounds: tuple[float, float]) -> None:
    """Shape and dtype are PyTorch's; the distribution is the named one; a seed gives the same numbers again."""
    mt.manual_seed(5)
    first = getattr(mt, name)(*arguments)
    second = getattr(mt, name)(*arguments)
    mt.manual_seed(5)
    again = getattr(mt, name)(*arguments)
    expected = getattr(torch, name)(*arguments)
    assert dtype_name(first) == dtype_name(expected) and tuple(first.shape) == tuple(expected.shape)
    x = OURS.array(first).astype(np.float64)
    np.testing.assert_array_equal(x, OURS.array(again))
    assert (x != OURS.array(second)).any()
    assert bounds[0] <= x.min() and x.max() <= bounds[1] and x.max() != 1.0 - (name != "rand")
    # Five standard errors: a fixed seed either passes for good or never.
    assert abs(x.mean() - mean) < 5 * deviation / x.size**0.5
    assert abs(x.std() / deviation - 1) < 5 / x.size**0.5
    assert abs(np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1]) < 5 / x.size**0.5


@pytest.mark.parametrize("name", ["rand_like", "randn_like", "empty_like", "zeros_like", "ones_like"])
def test_likes_take_shape_and_dtype(name: str) -> None:
    model = mt.zeros(3, 4, dtype=mt.float64)
    like = getattr(mt, name)(model)
    assert like.dtype == mt.float64 and tuple(like.shape) == (3, 4)
    assert tuple(mt.empty(2, 3).shape) == (2, 3) and mt.empty(2).dtype == mt.float32
