"""In-place changes, on a copy, so that the leaf stays differentiable."""

from collections.abc import Callable
from typing import Any

from tests.op_table.row import EXACT, Op, given, shaped


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
    inplace("through a diagonal", lambda T, x, y: x.diagonal().mul_(y), (4, 3), (3,)),
    inplace("through a diagonal of a view", lambda T, x, y: x.transpose(0, 2)[1:].diagonal(-1, 2, 0).copy_(y),
            (3, 2, 4), (2, 2), tolerance=EXACT),
    inplace("through a view of a diagonal", lambda T, x, y: x.diagonal(1)[::2].add_(y), (4, 5), (2,)),
    inplace("tril_", lambda T, x, y: x.tril_(), tolerance=EXACT),
    inplace("triu_", lambda T, x, y: x.triu_(1), tolerance=EXACT),
    inplace("through a transpose", lambda T, x, y: x.t().copy_(y), (4, 3), (3, 4), tolerance=EXACT),
]
