"""Scans, sorting and gathering beyond single samples: order of equals, NaN, long axes, what is refused."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.testing import count_kernels
from tests.conftest import DEVICE
from tests.tensor.test_edges import check, outcome

pytestmark = pytest.mark.usefixtures("nothing_pending")

LONG = 1000 if DEVICE == "cpu" else 150
"""An axis of several chunks; interpreted, the square of it has to stay small."""


def host(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())


# -------------------------------------------------------------------------------------------------------------- scans


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
@pytest.mark.parametrize("n", [1, 63, 64, 65, LONG])
def test_a_long_scan_is_as_exact_as_a_short_one(name: str, n: int, rng: np.random.Generator) -> None:
    values = rng.uniform(0.97, 1.04, (2, n)).astype(np.float32)
    got = host(getattr(mt, name)(mt.tensor(values), 1))
    exact = getattr(torch, name)(torch.tensor(values, dtype=torch.float64), 1).numpy()
    np.testing.assert_allclose(got, exact, rtol=1e-5 if name == "cumprod" else 2e-6)


def test_an_axis_of_chunks_of_chunks(rng: np.random.Generator) -> None:
    """More than CHUNK squared elements: the totals of the chunks are scanned in chunks themselves."""
    n = 4200 if DEVICE == "cpu" else 64 * 64 + 1
    values = rng.integers(-(2**40), 2**40, n)
    if DEVICE == "cpu":
        from microtrain import ops as g
        from microtrain.ops import ordering
        x = mt.tensor(values)
        got = mt.Tensor.from_node(ordering.CUMSUM.decompose(x.node, 0))    # cpu would call NumPy's
        assert got.shape == (n,) and g.cumsum(x.node, 0).spec is got.node.spec
    else:
        got = mt.tensor(values).cumsum(0)
    np.testing.assert_array_equal(host(got), np.cumsum(values))


def test_integers_are_summed_without_rounding() -> None:
    values = np.array([[2**53, 1, 1], [2**62, 2**61, -(2**62)]])
    np.testing.assert_array_equal(host(mt.tensor(values).cumsum(1)), np.cumsum(values, 1))
    assert mt.tensor([True, True, False]).cumsum(0).tolist() == [1, 2, 2]
    small = mt.tensor([100, 100, 100], dtype=mt.int8)
    assert small.cumsum(0).dtype == mt.int64 and small.cumsum(0).tolist() == [100, 200, 300]
    assert small.cumsum(0, dtype=mt.int8).tolist() == torch.tensor([100] * 3).cumsum(0, dtype=torch.int8).tolist()


@pytest.mark.parametrize(("dtype", "epsilon"), [("float16", 2.0**-10), ("bfloat16", 2.0**-7)])
def test_half_precisions_are_summed_in_float32(dtype: str, epsilon: float, rng: np.random.Generator) -> None:
    """Each sum is off by its own rounding alone; a running sum rounded at every step stops at 256 in bfloat16."""
    values = mt.tensor(rng.uniform(0.5, 1.5, (2, 400)), dtype=getattr(mt, dtype))
    exact = np.cumsum(host(values.double()), 1)
    for sums in (values.cumsum(1), values.T.cumsum(0).T):
        assert sums.dtype == getattr(mt, dtype)
        assert (np.abs(host(sums.double()) - exact) <= 0.501 * epsilon * exact).all()


def test_what_comes_after_an_infinity_does_not_change_what_is_before() -> None:
    values = [1.0, 2.0, np.inf, 1.0, np.nan, 3.0]
    np.testing.assert_array_equal(host(mt.tensor(values).cumsum(0)), [1.0, 3.0, np.inf, np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(host(mt.tensor([0.0, np.inf, 2.0]).cumprod(0)), [0.0, np.nan, np.nan])


@pytest.mark.parametrize("values", [
    [2.0, 3.0, 0.5], [2.0, 0.0, 3.0, 5.0], [2.0, 0.0, 3.0, 0.0, 7.0], [0.0, 0.0, 0.0], [-0.0, 4.0, 0.0, 2.0, 3.0],
])  # fmt: skip
def test_the_derivatives_of_a_running_product_at_zeros(values: list[float]) -> None:
    """Against products written out, element for element: up to the third derivative."""
    n = len(values)
    weights = [[(i * 7 + k * 3) % 5 - 2.5 for i in range(n)] for k in range(3)]

    def derivatives(T: Any, product: Callable[[Any], Any]) -> list[Any]:
        x = T.tensor(values, dtype=T.float64, requires_grad=True)
        (first,) = T.autograd.grad(product(x), x, T.tensor(weights[0], dtype=T.float64), create_graph=True)
        (second,) = T.autograd.grad(first, x, T.tensor(weights[1], dtype=T.float64), create_graph=True)
        (third,) = T.autograd.grad(second, x, T.tensor(weights[2], dtype=T.float64))
        return [d.detach().cpu().numpy() for d in (first, second, third)]

    def written_out(x: Any) -> Any:
        return torch.stack([torch.stack([x[j] for j in range(i + 1)]).prod() for i in range(n)])

    for got, expected in zip(derivatives(mt, lambda x: x.cumprod(0)), derivatives(torch, written_out), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------ sorting


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_equals_keep_their_order(descending: bool, dtype: str, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2 if dtype == "bool" else 7, (3, LONG))
    x = mt.tensor(values.tolist(), dtype=getattr(mt, dtype))
    for axis, rows in ((1, x), (0, x.T)):
        found, places = rows.sort(axis, descending=descending)
        places = host(places if axis else places.T)
        for row, order in zip(values, places, strict=True):
            expected = sorted(range(LONG), key=lambda i, row=row: (-row[i] if descending else row[i], i))
            np.testing.assert_array_equal(order, expected)
        sorted_values = host(found if axis else found.T).astype(np.float64)
        np.testing.assert_array_equal(sorted_values, np.take_along_axis(values, places, 1))


@pytest.mark.parametrize("descending", [False, True])
def test_nan_is_larger_than_any_number(descending: bool) -> None:
    check(f"T.tensor([[nan, inf, 1.0, nan, -inf, 0.0, -0.0]]).sort(dim=-1, descending={descending}, stable=True)")


def test_the_best_of_a_row_agree_with_the_whole_order(rng: np.random.Generator) -> None:
    values = rng.permutation(LONG).astype(np.float32)
    x = mt.tensor(values)
    order = np.argsort(values)
    assert host(x.topk(5).indices).tolist() == order[::-1][:5].tolist()
    assert host(x.topk(5, largest=False).values).tolist() == [0, 1, 2, 3, 4]
    assert x.kthvalue(LONG // 3).values.item() == LONG // 3 - 1
    assert x.median().item() == (LONG - 1) // 2 == x.median(0).values.item()


def test_the_median_of_everything_shares_its_gradient_and_that_of_a_row_does_not() -> None:
    x = mt.tensor([[2.0, 1.0, 2.0], [5.0, 2.0, 0.0]], requires_grad=True)
    (shared,) = mt.autograd.grad(x.median(), x)
    np.testing.assert_allclose(host(shared), np.array([[1, 0, 1], [0, 1, 0]]) / 3, rtol=1e-6)
    value, index = x.median(1)
    (alone,) = mt.autograd.grad(value.sum(), x)
    assert value.tolist() == [2, 2] and host(alone).sum() == 2
    assert [host(alone)[row, place] for row, place in enumerate(host(index))] == [1, 1]


@pytest.mark.parametrize("name", ["median", "nanmedian"])
def test_medians_beside_nan(name: str) -> None:
    nan = np.nan
    values = [[1.0, nan, 0.0, 4.0], [nan, nan, nan, nan], [3.0, 1.0, 2.0, 0.0], [nan, nan, 7.0, nan]]
    got, expected = getattr(mt.tensor(values), name)(1), getattr(torch.tensor(values), name)(1)
    np.testing.assert_array_equal(host(got.values), expected.values.numpy())
    rows = [0, 1, 2, 3] if name == "median" else [0, 2, 3]      # where all are NaN, PyTorch's index is any of them
    np.testing.assert_array_equal(host(got.indices)[rows], expected.indices.numpy()[rows])
    whole, oracle = getattr(mt.tensor(values), name)(), getattr(torch.tensor(values), name)()
    np.testing.assert_array_equal(host(whole), oracle.numpy())


def test_results_have_pytorchs_names() -> None:
    x = mt.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    for name, arguments in {"sort": (), "topk": (2,), "kthvalue": (1,), "median": (0,), "nanmedian": (0,)}.items():
        result = getattr(mt, name)(x, *arguments)
        assert result._fields == ("values", "indices") and result.indices.dtype == mt.int64
        expected = getattr(torch, name)(torch.ones(1, 3, requires_grad=True), *arguments)
        assert result.values.grad_fn.name == expected.values.grad_fn.name()
        assert not result.indices.requires_grad
    assert type(x.cumsum(0).grad_fn).__name__ == "CumsumBackward0"


def test_axes_of_nothing_and_no_axes() -> None:
    for shape, dim in (((0, 3), 0), ((0, 3), 1), ((2, 0), 1), ((), 0), ((), -1)):
        for call in ("cumsum({})", "cumprod({})", "logcumsumexp({})", "sort({})[0]", "sort({}, descending=True)[1]",
                     "argsort({})", f"topk({0 if shape else 1}, {{}})[0]"):
            check(f"T.full({shape}, 2.0)." + call.format(dim))
    assert np.isnan(mt.zeros(0).median().item())


# ---------------------------------------------------------------------------------------------------------- gathering


def test_of_several_written_to_one_place_the_last_one_stays() -> None:
    x, index = mt.zeros(2, 4), mt.tensor([[1, 3, 1, 1], [0, 0, 2, 0]])
    source = mt.arange(1.0, 9.0).reshape(2, 4)
    assert x.scatter(1, index, source).tolist() == [[0, 4, 0, 2], [8, 0, 7, 0]]
    assert x.T.scatter(0, index.T, source.T).T.tolist() == [[0, 4, 0, 2], [8, 0, 7, 0]]
    assert x.index_copy(1, mt.tensor([2, 2]), source[:, :2]).tolist() == [[0, 0, 2, 0], [0, 0, 6, 0]]


def test_sums_of_scattered_elements_are_the_same_bits_every_time(rng: np.random.Generator) -> None:
    values, places = rng.standard_normal((3, LONG)).astype(np.float32), rng.integers(0, 5, (3, LONG))
    exact = np.zeros((3, 5))
    np.add.at(exact, (np.arange(3)[:, None], places), values.astype(np.float64))
    first, again = (host(mt.zeros(3, 5).scatter_add(1, mt.tensor(places), mt.tensor(values))) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, exact, rtol=1e-5, atol=1e-5)


def test_a_source_larger_than_its_index_gets_zeros_where_it_was_not_read() -> None:
    """PyTorch refuses to differentiate this."""
    x, y = mt.zeros(3, 4, requires_grad=True), mt.ones(2, 3, requires_grad=True)
    index = mt.tensor([[1, 0]])
    for out in (x.scatter(0, index, y), x.scatter_add(0, index, y)):
        gx, gy = mt.autograd.grad(out, (x, y), mt.arange(12.0).reshape(3, 4))
        assert gy.tolist() == [[4, 1, 0], [0, 0, 0]]
    assert gx.tolist() == mt.arange(12.0).reshape(3, 4).tolist()


def test_an_element_gathered_twice_gets_both_gradients() -> None:
    x = mt.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (grad,) = mt.autograd.grad(x.gather(1, mt.tensor([[1, 1, 0], [0, 0, 0]])), x, mt.tensor([[1.0, 2, 4], [8, 16, 32]]))
    assert grad.tolist() == [[4, 3], [56, 0]]


def test_changes_in_place_reach_every_view() -> None:
    base = mt.zeros(3, 4)
    view = base.T
    view.scatter_(0, mt.tensor([[1, 2, 3]]), 5.0)
    assert base.tolist() == [[0, 5, 0, 0], [0, 0, 5, 0], [0, 0, 0, 5]]
    base[1].index_fill_(0, mt.tensor([0, -1]), 7)
    base.masked_scatter_(base == 5, mt.tensor([1.0, 2.0, 3.0, 4.0]))
    assert view.T.tolist() == [[0, 1, 0, 0], [7, 0, 2, 7], [0, 0, 0, 3]]
    base.cumsum_(0)
    assert view[3].tolist() == [0, 7, 10]
    kept = mt.ones(3, requires_grad=True) * 2
    out = kept.cumprod(0)
    kept.index_add_(0, mt.tensor([0]), mt.ones(1))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        mt.ones(3, requires_grad=True).scatter_add_(0, mt.tensor([0]), mt.ones(1))


LOOKED_AT = """
T.ones(2, 3).gather(1, T.tensor([[0, 3]]))|T.ones(2, 3).gather(1, T.tensor([[-1]]))|T.ones(0).gather(0, T.tensor([0]))
T.ones(2, 3).scatter(0, T.tensor([[2]]), 1.0)|T.ones(2, 3).scatter_add(0, T.tensor([[5]]), T.ones(1, 1))
T.ones(2, 3).index_add(1, T.tensor([-1]), T.ones(2, 1))|T.ones(2, 3).index_fill(1, T.tensor([7]), 0)
f.masked_scatter(f != 0, f[:2])
"""
REFUSED = """
T.ones(2, 3).cumsum(2)|f.topk(1.0)|f.kthvalue(1.0)|i.index_fill(0, T.tensor([0]), 300)
f.index_fill(0, T.tensor([0]), "1")|i.scatter(0, T.tensor([0]), nan)|f.index_select(0, [0])|T.ones(2, 3).sort(-3)
f.index_add(0, T.tensor(1), T.tensor(1.0))|f.topk(4)|f.topk(-1)|T.ones(2, 3).kthvalue(0)|T.ones(0, 3).kthvalue(1, 0)
T.ones(0, 3).median(0)|f.gather(0, T.ones(1))|f.gather(0, [0])|T.ones(2, 3).gather(0, T.tensor([0]))
T.ones(2, 3).gather(1, T.tensor([[0]] * 3))|f.scatter(0, T.tensor([0]), T.ones(1, dtype=T.float64))
T.ones(2, 3).scatter(1, T.tensor([[0, 1]]), T.ones(1, 1))|f.scatter(0, T.tensor([0]), 1.0, reduce="sum")
f.scatter_add(0, T.tensor([0]), 1.0)|T.ones(2, 3).take_along_dim(T.tensor([0]), 1)
f.take(T.ones(1, dtype=T.int32))|T.ones(2, 3).index_add(1, T.tensor([0]), T.ones(2, 2))
T.ones(2, 3).index_add(1, T.tensor([0]), T.ones(1, 1))|T.ones(2, 3).index_add(1, T.tensor([[0]]), T.ones(2, 1))
T.ones(2, 3).index_copy(1, T.tensor([0]), T.ones(2, 2))|f.index_fill(0, T.tensor([0]), T.ones(1))
f.index_fill(0, T.ones(1, dtype=T.int32), 0)|f.index_select(0, T.ones(1))|f.masked_select(l)
""" + (LOOKED_AT if DEVICE in ("cpu", "interpret") else "")
IN_OTHER_WORDS = {
    "l.logcumsumexp(0)": '"logcumsumexp" not implemented for', "b.median()": "not implemented for",
    "f.cumsum(0, dtype=T.bool)": "not implemented for 'Bool'", "b.topk(1)": "topk does not support bool",
    "f.median(keepdim=True)": "dim", "f.take_along_dim(T.ones(1), 0)": "dtype of indices should be Long",
    "f.masked_scatter(l, f)": "only supports boolean masks", "f.masked_scatter(b, l)": "to have same dtypes",
    **({"T.ones(2, 3).index_copy(1, T.tensor([7]), T.ones(2, 1))": "index 7 is out of bounds for dimension 1 with size",
        "T.ones(2, 3).index_select(1, T.tensor([-1]))": "-1", "T.ones(2, 3).take(T.tensor([-7]))": "-7"}
       if DEVICE in ("cpu", "interpret") else {})}


@pytest.mark.parametrize("expression", [*re.sub("\n+", "|", REFUSED).strip("|").split("|"), *IN_OTHER_WORDS])
def test_refused_as_pytorch_refuses_it(expression: str) -> None:
    if expression not in IN_OTHER_WORDS:
        check(expression)
    got, expected = outcome(mt, expression), outcome(torch, expression)
    said = re.split(r"[\n(,]|received", re.sub(r"^[\w.]+\(\):? *", "", str(expected)))[0].strip(" .")
    assert type(got) is type(expected) and IN_OTHER_WORDS.get(expression, said) in str(got), (got, expected)


@pytest.mark.skipif(DEVICE == "cuda", reason="indices are not looked at there")
def test_take_along_dim_refuses_what_pytorch_takes_modulo_the_size() -> None:
    with pytest.raises(RuntimeError, match="index 3 is out of bounds for dimension 1 with size 3"):
        mt.ones(2, 3).take_along_dim(mt.tensor([[3]]), 1)


def test_how_many_kernels() -> None:
    """A scan of one chunk and a sort cost what their reductions cost, and nothing beside them."""
    x = mt.tensor(np.random.default_rng(0).standard_normal((8, 40)).astype(np.float32))
    host(x + 1)             # and with it what other tests have left pending
    for call, kernels in (
        (lambda: x.cumsum(1), 1), (lambda: x.argsort(1), 2), (lambda: x.gather(1, x.argmax(1).unsqueeze(1)), 2),
    ):  # fmt: skip
        out = call()
        with count_kernels(at_most=kernels):
            host(out)


PICKS = {
    "indices": lambda x, i: x[i], "two indices": lambda x, i: x[i % 3, i], "take": lambda x, i: x.take(i * 4),
    "index_select": lambda x, i: x.index_select(0, i), "gather": lambda x, i: x.gather(0, i.reshape(-1, 1)),
    "take_along_dim": lambda x, i: x.take_along_dim(i.reshape(-1, 1), 0),
    "embedding": lambda x, i: mt.nn.functional.embedding(i, x)}


@pytest.mark.parametrize("pick", PICKS.values(), ids=PICKS.keys())
def test_an_index_out_of_range_raises_or_is_nan(pick, device):
    """On a GPU, where no index is looked at, memory that is not the tensor's is not read either."""
    x = mt.arange(12.0).reshape(3, 4).requires_grad_()
    index = mt.tensor([1, 7, 2])
    if device != "cuda":
        with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
            pick(x, index)
        return
    found = pick(x, index)
    found.nansum().backward()
    found = found.tolist()
    assert [np.isnan(row).all() for row in found] == [False, True, False]
    assert not np.isnan([found[0], found[2]]).any() and np.isfinite(x.grad.tolist()).all()
    assert pick(mt.arange(12).reshape(3, 4), index).min().item() == -(2**63)


@pytest.mark.skipif(DEVICE != "cuda", reason="elsewhere it raises")
def test_nothing_is_written_where_an_index_is_out_of_range():
    x = mt.zeros(3, 4)
    x[mt.tensor([0, 1]), mt.tensor([6, 2])] = 1.0
    assert x.tolist() == [[0] * 4, [0, 0, 1, 0], [0] * 4]


@pytest.mark.parametrize("values", [[1e20, 1e20], [1.0, 1e20, 3.0], [1e20, 2.0, 1e20], [-1e20, 0.5, -1e20]])
def test_the_gradient_of_logcumsumexp_of_huge_values(values: list[float]) -> None:
    """Where the logarithms of the cotangents are lost beside the values, as in PyTorch."""
    found = []
    for T in (torch, mt):
        x = T.tensor(values, requires_grad=True)
        (T.logcumsumexp(x, 0) * T.tensor([1.0, -2.0, 0.5])[:len(values)]).sum().backward()
        found.append(x.grad.tolist())
    assert found[1] == pytest.approx(found[0], rel=1e-6)
