"""Which workloads run where."""

from __future__ import annotations

from collections.abc import Sequence

from . import operations, training
from .workload import Workload

STEPS = (
    training.perceptron(),
    training.logistic(256, 64),
    training.regression(256, 64),
    training.mlp(128, (784, 128, 10)),
)

SMALL = (
    operations.elementwise(1 << 12),
    operations.softmax(128, 128),
    operations.full_sum(1 << 12),
    operations.linear(128, 128, 128),
)

MEDIUM = (
    operations.elementwise(1 << 20),
    operations.softmax(1024, 1024),
    operations.full_sum(1 << 20),
    operations.linear(512, 512, 512),
)

LARGE = (
    operations.elementwise(1 << 24),
    operations.softmax(8192, 1024),
    operations.full_sum(1 << 24),
    operations.linear(2048, 2048, 2048),
)

FAMILIES = tuple(dict.fromkeys(workload.family for workload in (*STEPS, *SMALL)))


def catalogue(device: str, quick: bool = False, families: Sequence[str] = FAMILIES) -> list[Workload]:
    """The workloads of some families: small sizes alone when quick, large ones on a GPU only.

    Raises:
        ValueError: a family that is not there; the message lists those that are.
    """
    unknown = [family for family in families if family not in FAMILIES]
    if unknown or not families:
        asked = "no workload" if not families else f"no workload '{unknown[0]}'"
        raise ValueError(f"{asked}; there are {', '.join(FAMILIES)}")
    sizes = SMALL if quick else (*SMALL, *MEDIUM) if device == "cpu" else (*SMALL, *MEDIUM, *LARGE)
    operations_by_family = sorted(sizes, key=lambda workload: FAMILIES.index(workload.family))
    return [workload for workload in (*STEPS, *operations_by_family) if workload.family in families]
