"""Shapes and indices."""

from typing import Any

from tests.op_table.row import ELEMENTWISE, EXACT, Function, Op, given, shaped


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
