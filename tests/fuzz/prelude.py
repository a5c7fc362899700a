"""What the text of a random program may speak of beside `T`: functions of a user's own, and a block that may raise.

It is source, so that a program prints with what it needs and runs as it stands in either package.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

FUNCTIONS = {
    "Product": """
class Product(T.autograd.Function):
    @staticmethod
    def forward(ctx, x, y): ctx.save_for_backward(x, y); return x * y
    @staticmethod
    def backward(ctx, ct): x, y = ctx.saved_tensors; return ct * y, ct * x""",
    "Halved": """
class Halved(T.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor): ctx.factor = factor; return x * factor
    @staticmethod
    def backward(ctx, ct): return ct * ctx.factor, None""",
    "Tanh": """
class Tanh(T.autograd.Function):
    @staticmethod
    def forward(ctx, x): out = x.tanh(); ctx.save_for_backward(out); return out
    @staticmethod
    def backward(ctx, ct): out, = ctx.saved_tensors; return ct * (1 - out * out)""",
    "Pair": """
class Pair(T.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x * 2, x * x
    @staticmethod
    def backward(ctx, a, b): x, = ctx.saved_tensors; return a * 2 + b * x * 2""",
    "Doubled": """
class Doubled(T.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.mark_dirty(x); x.mul_(2); return x
    @staticmethod
    def backward(ctx, ct): return ct * 2""",
    "Cube": """
class Cube(T.autograd.Function):
    @staticmethod
    def forward(x): return x * x * x
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.save_for_backward(*inputs)
    @staticmethod
    @T.autograd.function.once_differentiable
    def backward(ctx, ct): x, = ctx.saved_tensors; return ct * 3 * x * x""",
    "Marked": """
class Marked(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        mask = x > 0
        ctx.mark_non_differentiable(mask); ctx.save_for_backward(mask)
        return x * mask, mask
    @staticmethod
    def backward(ctx, ct, _): mask, = ctx.saved_tensors; return ct * mask""",
    "attempt": """
class attempt:                              # says what was raised, and goes on
    def __enter__(self): pass
    def __exit__(self, kind, error, trace):
        print(f"{kind.__name__}: {error}" if kind else "nothing raised")
        return True""",
}
"""Source by name. All functions but `Cube` are differentiable twice."""


def needed(text: str) -> str:
    return "".join(source for name, source in FUNCTIONS.items() if name in text).lstrip("\n")


def namespace(T: Any, dtype: str, attempt: Callable[[], Any], text: str = ", ".join(FUNCTIONS)) -> dict[str, Any]:
    """The names that a program's text speaks of, in the package `T`."""
    names: dict[str, Any] = {"T": T, "np": np, "copy": copy}
    for name, kind in {"dtype": dtype, "single": "float32", "half": "float16", "brain": "bfloat16"}.items():
        names[name] = getattr(T, kind)
    exec(compiled(needed(text)), names)
    return names | {"attempt": attempt}


compiled = cache(lambda source: compile(source, "<prelude>", "exec"))
