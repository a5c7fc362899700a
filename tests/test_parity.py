"""Value, gradient and second gradient of every operation, against PyTorch, on the device under test.

The yardstick is PyTorch in float64. PyTorch's own error against it in the dtype under test says how ill-conditioned a
result is; a tolerance is a small multiple of that error plus a few units in the last place. Cotangents are random, and
come contiguous, transposed, sliced and expanded: with a `.sum()` in place of a random cotangent the gradient of a
softmax is zero whatever its derivative, and a kernel that ignores strides passes every contiguous cotangent.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import DEVICE
from op_table import EXACT, OPS, REDUCTION, Op, Sample, Tolerance

import microtrain as mt

LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")
NUMPY = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}
INTEGERS = ("int32", "int64", "uint8", "bool")
ERROR_FACTOR = 4.0  # times PyTorch's own error
ULPS = 4.0  # a library function may be off by a few units in the last place, in PyTorch and here

Tree = list[Any]


def numpy_of(tensor: Any) -> np.ndarray:
    """A tensor's values as NumPy holds them; PyTorch has no NumPy form of bfloat16, so that comes as float32."""
    if isinstance(tensor, torch.Tensor):
        tensor = tensor.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True)
    return np.asarray(tensor.detach().cpu().numpy())


def dtype_name(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]


def leaves(result: Any) -> Tree:
    """The tensors of a result, which may be one or a tuple."""
    return list(result) if isinstance(result, tuple | list) else [result]


def quantised(values: np.ndarray, dtype: str) -> np.ndarray:
    """What `values` become in `dtype`, in a dtype of NumPy's own: rounded once, alike for both packages."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(NUMPY[dtype]).astype(np.float64)


class Run(NamedTuple):
    """What one package made of a sample: results, gradients and second gradients (None where there is none)."""

    values: Tree
    gradients: Tree
    second: Tree


def laid_out(T: Any, values: np.ndarray, dtype: str, layout: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A leaf and the cotangent of the given shape and layout that is a view of it."""

    def leaf(array: np.ndarray) -> Any:
        return T.tensor(array, dtype=getattr(T, dtype), requires_grad=True)

    if not shape or layout == "contiguous":
        base = leaf(values)
        return base, base.view(shape)
    if layout == "transposed":
        base = leaf(np.ascontiguousarray(values.transpose()))
        return base, base.permute(*range(len(shape) - 1, -1, -1))
    if layout == "sliced":
        base = leaf(np.repeat(values, 2, axis=-1))
        return base, base[..., ::2]
    base = leaf(values[:1] if shape[0] else values)
    return base, base.expand(shape)


def tensors_of(T: Any, sample: Sample, dtype: str, differentiate: bool) -> tuple[Tree, Tree]:
    """All tensors of a sample, and those among them that are differentiated."""
    tensors, inputs = [], []
    for position, values in enumerate(sample.arrays):
        if values.dtype.kind != "f":
            tensors.append(T.tensor(values))
            continue
        wanted = differentiate and position not in sample.constant
        tensor = T.tensor(values, dtype=getattr(T, dtype), requires_grad=wanted)
        tensors.append(tensor)
        if wanted:
            inputs.append(tensor)
    return tensors, inputs


def run(T: Any, op: Op, sample: Sample, dtype: str, order: int, layout: str, seed: int) -> Run:
    """Evaluate a sample in one package; the same seed draws the same cotangents in the other."""
    tensors, inputs = tensors_of(T, sample, dtype, order > 0)
    values = leaves(op.function(T, *tensors, **sample.attributes))
    results = [value for value in values if value.requires_grad]
    if order == 0 or not results:
        return Run(values, [], [])
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return quantised(rng.uniform(0.25, 1.5, shape) * rng.choice([-1, 1], shape), dtype)

    bases, cotangents = zip(
        *(laid_out(T, draw(tuple(y.shape), dtype), dtype_name(y), layout, tuple(y.shape)) for y in results), strict=True
    )
    gradients = list(
        T.autograd.grad(results, inputs, grad_outputs=cotangents, create_graph=order > 1, allow_unused=True)
    )
    if order == 1:
        return Run(values, gradients, [])
    outputs, weights = [], []
    for gradient, source in zip(gradients, inputs, strict=True):
        weight = draw(tuple(source.shape), dtype)
        if gradient is not None and gradient.requires_grad:
            outputs.append(gradient)
            weights.append(laid_out(T, weight, dtype, layout, tuple(source.shape))[1].detach())
    sources = [*inputs, *bases]
    if not outputs:
        return Run(values, gradients, [None] * len(sources))
    second = T.autograd.grad(outputs, sources, grad_outputs=weights, allow_unused=True)
    return Run(values, gradients, list(second))


