"""Every operation, one row each: what it is called, on what it is tried, and how often it can be differentiated.

A row's function takes a namespace (microtrain or torch) and that namespace's tensors, so both run the very same code.
Its sampler gives a list of Samples: float64 values for every tensor, and attributes. The tables below drive value,
gradient, second gradient and promotion parity (`test_parity.py`) on every device.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.random import Generator

INF, NAN = np.inf, np.nan


class Tolerance(Enum):
    """How far from the float64 oracle a value may lie."""

    EXACT = "bit for bit, the sign of zero included"
    ELEMENTWISE = "a few units in the last place of each element"
    REDUCTION = "a few units in the last place times the root of the number of terms, on the scale of the whole result"


EXACT, ELEMENTWISE, REDUCTION = Tolerance


@dataclass(frozen=True)
class Sample:
    """Values of the tensors, attributes of the call, and the number of terms behind one element of the result.

    Float arrays take the dtype under test and are differentiated; integer and boolean ones (indices, masks, targets)
    keep theirs. `constant` lists the positions of float arrays that are data: the dtype under test, not differentiated.
    """

    arrays: tuple[np.ndarray, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    terms: int = 1
    constant: tuple[int, ...] = ()


Function = Callable[..., Any]
Sampler = Callable[[Generator], list[Sample]]


@dataclass(frozen=True)
class Op:
    """A row. `order`: how often it can be differentiated; `integers`: also tried on int32, int64, uint8 and bool.

    `slack`: the relative error of PyTorch's own second derivative, where its formula is an approximation.
    """

    name: str
    function: Function
    sampler: Sampler
    order: int = 2
    tolerance: Tolerance = ELEMENTWISE
    boundary: tuple[Sample, ...] = ()
    integers: bool = False
    method: str | None = None
    slack: float = 0.0
    dtypes: tuple[str, ...] = ("float32", "float64", "float16", "bfloat16")


def array(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def points(*columns: Sequence[float]) -> Sample:
    """A sample of chosen points, one column of values a tensor."""
    return Sample(tuple(array(column) for column in columns))


# Samplers -------------------------------------------------------------------------------------------------------------

SHAPES: tuple[tuple[int, ...], ...] = ((7, 13), (), (0, 3), (2, 3, 5))
BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((5, 7), (5, 7)), ((4, 1, 5), (3, 1)), ((), (6,)), ((2, 3), ()), ((0, 3), (1, 3)), ((1,), (1, 1)),
)  # fmt: skip


def unary(low: float = -3.0, high: float = 3.0, **attributes: Any) -> Sampler:
    def sample(rng: Generator) -> list[Sample]:
        return [Sample((rng.uniform(low, high, shape),), dict(attributes)) for shape in SHAPES]

    return sample


def binary(low: float = -3.0, high: float = 3.0, low_b: float | None = None, high_b: float | None = None) -> Sampler:
    low_b, high_b = low if low_b is None else low_b, high if high_b is None else high_b

    def sample(rng: Generator) -> list[Sample]:
        return [
            Sample((rng.uniform(low, high, a), rng.uniform(low_b, high_b, b)), terms=max(1, int(np.prod(a + b)) // 4))
            for a, b in BROADCASTS
        ]

    return sample


def whole(rng: Generator) -> list[Sample]:
    """Pairs of small whole numbers, so that many are equal."""
    pairs = [(rng.integers(-2, 3, a), rng.integers(-2, 3, b)) for a, b in BROADCASTS]
    return [Sample((a.astype(np.float64), b.astype(np.float64))) for a, b in pairs]


def distinct(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values no two of which are equal, even in bfloat16: multiples of 1/8 (sizes up to 256)."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) - size // 2) / 8.0


def reduced(
    dims: Iterable[Any] = (None, 0, -1, (0, 2), (-1, -2)), degenerate: bool = True, **attributes: Any
) -> Sampler:
    """A (4, 3, 5) array along each of `dims` (None: all of it); then a 0-d one, and an empty one with no result."""
    dims = tuple(dims)

    def sample(rng: Generator) -> list[Sample]:
        samples = []
        for dim in dims:
            for keepdim in (False, True) if dim is not None else (False,):
                kw = dict(attributes) if dim is None else {"dim": dim, "keepdim": keepdim, **attributes}
                samples.append(Sample((distinct(rng, (4, 3, 5)),), kw, terms=60))
        if degenerate:
            samples.append(Sample((distinct(rng, ()) + 1.25,), {} if None in dims else {"dim": 0}))
            samples.append(Sample((np.zeros((3, 0)),), {"dim": 0}))
        return samples

    return sample


def given(*samples: Callable[[Generator], Sample] | Sample) -> Sampler:
    return lambda rng: [sample if isinstance(sample, Sample) else sample(rng) for sample in samples]


def shaped(*shapes: tuple[int, ...], terms: int = 1, **attributes: Any) -> Callable[[Generator], Sample]:
    """One sample of standard normal tensors of these shapes."""
    return lambda rng: Sample(tuple(np.asarray(rng.standard_normal(s)) for s in shapes), dict(attributes), terms)


def indexed(*shapes: tuple[int, ...], extra: Callable[[Generator], tuple[np.ndarray, ...]]) -> Sampler:
    """Normal tensors followed by index, mask or target arrays."""
    return lambda rng: [Sample((*(np.asarray(rng.standard_normal(s)) for s in shapes), *extra(rng)), terms=8)]


def nothing(rng: Generator) -> list[Sample]:
    return [Sample(())]


def named(name: str) -> Function:
    """The function of that name in the namespace, `nn.functional` written out."""

    def call(T: Any, *tensors: Any, **attributes: Any) -> Any:
        for part in name.split("."):
            T = getattr(T, part)
        return T(*tensors, **attributes)

    return call


def op(name: str, sampler: Sampler, **row: Any) -> Op:
    """A row for the function of that name, which is a method of the tensor too."""
    return Op(name, named(name), sampler, **{"method": name, **row})


# Operators ------------------------------------------------------------------------------------------------------------

OPERATORS = [
    Op("add", lambda T, a, b: a + b, binary(), integers=True),
    Op("sub", lambda T, a, b: a - b, binary(), integers=True),
    Op("mul", lambda T, a, b: a * b, binary(), integers=True, boundary=(points([0, INF, NAN, -0.0], [INF, 0, 1, 2]),)),
    Op("div", lambda T, a, b: a / b, binary(low_b=0.5), integers=True,
       boundary=(points([1, 0, -1, 2], [0, 0, 0, INF]),)),
    Op("floordiv", lambda T, a, b: a // b, binary(low_b=0.5), order=0, integers=True, tolerance=EXACT),
    Op("mod", lambda T, a, b: a % b, binary(low_b=0.5), integers=True,
       boundary=(points([5, -5, 5, -5, 0, -3], [3, 3, -3, -3, 2, 3]),)),
    Op("pow", lambda T, a, b: a**b, binary(0.3, 2.0, -2.0, 2.0), integers=True,
       boundary=(points([0, 0, -2, -2, 1, 4, INF, 0, -1.5], [0, 2, 3, -1, 7, 0.5, 0, -1, 0.5]),)),
    *(
        Op(f"{name} {scalar!r}", function(scalar), unary(0.4, 2.5), integers=True)
        for scalar in (2, 0.3)  # 0.3 is no float32: it must reach a float64 operation whole
        for name, function in {
            "add": lambda s: lambda T, x: x + s, "radd": lambda s: lambda T, x: s + x,
            "sub": lambda s: lambda T, x: x - s, "rsub": lambda s: lambda T, x: s - x,
            "mul": lambda s: lambda T, x: x * s, "rmul": lambda s: lambda T, x: s * x,
            "div": lambda s: lambda T, x: x / s, "rdiv": lambda s: lambda T, x: s / x,
            "rpow": lambda s: lambda T, x: s**x,
        }.items()
    ),
    Op("add True", lambda T, x: x + True, unary(), integers=True),
    Op("rmul True", lambda T, x: True * x, unary(), integers=True),
    *(
        Op(f"{name} {scalar!r}", function(scalar), unary(0.4, 2.5), order=0, integers=True, tolerance=EXACT)
        for scalar in (2, 0.75)
        for name, function in {
            "floordiv": lambda s: lambda T, x: x // s, "mod": lambda s: lambda T, x: x % s,
            "rfloordiv": lambda s: lambda T, x: s // x, "rmod": lambda s: lambda T, x: s % x,
        }.items()
    ),
    *(
        Op(f"pow {exponent!r}", lambda T, x, e=exponent: x**e, unary(0.4, 2.5),
           boundary=(points([0.0, -0.0, -2.0, 1.0, INF]),))
        for exponent in (0, 1, 2, 3, -1, -2, 0.5, 2.5, 2.0)
    ),
    *(
        Op(f"{name}{kind}", function, sampler, order=0, integers=True, tolerance=EXACT, boundary=bounds)
        for name, compare in {
            "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
            "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
        }.items()
        for kind, function, sampler, bounds in (
            ("", lambda T, a, b, c=compare: c(a, b), whole, (points([NAN, INF, 0.0, 1], [NAN, INF, -0.0, NAN]),)),
            (" scalar", lambda T, a, c=compare: c(a, 1), unary(-2, 2), (points([NAN, 1, -INF]),)),
            (" by scalar", lambda T, a, c=compare: c(0.5, a), unary(-2, 2), (points([0.5, NAN]),)),
        )
    ),
    Op("matmul operator", lambda T, a, b: a @ b, given(shaped((5, 7), (7, 3), terms=7)), tolerance=REDUCTION),
]  # fmt: skip

# Elementwise functions ------------------------------------------------------------------------------------------------

SPECIALS = points([0.0, -0.0, INF, -INF, NAN, 1.0, -1.0])
MEETINGS = points([1, 2, NAN, 3, 0.0], [1, 3, 1, NAN, 0.0])
HALVES = points([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.0, -0.0, INF, NAN])

ELEMENTWISE_FUNCTIONS = [
    op("neg", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("abs", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("exp", unary(-8, 8), integers=True, boundary=(SPECIALS, points([-100.0, 88.0, 100.0]))),
    op("log", unary(0.01, 9), integers=True, boundary=(SPECIALS,)),
    op("log1p", unary(-0.9, 5), boundary=(SPECIALS, points([1e-6, -1e-6, 1e-4]))),
    op("expm1", unary(-6, 6), boundary=(SPECIALS, points([1e-6, -1e-6, 1e-4]))),
    op("sqrt", unary(0.01, 9), integers=True, boundary=(SPECIALS,)),
    op("rsqrt", unary(0.05, 9), boundary=(SPECIALS,)),
    op("reciprocal", unary(0.2, 5), integers=True, boundary=(SPECIALS,)),
    op("sin", unary(-9, 9), boundary=(SPECIALS,)),
    op("cos", unary(-9, 9), boundary=(SPECIALS,)),
    op("tan", unary(-1.4, 1.4), boundary=(SPECIALS,)),
    op("tanh", unary(-4, 4), boundary=(SPECIALS, points([1e-5, 30.0, -30.0]))),
    op("sigmoid", unary(-8, 8), integers=True, boundary=(SPECIALS, points([-100.0, 100.0, -30.0, 30.0]))),
    op("relu", unary(), boundary=(SPECIALS,)),
    op("square", unary(), integers=True, boundary=(SPECIALS,)),
    op("sign", unary(), tolerance=EXACT, integers=True, boundary=(SPECIALS,)),
    op("floor", unary(), tolerance=EXACT, integers=True, boundary=(HALVES,)),
    op("ceil", unary(), tolerance=EXACT, integers=True, boundary=(HALVES,)),
    op("round", unary(), tolerance=EXACT, integers=True, boundary=(HALVES,)),
    Op("softplus", named("nn.functional.softplus"), unary(-8, 8), boundary=(points([0.0, 19.0, 21.0, -40.0, NAN]),)),
    op("clamp", unary(min=-1.0, max=0.75), tolerance=EXACT, integers=True,
       boundary=(Sample((array([-1.0, 0.75, 2.0, -3.0, NAN, 0.0]),), {"min": -1.0, "max": 0.75}),)),
    Op("clamp min", lambda T, x: T.clamp(x, min=0.5), unary(), tolerance=EXACT, boundary=(points([0.5, 0, 1, NAN]),)),
    Op("clamp max", lambda T, x: x.clamp(max=0.5), unary(), tolerance=EXACT, boundary=(points([0.5, 0, 1, NAN]),)),
    op("maximum", binary(), tolerance=EXACT, integers=True, boundary=(MEETINGS,)),
    op("minimum", binary(), tolerance=EXACT, integers=True, boundary=(MEETINGS,)),
    op("pow", binary(0.3, 2.0, -2.0, 2.0)),
    Op("where", lambda T, c, a, b: T.where(c, a, b), tolerance=EXACT, sampler=lambda rng: [
        Sample((rng.random(c) < 0.5, rng.standard_normal(a), np.asarray(rng.standard_normal(b))))
        for c, a, b in (((5, 7), (5, 7), (5, 7)), ((4, 1, 1), (3, 1), (2,)), ((0, 2), (1, 2), ()))]),
    Op("where scalar", lambda T, c, a: T.where(c, a, 0.5), tolerance=EXACT,
       sampler=lambda rng: [Sample((rng.random((5, 7)) < 0.5, rng.standard_normal((5, 7))))]),
    Op("map over views", lambda T, x, y, z: (x.t() + y[::2]) * z.unsqueeze(0).expand(5, 4) - x.flip(0).t().exp(),
       given(shaped((4, 5), (10, 4), (4,), terms=5))),
]  # fmt: skip

# Reductions -----------------------------------------------------------------------------------------------------------

ONE_DIM = (None, 0, -1, 2)


def factors(rng: Generator) -> list[Sample]:
    """What `reduced` gives, with values whose product of 60 neither overflows nor vanishes in float16."""
    return [
        Sample((np.asarray(rng.choice([-1, 1], values.shape) * rng.uniform(0.8, 1.25, values.shape)),), attributes, 60)
        for values, attributes in ((s.arrays[0], s.attributes) for s in reduced(dims=ONE_DIM)(rng))
    ]


TIES = array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [NAN, 1.0, 5.0], [-INF, -INF, 0.0]])
ZEROS = array([[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0]])

REDUCTIONS = [
    op("sum", reduced(), tolerance=REDUCTION, integers=True),
    op("mean", reduced(), tolerance=REDUCTION),
    op("var", reduced(dims=(None, 0, -1, (0, 2)), degenerate=False), tolerance=REDUCTION),
    Op("var correction", named("var"), reduced(dims=(None, 1), degenerate=False, correction=0), tolerance=REDUCTION),
    op("std", reduced(dims=(None, 0, -1, (0, 2)), degenerate=False), tolerance=REDUCTION),
    Op("std unbiased", named("std"), reduced(dims=(1, -1), degenerate=False, unbiased=False), tolerance=REDUCTION),
    *(
        op(name, reduced(dims=ONE_DIM), tolerance=EXACT, integers=True,
           boundary=(Sample((TIES,), {"dim": 1}), Sample((TIES[:2],)), Sample((TIES[:2].T,), {"dim": 0})))
        for name in ("max", "min")
    ),
    *(
        op(name, reduced(dims=(0, -1, (0, 2), (-1, -2))), tolerance=EXACT, integers=True,
           boundary=(Sample((TIES[[0, 1, 3]],), {"dim": 1}), Sample((TIES[:2],), {"dim": (0, 1)})))
        for name in ("amax", "amin")
    ),
    *(
        Op(f"{name} of NaN", named(name), given(Sample((TIES,), {"dim": 1}), Sample((TIES,), {"dim": (0, 1)})), order=0,
           tolerance=EXACT)
        for name in ("amax", "amin")
    ),
    *(
        op(name, reduced(dims=ONE_DIM), order=0, tolerance=EXACT, boundary=(Sample((TIES,), {"dim": 1}),))
        for name in ("argmax", "argmin")
    ),
    op("prod", factors, tolerance=REDUCTION, integers=True,
       boundary=(Sample((ZEROS,), {"dim": 1}), Sample((ZEROS[:2],)), Sample((ZEROS[:1],)))),
    *(
        op(name, lambda rng: [Sample((np.round(s.arrays[0] / 3),), s.attributes) for s in reduced(dims=ONE_DIM)(rng)],
           order=0, integers=True, tolerance=EXACT, boundary=(Sample((TIES,)),))
        for name in ("any", "all")
    ),
    op("logsumexp", reduced(dims=(0, -1, (0, 2))), tolerance=REDUCTION,
       boundary=(Sample((array([[1000.0, 1000.0], [-INF, 0.0], [NAN, 1.0], [-INF, -INF]]),), {"dim": 1}),)),
    *(
        op(name, given(shaped((4, 9), dim=1), shaped((4, 9), dim=0), shaped((2, 3, 5), dim=-2), shaped((0, 3), dim=1),
                       shaped((), dim=0)), tolerance=REDUCTION,
           boundary=(Sample((array([[1000.0, 1000.0, 0.0], [-INF, 0.0, 1.0], [NAN, 1.0, 2.0]]),), {"dim": 1}),))
        for name in ("softmax", "log_softmax")
    ),
]  # fmt: skip

# Matrices -------------------------------------------------------------------------------------------------------------

MATRICES = [
    op("matmul", given(*(shaped(a, b, terms=max(1, b[-2] if len(b) > 1 else b[0])) for a, b in (
        ((6,), (6,)), ((4, 6), (6,)), ((6,), (6, 3)), ((17, 23), (23, 5)), ((3, 4, 5), (3, 5, 2)),
        ((2, 1, 4, 5), (3, 5, 2)), ((3, 4, 5), (5,)), ((5,), (3, 5, 2)), ((3, 0), (0, 4)), ((0, 3), (3, 2)),
        ((4, 1), (1, 3))))), tolerance=REDUCTION, integers=False),
    op("mm", given(shaped((11, 40), (40, 3), terms=40)), tolerance=REDUCTION),
    op("mv", given(shaped((11, 7), (7,), terms=7)), tolerance=REDUCTION),
    op("dot", given(shaped((37,), (37,), terms=37), shaped((0,), (0,))), tolerance=REDUCTION),
    op("outer", given(shaped((5,), (7,), terms=7))),
    Op("matmul of views", lambda T, a, b: T.matmul(a.t(), b[:, ::2]), given(shaped((7, 5), (7, 6), terms=7)),
       tolerance=REDUCTION),
    Op("linear", named("nn.functional.linear"), given(shaped((6, 5), (3, 5), (3,), terms=6)), tolerance=REDUCTION),
]  # fmt: skip

# Shapes and indices ---------------------------------------------------------------------------------------------------


def view(name: str, function: Function, *shapes: tuple[int, ...], **row: Any) -> Op:
    """A row that moves elements without arithmetic."""
    samples = given(*(shaped(shape) for shape in shapes or ((4, 3, 6),)))
    return Op(name, function, samples, **{"tolerance": EXACT, "integers": True, **row})


VIEWS = [
    view("reshape", lambda T, x: x.reshape(6, -1), (4, 3, 6), (2, 3)),
    view("reshape transposed", lambda T, x: T.reshape(x.permute(2, 0, 1), (-1, 2))),
    view("view", lambda T, x: x.view(12, 6)),
    view("view flat", lambda T, x: x.view(-1), (4, 3), (), (0, 2)),
    view("permute", lambda T, x: x.permute(2, 0, -2)),
    view("transpose", lambda T, x: T.transpose(x, 0, -1)),
    view("t", lambda T, x: x.t(), (4, 3), (5,)),
    view("T", lambda T, x: x.T, (4, 3)),
    view("mT", lambda T, x: x.mT),
    view("expand", lambda T, x: x.expand(5, -1, 4), (3, 1), (1, 1), (0, 1)),
    view("expand_as", lambda T, x: x[:1].expand_as(x)),
    view("squeeze", lambda T, x: x.squeeze(), (1, 3, 1), (2, 2)),
    view("squeeze dim", lambda T, x: x.squeeze(-1), (1, 3, 1), (2, 2)),
    view("unsqueeze", lambda T, x: x.unsqueeze(-1).unsqueeze(0), (2, 3), ()),
    view("flatten", lambda T, x: x.flatten(), (4, 3, 6), ()),
    view("flatten dims", lambda T, x: T.flatten(x, 1, -1), (4, 3, 6), (2, 0, 3)),
    view("flip", lambda T, x: x.flip(0, 2)),
    view("contiguous", lambda T, x: x.permute(1, 0, 2).contiguous()),
    view("clone", lambda T, x: x.clone()),
    view("cat", lambda T, x: T.cat([x, x[:, :1], x * 2], dim=1), (4, 3), tolerance=ELEMENTWISE),
    view("stack", lambda T, x: T.stack((x, x.flip(0)), dim=-1), (4, 3), (2, 2)),
    view("split", lambda T, x: T.split(x, 3), (7, 2)),
    view("split sizes", lambda T, x: x.split([2, 0, 4], dim=-1)),
    view("chunk", lambda T, x: T.chunk(x, 3, dim=1), (2, 7), (2, 2)),
    view("unbind", lambda T, x: x.unbind(1), (2, 3)),
    *(
        view(f"index {name}", function)
        for name, function in {
            "int": lambda T, x: x[1],
            "negative": lambda T, x: x[-1, -3],
            "all ints": lambda T, x: x[3, 0, 5],
            "slice": lambda T, x: x[1:3],
            "step": lambda T, x: x[::2, 1:, 1:6:3],
            "beyond": lambda T, x: x[2:100, -100:2],
            "nothing": lambda T, x: x[2:2],
            "new axis": lambda T, x: x[:, None, 1:, None],
            "ellipsis": lambda T, x: x[..., 0],
            "mixed": lambda T, x: x[1, ..., None, ::3],
            "list": lambda T, x: x[[2, 0, 2]],
            "two lists": lambda T, x: x[[0, 3, 3], [2, 1, 1]],
            "apart": lambda T, x: x[[0, 3], :, [5, 1]],
            "broadcast": lambda T, x: x[[[0], [3]], [1, 2]],
            "list after slice": lambda T, x: x[1:, [2, 2, 0, 0], 1],
            "array": lambda T, x: x[:, T.tensor([2, -1, 0, 2, 2])],
            "tensor 2-d": lambda T, x: x[T.tensor([[0, 3], [3, 3]])],
            "mask": lambda T, x: x[x > 0.2],
            "mask rows": lambda T, x: x[T.tensor([True, False, False, True])],
            "mask middle": lambda T, x: x[:, T.tensor([True, False, True]), 2:4],
            "0-d tensor": lambda T, x: x[T.tensor(2)],
            "empty list": lambda T, x: x[T.tensor([], dtype=T.int64)],
        }.items()
    ),
]  # fmt: skip

# In place: on a copy, so that the leaf stays differentiable -----------------------------------------------------------


def inplace(name: str, change: Callable[[Any, Any, Any], Any], *shapes: tuple[int, ...], **row: Any) -> Op:
    """A row that changes a copy of its first tensor with its second; the result is the copy."""

    def function(T: Any, x: Any, y: Any) -> Any:
        copy = x.clone()
        change(T, copy, y)
        return copy

    return Op(name, function, given(shaped(*(shapes or ((4, 3), (4, 3))), terms=4)), **row)


def _augmented(symbol: str) -> Callable[[Any, Any, Any], Any]:
    def change(T: Any, x: Any, y: Any) -> None:
        if symbol == "+":
            x += y
        elif symbol == "-":
            x -= y
        elif symbol == "*":
            x *= y
        else:
            x /= y.exp()

    return change


INPLACE = [
    inplace("zero_", lambda T, x, y: x.zero_(), tolerance=EXACT),
    inplace("fill_", lambda T, x, y: x.fill_(2.5), tolerance=EXACT),
    inplace("copy_", lambda T, x, y: x.copy_(y), (4, 3), (3,), tolerance=EXACT),
    inplace("add_", lambda T, x, y: x.add_(y)),
    inplace("add_ alpha", lambda T, x, y: x.add_(y, alpha=-0.5)),
    inplace("sub_", lambda T, x, y: x.sub_(y), (4, 3), (3,)),
    inplace("mul_", lambda T, x, y: x.mul_(y)),
    inplace("div_", lambda T, x, y: x.div_(y.exp())),
    inplace("chained", lambda T, x, y: x.mul_(2).add_(y).sub_(1.0)),
    *(inplace(f"{symbol}=", _augmented(symbol)) for symbol in "+-*/"),
    inplace("setitem row", lambda T, x, y: x.__setitem__(1, y), (4, 3), (3,), tolerance=EXACT),
    inplace("setitem scalar", lambda T, x, y: x.__setitem__((slice(None), 0), 7.0), tolerance=EXACT),
    inplace("setitem slice", lambda T, x, y: x.__setitem__((slice(1, None, 2), slice(None, 2)), y), (4, 3), (2, 2),
            tolerance=EXACT),
    inplace("setitem list", lambda T, x, y: x.__setitem__([0, 2], y), (4, 3), (2, 3), tolerance=EXACT),
    inplace("setitem mask", lambda T, x, y: x.__setitem__(x > 0, 0.0), tolerance=EXACT),
    inplace("through a row", lambda T, x, y: x[1].mul_(y), (4, 3), (3,)),
    inplace("through a view", lambda T, x, y: x.view(-1)[::2].add_(y), (4, 3), (6,)),
    inplace("through a transpose", lambda T, x, y: x.t().copy_(y), (4, 3), (3, 4), tolerance=EXACT),
]

# Creation and conversion ----------------------------------------------------------------------------------------------


def create(name: str, function: Function) -> Op:
    return Op(name, function, nothing, order=0, tolerance=EXACT, dtypes=("float32",))


CREATION = [
    create("tensor", lambda T: T.tensor([[1, 2], [3, 4]])),
    create("tensor mixed", lambda T: T.tensor([1, 2.5, 3])),
    create("tensor bool", lambda T: T.tensor([True, False])),
    create("tensor empty", lambda T: T.tensor([[], []])),
    create("tensor dtype", lambda T: T.tensor([1.9, -1.9], dtype=T.int32)),
    create("tensor numpy", lambda T: T.tensor(np.arange(6.0).reshape(2, 3))),
    create("from_numpy", lambda T: T.from_numpy(np.arange(6, dtype=np.int32).reshape(2, 3))),
    create("zeros", lambda T: T.zeros(2, 3)),
    create("zeros tuple", lambda T: T.zeros((2, 0))),
    create("ones", lambda T: T.ones(3, dtype=T.int64)),
    create("full", lambda T: T.full((2, 2), 7.5)),
    create("full int", lambda T: T.full((2,), 7)),
    create("full bool", lambda T: T.full((2,), True)),
    create("arange", lambda T: T.arange(5)),
    create("arange float", lambda T: T.arange(0.5, 3, 0.75)),
    create("arange down", lambda T: T.arange(5, -2, -3)),
    create("arange dtype", lambda T: T.arange(1, 4, dtype=T.float64)),
    create("linspace", lambda T: T.linspace(-1, 2, 7)),
    create("linspace one", lambda T: T.linspace(3, 9, 1)),
    create("eye", lambda T: T.eye(3)),
    create("eye wide", lambda T: T.eye(2, 4, dtype=T.int64)),
    create("zeros_like", lambda T: T.zeros_like(T.ones(2, 3, dtype=T.int32))),
    create("ones_like", lambda T: T.ones_like(T.zeros(2, 3), dtype=T.float64)),
    create("full_like", lambda T: T.full_like(T.zeros(2), 3)),
    *(
        Op(f"to {dtype}", lambda T, x, d=dtype: x.to(getattr(T, d)), unary(0, 100), tolerance=EXACT, integers=True,
           order=2 if dtype in ("float32", "float64") else 0)
        for dtype in ("float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool")
    ),
    *(
        Op(name, lambda T, x, n=name: getattr(x, n)(), unary(0, 100), tolerance=EXACT, integers=True, order=0)
        for name in ("float", "double", "half", "bfloat16", "int", "long", "bool")
    ),
]  # fmt: skip

# Losses ---------------------------------------------------------------------------------------------------------------


def losses(
    name: str, draw: Callable[[Generator], tuple[np.ndarray, ...]], data: tuple[int, ...], *attributes: dict[str, Any],
    **row: Any,
) -> list[Op]:
    """A loss of `nn.functional` under its three reductions and with other attributes; `data` is not differentiated."""
    ways = [{"reduction": way} for way in ("mean", "sum", "none")] + list(attributes)
    return [
        Op(f"{name} {way}", named(f"nn.functional.{name}"), tolerance=REDUCTION,
           sampler=lambda rng, way=way: [Sample(draw(rng), way, terms=24, constant=data)], **row)
        for way in ways
    ]  # fmt: skip


def _probabilities(rng: Generator) -> tuple[np.ndarray, ...]:
    return rng.uniform(0.05, 0.95, (6, 4)), rng.uniform(0, 1, (6, 4))


def _logits(rng: Generator) -> tuple[np.ndarray, ...]:
    return 3 * rng.standard_normal((6, 4)), rng.uniform(0, 1, (6, 4))


def _classes(rng: Generator) -> tuple[np.ndarray, ...]:
    return rng.standard_normal((6, 5)), rng.integers(0, 5, 6)


def _log_probabilities(rng: Generator) -> tuple[np.ndarray, ...]:
    return -rng.uniform(0.1, 4.0, (6, 5)), rng.integers(0, 5, 6)


EACH = {"reduction": "none"}
CERTAIN = Sample((array([0.0, 0.0, 1.0, 1.0, 0.5]), array([1.0, 0.0, 0.0, 1.0, 1.0])), EACH, constant=(1,))
EXTREME = Sample((array([200.0, -200.0, 0.0]), array([0.0, 1.0, 0.5])), EACH, constant=(1,))

LOSSES = [
    # PyTorch's double backward adds 1e-12 to p and to 1 - p, which are 0.05 or more here.
    *losses("binary_cross_entropy", _probabilities, (1,), boundary=(CERTAIN,), slack=1e-10),
    *losses("binary_cross_entropy_with_logits", _logits, (1,), boundary=(EXTREME,)),
    *losses("mse_loss", lambda rng: (rng.standard_normal((6, 4)), rng.standard_normal((6, 4))), ()),
    *losses("l1_loss", lambda rng: (rng.standard_normal((6, 4)), rng.standard_normal((6, 4))), ()),
    *losses("cross_entropy", _classes, (), {"label_smoothing": 0.1}, {"ignore_index": 2}),
    *losses("nll_loss", _log_probabilities, (), {"ignore_index": 2}),
    Op("cross_entropy of probabilities", named("nn.functional.cross_entropy"), tolerance=REDUCTION,
       sampler=lambda rng: [Sample((rng.standard_normal((6, 5)), rng.dirichlet(np.ones(5), 6)), {}, 30, (1,))]),
    Op("hand-written BCE", lambda T, p, y: -(y * T.log(T.clamp(p, 1e-6, 1 - 1e-6)) + (1 - y) * T.log(1 - p)).mean(),
       lambda rng: [Sample(_probabilities(rng), {}, 24, (1,))], tolerance=REDUCTION),
]  # fmt: skip

OPS: list[Op] = [
    *OPERATORS, *ELEMENTWISE_FUNCTIONS, *REDUCTIONS, *MATRICES, *VIEWS, *INPLACE, *CREATION, *LOSSES,
]  # fmt: skip
