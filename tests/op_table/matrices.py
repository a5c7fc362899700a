"""Products of vectors and matrices."""

from tests.op_table.row import REDUCTION, Op, given, named, op, shaped

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