def quantise(sample: Sample, dtype: str) -> Sample:
    # float64 is tried on float32's values, so that float32's error can tell how ill-conditioned they are.
    coarse = "float32" if dtype == "float64" else dtype
    arrays = tuple(quantised(a, coarse) if a.dtype.kind == "f" else a for a in sample.arrays)
    return Sample(arrays, sample.attributes, sample.terms, sample.constant)


def tolerance(
    oracle: np.ndarray, measured: np.ndarray, dtype: str, coarse: str, kind: Tolerance, terms: int
) -> np.ndarray:
    """How far from `oracle` (float64) a result may lie, given PyTorch's own result in `coarse`."""
    with np.errstate(invalid="ignore"):
        error = np.abs(measured.astype(np.float64) - oracle)
    error = np.where(np.isfinite(error), error, 0.0) * (EPSILON[dtype] / EPSILON[coarse])
    size = np.abs(np.where(np.isfinite(oracle), oracle, 0.0))
    if kind is REDUCTION and size.size:
        error, size = np.full_like(error, error.max()), terms**0.5 * size + size.max()
    return ERROR_FACTOR * error + ULPS * EPSILON[dtype] * size


def compare(what: str, got: Any, expected: Any, allowed: np.ndarray | None, oracle: np.ndarray | None) -> str | None:
    """None when `got` is as good as PyTorch's `expected`; else a line that says how it is not."""
    if dtype_name(got) != dtype_name(expected) or tuple(got.shape) != tuple(expected.shape):
        return f"{what}: {dtype_name(got)} {tuple(got.shape)}, PyTorch {dtype_name(expected)} {tuple(expected.shape)}"
    mine, theirs = numpy_of(got), numpy_of(expected)
    if allowed is None or oracle is None:
        same = (mine == theirs) | ((mine != mine) & (theirs != theirs))
        if theirs.dtype.kind == "f":
            same &= (np.signbit(mine) == np.signbit(theirs)) | (theirs != theirs)
        if not same.all():
            at = tuple(np.argwhere(~same)[0])
            return f"{what} at {at}: {mine[at]!r}, PyTorch {theirs[at]!r}"
        return None
    mine, theirs = mine.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(theirs) & np.isfinite(oracle)
    special = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        good = np.where(finite, np.abs(mine - oracle) <= allowed, special)
    if not good.all():
        at = tuple(np.argwhere(~good)[0])
        return f"{what} at {at}: {mine[at]!r}, PyTorch {theirs[at]!r}, float64 {oracle[at]!r} +- {allowed[at]:.3g}"
    return None


def zeros_for_none(gradients: Sequence[Any], like: Sequence[Any]) -> Tree:
    """A missing gradient is a zero one."""

    def zeros(other: Any) -> torch.Tensor:
        return torch.zeros(tuple(other.shape), dtype=getattr(torch, dtype_name(other)))

    return [
        zeros(other) if gradient is None and other is not None else gradient
        for gradient, other in zip(gradients, like, strict=True)
    ]


