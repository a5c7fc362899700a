"""Promotion: the dtype of every pair of dtypes under every operator, and with Python numbers, is PyTorch's."""

import functools
import itertools
import operator
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.graph.dtypes import largest_finite

DTYPES = ("float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool")
OPERATORS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge}
SCALARS = (True, 2, 2.0)


def name(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]


def ones(T: Any, dtype: str, shape: tuple[int, ...] = (2,)) -> Any:
    return T.ones(shape, dtype=getattr(T, dtype))


def outcome(compute: Any) -> Any:
    """The dtype and the values of a result, or the type of the error."""
    try:
        result = compute()
        return name(result), result.tolist()
    except Exception as error:
        return type(error)


def agrees(got: Any, expected: Any) -> bool:
    """The same outcome; where PyTorch only lacks a kernel for these dtypes, a result or a RuntimeError as well."""
    if isinstance(got, tuple):
        return bool(got == expected) or expected is NotImplementedError
    return isinstance(expected, type) and (issubclass(got, expected) or issubclass(expected, got))


def all_agree(compute: Any, *choices: Any) -> None:
    """`compute(T, ...)` of every combination of the choices has the same outcome in both."""
    wrong = []
    for case in itertools.product(*choices):
        got, expected = (outcome(functools.partial(compute, T, *case)) for T in (mt, torch))
        if not agrees(got, expected):
            wrong.append(f"{case}: {got}, PyTorch {expected}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())], ids=str)
def test_pairs_of_dtypes(symbol: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """A 0-d tensor gives way to a dimensioned one of its own category, as in PyTorch."""
    all_agree(lambda T, a, b: OPERATORS[symbol](ones(T, a, shapes[0]), ones(T, b, shapes[1])), DTYPES, DTYPES)


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("scalar", SCALARS)
def test_python_numbers(symbol: str, scalar: Any) -> None:
    def compute(T: Any, dtype: str, shape: Any, swap: bool) -> Any:
        pair = (ones(T, dtype, shape), scalar)
        return OPERATORS[symbol](*(pair[::-1] if swap else pair))

    all_agree(compute, DTYPES, ((2,), ()), (False, True))


@pytest.mark.parametrize("symbol", [*OPERATORS, "&", "|", "^"])
def test_booleans_are_no_numbers_of_one_bit(symbol: str) -> None:
    """Which would wrap, be negative, and not all compile. Where PyTorch lacks the operator, 1 ** x is a result too."""
    compute = {**OPERATORS, "&": operator.and_, "|": operator.or_, "^": operator.xor}[symbol]
    x, y = [False, False, True, True], [False, True, False, True]
    for a, b in ((x, y), (x, True), (x, False), (True, y), (False, y)):
        def on(T: Any, a: Any = a, b: Any = b) -> Any:
            return compute(*(T.tensor(v) if isinstance(v, list) else v for v in (a, b)))
        got, expected = outcome(lambda: on(mt)), outcome(lambda: on(torch))
        if symbol == "**" and isinstance(got, tuple):
            assert got == ("bool", [p >= q for p, q in np.broadcast(a, b)])
        if symbol != "/":           # by zero: NaN is not itself
            assert agrees(got, expected), (a, b, got, expected)


@pytest.mark.parametrize("function", [
    "exp", "sqrt", "sin", "sigmoid", "reciprocal", "abs", "neg", "sign", "floor", "square", "sum", "prod", "mean",
    "any", "all", "argmax", "amax", "max"])
def test_functions_of_one_tensor(function: str) -> None:
    for dtype in DTYPES:
        got, expected = (outcome(lambda T=T, d=dtype: getattr(T, function)(ones(T, d))) for T in (mt, torch))
        if isinstance(expected, tuple) and isinstance(got, tuple) and "float" in expected[0]:
            assert got[0] == expected[0] and np.allclose(got[1], expected[1], rtol=2**-7), dtype
        else:
            assert agrees(got, expected), (dtype, got, expected)


@pytest.mark.parametrize("function", ["maximum", "minimum", "cat", "stack", "where"])
def test_functions_of_two_tensors(function: str) -> None:
    def compute(T: Any, a: str, b: str) -> Any:
        pair = ones(T, a), ones(T, b)
        if function == "where":
            return T.where(T.tensor([True, False]), *pair)
        return getattr(T, function)(pair) if function in ("cat", "stack") else getattr(T, function)(*pair)

    all_agree(compute, DTYPES, DTYPES)


@pytest.mark.parametrize("change", [operator.iadd, operator.imul, operator.itruediv])
def test_in_place_keeps_the_dtype_or_raises(change: Any) -> None:
    """A result that does not fit the tensor's category is refused, and the tensor stays what it was."""
    for a, b in itertools.product(DTYPES, (*DTYPES, 2, 2.5)):
        outcomes = []
        for T in (mt, torch):
            x, y = ones(T, a), ones(T, b) if isinstance(b, str) else b
            outcomes.append((outcome(lambda x=x, y=y: change(x, y)), x.tolist(), name(x)))
        assert outcomes[0] == outcomes[1], (a, b)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"), ([1.0, 2], "float32"), ([True, False], "bool"), ([True, 2], "int64"), (3, "int64"),
        (2.5, "float32"), ([], "float32"), (np.float32(1), "float32"), (np.zeros(2), "float64"),
        (np.zeros(2, np.int32), "int32"), (np.zeros(2, np.uint8), "uint8"), (np.zeros(2, bool), "bool"),
        (np.zeros(2, np.float16), "float16"),
    ],
)  # fmt: skip
def test_dtype_of_new_tensors(values: Any, dtype: str) -> None:
    assert name(mt.tensor(values)) == dtype == name(torch.tensor(values))


