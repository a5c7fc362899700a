"""Numbers at and beyond the edge of a dtype: the same expressions here and in PyTorch, the same values or errors."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt


def told(value: Any) -> Any:
    """A result as something that can be compared: dtype, shape and values of a tensor."""
    if isinstance(value, mt.Tensor | torch.Tensor):
        return str(value.dtype).rpartition(".")[2], tuple(value.shape), repr(value.tolist())
    return [told(v) for v in value] if isinstance(value, list | tuple) else value


def outcome(T: Any, expression: str) -> Any:
    """What an expression gives in a namespace, where u is uint8, i int8, l int64, h float16, f and z float32."""
    of = {"u": ([1, 2, 255], "uint8"), "i": ([1, -2, 127], "int8"), "l": ([1, -2, 3], "int64"),
          "b": ([True, False, True], "bool"), "h": ([1.0, -2.0, 3.0], "float16"), "f": ([1.0, -2.0, 3.0], "float32"),
          "z": ([-0.0, 0.0, 1.0], "float32"), "yes": (True, "bool"), "no": (False, "bool"), "one": (1, "uint8"),
          "x": ([[0, 1, 2], [3, 4, 5]], "float32")}
    tensors = {name: T.tensor(values, dtype=getattr(T, dtype)) for name, (values, dtype) in of.items()}
    try:
        return told(eval(expression, {"T": T, "F": T.nn.functional, "nn": T.nn, "np": np, "inf": math.inf,
                                      "nan": math.nan, **tensors}))
    except Exception as error:
        return error


def check(expression: str) -> None:
    """Same value; or the same type of error, which says what PyTorch's first line says, numbers aside."""
    got, expected = outcome(mt, expression), outcome(torch, expression)
    if not isinstance(expected, Exception):
        assert not isinstance(got, Exception), f"{got!r}, PyTorch {expected}"
        assert got == expected
        return
    assert type(got) is type(expected), f"{got!r}, PyTorch {expected!r}"
    if isinstance(expected, NotImplementedError):       # it names a kernel of its own
        return
    words = re.split(r"[\n(]| - got", str(expected))[0].strip(" .")
    assert words in str(got), f"{got!r}, PyTorch {expected!r}"


def each(expressions: str) -> pytest.MarkDecorator:
    """With each expression of a text: one a line, or several with bars between."""
    return pytest.mark.parametrize("expression", expressions.strip().replace("\n", "|").split("|"))


