"""Programs that run here and in PyTorch: the same values, the same flags, the same errors in the same words (ours may
say more)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt

both = pytest.mark.parametrize("T", [pytest.param(mt, id="microtrain"), pytest.param(torch, id="torch")])
"""A test whose assertions hold in both."""

Program = Callable[[Any], Any]
"""What takes a namespace and gives values."""


class Programs(dict[str, Program]):
    """Programs by name; a decorator that adds one."""

    def __call__(self, function: Program) -> Program:
        self[function.__name__] = function
        return function


REFUSALS = (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError, IndexError)


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(plain, value)]
    if hasattr(value, "tolist"):
        return str(getattr(value, "dtype", "")).rpartition(".")[2], np.asarray(value.tolist(), float).round(4).tolist()
    return value


def outcome(T: Any, run: Program) -> tuple[Any, str]:
    """What a program gives, or the error's type and words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(run(T)), ""
        except REFUSALS as error:
            return type(error), re.sub(r"torch\.(cuda|interpret)\.", "torch.", str(error).splitlines()[0])


def same(run: Program, words: str = "") -> str:
    """Both give the same, or refuse it in PyTorch's words (in `words`, parts of them, if given), which are returned."""
    (want, said), (got, says) = outcome(torch, run), outcome(mt, run)
    if not said:
        assert (got, says) == (want, "")
        return ""
    assert isinstance(got, type) and issubclass(got, want), (got, says, "where PyTorch says", said)
    for part in (words or said.rstrip()).split("..."):
        assert part in says and part in said, (part, says, said)
    return said


def refused(call: Callable[[], Any], words: str = "") -> None:
    """Within a program: the call is refused in these words."""
    with pytest.raises(REFUSALS, match=re.escape(words)):
        call()


def leaf(T: Any, *values: float) -> Any:
    return T.tensor(list(values), requires_grad=True)


def six(T: Any, **options: Any) -> Any:
    return T.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True, **options)


def made(T: Any, **methods: Any) -> Any:
    """A class F(autograd.Function) of static methods."""
    return type("F", (T.autograd.Function,), {name: staticmethod(method) for name, method in methods.items()})


def doubling(T: Any, backward: Any) -> Any:
    """A function that doubles, saves its input and has this backward."""
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2
    return made(T, forward=forward, backward=backward)
