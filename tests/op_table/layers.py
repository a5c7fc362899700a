"""Layers: convolution, pooling, normalisation, padding, attention and lookup, and the losses that came with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from .losses import losses
from .row import EXACT, INF, NAN, REDUCTION, Op, Sample, array, at, distinct, given, named, normal, quiet, shaped


def layer(name: str, *samples: Any, **row: Any) -> Op:
    """A row for the function of `nn.functional` that the name begins with."""
    return Op(name, named(f"nn.functional.{name.split()[0]}"), given(*samples), **{"tolerance": REDUCTION, **row})


def affine(name: str, *samples: Any) -> Op:
    """A row for a function whose tensors after the first are called weight and bias."""
    def call(T: Any, x: Any, *weight_and_bias: Any, **attributes: Any) -> Any:
        more = dict(zip(("weight", "bias"), weight_and_bias, strict=False))
        return named(f"nn.functional.{name}")(T, x, **attributes, **more)
    return Op(name, call, given(*samples), tolerance=REDUCTION)


def apart(*shape: int, **attributes: Any) -> Callable[[Generator], Sample]:
    """A sample of values no two of which are equal."""
    return lambda rng: Sample((distinct(rng, shape),), dict(attributes), terms=9)


BENDS = at([1.0, -1.0, 0.0, 0.5, -0.5, 2.0, INF, NAN], np.zeros(8), constant=(1,), reduction="none")
ALIKE = at([0.0, 1.0, 2.0, -1.0, 1.0, 3.0], [1.0, 1.0, -1.0, -1.0, -1.0, -1.0], constant=(1,), reduction="none")

PAIRS = lambda rng: (2 * rng.standard_normal((5, 4)), 2 * rng.standard_normal((5, 4)))  # noqa: E731
SCORES = lambda rng: (2 * rng.standard_normal((5, 4)), rng.choice([-1.0, 1.0], (5, 4)))  # noqa: E731

LOSSES_OF_PAIRS = [
    *losses("smooth_l1_loss", PAIRS, (), {"beta": 0.5}, {"beta": 0}, boundary=(BENDS,)),
    *losses("huber_loss", PAIRS, (), {"delta": 0.5}, boundary=(BENDS,)),
    *losses("hinge_embedding_loss", SCORES, (1,), {"margin": 0.5}, boundary=(ALIKE,)),
    *losses("soft_margin_loss", SCORES, (1,)),
    *(Op(f"kl_div {ways}", quiet(named("nn.functional.kl_div"), "reduction: 'mean' divides"), lambda rng, ways=ways: [
        at(-rng.uniform(0.1, 4.0, (5, 4)), rng.uniform(0.05, 1.0, (5, 4)), terms=20, **ways)], tolerance=REDUCTION)
      for ways in ({"reduction": "mean"}, {"reduction": "batchmean"}, {"reduction": "sum", "log_target": True},
                   {"reduction": "none"})),
]

NORMALISATIONS = [
    affine("layer_norm",
           shaped((6, 5), (5,), (5,), terms=30, normalized_shape=(5,)),
           shaped((2, 3, 4), (3, 4), terms=24, normalized_shape=(3, 4), eps=0.1),
           shaped((4, 7), terms=7, normalized_shape=(7,)),
           shaped((0, 3), (3,), normalized_shape=(3,))),
    affine("rms_norm",
           shaped((6, 5), (5,), terms=30, normalized_shape=(5,)),
           shaped((2, 3, 4), (3, 4), terms=24, normalized_shape=(3, 4), eps=0.1)),
    Op("batch_norm training",
       lambda T, x, w, b, **a: T.nn.functional.batch_norm(x, None, None, w, b, training=True, **a),
       given(shaped((6, 3), (3,), (3,), terms=18), shaped((2, 3, 2, 3), (3,), (3,), terms=36, eps=0.1)),
       tolerance=REDUCTION),
    Op("batch_norm", lambda T, x, m, v, w, b: T.nn.functional.batch_norm(x, m, v.exp().detach(), w, b),
       lambda rng: [Sample(normal(rng, (4, 3, 2), (3,), (3,), (3,), (3,)), {}, 24, (1, 2))],
       tolerance=REDUCTION),
    layer("normalize", shaped((4, 5), terms=20), shaped((3, 4, 2), terms=24, dim=0), shaped((4, 5), p=1.0, terms=20),
          shaped((2, 6), p=3.0, dim=-1, terms=12), shaped((3, 2), p=INF, terms=6)),
    layer("cosine_similarity", shaped((4, 5), (4, 5), terms=20), shaped((4, 1, 3), (2, 3), dim=-1, terms=24),
          shaped((6,), (6,), dim=0, eps=5.0, terms=6)),
]

CONVOLUTIONS = [
    layer("conv1d", shaped((2, 3, 8), (4, 3, 3), (4,), terms=24), shaped((4, 9), (2, 2, 3), groups=2, stride=2,
          padding=1, dilation=2, terms=24)),
    layer("conv2d",
          shaped((2, 2, 5, 4), (3, 2, 3, 2), (3,), padding=1, terms=60),
          shaped((1, 4, 6, 5), (6, 2, 2, 3), (6,), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, terms=48),
          shaped((3, 5, 5), (2, 3, 2, 2), (2,), padding="valid", stride=3, terms=48),
          shaped((0, 2, 3, 3), (2, 2, 2, 2), (2,))),
    Op("conv2d same", quiet(named("nn.functional.conv2d"), "Using padding='same' with even kernel lengths"),
       given(shaped((2, 2, 4, 5), (2, 2, 2, 3), padding="same", terms=48)), tolerance=REDUCTION),
    layer("unfold", shaped((2, 2, 4, 5), kernel_size=(2, 3), padding=1, stride=(2, 1), terms=6),
          shaped((2, 5, 4), kernel_size=2, dilation=2)),
    layer("fold", shaped((2, 8, 6), kernel_size=2, output_size=(3, 4), terms=4),
          shaped((12, 6), kernel_size=(2, 3), output_size=(4, 5), padding=(1, 0), stride=2, terms=4)),
]

MEETINGS = array([[[1, 1, 0, NAN, 2, NAN, 3, 3, -INF, -INF, -INF]]])
TIES = at(MEETINGS, kernel_size=3, padding=1, stride=2)

POOLINGS = [
    Op("max_pool1d", lambda T, x, **a: T.nn.functional.max_pool1d(x, **a), given(
        apart(2, 3, 8, kernel_size=2), apart(3, 9, kernel_size=3, stride=2, padding=1, dilation=2, ceil_mode=True)),
       boundary=(TIES,)),
    Op("max_pool2d", lambda T, x, **a: T.nn.functional.max_pool2d(x, **a), given(
        apart(1, 2, 4, 6, kernel_size=2), apart(2, 5, 6, kernel_size=(3, 2), stride=(1, 2), padding=1),
        apart(1, 1, 5, 5, kernel_size=2, ceil_mode=True), apart(1, 1, 5, 7, kernel_size=2, dilation=(1, 3)))),
    Op("max_pool2d indices", lambda T, x, **a: T.nn.functional.max_pool2d(x, return_indices=True, **a), given(
        apart(2, 1, 4, 5, kernel_size=(2, 3), stride=1, padding=(0, 1)))),
    layer("avg_pool1d", shaped((2, 3, 8), kernel_size=2, terms=2), shaped((3, 9), kernel_size=4, stride=2, padding=1,
          ceil_mode=True, count_include_pad=False, terms=4)),
    layer("avg_pool2d", shaped((1, 2, 4, 6), kernel_size=2, terms=4),
          shaped((2, 5, 5), kernel_size=3, stride=2, padding=1, ceil_mode=True, terms=9),
          shaped((1, 1, 5, 6), kernel_size=(3, 2), padding=1, count_include_pad=False, terms=6),
          shaped((1, 1, 4, 4), kernel_size=3, stride=1, divisor_override=5, terms=9)),
]

PADDINGS = [
    layer("pad", shaped((2, 3), pad=(1, 2)), shaped((2, 3, 4), pad=(0, 1, -1, 2), value=1.5),
          shaped((3, 4), pad=(-2, -1)), shaped((0, 2), pad=(1, 1, 0, 2), value=2.0), tolerance=EXACT),
    *(layer(f"pad {mode}", shaped((2, 3, 4), pad=(2, 1), mode=mode), shaped((1, 2, 4, 5), pad=(1, 0, -1, 2), mode=mode),
            shaped((2, 5), pad=(-2, 2), mode=mode), tolerance=EXACT) for mode in ("reflect", "replicate", "circular")),
]


def _attend(T: Any, *tensors: Any, **attributes: Any) -> Any:
    """The last tensor, where it is a fourth, is the mask. PyTorch's one-kernel form, used for batches of heads, has no
    second derivative: here the batch is one of matrices."""
    return T.nn.functional.scaled_dot_product_attention(*tensors, **attributes)


def _unseeing(seen: Any, shapes: Any = ((2, 3, 4), (2, 5, 4), (2, 5, 6))) -> Any:
    """A mask by which the last query, or all of them, see no key: bool, or numbers and -inf."""
    def sample(rng: Generator) -> Sample:
        mask = rng.random((shapes[0][-2], shapes[1][-2])) < 0.6
        mask[-1] = False
        return Sample((*normal(rng, *shapes), seen(mask)), {}, 20)
    return sample


ATTENTION = [
    Op("attention", _attend, given(
        shaped((2, 3, 4), (2, 5, 4), (2, 5, 6), terms=20), shaped((3, 4), (5, 4), (5, 2), terms=20, scale=0.3),
        shaped((2, 3, 4), (2, 5, 4), (2, 5, 6), terms=20, is_causal=True),
        shaped((2, 3, 4), (2, 5, 4), (2, 5, 6), (3, 5), terms=20),
        _unseeing(lambda mask: mask), _unseeing(lambda mask: mask & False),
        _unseeing(lambda mask: np.where(mask, 0.25, -np.inf)), _unseeing(lambda mask: np.full(mask.shape, -np.inf)),
        _unseeing(lambda mask: np.where(mask, 0, -np.inf), ((2, 4, 3), (2, 0, 3), (2, 0, 6)))), tolerance=REDUCTION),
    Op("attention of more queries than keys", _attend, given(
        shaped((2, 5, 4), (2, 3, 4), (2, 3, 6), terms=20, is_causal=True),
        shaped((5, 4), (1, 4), (1, 2), terms=20, is_causal=True)), tolerance=REDUCTION),
    Op("attention of shared heads", _attend, given(
        shaped((4, 3, 4), (2, 5, 4), (2, 5, 3), terms=40, enable_gqa=True)), tolerance=REDUCTION),
    Op("embedding", lambda T, table, index, **a: T.nn.functional.embedding(index, table, **a), lambda rng: [
        Sample((rng.standard_normal((6, 3)), rng.integers(0, 6, (4, 2))), {}, 4),
        Sample((rng.standard_normal((6, 3)), rng.integers(0, 6, 9)), {"padding_idx": -2}, 4),
        Sample((rng.standard_normal((6, 3)), np.asarray(5)), {}),
    ], tolerance=EXACT),
]

LAYERS = [*LOSSES_OF_PAIRS, *NORMALISATIONS, *CONVOLUTIONS, *POOLINGS, *PADDINGS, *ATTENTION]
