"""Value, gradient and second gradient of a function in a library: microtrain on a device, or PyTorch.

Cotangents are random and the same in every library: with a `.sum()` in their place the gradient of a softmax is zero
whatever its derivative. The second gradient is that of the gradients' inner product with random weights, with respect
to the inputs and to the cotangents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.random import Generator

import microtrain

from ..graph.dtypes import from_name
from .cases import Sample
from .report import GRADIENT, SECOND, VALUE

LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")

Part = list[np.ndarray | None]
"""The arrays of a result or of gradients; None for a gradient that nothing depends on."""


class Library:
    """microtrain on a device, or PyTorch; as one function needs them to be."""

    def __init__(self, module: Any, device: str | None = None) -> None:
        self.module, self.device = module, device

    def tensor(self, values: np.ndarray, dtype: str | None = None, requires_grad: bool = False) -> Any:
        """A leaf of a dtype, by default that of the values."""
        options: dict[str, Any] = {} if self.device is None else {"device": self.device}
        if values.dtype.name == "bfloat16":     # which PyTorch does not take from NumPy
            values = values.astype(np.float32)
        if dtype is not None:
            options |= {"dtype": getattr(self.module, dtype), "requires_grad": requires_grad}
        return self.module.tensor(values, **options)

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
class Arguments:
    """A trial's arguments in a library, and the leaves among which the tensors are views."""

    args: Sequence[Any]
    kwargs: dict[str, Any]
    leaves: list[Any]


class Tried(ABC):
    """What a function is tried on: its arguments in a library, and what is compared of its result."""

    dtype: str
    order: int
    """How often it is differentiated."""
    seed: int

    @property
    def own(self) -> str | None:
        """The dtype under test; None where the arguments name one themselves."""
        return self.dtype

    @property
    def coarse(self) -> str:
        """The dtype in which the oracle's own error is measured."""
        return "float32" if self.dtype == "float64" else self.dtype

    @property
    def terms(self) -> int | None:
        """The number of terms behind an element, if it is known."""
        return None

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of elements of all tensors."""

    @property
    @abstractmethod
    def differentiated(self) -> Sequence[int]:
        """The positions of the inputs that are."""

    @abstractmethod
    def arguments(self, library: Library, dtype: str | None = None) -> Arguments:
        """The arguments in a library, those of floating point in a dtype."""

    def results(self, result: Any) -> list[Any]:
        """The tensors of a result that are compared."""
        return listed(result)

    @abstractmethod
    def cotangent(self, library: Library, rng: Generator, like: Any, requires_grad: bool) -> tuple[Any, Any]:
        """A random leaf, and a view of it that goes with a tensor."""

    @abstractmethod
    def neighbour(self, number: int) -> Tried:
        """The same with inputs and cotangents up to a percent smaller: on few elements, or where terms cancel to zero,
        the oracle may be right by luck, on one processor only."""


@dataclass(frozen=True)
class Trial(Tried):
    """One sample in one dtype and one layout, with derivatives up to an order."""

    sample: Sample
    dtype: str = "float32"
    inputs: str = "contiguous"
    cotangents: str = "contiguous"
    order: int = SECOND
    seed: int = 1
    near: int | None = None
    """Which neighbour this is of the trial that it is compared for."""

    @property
    def terms(self) -> int | None:
        return self.sample.terms

    @property
    def size(self) -> int:
        return sum(array.size for array in self.sample.arrays)

    @property
    def differentiated(self) -> tuple[int, ...]:
        return self.sample.differentiated

    @property
    def arrays(self) -> list[np.ndarray]:
        """The sample's values as every library gets them: rounded once, to what the coarse dtype holds."""
        return [fitting(quantised(array, self.coarse), self.inputs) if array.dtype.kind == "f" else array
                for array in self.sample.arrays]

    def with_arrays(self, arrays: Iterable[np.ndarray]) -> Trial:
        return replace(self, sample=replace(self.sample, arrays=tuple(arrays)))

    def arguments(self, library: Library, dtype: str | None = None) -> Arguments:
        tensors, leaves = [], []
        for position, values in enumerate(self.arrays):
            if values.dtype.kind != "f":
                tensors.append(library.tensor(values))
                continue
            wanted = self.order > VALUE and position in self.differentiated
            leaf, view = laid_out(library, values, self.inputs, dtype or self.dtype, wanted)
            tensors.append(view)
            leaves += [leaf] if wanted else []
        return Arguments(tensors, self.sample.attributes, leaves)

    def cotangent(self, library: Library, rng: Generator, like: Any, requires_grad: bool) -> tuple[Any, Any]:
        shape = tuple(like.shape)
        values = nudged(rng.uniform(0.25, 1.5, shape) * rng.choice([-1, 1], shape), self.near)
        values = quantised(values, self.coarse)
        return laid_out(library, fitting(values, self.cotangents), self.cotangents, dtype_name(like), requires_grad)

    def neighbour(self, number: int) -> Trial:
        moved = self.with_arrays(nudged(array, (number, k)) if array.dtype.kind == "f" else array
                                 for k, array in enumerate(self.sample.arrays))
        return replace(moved, near=number)


