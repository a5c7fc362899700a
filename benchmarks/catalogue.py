"""Which workloads run where, at which sizes, against which peers that compile, and what is asked of each: all data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .limits import Excess, Format, Product, Share, Speed, Target
from .workload import Subject, Workload
from .workloads import losses, maps, products, rows, steps, updates
from .workloads.launch import DRIVER, TRITON, launch

FAMILIES = ("step", "map", "row", "loss", "matmul", "update", "launch")

EAGER, GRAPH = "torch", "torch CUDA graph"
COMPILED, AUTOTUNED = "torch.compile", "torch.compile max-autotune"

# What is asked of a GPU's figures, where a workload is large enough that its kernels and not their launch are seen.
MAPS: tuple[Target, ...] = (Share(0.92), Speed(COMPILED, 1.0))
ROWS: tuple[Target, ...] = (Share(0.88), Speed(COMPILED, 1.0))
LOSSES: tuple[Target, ...] = (Share(0.88), Speed(EAGER, 2.0))
PRODUCTS: tuple[Target, ...] = (Share(0.90), Speed(EAGER, 1.1))
UPDATES: tuple[Target, ...] = (Share(0.90),)
SMALL_UPDATES: tuple[Target, ...] = (Speed(EAGER, 3.0),)
LAUNCHES: tuple[Target, ...] = (Excess(DRIVER, 1.0), Speed(TRITON, 3.0))
SMALL_STEPS: tuple[Target, ...] = (Speed(EAGER, 2.0),)
LOGISTIC: tuple[Target, ...] = (Share(0.80), Speed(GRAPH, 1.6))
WIDE_MLP: tuple[Target, ...] = (Speed(AUTOTUNED, 0.90),)

SMALL_ROWS, ROW_ELEMENTS = 128, 1 << 25
ROW_FUNCTIONS = (rows.softmax, rows.layer_norm, rows.log_softmax, rows.logsumexp, rows.row_sum)
PRODUCT_FUNCTIONS = (products.layer, products.weight_gradient, products.input_gradient)
SQUARES = (4096, 2048, 8192, 1024, 512)
SKINNY: tuple[Product, ...] = ((64, 4096, 4096), (4096, 4096, 64), (8192, 64, 8192), (256, 32768, 256))
FORMATS: tuple[Format, ...] = ("bfloat16", "tf32", "float32")
AUTOTUNED_PRODUCTS = 1
"""Products that PyTorch tunes, which takes it tens of seconds each: the first of the list."""

FIFTY_MILLION = (25_000_000, 15_000_000, 8_000_000, 2_000_000)
MANY_SMALL = (1000,) * 100


def asked(workload: Workload, rank: int, targets: tuple[Target, ...] = (), peers: tuple[str, ...] = ()) -> Workload:
    """A workload with its turn, its targets and the peers that are worth their time."""
    return replace(workload, rank=rank, targets=targets, peers=peers)


def on_gpu() -> list[Subject]:
    """Everything, for a GPU: largest and most important first, by rank."""
    return [*gpu_steps(), *gpu_maps(), *gpu_rows(), *gpu_losses(), *gpu_products(), *gpu_updates(),
            replace(launch(), rank=0, targets=LAUNCHES)]


def gpu_steps() -> Iterable[Subject]:
    """Small steps, where the host counts; one that reads 268 MB; one of large products."""
    yield asked(steps.perceptron(), 0, SMALL_STEPS)
    yield asked(steps.logistic(256, 64), 0, SMALL_STEPS)
    yield asked(steps.regression(256, 64), 2, SMALL_STEPS)
    yield asked(steps.mlp(64, (64, 64, 10)), 1, SMALL_STEPS)
    yield asked(steps.mlp(128, (784, 128, 10)), 0, SMALL_STEPS, (COMPILED,))
    yield asked(steps.logistic(262_144, 256), 0, LOGISTIC, (COMPILED,))
    yield asked(steps.mlp(8192, (4096, 4096, 4096, 4096), "bfloat16"), 0, WIDE_MLP, (AUTOTUNED,))


def gpu_maps() -> Iterable[Subject]:
    """Of 1 to 8 inputs, forward and gradient, and of inputs that are views."""
    for inputs, rank in ((2, 0), (1, 1), (4, 1), (8, 1)):
        yield asked(maps.forward(inputs, 1 << 12), 3)
        yield asked(maps.forward(inputs, 1 << 20), 3)
        yield asked(maps.forward(inputs, 1 << 24), rank, MAPS, (COMPILED,))
        yield asked(maps.forward(inputs, 1 << 28), rank, MAPS)
        yield asked(maps.backward(inputs, 1 << 20), 3)
        yield asked(maps.backward(inputs, 1 << 24), rank, MAPS, (COMPILED,))
        yield asked(maps.backward(inputs, 1 << 26), 2, MAPS)
    yield asked(maps.transposed(1 << 13), 1, MAPS, (COMPILED,))
    yield asked(maps.sliced(1 << 26), 1, MAPS, (COMPILED,))


def gpu_rows() -> Iterable[Subject]:
    """Short and long rows, columns, everything."""
    for function in ROW_FUNCTIONS:
        rank = 0 if function in (rows.softmax, rows.layer_norm) else 1
        yield asked(function(SMALL_ROWS, 128), 3)
        for width, peers in ((128, ()), (1024, (COMPILED,)), (8192, ()), (65536, (COMPILED,))):
            yield asked(function(ROW_ELEMENTS // width, width), rank if peers else 2, ROWS, peers)
    yield asked(rows.column_sum(1 << 15, 1 << 10), 1, ROWS, (COMPILED,))
    yield asked(rows.column_sum(1 << 10, 1 << 15), 2, ROWS)
    yield asked(rows.full_sum(1 << 20), 3)
    yield asked(rows.full_sum(1 << 25), 1, ROWS, (COMPILED,))
    yield asked(rows.full_sum(1 << 28), 2, ROWS)


def gpu_losses() -> Iterable[Subject]:
    """Rows of few and of many classes; a batch of logits."""
    yield asked(losses.cross_entropy(128, 10), 3)
    yield asked(losses.cross_entropy(1 << 15, 1 << 10), 0, LOSSES)
    yield asked(losses.cross_entropy(1 << 18, 128), 2, LOSSES)
    yield asked(losses.cross_entropy(2048, 32_768), 1, LOSSES)
    yield asked(losses.bce_with_logits(1 << 12), 3)
    yield asked(losses.bce_with_logits(1 << 25), 0, LOSSES)


def gpu_products() -> Iterable[Subject]:
    """Squares and skinny shapes in three formats: forward everywhere, the backward's products where they are large."""
    tuned = 0
    for format in FORMATS:
        for function in PRODUCT_FUNCTIONS:
            for side in SQUARES:
                rank = 0 if side == SQUARES[0] and format == "bfloat16" else 1 if side in SQUARES[:2] else 2
                peers: tuple[str, ...] = ()
                if tuned < AUTOTUNED_PRODUCTS:
                    tuned, peers = tuned + 1, (AUTOTUNED,)
                if function is products.layer or side in SQUARES[:2]:
                    yield asked(function(side, side, side, format), rank, PRODUCTS, peers)
        for shape in SKINNY:
            yield asked(products.layer(*shape, format), 1 if format == "bfloat16" else 2, PRODUCTS)


