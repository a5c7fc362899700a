"""Losses."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from .row import REDUCTION, Op, Sample, at, named, normal


def losses(name: str, draw: Callable[[Generator], tuple[np.ndarray, ...]], data: tuple[int, ...],
           *attributes: dict[str, Any], **row: Any) -> list[Op]:
    """A loss of `nn.functional` under its three reductions and with other attributes; `data` is not differentiated."""
    ways = [{"reduction": way} for way in ("mean", "sum", "none")] + list(attributes)
    return [Op(f"{name} {way}", named(f"nn.functional.{name}"), tolerance=REDUCTION, **row,
               sampler=lambda rng, way=way: [Sample(draw(rng), way, terms=24, constant=data)]) for way in ways]


def _probabilities(rng: Generator) -> tuple[np.ndarray, ...]:
    return rng.uniform(0.05, 0.95, (6, 4)), rng.uniform(0, 1, (6, 4))


CERTAIN = at([0.0, 0.0, 1.0, 1.0, 0.5], [1.0, 0.0, 0.0, 1.0, 1.0], constant=(1,), reduction="none")
EXTREME = at([200.0, -200.0, 0.0], [0.0, 1.0, 0.5], constant=(1,), reduction="none")

LOSSES = [
    # PyTorch's double backward adds 1e-12 to p and to 1 - p, which are 0.05 or more here.
    *losses("binary_cross_entropy", _probabilities, (1,), boundary=(CERTAIN,), slack=1e-10),
    *losses("binary_cross_entropy_with_logits",
            lambda rng: (3 * rng.standard_normal((6, 4)), rng.uniform(0, 1, (6, 4))), (1,), boundary=(EXTREME,)),
    *losses("mse_loss", lambda rng: normal(rng, (6, 4), (6, 4)), ()),
    *losses("l1_loss", lambda rng: normal(rng, (6, 4), (6, 4)), ()),
    *losses("cross_entropy", lambda rng: (rng.standard_normal((6, 5)), rng.integers(0, 5, 6)), (),
            {"label_smoothing": 0.1}, {"ignore_index": 2}),
    *losses("nll_loss", lambda rng: (-rng.uniform(0.1, 4.0, (6, 5)), rng.integers(0, 5, 6)), (), {"ignore_index": 2}),
    Op("cross_entropy of probabilities", named("nn.functional.cross_entropy"), tolerance=REDUCTION,
       sampler=lambda rng: [Sample((rng.standard_normal((6, 5)), rng.dirichlet(np.ones(5), 6)), {}, 30, (1,))]),
    Op("hand-written BCE", lambda T, p, y: -(y * T.log(T.clamp(p, 1e-6, 1 - 1e-6)) + (1 - y) * T.log(1 - p)).mean(),
       lambda rng: [Sample(_probabilities(rng), {}, 24, (1,))], tolerance=REDUCTION),
]
