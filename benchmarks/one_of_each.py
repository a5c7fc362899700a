"""One small launch of each kernel template and tile kind, every result held against the cpu device: for tools that
watch kernels run (compute-sanitizer, a profiler), and as the first look at a new machine.

    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck python -m benchmarks.one_of_each

Without the caching allocator every buffer is an allocation of its own, so that a byte past its end is outside.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import microtrain as mt
from benchmarks.launch_facts import steps_of
from microtrain.nn import functional as F

TEMPLATES = {"map", "maps", "row", "slab", "reduce", "matmul"}

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Random numbers; sizes are odd, so that every tile has a ragged end."""
    return RNG.standard_normal(shape).astype(dtype)


def product(dtype: Any = mt.float32, precision: str = "highest") -> Callable[..., Any]:
    """relu(x @ w + b) in a dtype and a precision."""
    def call(x: Any, w: Any, b: Any) -> Any:
        with mt.settings.matmul_precision(precision):
            y = (x.to(dtype) @ w.to(dtype) + b.to(dtype)).relu().to(mt.float32)
            y.sum().item()              # computed under this precision
        return y
    return call


def step(optimizer: Callable[..., Any], loss: Callable[[Any, Any], Any], widths: tuple[int, ...]) -> Callable[..., Any]:
    """Two training steps of an MLP: the losses and the parameters."""
    def call(x: Any, y: Any, *weights: Any) -> Any:
        layers = [mt.nn.Linear(a, b).to(x.device) for a, b in pairwise(widths)]
        parameters = [p for layer in layers for p in layer.parameters()]
        with mt.no_grad():
            for parameter, given in zip(parameters, weights, strict=True):
                parameter.copy_(given)
        steps = optimizer(parameters)
        losses = []
        for _ in range(2):
            h = x
            for layer in layers:
                h = layer(h).relu() if layer is not layers[-1] else layer(h)
            steps.zero_grad()
            found = loss(h, y)
            found.backward()
            steps.step()
            losses.append(found.detach())
        return [*losses, *parameters]
    return call


def drawn(x: Any) -> tuple[Any, Any]:
    """Random numbers of a seed, which are the same on every device (the normal ones but for rounding)."""
    mt.manual_seed(3)
    return mt.rand(len(x), device=x.device), mt.randn(len(x), device=x.device)


