"""Value, gradient and second gradient of a function in a library: microtrain on a device, or PyTorch.

Cotangents are random and the same in every library: with a `.sum()` in their place the gradient of a softmax is zero
whatever its derivative. The second gradient is that of the gradients' inner product with random weights, with respect
to the inputs and to the cotangents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import microtrain

from ..graph.dtypes import from_name
from .cases import Sample, Shape
from .layouts import fitting, laid_out
from .tallies import GRADIENT, SECOND, VALUE


@dataclass(frozen=True)
class Trial:
    """One sample in one dtype and one layout, with derivatives up to an order."""

    sample: Sample
    dtype: str = "float32"
    inputs: str = "contiguous"
    cotangents: str = "contiguous"
    order: int = SECOND
    seed: int = 1

    @property
    def coarse(self) -> str:
        """The dtype in which the oracle's own error is measured: float32 for float64, else the dtype itself."""
        return "float32" if self.dtype == "float64" else self.dtype

    @property
    def arrays(self) -> list[np.ndarray]:
        """The sample's values as every library gets them: rounded once, to what the coarse dtype holds."""
        return [fitting(quantised(array, self.coarse), self.inputs) if array.dtype.kind == "f" else array
                for array in self.sample.arrays]

    def with_sample(self, sample: Sample) -> Trial:
        """The same trial of another sample."""
        return replace(self, sample=sample)


def quantised(values: np.ndarray, dtype: str) -> np.ndarray:
    """What `values` become in `dtype`, as float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(from_name(dtype).numpy).astype(np.float64)


class Library:
    """microtrain on a device, or PyTorch; as one function needs them to be."""

    def __init__(self, module: Any, device: str | None = None) -> None:
        self.module, self.device = module, device

    def options(self, dtype: str, requires_grad: bool) -> dict[str, Any]:
        """What makes a tensor of a dtype here."""
        options = {"dtype": getattr(self.module, dtype), "requires_grad": requires_grad}
        return options if self.device is None else options | {"device": self.device}

    def array(self, tensor: Any) -> np.ndarray:
        """A tensor's values, of NumPy's dtype of the same name; computes whatever is pending."""
        tensor = tensor.detach().cpu()
        if self.module is microtrain:
            return np.array(tensor.numpy())
        if str(tensor.dtype) == "torch.bfloat16":
            return np.asarray(tensor.float().numpy(force=True)).astype(from_name("bfloat16").numpy)
        return np.array(tensor.numpy(force=True))


def on(device: str) -> Library:
    """microtrain on a device, or PyTorch for `torch` and `torch:cuda`."""
    if device.partition(":")[0] == "torch":
        import torch
        return Library(torch, device.partition(":")[2] or None)
    return Library(microtrain, device)


@dataclass
class Run:
    """What a library made of a trial: arrays by part, None for a gradient that nothing depends on."""

    parts: dict[int, list[np.ndarray | None]] = field(default_factory=dict)
    live: tuple[int, ...] = ()          # the results that require grad

    def bits(self) -> list[bytes | None]:
        """Everything, for comparing two runs bit for bit."""
        return [None if array is None else array.tobytes() for part in self.parts.values() for array in part]


@dataclass
class Arguments:
    """A trial's tensors in a library, and the leaves among which they are views."""

    tensors: list[Any]
    leaves: list[Any]


def arguments(library: Library, trial: Trial, dtype: str) -> Arguments:
    """The tensors of a trial in a dtype."""
    tensors, leaves = [], []
    for position, values in enumerate(trial.arrays):
        if values.dtype.kind != "f":
            options = {} if library.device is None else {"device": library.device}
            tensors.append(library.module.tensor(values, **options))
            continue
        wanted = trial.order > VALUE and position in trial.sample.differentiated
        base, view = laid_out(library.module, values, trial.inputs, **library.options(dtype, wanted))
        tensors.append(view)
        if wanted:
            leaves.append(base)
    return Arguments(tensors, leaves)


def listed(result: Any) -> list[Any]:
    """The tensors of a result, which may be one or a tuple."""
    return list(result) if isinstance(result, tuple | list) else [result]


def run(library: Library, function: Callable[..., Any], trial: Trial, dtype: str | None = None,
        given: Arguments | None = None) -> Run:
    """A trial and its derivatives, in the trial's dtype or another; of tensors that are at hand if any are given.

    All is recorded before anything is read, as it would be in a program. Raises what the function raises.
    """
    dtype = dtype or trial.dtype
    given = given or arguments(library, trial, dtype)
    values = listed(function(*given.tensors, **trial.sample.attributes))
    recorded: dict[int, list[Any]] = {VALUE: values}
    live = tuple(i for i, value in enumerate(values) if value.requires_grad)
    if trial.order > VALUE and live:
        recorded |= differentiated(library, [values[i] for i in live], given.leaves, trial)
    return Run({part: [None if tensor is None else library.array(tensor) for tensor in tensors]
                for part, tensors in recorded.items()}, live)


def differentiated(library: Library, results: list[Any], leaves: list[Any], trial: Trial) -> dict[int, list[Any]]:
    """The gradients of results with respect to leaves, and the gradients of those."""
    rng = np.random.default_rng(trial.seed)

    def cotangent(like: Any, layout: str, requires_grad: bool) -> tuple[Any, Any]:
        shape: Shape = tuple(like.shape)
        values = quantised(rng.uniform(0.25, 1.5, shape) * rng.choice([-1, 1], shape), trial.coarse)
        return laid_out(library.module, fitting(values, layout), layout,
                        **library.options(str(like.dtype).rpartition(".")[2], requires_grad))

    grad = library.module.autograd.grad
    bases, cotangents = zip(*(cotangent(y, trial.cotangents, True) for y in results), strict=True)
    gradients = list(grad(results, leaves, cotangents, create_graph=trial.order > GRADIENT, allow_unused=True))
    if trial.order == GRADIENT:
        return {GRADIENT: gradients}
    weights = [cotangent(leaf, trial.cotangents, False)[1] for leaf in leaves]
    pairs = [(gradient, weight) for gradient, weight in zip(gradients, weights, strict=True)
             if gradient is not None and gradient.requires_grad]
    sources = [*leaves, *bases]
    second: Sequence[Any] = [None] * len(sources)
    if pairs:
        second = grad([pair[0] for pair in pairs], sources, [pair[1] for pair in pairs], allow_unused=True)
    return {GRADIENT: gradients, SECOND: list(second)}