def nudged(values: np.ndarray, seed: int | tuple[int, ...] | None) -> np.ndarray:
    """Up to a percent smaller, by factors of a seed; as they are without one."""
    return values if seed is None else values * (1 - 0.01 * np.random.default_rng(seed).random(values.shape))


def quantised(values: np.ndarray, dtype: str) -> np.ndarray:
    """What `values` become in `dtype`, as float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(from_name(dtype).numpy).astype(np.float64)


def dtype_name(tensor: Any) -> str:
    """A dtype's name, in either library."""
    return str(tensor.dtype).rpartition(".")[2]


def listed(result: Any) -> list[Any]:
    """The tensors of a result, which may be one or a tuple."""
    return list(result) if isinstance(result, tuple | list) else [result]


def fitting(values: np.ndarray, layout: str) -> np.ndarray:
    """`values` as a tensor of this layout holds them: when it is expanded, the first row everywhere."""
    if layout == "expanded" and values.ndim and values.shape[0]:
        return np.ascontiguousarray(np.broadcast_to(values[:1], values.shape))
    return values


def laid_out(library: Library, values: np.ndarray, layout: str, dtype: str,
             requires_grad: bool = False) -> tuple[Any, Any]:
    """A leaf, and a view of it that holds the values through the strides of a layout; derivatives pass the view.

    A view without axes is contiguous in every layout. Raises ValueError for a layout that is none of `LAYOUTS`.
    """
    def leaf(held: np.ndarray) -> Any:
        return library.tensor(held, dtype, requires_grad)

    shape = values.shape
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if not shape or layout == "contiguous":
        return (base := leaf(values)), base
    if layout == "transposed":
        return (base := leaf(np.ascontiguousarray(values.transpose()))), base.permute(*range(len(shape) - 1, -1, -1))
    if layout == "sliced":
        return (base := leaf(np.repeat(values, 2, axis=-1))), base[..., ::2]
    return (base := leaf(values[:1] if shape[0] else values)), base.expand(shape)


@dataclass
class Run:
    """What a library made of a trial: arrays by part, up to the first that raised, and which results require grad."""

    parts: dict[int, Part] = field(default_factory=dict)
    live: tuple[int, ...] = ()
    error: Exception | None = None

    def part(self, order: int) -> Part | Exception | None:
        """A part; where it or an earlier one raised, what; None where there is nothing to differentiate."""
        return self.parts.get(order, self.error)

    def array(self, part: int, number: int) -> np.ndarray | None:
        return next(iter(self.parts.get(part, [])[number:]), None)

    def bits(self, part: int) -> list[bytes | None]:
        return [None if array is None else array.tobytes() for array in self.parts.get(part, [])]


def attempt(library: Library, function: Callable[..., Any], trial: Tried, dtype: str | None = None,
            given: Arguments | None = None) -> Run:
    """A trial and its derivatives, in its own dtype or another; of arguments that are at hand if any are given.

    All is recorded before anything is read, as it would be in a program. Nothing is raised: see `Run.error`.
    """
    done, recorded = Run(), dict[int, list[Any]]()
    try:
        given = given or trial.arguments(library, dtype)
        values = recorded[VALUE] = trial.results(function(*given.args, **given.kwargs))
        done.live = tuple(i for i, value in enumerate(values) if value.requires_grad)
        if trial.order > VALUE and done.live:
            differentiate(library, trial, [values[i] for i in done.live], given.leaves, recorded)
    except Exception as error:
        done.error = error
    for part, tensors in recorded.items():
        try:        # an error that depends on values comes when the value is computed
            done.parts[part] = [None if tensor is None else library.array(tensor) for tensor in tensors]
        except Exception as error:
            done.error = error
            break
    return done


def run(library: Library, function: Callable[..., Any], trial: Tried, given: Arguments | None = None) -> Run:
    """The same, raising what the function raises."""
    done = attempt(library, function, trial, None, given)
    if done.error is not None:
        raise done.error
    return done


def differentiate(library: Library, trial: Tried, results: list[Any], leaves: list[Any],
                  recorded: dict[int, list[Any]]) -> None:
    """Record the gradients of results with respect to leaves, and the gradients of those."""
    rng, grad = np.random.default_rng(trial.seed), library.module.autograd.grad
    bases, cotangents = zip(*(trial.cotangent(library, rng, y, True) for y in results), strict=True)
    recorded[GRADIENT] = gradients = list(grad(results, leaves, cotangents, create_graph=trial.order > GRADIENT,
                                               allow_unused=True))
    if trial.order == GRADIENT:
        return
    weights = [trial.cotangent(library, rng, leaf, False)[1] for leaf in leaves]
    pairs = [(gradient, weight) for gradient, weight in zip(gradients, weights, strict=True)
             if gradient is not None and gradient.requires_grad]
    sources = [*leaves, *bases]
    recorded[SECOND] = list(grad([pair[0] for pair in pairs], sources, [pair[1] for pair in pairs],
                                 allow_unused=True)) if pairs else [None] * len(sources)
