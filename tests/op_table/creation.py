"""Creation and conversion."""

import numpy as np

from .row import EXACT, EXACTLY, Function, Op, Sample, given, unary


def create(name: str, function: Function) -> Op:
    return Op(name, function, given(Sample(())), order=0, tolerance=EXACT, dtypes=("float32",))


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
    *(Op(f"to {dtype}", lambda T, x, d=dtype: x.to(getattr(T, d)), unary(0, 100), **EXACTLY,
         order=2 if dtype in ("float32", "float64") else 0)
      for dtype in ("float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool")),
    *(Op(name, lambda T, x, n=name: getattr(x, n)(), unary(0, 100), **EXACTLY, order=0)
      for name in ("float", "double", "half", "bfloat16", "int", "long", "bool")),
]