@each("""
u + 300|300 - u|u * -1|u // 300|u % 300|u // 256|300 % u|u & 300|i + 200|i * 300|-200 - i|l + 2**63|l * 2**63|u - 2**40
u / 300|300 / u|u / -1|i / 1000|2**40 / u|l / 2**63|T.xlogy(u, 300)|T.copysign(u, -300)|u.float_power(2)|300**u|u**300
u**256|(-1)**u|u.fmod(300)|u.fmod(-1)|u.remainder(300)|T.div(u, 300, rounding_mode="floor")|u.add_(300)|u.mul_(300)
u + np.int64(300)|np.int64(300) + u|u / np.int64(300)|u == 300|300 == u|u != 300|i != 200|i == -200|b == 300|b < -1
T.where(u > 1, u, 300)|T.where(u > 1, -1, u)|T.where(u > 1, 300, -1)|u.masked_fill(u > 1, 300)|u.masked_fill(u > 1, -1)
u.masked_fill(u > 1, -300)|u.masked_fill(u > 1, 1.7)|u.masked_fill(u > 1, nan)|u.masked_fill(u > 1, T.tensor(300))
u.index_fill(0, T.tensor([0]), -1)|u.index_fill(0, T.tensor([0]), T.tensor(300))|u.scatter(0, T.tensor([0]), 300)
u.fill_(300)|u.fill_(-1)|u.fill_(1.5)|u.fill_(nan)|u.fill_(inf)|f.fill_(1e40)|h.fill_(70000)|h.masked_fill(h > 0, -1e9)
T.full((2,), 300, dtype=T.uint8)|T.full((2,), -1, dtype=T.uint8)|T.full((2,), 2**63)|T.full((2,), 1e40)
T.full((2,), inf)|T.full((2,), 65520.0, dtype=T.float16)|T.full((2,), 1e39, dtype=T.bfloat16)|T.full_like(u, 300)
u.new_full((2,), 300)|F.pad(u, (1, 0), value=300)|F.pad(u, (1, 0), value=1.5)|u.clamp(max=300)|i.clamp(-200, 200)
T.tensor(300, dtype=T.uint8)|T.tensor([1, 300], dtype=T.uint8)|T.tensor([-1], dtype=T.uint8)
T.tensor(-129, dtype=T.int8)|T.tensor([300.5], dtype=T.uint8)|T.tensor([1e30], dtype=T.int64)
T.tensor([nan], dtype=T.int64)|T.tensor(2**63)|T.tensor([2**63])|T.tensor([2**70])|T.tensor([2**63, 1.5])
T.tensor([2**70], dtype=T.float32)|T.tensor([-(2**63)])|T.tensor([1e40])|T.tensor([70000.0], dtype=T.float16)
T.tensor(np.array([300]), dtype=T.uint8)|u.new_tensor([300])|h * 1e-8|h / 65536|h / 1e6|h * 70000|h.mul(1e-8)
h.div_(65536)|(h * 30000) * 1e-8|h.to(T.bfloat16)[::2] / 3e38|h[0] * 1e-8|h + 70000|h < 70000|h == 1e-8|h * 0|h * inf
z - -0.0|z - 0.0|z + -0.0|z + 0.0|-0.0 - z|0.0 - z|z * -0.0|(z + 0) - -0.0|z.sub(-0.0)|z - T.tensor(-0.0)|z / 1|z ** 1
h.float_power_(2)|f.float_power_(f)|u.float_power_(2)|f.double().float_power_(2)|f.flip()|f.clamp()|f.clamp_()
T.arange()|T.arange(end=3)|T.arange(2, dtype=T.bool)|T.arange(T.tensor(3))|T.arange(T.tensor([3]))
T.linspace(0, 1e40, 3)|T.linspace(0, 70000, 3, dtype=T.float16)|T.linspace(0, 1, 3, dtype=T.bool)|T.zeros(2**62, 2**62)
T.randint(10, size=(0,))|T.randint(10, size=(0,), dtype=T.int32)|T.add(f, f, alpha=T.tensor([2.0]))
T.add(f, f, alpha=T.tensor(2.0))|T.addcmul(f, f, f, value=T.tensor(2.0))|T.addcdiv(f, f, f, value=T.tensor(2.0))
T.addcmul(l, l, l, value=T.tensor(2))|f.broadcast_to(2, 3)|f.movedim((0, 0), (0, 0))
T.ones(2, 2).movedim((0, 1), (1, 1))|f[:0].index_select(0, T.tensor([], dtype=T.int64))
f.__setitem__(True, T.ones(3, dtype=T.float64))|f.__setitem__(False, T.ones(3))|f.__setitem__(T.tensor(True), l)
""")
def test_values_at_the_edge(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize("index", ["0", "slice(2)", "[0, 1]", "T.tensor([True, False, True])", "..."])
@pytest.mark.parametrize(("name", "value"), [("u", "300"), ("u", "-1"), ("u", "1.7"), ("u", "nan"), ("i", "200"),
                                             ("f", "1e40"), ("h", "-1e9"), ("b", "2")])
def test_numbers_assigned(name: str, value: str, index: str) -> None:
    check(f"({name}.__setitem__({index}, {value}), {name})[1]")


@pytest.mark.parametrize(("comparison", "expected"), [
    ("u == -1", [False] * 3), ("u != -1", [True] * 3), ("u < 300", [True] * 3), ("300 > u", [True] * 3),
    ("u > -1", [True] * 3), ("u >= 300", [False] * 3), ("-1 <= u", [True] * 3), ("u.eq(-1)", [False] * 3),
    ("T.lt(u, np.int64(300))", [True] * 3), ("l < 2**63", [True] * 3), ("l == 2**64", [False] * 3),
    ("i > -(2**70)", [True] * 3), ("u[:0] == -1", []), ("u[0] < 300", True),
    ("u == T.tensor(-1)", [False] * 3), ("T.tensor(300) > u", [True] * 3),
    ("i.ne(T.tensor(200, dtype=T.uint8))", [True] * 3),
])
def test_comparisons_with_numbers_beyond_a_dtype_answer_for_the_numbers(comparison: str, expected: Any) -> None:
    """PyTorch's wrap the number around, so that 255 == -1."""
    dtype, _, values = outcome(mt, comparison)
    assert (dtype, values) == ("bool", repr(expected))


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list of numpy.ndarrays")
@each("""
T.tensor([np.float32(1), 2.0])|T.tensor([2.0, np.float32(1)])|T.tensor([np.float16(1.5), 1.0])
T.tensor([np.float16(1.5), 1])|T.tensor([np.int8(1), np.uint8(200)])|T.tensor([np.int32(1), 1])
T.tensor([np.bool_(True), 1.0])|T.tensor([np.float64(1), 1])|T.tensor(np.float64(1.5))|T.tensor([True, 2])
T.tensor([True, 2.5])|T.tensor([[True], [2.5]])|T.tensor([[1], [2.5]])|T.tensor([[1, 2], [3, 4.5]])|T.tensor([])
T.tensor([[], []])|T.tensor(range(3))|T.tensor((1, 2.5))|T.tensor([(1, 2), [3, 4.0]])|T.tensor([T.tensor(1.0), 2.0])
T.tensor([T.tensor(1), 2.5])|T.tensor([2.0, T.tensor(1.5, dtype=T.float64)])|T.tensor([1, nan])
T.tensor([T.tensor(1.5, dtype=T.float16), 2])|T.tensor([[T.tensor(1.5)], [2]])|T.tensor([T.tensor([1]), T.tensor([3])])
T.tensor([np.array([1, 2]), np.array([3.0, 4.0])])|T.tensor([np.array([1, 2], np.float32), [3.0, 4]])
T.as_tensor([1, 2.5])|T.tensor([np.array([1, 2], np.int8), [3, 4]])|T.tensor([[1, 2], []])|T.tensor([1.0], dtype=float)
T.zeros(2, dtype=float)|T.tensor([1.5], dtype=int)|T.tensor([1.5], dtype=bool)|f.to(float)|f.to(dtype=float)
f.sum(dtype=float)|T.arange(3, dtype=float)|f.cumsum(0, dtype=float)|f.cumprod(0, dtype=int)|f.softmax(0, dtype=float)
F.log_softmax(f, 0, dtype=float)|l.prod(dtype=float)|nn.Linear(1, 1).to(dtype=float).weight[:0]
T.full((2,), 1, dtype=float)|T.eye(2, dtype=int)|f.new_ones(2, dtype=int)|T.full((2,), None)|T.full((2,), "a")
T.full_like(f, None)|T.full((2,), T.tensor(1.5))|T.full((2,), T.tensor([1.5]))|T.full((2,), np.int8(1))
T.full((T.tensor(2),), True)|T.full((2,), np.float32(1.5))
T.tensor([[1, 2], T.tensor([1.5, 2])])|T.tensor([np.array([1, 2]), T.tensor([3, 4], dtype=T.int8)])
T.tensor([(True, False), T.tensor([1, 2])])|T.tensor([[1, 2], T.tensor([1.5])])
T.tensor([[[1.0]], T.tensor([[2.0]], dtype=T.float64)])|T.tensor([[1], [T.tensor([2.5])]])
T.tensor([[2**53 + 1, 1], T.tensor([2**62 + 1, 2])])
""")
def test_the_dtype_of_the_whole(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize("data", [
    None, {1, 2}, {1: 2}, "a", ["a"], [None], [1, "a"], [1, None], 1j, [1j], b"ab", object(), [[1, 2], [3]], [[1], 2],
    [1, [2]], [[[1, 2]], [[1]]], [object()], [[1, 2], mt.tensor(1)], [[1, 2], mt.ones(3)], [mt.ones(2), 1.0]])
def test_what_is_no_regular_array_of_numbers(data: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"sequence|number|data type|expected|only one element"):
        mt.tensor(data)


@each("b + 2**63|b == 2**63|b * -(2**70)|T.where(b, 2**63, 1)")
def test_numbers_beyond_64_bits_beside_booleans_are_refused(expression: str) -> None:
    with pytest.raises(RuntimeError, match="value cannot be converted to type int64_t without overflow"):
        raise outcome(mt, expression)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@each("""
x * 0.3|0.999 * x|x.mul(1.01)|x / 1.01|1.01 / x|x // 0.3|x.floor_divide(0.3)|T.div(x, 0.3, rounding_mode="trunc")
x * 3|x * np.float64(0.3)|x * 1.01 * 1.01 + 0.3|(x * 0.3)[::2]|x.clone().mul_(0.999)|x.clone().div_(1.01)
x * 0.3 > 0.3 * x|(x.abs() * 30000).mean()|(x * 30000).mean(0, keepdim=True)|(x * 1000).var()|(x * 60).softmax(0)
(x * 30000 + 30000).std(0)|(x * 1000).logsumexp(0)|F.hardshrink(x, 0.3)
""")
def test_half_precisions_beside_numbers(expression: str, dtype: str) -> None:
    """A number counts with all of its digits, and what one function computes is rounded once: as PyTorch's."""
    values = [i / 16 for i in range(-16, 17) if i] + [0.3, 0.1, 0.7]
    check(re.sub(r"\bx\b", f"T.tensor({values}).to(T.{dtype})", expression))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_slopes_of_softmax_in_half_precisions(name: str, dtype: str) -> None:
    """Computed in float32 and rounded once: no further from float64's than PyTorch's."""
    x, c = (torch.randn(16, 64, generator=torch.Generator().manual_seed(i)).to(getattr(torch, dtype)) for i in (0, 1))
    slopes = []
    for T, wanted in ((mt, dtype), (torch, dtype), (torch, "float64")):
        values = T.tensor(x.tolist(), dtype=getattr(T, wanted), requires_grad=True)
        getattr(values, name)(1).backward(T.tensor(c.tolist(), dtype=getattr(T, wanted)))
        slopes.append(np.array(values.grad.tolist()))       # type: ignore[union-attr]
    mine, its = (np.abs(one - slopes[2]).max() for one in slopes[:2])
    assert mine <= 1.05 * its


@pytest.mark.parametrize("name, alpha", [("add", 1.01), ("sub", 0.3), ("rsub", 0.3)])
def test_a_multiple_added_to_half_precisions_is_rounded_once(name: str, alpha: float) -> None:
    """The multiple in their digits, the sum in float32: so PyTorch's vectors do, its code for single elements not."""
    x = torch.tensor([i / 16 for i in range(-16, 16)], dtype=torch.bfloat16)
    mine = mt.tensor(x.tolist(), dtype=mt.bfloat16)
    its = getattr(torch, name)(x.float(), (x * x).float(), alpha=torch.tensor(alpha, dtype=x.dtype).item())
    assert told(getattr(mt, name)(mine, mine * mine, alpha=alpha)) == told(its.bfloat16())


@pytest.mark.parametrize("index", [
    "yes", "no", "yes, yes", "yes, 0", "0, no", "yes, [0, 1]", "..., yes", "one", "one, one", "one, yes, [0]",
    "None, yes", "np.array(True)", "np.array(1, np.uint8)", "True", "False", "x > 9"])
def test_masks_without_axes(index: str) -> None:
    """One is an axis of 1 or 0 elements, wherever it stands among other indices; in an assignment too."""
    check(f"x[{index}]")
    check(f"(x.__setitem__(({index}), 9.0), x)[1]")


@pytest.mark.parametrize("index", [
    "[[0, 1], [2, 2]]", "[[0, 1]]", "[0, 1]", "[[0, 1], None]", "[slice(None), [1, 2]]", "[..., 0]",
    "[[[0, 1], [1, 2]]]", "[T.tensor([0, 1]), T.tensor([1, 2])]", "[T.tensor(1), T.tensor(2)]", "[[True, False, True]]",
    "[[]]", "[]", "[range(2), range(2)]", "[np.array([0, 1]), np.array([1, 2])]", "[[0]] * 33", "([0, 1], [2, 2])",
    "[slice(0, 2)]"])
def test_a_list_as_an_index(index: str) -> None:
    """A list of lists and the like counts as a tuple, as yet, with a warning that leads to the caller."""
    for text in (f"x[{index}]", f"(x.__setitem__({index}, 9.0), x)[1]"):
        found = []
        for T in (mt, torch):
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                found.append((told(eval(text, {"np": np, "T": T, "x": T.arange(9.0).reshape(3, 3)})),
                              [str(one.message)[:65] for one in warned]))
            assert all(one.filename == "<string>" for one in warned)
        assert found[0] == found[1], text


def test_a_mask_of_bytes_is_one_in_numpy_too() -> None:
    assert mt.arange(6.0).reshape(2, 3)[np.array([[1, 0, 1], [0, 0, 1]], np.uint8)].tolist() == [0.0, 2.0, 5.0]


@pytest.mark.parametrize("quotient", [1e3, 1e15, 1e16, 1e30, 1e45, 1e77])
def test_remainders_of_doubles_are_exact(quotient: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(1, 2, 500) * quotient, rng.uniform(1, 2, 500) * rng.choice([-1, 1], 500)
    mine, its = (T.fmod(T.tensor(x, dtype=T.float64), T.tensor(y, dtype=T.float64)).tolist() for T in (mt, torch))
    assert mine == its


class Foreign:
    def __rmatmul__(self, other: Any) -> str:
        return "theirs"


def test_an_operand_of_another_library_has_its_say() -> None:
    assert mt.ones(2) @ Foreign() == "theirs"
    with pytest.raises(TypeError, match="add\\(\\) missing 1 required positional argument"):
        mt.add(x1=mt.ones(2), x2=mt.ones(2))


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides", "ignore:Using a target size")
@pytest.mark.parametrize("loss", ["mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "kl_div",
                                  "nll_loss", "binary_cross_entropy_with_logits", "soft_margin_loss"])
def test_losses_of_integers(loss: str) -> None:
    for pair in ("l l", "u u", "i i", "u l", "f l", "f u", "f b", "h b", "f f"):
        x, y = pair.split()
        y = {"nll_loss": "T.tensor(1)", "binary_cross_entropy": f"({y} != 1).to({y}.dtype)"}.get(loss, y)
        x = f"({x} > 0).to({x}.dtype)" if loss == "binary_cross_entropy" else x
        got, expected = outcomes = [outcome(T, f'F.{loss}({x}, {y}, reduction="none")') for T in (mt, torch)]
        if loss == "binary_cross_entropy_with_logits" and pair[0] in "fh":      # which PyTorch refuses
            expected = outcome(torch, f'F.{loss}({x}, {y}.to({x}.dtype), reduction="none")')
        if isinstance(expected, Exception):
            assert isinstance(got, NotImplementedError | RuntimeError | ValueError), (pair, outcomes)
        else:
            assert got[:2] == expected[:2], (pair, outcomes)
            np.testing.assert_allclose(*(eval(one[2], {"nan": math.nan, "inf": math.inf}) for one in (got, expected)),
                                       rtol=1e-3 if "h" in pair else 1e-6,
                                       err_msg=f"{pair} {outcomes}")


@each("""
f.view(np.int64(3), -1)|f.reshape((np.int32(1), 3))|f.view(T.tensor(3), 1)|f.expand(np.int64(2), 3)
f.reshape(1, 3, 1).permute(np.int64(2), 0, 1)
f.view(1.0, 3)|f.view(np.float64(3))|f.view(True, 3)|f.view(T.tensor(3.0), 1)|f.expand(T.tensor([2, 3]), 3)
f.view("3", 1)|f.view(None, 3)
""")
def test_sizes_that_are_numbers_of_other_types(expression: str) -> None:
    got, expected = outcome(mt, expression), outcome(torch, expression)
    assert type(got) is type(expected) if isinstance(expected, Exception) else got == expected, (got, expected)


@each("""
(f * 1e30) % 7|7 % (f * 1e-30)|T.fmod(f * 1e30, -7)|(f * 1e30 + 1) % T.tensor([7.0, 0.3, inf])
(h.bfloat16() * 1e30) % 3|(f.double() * 1e40) % 3|~u|~i|~b|~l|(~u & 15) + u|T.acosh(f * -1e30)|T.acosh(-f)
(f * 1e38) % 1.2e-38|T.fmod(f * -1e38, T.tensor(1.2e-38))|(f * 1e38) // 1e-37
T.acosh(T.tensor([-inf, inf, 0.0, 1.0]))
""")
def test_numbers_far_apart(expression: str) -> None:
    mine, its = outcome(mt, expression), outcome(torch, expression)
    nan = repr(math.nan)
    assert mine[:2] == its[:2]
    assert mine[2].replace(f"-{nan}", nan) == its[2].replace(f"-{nan}", nan)