def updated(*values: Any) -> list[Any]:
    """Parameters updated by gradients that are at hand."""
    parameters = [mt.nn.Parameter(value) for value in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = value.clone()
    mt.optim.Adam(parameters, lr=0.1).step()
    return [parameter.detach() for parameter in parameters]


def weights(*widths: int) -> list[np.ndarray]:
    """Of the linear layers between these widths."""
    return [array for a, b in pairwise(widths) for array in (0.3 * normal(b, a), 0.1 * normal(b))]


def programs() -> list[tuple[str, Callable[..., Any], list[np.ndarray], float]]:
    """Name, function, its arrays, and the error allowed relative to the largest element."""
    labels = RNG.integers(0, 10, 61)
    classes = (RNG.random((61, 1)) > 0.5).astype(np.float32)
    many = (RNG.random((5003, 1)) > 0.5).astype(np.float32)
    sgd = lambda p: mt.optim.SGD(p, lr=0.1, momentum=0.9)  # noqa: E731
    adam = lambda p: mt.optim.Adam(p, lr=0.01)  # noqa: E731
    bce = F.binary_cross_entropy_with_logits
    operands = [normal(67, 83), normal(83, 45), normal(45)]
    return [
        ("map", lambda x, y: x * y.sigmoid() + y.exp(), [normal(1003), normal(1003)], 1e-6),
        ("map, transposed and sliced", lambda x, y: x.t() + y[3:70, ::2], [normal(45, 67), normal(71, 90)], 1e-6),
        ("map, bfloat16", lambda x: (x.bfloat16() * 2).tanh().float(), [normal(1003)], 1e-2),
        ("map, float64", lambda x: x.sin() * x.log1p(), [np.abs(normal(1003, dtype=np.float64))], 1e-13),
        ("random", drawn, [normal(1003)], 1e-6),
        ("maps: independent updates", updated, [normal(n) for n in (1003, 17, 260)], 1e-6),
        ("row", lambda x: x.softmax(1), [normal(37, 201)], 1e-6),
        ("row, layer norm", lambda x, w, b: F.layer_norm(x, (201,), w, b),
         [normal(37, 201), normal(201), normal(201)], 1e-5),
        ("row, bfloat16", lambda x: x.bfloat16().log_softmax(1).float(), [normal(37, 201)], 2e-2),
        ("sums of columns", lambda x: x.sum(0), [normal(703, 33)], 1e-5),
        ("long rows", lambda x: (x.sum(1), x.amax(1)), [normal(3, 70001)], 1e-5),
        ("slabs", lambda x: x.sum(0), [normal(8193, 257)], 1e-5),
        ("reduce", lambda x: x.sum(1), [normal(259, 16411)], 1e-5),
        ("sum of all", lambda x: x.mean(), [normal(300007)], 1e-5),
        ("argmax, sort", lambda x: (x.argmax(1), *x.sort(1), x.cumsum(1)), [normal(17, 65)], 1e-5),
        ("gather, scatter", lambda x, i: (x[i], mt.zeros_like(x).index_add(0, i, x[: len(i)])),
         [normal(61, 33), labels], 1e-5),
        ("convolution", lambda x, w: F.conv2d(x, w, padding=1), [normal(2, 3, 13, 11), normal(5, 3, 3, 3)], 1e-5),
        ("product", product(), operands, 1e-5),
        ("product, tf32", product(precision="high"), operands, 5e-3),
        ("product, bfloat16", product(mt.bfloat16), operands, 5e-2),
        ("product, float16", product(mt.float16), operands, 5e-3),
        ("product, float64", product(mt.float64), operands, 1e-5),
        ("product of integers", lambda x, y: x @ y, [RNG.integers(-9, 9, (33, 21)), RNG.integers(-9, 9, (21, 19))], 0),
        ("product, split", lambda x, w: x @ w, [normal(17, 8193), normal(8193, 19)], 1e-4),
        ("slab: logistic step", step(sgd, bce, (33, 1)), [normal(61, 33), classes, *weights(33, 1)], 1e-4),
        ("slabs: logistic step of many rows", step(sgd, bce, (64, 1)), [normal(5003, 64), many, *weights(64, 1)], 1e-4),
        ("MLP step, SGD", step(sgd, F.cross_entropy, (33, 17, 10)),
         [normal(61, 33), labels, *weights(33, 17, 10)], 1e-4),
        ("MLP step, Adam", step(adam, F.cross_entropy, (33, 17, 10)),
         [normal(61, 33), labels, *weights(33, 17, 10)], 1e-3),
    ]


def listed(result: Any) -> list[np.ndarray]:
    """The arrays of a result."""
    parts = result if isinstance(result, tuple | list) else [result]
    return [np.asarray(part.detach().cpu().numpy()) for part in parts]


def wrong(got: list[np.ndarray], right: list[np.ndarray], allowed: float) -> str | None:
    """What differs by more than is allowed."""
    for number, (a, b) in enumerate(zip(got, right, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"result {number} is {a.dtype}{a.shape}, expected {b.dtype}{b.shape}"
        error = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0)
        scale = np.abs(b.astype(np.float64)).max(initial=0.0)
        if not error <= allowed * scale:
            return f"result {number} is off by {error:.3g}, allowed is {allowed * scale:.3g}"
    return None


def main() -> int:
    """Runs them; 1 where one is wrong or a template was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default="", metavar="TEXT", help="programs whose names contain this")
    args = parser.parse_args()
    reached: set[str] = set()
    failed = 0
    for name, function, arrays, allowed in programs():
        if args.only not in name:
            continue
        found: list[list[np.ndarray]] = []

        def call(function: Any = function, arrays: Any = arrays, found: Any = found) -> None:
            found.append(listed(function(*[mt.tensor(array, device=args.device) for array in arrays])))

        try:
            templates = [step.kernel.group.template.name for step in steps_of(call)]
            right = listed(function(*[mt.tensor(array, device="cpu") for array in arrays]))
            complaint = wrong(found[0], right, allowed)
        except Exception as error:
            templates, complaint = [], f"{type(error).__name__}: {error}"
        reached.update(templates)
        failed += complaint is not None
        print(f"{name:36} {' '.join(templates):40} {complaint or 'right'}", flush=True)
    missing = sorted(TEMPLATES - reached) if not args.only else []
    if missing:
        print(f"not reached: {', '.join(missing)}")
    print(f"{failed} wrong")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