def gpu_updates() -> Iterable[Subject]:
    """Large parameters, where bytes count, and many small ones, where launches do."""
    for function in (updates.sgd, updates.adam):
        yield asked(function(FIFTY_MILLION), 0, UPDATES)
        yield asked(function(MANY_SMALL), 0, SMALL_UPDATES)


def on_cpu() -> list[Subject]:
    """Steps, and one workload of each family at sizes that a core gets through."""
    return [steps.perceptron(), steps.logistic(256, 64), steps.regression(256, 64), steps.mlp(64, (64, 64, 10)),
            steps.mlp(128, (784, 128, 10)), *small(), *medium()]


def small() -> list[Subject]:
    """What a call costs before there is anything to compute."""
    return [maps.forward(2, 1 << 12), maps.backward(2, 1 << 12), rows.softmax(128, 128), rows.full_sum(1 << 12),
            losses.cross_entropy(128, 10), products.layer(128, 128, 128), updates.sgd((1000,) * 10)]


def medium() -> list[Subject]:
    """What the passes over memory and the BLAS cost."""
    return [maps.forward(2, 1 << 20), maps.backward(2, 1 << 20), rows.softmax(1024, 1024), rows.full_sum(1 << 20),
            losses.cross_entropy(1024, 1024), products.layer(512, 512, 512), updates.sgd((1 << 20,))]


def tiny(device: str) -> list[Subject]:
    """Every function of every family, at sizes for which Triton's interpreter takes a second together."""
    found: list[Subject] = [
        steps.perceptron(), steps.logistic(8, 4), steps.regression(8, 4), steps.mlp(8, (4, 8, 3)),
        steps.mlp(8, (4, 8, 8, 4), "bfloat16"),
        *(maps.forward(inputs, 64) for inputs in (1, 2, 4, 8)), *(maps.backward(inputs, 64) for inputs in (1, 2, 4, 8)),
        maps.transposed(8), maps.sliced(64),
        *(function(4, 16) for function in ROW_FUNCTIONS), rows.column_sum(4, 16), rows.full_sum(64),
        losses.cross_entropy(4, 8), losses.bce_with_logits(32),
        *(function(16, 32, 16, format) for function in PRODUCT_FUNCTIONS for format in FORMATS),
        updates.sgd((5, 16)), updates.adam((5, 16)),
    ]
    found = [replace(one, peers=(COMPILED, AUTOTUNED)) if number % 10 == 0 and isinstance(one, Workload) else one
             for number, one in enumerate(found)]
    return found if device == "cpu" else [*found, launch()]


def catalogue(device: str, quick: bool = False, families: Sequence[str] = FAMILIES, *, smallest: bool = False
              ) -> list[Subject]:
    """The workloads of some families on a device.

    quick: steps and small sizes alone, with no peer that compiles. smallest: everything at sizes that show only that it
    runs.

    Raises:
        ValueError: a family that is not there; the message lists those that are.
    """
    unknown = [family for family in families if family not in FAMILIES]
    if unknown or not families:
        asked_for = "no workload" if not families else f"no workload '{unknown[0]}'"
        raise ValueError(f"{asked_for}; there are {', '.join(FAMILIES)}")
    if smallest or device == "interpret":
        chosen = tiny(device)
    elif quick:
        chosen = [*on_cpu()[:5], *small()]
    else:
        chosen = on_cpu() if device == "cpu" else on_gpu()
    return [one for family in FAMILIES for one in chosen if one.family == family and one.family in families]
