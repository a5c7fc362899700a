"""Shapes, indices, and changes in place."""

from collections.abc import Callable
from typing import Any

from .row import ELEMENTWISE, EXACT, EXACTLY, Function, Op, given, shaped


def view(name: str, function: Function, *shapes: tuple[int, ...], **row: Any) -> Op:
    """A row that moves elements without arithmetic."""
    samples = given(*(shaped(shape) for shape in shapes or ((4, 3, 6),)))
    return Op(name, function, samples, **{**EXACTLY, **row})


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
    view("diagonal", lambda T, x: x.diagonal(), (4, 3), (3, 4), (0, 3), (2, 3, 4)),
    view("diagonal offset", lambda T, x: T.diagonal(x, 1, -1, 0), (4, 3, 6), (6, 2, 3)),
    view("diagonal below", lambda T, x: x.diagonal(-2, 1, 2)),
    view("diagonal beyond", lambda T, x: x.diagonal(9), (4, 3)),
    view("diagonal of a view", lambda T, x: x.transpose(0, 1)[::2].diagonal(1, 0, 2)),
    view("diag", lambda T, x: T.diag(x, -1), (3,), (4, 3), (0,)),
    view("diag_embed", lambda T, x: x.diag_embed(1, -1, 0), (3,), (2, 3), (2, 0)),
    view("tril", lambda T, x: x.tril(), (4, 3), (2, 3, 4), (0, 3)),
    view("tril above", lambda T, x: T.tril(x, 1), (4, 3), (2, 3, 4)),
    view("triu", lambda T, x: x.triu(-1), (4, 3), (2, 3, 4)),
    view("triu beyond", lambda T, x: x.triu(100), (4, 3)),
    view("repeat", lambda T, x: x.repeat(2, 1, 3), (2, 3), (3,), ()),
    view("repeat nothing", lambda T, x: x.repeat(2, 0), (2, 3)),
    view("tile", lambda T, x: T.tile(x, (2,)), (2, 3), (3,), ()),
    view("repeat_interleave", lambda T, x: x.repeat_interleave(2), (2, 3), ()),
    view("repeat_interleave dim", lambda T, x: T.repeat_interleave(x, 3, dim=-1), (2, 3)),
    view("repeat_interleave each", lambda T, x: x.repeat_interleave(T.tensor([2, 0, 3]), 1), (2, 3)),
    view("roll", lambda T, x: x.roll(2), (2, 3), (5,), ()),
    view("roll dims", lambda T, x: T.roll(x, (1, -2, 9), (0, 2, 0))),
    *(view(f"rot90 {k}", lambda T, x, k=k: T.rot90(x, k, (0, -1))) for k in (-1, 0, 1, 2)),
    *(view(f"index {name}", function) for name, function in {
        "int": lambda T, x: x[1], "negative": lambda T, x: x[-1, -3], "all ints": lambda T, x: x[3, 0, 5],
        "slice": lambda T, x: x[1:3], "step": lambda T, x: x[::2, 1:, 1:6:3], "beyond": lambda T, x: x[2:100, -100:2],
        "nothing": lambda T, x: x[2:2], "new axis": lambda T, x: x[:, None, 1:, None],
        "ellipsis": lambda T, x: x[..., 0], "mixed": lambda T, x: x[1, ..., None, ::3],
        "list": lambda T, x: x[[2, 0, 2]], "two lists": lambda T, x: x[[0, 3, 3], [2, 1, 1]],
        "apart": lambda T, x: x[[0, 3], :, [5, 1]], "broadcast": lambda T, x: x[[[0], [3]], [1, 2]],
        "list after slice": lambda T, x: x[1:, [2, 2, 0, 0], 1], "array": lambda T, x: x[:, T.tensor([2, -1, 0, 2, 2])],
        "tensor 2-d": lambda T, x: x[T.tensor([[0, 3], [3, 3]])], "mask": lambda T, x: x[x > 0.2],
        "mask rows": lambda T, x: x[T.tensor([True, False, False, True])],
        "mask middle": lambda T, x: x[:, T.tensor([True, False, True]), 2:4], "0-d tensor": lambda T, x: x[T.tensor(2)],
        "empty list": lambda T, x: x[T.tensor([], dtype=T.int64)]}.items()),
]


def inplace(name: str, change: Callable[[Any, Any, Any], Any], *shapes: tuple[int, ...], **row: Any) -> Op:
    """A row that changes a copy of its first tensor with its second; the result is the copy, so that the leaf stays
    differentiable."""
    def function(T: Any, x: Any, y: Any) -> Any:
        copy = x.clone()
        change(T, copy, y)
        return copy

    return Op(name, function, given(shaped(*(shapes or ((4, 3), (4, 3))), terms=4)), **row)


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
    *(inplace(f"{name}=", change) for name, change in {
        "+": lambda T, x, y: x.__iadd__(y), "-": lambda T, x, y: x.__isub__(y), "*": lambda T, x, y: x.__imul__(y),
        "/": lambda T, x, y: x.__itruediv__(y.exp())}.items()),
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
