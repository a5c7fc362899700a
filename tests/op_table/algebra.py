"""Products of vectors and matrices, norms, equations of products, and tensors stacked and split."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from .row import EXACT, EXACTLY, INF, NAN, REDUCTION, Op, Sample, Sampler, at, given, named, op, reduced, shaped

ORDERS = (2, 0, 1, INF, -INF, 3, 1.5, 0.5, -1)
POINTS = np.array([[0.0, 0.0, 0.0], [3.0, -4.0, 0.0], [-2.0, 2.0, 1.0], [1e-3, 0.0, -0.0]])
"""The zero vector, zeros among others, equal magnitudes."""
SPECIAL = np.array([[NAN, 1.0, 2.0], [INF, 1.0, -INF], [1e3, -1e3, 0.0]])


def differentiable(name: str) -> bool:
    """Whether PyTorch, of whichever version this is, has the derivative of a function (aminmax's came with 2.13)."""
    with suppress(RuntimeError, NotImplementedError):
        getattr(torch, name)(torch.ones(2, requires_grad=True))[0].sum().backward()
        return True
    return False


def norms(**attributes: Any) -> Sampler:
    """What `reduced` gives, without a zero: what is raised to a negative power there is infinite."""
    sampler = reduced(dims=(None, 0, (0, 2)), degenerate=False, **attributes)
    return lambda rng: [Sample((np.where(s.arrays[0] == 0, 0.5, s.arrays[0]) / 4,), s.attributes, s.terms)
                        for s in sampler(rng)]


def equation(text: str, *shapes: tuple[int, ...], terms: int = 40, integers: bool = True) -> Op:
    return Op(f"einsum {text}", lambda T, *tensors: T.einsum(text, *tensors), given(shaped(*shapes, terms=terms)),
              tolerance=REDUCTION, integers=integers)


def added(name: str, *shapes: tuple[int, ...], point: tuple[int, ...] = ()) -> Op:
    """beta * input + alpha * product, with an input that broadcasts, and with one that is not read."""
    return op(name, given(shaped(*shapes, terms=24), shaped(point, *shapes[1:], beta=-0.5, alpha=2.0, terms=24),
                          shaped(*shapes, beta=0, terms=24), shaped(*shapes, alpha=0.25, terms=24)),
              tolerance=REDUCTION,
              boundary=(Sample((np.full(shapes[0], NAN), *map(np.ones, shapes[1:])), {"beta": 0}, terms=24),))


def listed(name: str, *samples: tuple[tuple[int, ...], ...]) -> Op:
    """A row for a function of one list of tensors."""
    return Op(name, lambda T, *tensors: getattr(T, name)(tensors), given(*(shaped(*shapes) for shapes in samples)),
              **EXACTLY)


ALGEBRA = [
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
    *(Op(f"vector_norm {p}", named("linalg.vector_norm"), norms(ord=p), tolerance=REDUCTION,
         boundary=(at(POINTS, ord=p, dim=1), at(POINTS[:1], ord=p)) if p >= 0 else ()) for p in ORDERS),
    *(Op(f"vector_norm {p} of NaN and infinity", named("linalg.vector_norm"),
         given(at(SPECIAL, ord=p, dim=1), at(SPECIAL, ord=p, dim=0)), order=0, tolerance=REDUCTION) for p in ORDERS),
    # Of |x| alone the second derivative is 0, of which PyTorch leaves a rounding error.
    Op("vector_norm of one", named("linalg.vector_norm"),
       given(shaped((4, 1), dim=1), shaped(()), shaped((3, 0), dim=1)), order=1),
    Op("vector_norm dtype", lambda T, x: T.linalg.vector_norm(x, 2, 1, dtype=T.float64), given(shaped((3, 5), terms=5)),
       tolerance=REDUCTION),
    op("norm", given(shaped((4, 5), terms=20), shaped((4, 5), p="fro", dim=0, keepdim=True, terms=4),
                     shaped((4, 5), p=1, dim=(0, 1), terms=20), shaped((), terms=1)), tolerance=REDUCTION,
       boundary=(at(POINTS, dim=1),)),
    Op("linalg.norm", named("linalg.norm"),
       given(shaped((4, 5), terms=20), shaped((4, 5), ord=1, terms=5), shaped((4, 5), ord=INF, terms=5),
             shaped((6,), ord=3, terms=6), shaped((2, 3, 4), ord="fro", dim=(0, 2), terms=8),
             shaped((2, 3, 4), ord=-1, dim=(0, -1), terms=2), shaped((2, 3, 4), dim=1, keepdim=True, terms=3)),
       tolerance=REDUCTION),
    Op("matrix_norm", named("linalg.matrix_norm"),
       given(*(shaped((2, 4, 3), ord=p, keepdim=p == 1, terms=12) for p in ("fro", 1, -1, INF, -INF))),
       tolerance=REDUCTION),
    Op("matrix_norm of nothing", named("linalg.matrix_norm"),
       given(shaped((0, 3), ord=INF), shaped((2, 3, 0), ord=1), shaped((0, 3), ord=-1)), order=0, tolerance=EXACT),
    op("dist", given(shaped((4, 3), (4, 3), terms=12), shaped((4, 3), (3,), p=1, terms=12)), tolerance=REDUCTION),
    added("addmm", (4, 5), (4, 6), (6, 5), point=(5,)),
    added("addmv", (4,), (4, 6), (6,)),
    added("baddbmm", (3, 4, 5), (3, 4, 6), (3, 6, 5), point=(4, 1)),
    added("addbmm", (4, 5), (3, 4, 6), (3, 6, 5), point=(5,)),
    Op("addmm_", lambda T, x, a, b: x.clone().addmm_(a, b, alpha=2), given(shaped((2, 3), (2, 4), (4, 3), terms=4)),
       tolerance=REDUCTION),
    op("tensordot", given(shaped((3, 4, 5), (4, 5, 2), terms=20), shaped((3, 4), (2,), dims=0),
                          shaped((3, 4, 5), (5, 3), dims=([0, -1], [1, 0]), terms=15),
                          shaped((3, 4), (1, 2), dims=1, terms=4)), tolerance=REDUCTION),
    op("kron", given(shaped((2, 3), (3, 2)), shaped((3,), (2, 1, 2)), shaped((), (2,)))),
    *(equation(text, *shapes) for text, *shapes in (
        ("ij,jk->ik", (4, 6), (6, 3)), ("ij,jk", (4, 6), (6, 3)), ("ba,ca", (4, 6), (3, 6)), ("ij->ji", (4, 6)),
        ("bij,bjk->bik", (2, 4, 6), (2, 6, 3)), ("bhqd,bhkd->bhqk", (2, 2, 3, 5), (2, 2, 4, 5)), ("ij->", (4, 6)),
        ("ii->i", (4, 4)), ("ii", (4, 4)), ("iji->j", (3, 4, 3)), ("i,j->ij", (4,), (3,)), ("i,i", (7,), (7,)),
        ("i,i->i", (7,), (7,)), (",ij", (), (2, 3)), ("...ij,...jk->...ik", (2, 1, 4, 6), (3, 6, 3)),
        ("...i,i...", (2, 4), (4, 3, 1)), ("i...->...", (4, 2, 3)), ("i...->i", (4, 2, 3)),
        ("ij,ij->j", (1, 3), (4, 3)), ("ij,jk->ik", (4, 1), (6, 3)), ("iA, Ab -> b i", (2, 3), (3, 4)))),
    equation("bn,anm,bm->ba", (2, 5), (3, 5, 4), (2, 4), terms=20),
    equation("ij,jk,kl->il", (3, 4), (4, 5), (5, 2), terms=20),
    equation("ij,jk->ik", (2, 0), (0, 3), integers=False),       # of bool PyTorch multiplies no elements, and no others
    listed("vstack", ((3,), (2, 3)), ((), (1, 1)), ((2, 3, 2), (1, 3, 2))),
    listed("hstack", ((3,), (2,)), ((), (2,)), ((2, 3), (2, 1))),
    listed("dstack", ((3,), (1, 3)), ((2, 3), (2, 3, 2))),
    listed("column_stack", ((2, 3), (2,)), ((), (1, 2))),
    listed("row_stack", ((3,), (3,))),
    *(listed(f"atleast_{n}d", ((),), ((3,), (2, 3)), ((2, 3, 4), ())) for n in (1, 2, 3)),
    Op("meshgrid", lambda T, *tensors, **kw: T.meshgrid(*tensors, **kw), given(*(
        shaped(*shapes, indexing=order) for shapes in (((3,), (2,)), ((2,), (), (3,))) for order in ("ij", "xy"))),
       **EXACTLY),
    *(Op(f"{name} {wanted}", lambda T, x, n=name, w=wanted: getattr(T, n)(x, w), given(*map(shaped, shapes)),
         **EXACTLY)
      for name, wanted, shapes in (("tensor_split", 3, ((7, 2), (2,), (0, 3))),
                                   ("tensor_split", [3, 1, -1, 9], ((5, 2),)), ("hsplit", 3, ((6,), (2, 3))),
                                   ("hsplit", (1, 2), ((4,),)), ("vsplit", 2, ((4, 3),)),
                                   ("dsplit", [1], ((2, 2, 3),)))),
    op("aminmax", reduced(dims=(None, 0, -1)), order=2 * differentiable("aminmax"), **EXACTLY,
       boundary=(at([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], dim=1),)),
    op("count_nonzero", lambda rng: [at(np.round(rng.standard_normal((4, 3, 5))), dim=d) for d in (None, 0, (0, 2))],
       order=0, **EXACTLY, boundary=(at(SPECIAL), at(np.zeros((0, 3)), dim=0))),
    op("nansum", reduced(), tolerance=REDUCTION, integers=True, boundary=(at(SPECIAL[:1], dim=1),)),
    Op("tril_indices", lambda T: (T.tril_indices(3, 4, 1), T.triu_indices(3, 4, -1), T.tril_indices(0, 2)),
       given(Sample(())), order=0, tolerance=EXACT),
    Op("norm of products", lambda T, a, b: T.einsum("ij,kj->ik", a, b).tril().norm(),
       given(shaped((4, 6), (4, 6), terms=40)), tolerance=REDUCTION),
    Op("scaled by its norm", lambda T, x: x / x.norm(dim=1, keepdim=True), given(shaped((4, 6), terms=6))),
]
