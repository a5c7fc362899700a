"""Bad input raises at the line that made it: PyTorch's type of error, its words where they are clear, the values named.

Every case runs on PyTorch too, so that a phrase said to be PyTorch's is.
"""

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt


def a(T: Any, *shape: int, dtype: str = "float32") -> Any:
    return T.ones(shape, dtype=getattr(T, dtype))


def refusal(T: Any, expression: str) -> BaseException:
    made = {name: partial(a, T, dtype=dtype) for name, dtype in
            {"a": "float32", "ints": "int64", "bools": "bool", "doubles": "float64"}.items()}
    try:
        result = eval(expression, {"T": T, "F": T.nn.functional, "np": np, "inf": np.inf, **made})
    except Exception as error:
        return error
    raise AssertionError(f"{expression}: {T.__name__} made {result!r} of it")


@pytest.mark.parametrize("expression", """
a(2, 3) + a(2, 4)|a(5, 2, 3) * a(4, 3)|a(3) < a(2)|a(3) ** a(2)|T.maximum(a(3), a(2))|a(3).add_(a(2))
a(3).add_(a(2, 3))|a(3).copy_(a(2))|T.mm(a(2, 3), a(4, 5))|a(2, 3) @ a(4, 5)|a(2, 3, 4) @ a(3, 4, 5)
T.matmul(T.tensor(1.0), a(3))|T.mm(a(3), a(3))|T.mv(a(2, 3), a(2))|T.dot(a(3), a(4))|T.dot(a(2, 2), a(2, 2))
T.outer(a(2, 2), a(2))|a(2, 3, 4).t()|T.addmm(a(3), a(3), a(3, 3))|T.addmm(2.0, a(3, 3), a(3, 3))
T.addmv(a(3), a(3, 3), a(2))|T.addbmm(a(3), a(2, 3, 4), a(3, 4, 3))|T.tensordot(a(3), a(3, 3), 2)
T.tensordot(a(3, 3), a(3, 3), ([0], [0, 1]))|T.einsum("ij,jk", a(2, 3))|T.einsum("ij", a(2, 3), a(2, 3))
T.einsum("ijk", a(2, 3))|T.einsum("ijk...", a(2, 3))|T.einsum("ij->k", a(2, 3))|T.einsum("ij->ii", a(2, 3))
T.einsum("i1", a(2, 3))|T.einsum("ij,i-", a(2, 3), a(2, 3))|T.einsum("ij->i.", a(2, 3))|T.einsum("...i...", a(2, 3))
T.einsum("ij,jk", a(2, 3), a(2, 3))|T.einsum("ii", a(2, 3))|T.einsum("ij,jk", a(2, 3), "x")
T.linalg.vector_norm(a(0), float("inf"))|T.linalg.matrix_norm(a(3, 3), 3)|T.linalg.matrix_norm(a(3, 3), "foo")
T.linalg.matrix_norm(a(3))|T.linalg.norm(a(2, 3, 4), 1)|T.linalg.norm(a(2, 3, 4), None, (0, 1, 2))
a(3, 3).diagonal(0, 1, -1)|a(2, 3).diagonal(0, 0, 2)|T.diag(a(2, 2, 2))|a(2, 2, 2).trace()|T.tril(a(4))
a(2, 3).repeat(2)|a(2).repeat_interleave(T.tensor([1, 2, 3]))|a(3).roll(())|a(2, 3).roll((2, 1), 0)
T.tensor(1.0).roll(0, 0)|a(3, 3).rot90(1, (1, 1))|T.vstack([])|T.hstack(a(3))|T.dstack([1, 2])
T.hstack([a(2, 3), a(3, 3)])|T.meshgrid(a(2), ints(2), indexing="ij")|T.meshgrid(a(2), indexing="yx")
a(5).tensor_split(0)|a(2, 5).hsplit(2)|a(0).aminmax()|T.sum(a(2, 3), dim=2)|T.sum(a(2, 3), dim=-3)
T.mean(a(2, 3), dim=2)|T.mean(a(2, 3), dim=-3)|T.amax(a(2, 3), dim=2)|T.amax(a(2, 3), dim=-3)|T.softmax(a(2, 3), dim=2)
T.softmax(a(2, 3), dim=-3)|T.argmax(a(2, 3), dim=2)|T.argmax(a(2, 3), dim=-3)|T.std(a(2, 3), dim=2)
T.std(a(2, 3), dim=-3)|a(2, 3).unsqueeze(4)|a(2, 3).transpose(0, 2)|T.cat([a(2, 3)], dim=2)|a(2, 3).max(dim=5)
a(2, 3).sum((0, 0))|a(2, 3).flip(7)|a(2, 3).permute(0)|a(2, 3).permute(0, 0)|a(0).max()|T.amax(a(0, 3), dim=0)
T.argmax(a(0))|ints(3).std()|-bools(3)|bools(3) - bools(3)|T.dist(bools(3), bools(3))|ints(3).mul_(2.5)|ints(3).div_(2)
ints(3) ** (-1)|T.softmax(ints(3), 0).tolist()|a(2, 3).reshape(4, 2)|a(2, 3).view(5)|a(2, 3).view(4, -1)
a(2, 3).reshape(-1, -1)|a(2, 3).t().view(6)|a(2, 3).expand(4, 3)|a(2, 3).expand(3)|T.cat([a(2, 3), a(2, 4)])|T.cat([])
T.stack([a(2), a(3)])|a(5).split([2, 2])|a(5).split(-1)|a(5).chunk(0)|a(2, 3).flatten(1, 0)|a(2, 3)[2]|a(2, 3)[0, -4]
a(2, 3)[0, 0, 0]|T.tensor(1.0)[0]|a(5)["0":"1"]|a(5)[0.5:2.5]|a(5)[:T.tensor(1.5)]
a(5).__setitem__(slice(None, 2.0), 1)|a(2, 3)[0, 5]|ints(3).__setitem__(T.tensor([0, 1]), T.tensor([]))|a(5)[::-1]
a(2, 3)[[0, 5]].tolist()|a(2, 3)[T.tensor([True, False, True])]|a(4, 4)[[0, 1], [0, 1, 2]]|a(2, 3)[T.tensor([0.0])]
a(2, 3)[1.5]|a(2, 3).__setitem__(0, a(4))|a(2, 3).__setitem__(9, 1.0)|list(T.tensor(1.0))|len(T.tensor(1.0))
a(3).item()|bool(a(3))|bool(a(0))|float(a(2))|[1, 2][T.tensor(0.5)]|T.tensor([[1.0, 2.0], [3.0]])|T.from_numpy([1.0])
T.ones(-1, 3)|T.arange(3, 0)|T.arange(0, 3, 0)|a(2, 3).aminmax(dim=(0, 1))|a(2, 3, 4).norm("nuc")
a(3).masked_fill(a(3), 1.0)|T.linspace(0, 1, -2)|T.randint(5, 5, (2,))|a(3) + "x"|None + a(3)|a(3).no_such_attribute
F.binary_cross_entropy(a(3), a(2))|F.binary_cross_entropy_with_logits(a(3), a(2))|F.cross_entropy(a(3, 4), ints(2))
F.mse_loss(a(3), a(3), reduction="avg")|F.linear(a(2, 3), a(4, 5))
""".strip().replace("\n", "|").split("|"))
def test_refused_in_the_words_of_pytorch(expression: str) -> None:
    theirs, mine = refusal(torch, expression), refusal(mt, expression)
    assert type(mine) is type(theirs), f"{mine!r}; PyTorch {theirs!r}"
    assert str(theirs).splitlines()[0].strip(" .") in str(mine)


