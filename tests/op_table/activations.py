"""Activations, at their joints too."""

from .row import EXACT, EXACTLY, INF, NAN, REDUCTION, Op, Sampler, at, given, named, shaped, unary

JOINTS = at([0.0, -0.0, 3.0, -3.0, 0.5, -0.5, 1.0, -1.0, 6.0, NAN])
ENDS = at([INF, -INF, 30.0, -30.0, 100.0, -100.0])


def activation(name: str, sampler: Sampler | None = None, **row: object) -> Op:
    return Op(name, named(f"nn.functional.{name}"), sampler or unary(-4, 4), **{"boundary": (JOINTS, ENDS), **row})


ACTIVATIONS = [
    activation("leaky_relu"),
    activation("leaky_relu", unary(-4, 4, negative_slope=0.3)),
    activation("threshold", unary(threshold=0.5, value=-7.0), tolerance=EXACT,
               boundary=(at([0.5, 0.6, -1.0, NAN, INF], threshold=0.5, value=-7.0),)),
    activation("hardtanh", **EXACTLY),
    activation("relu6", integers=True),
    # PyTorch's slope is 1/6 rounded to float32, in float64 too.
    activation("hardsigmoid", order=1, dtypes=("float32", "float16", "bfloat16")),
    *map(activation, ("hardswish", "softshrink", "gelu", "silu", "mish", "logsigmoid")),
    activation("hardshrink", tolerance=EXACT),
    Op("prelu", named("nn.functional.prelu"), given(
        shaped((4, 3), (3,), terms=12), shaped((2, 3, 5), (3,), terms=30), shaped((5,), (1,), terms=5),
        shaped((), ()), shaped((0, 3), (3,)), shaped((4, 3), (1,), terms=12)),
       boundary=(at([0.0, -0.0, -2.0, INF, -INF, NAN], [0.25]),)),
    activation("elu", twice=(ENDS,)),
    activation("elu", unary(-4, 4, alpha=2.0), boundary=(at([0.0, -0.0, NAN], alpha=2.0),)),
    activation("selu", twice=(ENDS,)),
    activation("celu", unary(-4, 4, alpha=0.5), twice=(ENDS,)),
    # PyTorch's 1 + tanh(u) cancels where this sigmoid does not: its float64 is no yardstick for single small values.
    Op("gelu tanh", lambda T, x: T.nn.functional.gelu(x, approximate="tanh"), unary(-4, 4), tolerance=REDUCTION,
       boundary=(JOINTS, ENDS)),
    activation("softsign", integers=True),
    activation("tanhshrink", tolerance=REDUCTION, integers=True),
    activation("softmin", given(shaped((4, 7), terms=7, dim=1), shaped((2, 3, 5), terms=3, dim=-2)), boundary=()),
    activation("glu", given(shaped((4, 6), terms=2), shaped((2, 4, 3), terms=2, dim=1), shaped((0, 4))), boundary=()),
]
