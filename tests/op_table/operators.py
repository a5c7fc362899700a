"""Operators and comparisons, between tensors and with numbers."""

import operator

from .row import EXACTLY, INF, NAN, REDUCTION, Op, at, binary, given, shaped, unary, whole

OPERATORS = [
    Op("add", lambda T, a, b: a + b, binary(), integers=True),
    Op("sub", lambda T, a, b: a - b, binary(), integers=True),
    Op("mul", lambda T, a, b: a * b, binary(), integers=True, boundary=(at([0, INF, NAN, -0.0], [INF, 0, 1, 2]),)),
    Op("div", lambda T, a, b: a / b, binary(low_b=0.5), integers=True,
       boundary=(at([1, 0, -1, 2], [0, 0, 0, INF]),)),
    Op("floordiv", lambda T, a, b: a // b, binary(low_b=0.5), order=0, **EXACTLY),
    Op("mod", lambda T, a, b: a % b, binary(low_b=0.5), integers=True,
       boundary=(at([5, -5, 5, -5, 0, -3], [3, 3, -3, -3, 2, 3]),)),
    Op("pow", lambda T, a, b: a**b, binary(0.3, 2.0, -2.0, 2.0), integers=True,
       boundary=(at([0, 0, -2, -2, 1, 4, INF, 0, -1.5], [0, 2, 3, -1, 7, 0.5, 0, -1, 0.5]),)),
    *(Op(f"{name} {scalar!r}", function(scalar), unary(0.4, 2.5), integers=True)
      for scalar in (2, 0.3)  # 0.3 is no float32: it must reach a float64 operation whole
      for name, function in {"add": lambda s: lambda T, x: x + s, "radd": lambda s: lambda T, x: s + x,
                             "sub": lambda s: lambda T, x: x - s, "rsub": lambda s: lambda T, x: s - x,
                             "mul": lambda s: lambda T, x: x * s, "rmul": lambda s: lambda T, x: s * x,
                             "div": lambda s: lambda T, x: x / s, "rdiv": lambda s: lambda T, x: s / x,
                             "rpow": lambda s: lambda T, x: s**x}.items()),
    Op("add True", lambda T, x: x + True, unary(), integers=True),
    Op("rmul True", lambda T, x: True * x, unary(), integers=True),
    *(Op(f"{name} {scalar!r}", function(scalar), unary(0.4, 2.5), order=0, **EXACTLY)
      for scalar in (2, 0.75)
      for name, function in {"floordiv": lambda s: lambda T, x: x // s, "mod": lambda s: lambda T, x: x % s,
                             "rfloordiv": lambda s: lambda T, x: s // x, "rmod": lambda s: lambda T, x: s % x}.items()),
    *(Op(f"pow {exponent!r}", lambda T, x, e=exponent: x**e, unary(0.4, 2.5),
         boundary=(at([0.0, -0.0, -2.0, 1.0, INF]),))
      for exponent in (0, 1, 2, 3, -1, -2, 0.5, 2.5, 2.0)),
    *(Op(f"{name}{kind}", function, sampler, order=0, **EXACTLY, boundary=bounds)
      for name, compare in ((name, getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge"))
      for kind, function, sampler, bounds in (
          ("", lambda T, a, b, c=compare: c(a, b), whole, (at([NAN, INF, 0.0, 1], [NAN, INF, -0.0, NAN]),)),
          (" scalar", lambda T, a, c=compare: c(a, 1), unary(-2, 2), (at([NAN, 1, -INF]),)),
          (" by scalar", lambda T, a, c=compare: c(0.5, a), unary(-2, 2), (at([0.5, NAN]),)))),
    Op("matmul operator", lambda T, a, b: a @ b, given(shaped((5, 7), (7, 3), terms=7)), tolerance=REDUCTION),
]