@pytest.mark.parametrize(("expression", "phrase", "named"), [
    ("T.where(a(3) > 0, a(2), a(3))",
     "The size of tensor a .* must match the size of tensor b .* at non-singleton dimension", ""),
    ("a(2, 2) @ doubles(2, 2)", "expected .* the same dtype", ""),
    ("T.addmm(a(4, 3), a(2, 3), a(3, 3))", "expanded size of the tensor", "4 2"),
    ("T.addmm(a(3), a(3, 3), doubles(3, 3))", "must have the same dtype", "float64"),
    ("T.baddbmm(a(9), a(2, 3, 4), a(2, 4, 3))", "", "9 3 baddbmm"),
    ("T.tensordot(a(3, 3), a(2, 3), 1)",
     "contracted dimensions need to match, but first has size 3 in dim -?1 and second has size 2 in dim 0", ""),
    ('T.einsum("ij")', "must specify the equation string and at least one operand", ""),
    ('T.einsum("ij,jk", a(2, 2), doubles(2, 2))', "", ""),
    ("ints(3).norm()", "Expected a floating point or complex tensor as input", ""),
    ("T.linalg.vector_norm(doubles(3), dtype=T.float32)",
     "should be convertible without narrowing to the specified dtype", "float64 float32"),
    ("T.linalg.vector_norm(a(3), dtype=T.int32)", "dtype should be floating point", ""),
    ('T.linalg.vector_norm(a(3), "fro")', r"'ord' \(position 2\) must be Number, not str", ""),
    ("T.linalg.matrix_norm(a(3, 0), -1)", "non-zero size", ""),
    ("T.linalg.matrix_norm(a(3, 3), dim=(0, -2))", "dims must be different", "-2"),
    ("T.triu(a(4, 4), 0.5)", "", "float"),
    ("a(3).repeat(-1)", "Trying to create tensor with negative dimension", "-1"),
    ("a(3).repeat(1.5)", "", "float"),
    ("a(3).repeat()", r"repeat\(\).* missing 1 required positional argument", ""),
    ("a(2).repeat_interleave(-1)", "", "-1"),
    ("T.atleast_2d(3)", "atleast_2d", "int"),
    ('T.meshgrid(a(2, 2), indexing="ij")', "Expected 0D or 1D tensor in the tensor list", ""),
    ("T.broadcast_shapes((2,), (3,))", "", "2 3"),
    ("T.tril_indices(-2, 3)", "must be non-negative", "-2"),
    ("ints(3).mean()", "could not infer output dtype|must be either a floating point", ""),
    ("T.dot(a(3), ints(3))", "dtype", ""),
    ("T.where(a(3), a(3), a(3))", "condition", ""),
    ("a(2, 3).reshape(-2, 3)", "invalid shape dimension -2", ""),
    ("T.nn.Linear(1, 1).cuda(1.0)", "device'? .*must be", "float"),
    ('T.tensor("abc")', "", "str"),
    ('T.tensor([1.0, "abc"])', "", "str"),
    ('T.from_numpy(np.zeros(2, dtype="U3"))', "can't convert np.ndarray of type numpy.str_", ""),
    ('T.linspace("a", 1, 3)', r"linspace\(\)", "str 'a'"),
    ("T.dist(a(3), 2.0)", "must be Tensor, not float", ""),
    ("a(2, 3).rot90(1.5)", r"rot90\(\)", "float 1.5"),
    ("a(5).narrow(0, 1.0, 2)", "", "float"),
    ("a(5).narrow(0, 1, 2.0)", "", "float"),
    ("a(5).tensor_split(T.tensor([[1]]))", "to be a zero-dimensional or one-dimensional tensor", "2 dims"),
    ("T.tensordot(a(2, 3), a(3, 4), dims=1.5)", "tensordot expects dims to be .*dims=1.5", ""),
    ('T.linalg.vector_norm(a(3, dtype="bfloat16"), dtype=T.float16)',
     "should be convertible without narrowing to the specified dtype", "bfloat16 float16"),
    ('ints(3).masked_fill(a(3) > 0, float("inf"))',
     "value cannot be converted to type int64.* without overflow", "inf"),
    ('a(3, dtype="uint8").masked_fill(a(3) > 0, 500)',
     "value cannot be converted to type uint8.* without overflow", "500"),
    ("a(3).masked_fill(a(3) > 0, 'x')", "", "str 'x'"),
    ('T.zeros(2, device="gpu7")', "", "gpu7"),
    ('T.zeros(2).to("nowhere")', "", "nowhere"),
    ("T.no_such_function", "no attribute 'no_such_function'", ""),
])
def test_refused_as_pytorch_refuses_it(expression: str, phrase: str, named: str) -> None:
    """With a phrase (regular expression) of PyTorch's own, and with what our message names besides."""
    theirs, mine = refusal(torch, expression), refusal(mt, expression)
    # NotImplementedError, which is a RuntimeError, says only that PyTorch lacks a kernel.
    kinds = {type(theirs)} | ({RuntimeError} if isinstance(theirs, NotImplementedError) else set())
    assert type(mine) in kinds, f"{type(mine).__name__}: {mine}; PyTorch {type(theirs).__name__}: {theirs}"
    assert re.search(phrase, str(theirs)), f"PyTorch says {theirs}"
    assert re.search(phrase, str(mine)), f"{mine}; PyTorch says {theirs}"
    assert all(word in str(mine) for word in named.split()), f"{mine} does not name {named}"