def check(op: Op, sample: Sample, dtype: str, order: int, layout: str = "contiguous", seed: int = 1) -> list[str]:
    """What differs between microtrain and PyTorch on one sample, up to the given order of derivative."""
    sample = quantise(sample, dtype)
    coarse = "float32" if dtype == "float64" else dtype
    expected = run(torch, op, sample, dtype, order, layout, seed)
    measured = expected if coarse == dtype else run(torch, op, sample, coarse, order, layout, seed)
    oracle = run(torch, op, sample, "float64", order, layout, seed)
    got = run(mt, op, sample, dtype, order, layout, seed)

    problems = []
    terms = max(1, sample.terms)
    for part in Run._fields:
        mine, theirs = getattr(got, part), getattr(expected, part)
        if len(mine) != len(theirs):
            problems.append(f"{part}: {len(mine)} of them, PyTorch {len(theirs)}")
            continue
        exact = op.tolerance is EXACT and part == "values"
        kind = op.tolerance if part == "values" else REDUCTION
        rows = zip(
            zeros_for_none(mine, theirs), zeros_for_none(theirs, mine), getattr(measured, part), getattr(oracle, part),
            strict=True,
        )  # fmt: skip
        for number, (a, b, rough, fine) in enumerate(rows):
            if a is None:
                continue
            if exact or b.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
                allowed = truth = None
            else:
                truth = np.zeros(b.shape) if fine is None else numpy_of(fine).astype(np.float64)
                base = truth if rough is None else numpy_of(rough)
                out, narrow = dtype_name(b), dtype_name(b if rough is None else rough)
                allowed = tolerance(truth, base, out, narrow, kind, terms)
                if part == "second":
                    allowed = allowed + op.slack * np.abs(truth)
            problem = compare(f"{part}[{number}]", a, b, allowed, truth)
            if problem:
                shapes = tuple(values.shape for values in sample.arrays)
                problems.append(f"{op.name}{shapes} {sample.attributes} {layout} {problem}")
    return problems


def samples(op: Op) -> list[Sample]:
    return op.sampler(np.random.default_rng(11))


def cases(dtypes: Sequence[str]) -> list[Any]:
    return [
        pytest.param(op, dtype, id=f"{op.name}-{dtype}") for op in OPS for dtype in dtypes if dtype in op.dtypes
    ]


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


@pytest.mark.parametrize(("op", "dtype"), cases(("float16", "bfloat16")))
def test_half(op: Op, dtype: str) -> None:
    problems = []
    for number, sample in enumerate(samples(op)[: None if DEVICE == "cpu" else 1]):
        problems += check(op, sample, dtype, min(op.order, 1), LAYOUTS[number % 4])
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("op", "dtype"), [case for case in cases(("float32", "float64")) if case.values[0].boundary])
def test_boundary_points(op: Op, dtype: str) -> None:
    problems = []
    for sample in op.boundary:
        problems += check(op, sample, dtype, min(op.order, 1))
    assert not problems, "\n".join(problems)


def integral(values: np.ndarray, dtype: str) -> np.ndarray:
    """Whole numbers out of a sampler's: nonzero where they were positive, none negative where the dtype has none."""
    if values.dtype.kind != "f":
        return values
    whole = np.ceil(np.abs(values)) * (1 if dtype in ("uint8", "bool") else np.where(values < 0, -1, 1))
    return whole.astype(dtype)


def outcome(T: Any, op: Op, sample: Sample, dtype: str) -> Tree | Exception:
    try:
        tensors = [T.tensor(integral(values, dtype)) for values in sample.arrays]
        results = leaves(op.function(T, *tensors, **sample.attributes))
        for result in results:
            result.tolist()
        return results
    except Exception as error:
        return error


def told(result: Tree | Exception) -> str:
    if isinstance(result, Exception):
        return f"{type(result).__name__}: {result}"
    return ", ".join(f"{dtype_name(tensor)} {tuple(tensor.shape)}" for tensor in result)


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
        for a, b in zip(got, expected, strict=True):
            truth = allowed = None
            if b.dtype.is_floating_point and op.tolerance is not EXACT:
                truth = numpy_of(b).astype(np.float64)
                allowed = tolerance(truth, truth, dtype_name(b), dtype_name(b), op.tolerance, sample.terms)
            problems += filter(None, [compare(f"{op.name} {sample.attributes}", a, b, allowed, truth)])
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OPS if op.method])
def test_method_is_the_function(op: Op) -> None:
    assert op.method is not None
    for sample in samples(op)[: None if DEVICE == "cpu" else 1]:
        (first, *others), _ = tensors_of(mt, sample, "float32", False)
        by_method = leaves(getattr(first, op.method)(*others, **sample.attributes))
        by_function = leaves(op.function(mt, first, *others, **sample.attributes))
        for a, b in zip(by_method, by_function, strict=True):
            np.testing.assert_array_equal(numpy_of(a), numpy_of(b))
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
    x = numpy_of(first).astype(np.float64)
    np.testing.assert_array_equal(x, numpy_of(again))
    assert (x != numpy_of(second)).any()
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