def test_conversions_round_and_wrap_as_pytorchs() -> None:
    values = [-1.7, 0.0, 1.5, 2.5, 255.0, 3.14159265358979, 65504.0, 70000.0]
    for target in ("float32", "float64", "float16", "bfloat16", "int32", "int64", "bool"):
        got, expected = (T.tensor(values, dtype=T.float64).to(getattr(T, target)) for T in (mt, torch))
        assert name(got) == target
        assert got.tolist() == expected.tolist(), target
    for target in ("int32", "uint8", "bool", "float16"):
        got, expected = (T.tensor([0, 1, 200, 255, 256, 511, 40000]).to(getattr(T, target)) for T in (mt, torch))
        assert got.tolist() == expected.tolist(), target


def test_integer_arithmetic_wraps_as_pytorchs() -> None:
    for dtype, limit in (("int32", 2**31 - 1), ("int64", 2**63 - 1), ("uint8", 255)):
        for compute in (lambda x: x + 1, lambda x: x * 3, lambda x: -x):
            got, expected = (compute(T.tensor([limit, 1], dtype=getattr(T, dtype))) for T in (mt, torch))
            assert got.tolist() == expected.tolist(), dtype


def test_dtypes_describe_themselves_and_are_numpys() -> None:
    for dtype in DTYPES:
        mine, theirs = getattr(mt, dtype), getattr(torch, dtype)
        assert (mine.is_floating_point, mine.itemsize, repr(mine)) == (
            theirs.is_floating_point, theirs.itemsize, repr(theirs))
        assert ones(mt, dtype).cpu().numpy().dtype.name == dtype
    assert mt.get_default_dtype() == mt.float32


@pytest.mark.parametrize("T", [mt, torch])
def test_the_dtype_of_two(T: Any) -> None:
    assert T.promote_types(T.float32, float) is T.float64 and T.promote_types(int, T.float16) is T.float16
    assert T.promote_types(T.int32, bool) is T.int32 and T.promote_types(float, int) is T.float64
    assert T.promote_types(type1=T.float16, type2=T.bfloat16) is T.float32
    for wrong in (None, "float32", str, 1.0, T.ones(1), np.ones(1)):
        for given in ((T.float32, wrong), (wrong, T.float32)):
            with pytest.raises(TypeError):
                T.promote_types(*given)
    assert T.result_type(1, 2.0) is T.result_type(1.5, True) is T.float32 and T.result_type(True, 2) is T.int64
    assert T.result_type(True, False) is T.bool and T.result_type(T.ones(2, dtype=T.int32), 2.5) is T.float32
    for wrong in (None, "1", [1], str):
        with pytest.raises((TypeError, ValueError)):
            T.result_type(1, wrong)


def test_the_largest_number_that_a_float_holds() -> None:
    floats = ("float64", "float32", "float16", "bfloat16")
    largest = [torch.finfo(getattr(torch, dtype)).max for dtype in floats]
    assert [largest_finite(getattr(mt, dtype)) for dtype in floats] == largest
    all_agree(lambda T, case, factor: T.full((2,), case[1] * factor, dtype=getattr(T, case[0])),
              list(zip(floats, largest, strict=True))[1:], (1, -1, 1 + 2**-20))