@pytest.mark.parametrize("order", [2, -2, "nuc"])
def test_norms_that_need_singular_values(order: Any) -> None:
    """PyTorch has them: a refusal says which orders there are."""
    for call in (mt.linalg.norm, mt.linalg.matrix_norm):
        with pytest.raises(NotImplementedError, match=f"order {order} needs singular values.*'fro', 1, -1"):
            call(mt.ones(3, 3), order)
    if order == "nuc":
        with pytest.raises(NotImplementedError, match="order nuc needs singular values"):
            mt.ones(3, 3).norm("nuc")


def test_einsum_by_numbers() -> None:
    """PyTorch takes lists of axes too: a refusal says what to write instead."""
    with pytest.raises(NotImplementedError, match=r"write an equation, as in einsum\('ij,jk->ik', x, y\)"):
        mt.einsum(mt.ones(2, 3), [0, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", ["beta", "alpha"])
def test_a_fraction_of_whole_numbers(factor: str) -> None:
    """PyTorch drops the fraction without a word on the CPU."""
    whole = a(mt, 2, 2, dtype="int64")
    with pytest.raises(RuntimeError, match=f"addmm.*argument {factor} must not be a floating point number, got 0.5"):
        mt.addmm(whole, whole, whole, **{factor: 0.5})


@pytest.mark.parametrize(("probability", "target"), [(1.5, 1.0), (1.5, 0.0), (-0.5, 0.0), (-0.5, 1.0), (0.5, 2.0),
                                                     (0.5, -1.0), (1.0, 1.25)])
def test_bce_of_what_is_no_probability(probability: float, target: float, device: str) -> None:
    """Refused on the CPU, as PyTorch does there; elsewhere a look at the values costs too much: the loss says it."""
    for T in (torch, mt):
        if T is mt and device != "cpu":
            loss = mt.nn.functional.binary_cross_entropy(mt.tensor([probability]), mt.tensor([target]))
            assert np.isnan(loss.item())
            continue
        wrong = "target" if 0 <= probability <= 1 else "input"
        with pytest.raises(RuntimeError, match=f"all elements of {wrong} should be between 0 and 1"):
            T.nn.functional.binary_cross_entropy(T.tensor([probability]), T.tensor([target])).item()


def test_bce_of_what_is_no_probability_leaves_no_gradient(device: str) -> None:
    """Where nobody looks at the loss the gradient says it."""
    x = mt.tensor([1.5, 0.5, -0.5, 1.0], requires_grad=True)
    mt.nn.functional.binary_cross_entropy(x, mt.ones(4), reduction="sum").backward()
    np.testing.assert_array_equal(x.grad.tolist(), [np.nan, -2, np.nan, 0])


def test_bce_of_nan(device: str) -> None:
    for T in (torch, mt) if device == "cpu" else ():
        with pytest.raises(RuntimeError, match="all elements of input should be between 0 and 1"):
            T.nn.functional.binary_cross_entropy(T.tensor([np.nan]), T.tensor([1.0])).item()


@pytest.mark.parametrize("target", [7, -1])
def test_a_class_that_does_not_exist(target: int, device: str) -> None:
    """Refused on the CPU; elsewhere the loss is no number: it must not pass for one of the other classes'."""
    for T in (torch, mt):
        if T is mt and device != "cpu":
            assert np.isnan(mt.nn.functional.cross_entropy(mt.zeros(2, 3), mt.tensor([0, target])).item())
            continue
        with pytest.raises(IndexError, match=f"Target {target} is out of bounds."):
            T.nn.functional.cross_entropy(T.zeros(2, 3), T.tensor([0, target])).item()


@pytest.mark.parametrize("name", ["mul", "div", "floor_divide", "remainder", "eq", "lt", "maximum", "atan2",
                                  "bitwise_and", "logical_or", "__rdiv__"])
def test_a_method_of_what_is_no_tensor_is_refused(name: str) -> None:
    for T in (torch, mt):
        with pytest.raises(AttributeError if name == "__rdiv__" and T is torch else TypeError):
            getattr(T.Tensor, name)(2, T.tensor([1, 2, 3]))
