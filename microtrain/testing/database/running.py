"""One case of the operator database, run by PyTorch or by microtrain: its value, gradients and second gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import microtrain

from ..tallies import GRADIENT, SECOND, VALUE
from .operators import Case, tensors_in

Part = list[np.ndarray | None] | Exception
"""The arrays of a result or of gradients (None for a gradient that is zero), or why there are none."""


class Torch:
    """PyTorch as a library to run a case in; with a precision, every floating-point tensor and dtype is of that."""

    def __init__(self, precision: str | None = None) -> None:
        import torch
        self.torch, self.grad = torch, torch.autograd.grad
        self.precision = getattr(torch, precision) if precision else None

    def argument(self, value: Any) -> Any:
        """An argument of a case, tensors copied."""
        if isinstance(value, self.torch.Tensor):
            copy = value.detach().clone()
            if self.precision and copy.is_floating_point():
                copy = copy.to(self.precision)
            return copy.requires_grad_(value.requires_grad)
        if isinstance(value, self.torch.dtype) and value.is_floating_point and self.precision:
            return self.precision
        return value

    def cotangent(self, values: np.ndarray, like: Any) -> Any:
        """A leaf that requires grad, of the dtype of the tensor that it belongs to."""
        return self.torch.tensor(values, dtype=like.dtype, requires_grad=True)

    def array(self, tensor: Any) -> np.ndarray:
        """A tensor's values."""
        return np.asarray(tensor.numpy(force=True))


class Package:
    """microtrain on a device as a library to run a case in."""

    grad = staticmethod(microtrain.autograd.grad)

    def __init__(self, device: str) -> None:
        self.device = device

    def argument(self, value: Any) -> Any:
        """An argument of a case: tensors copied to the device, dtypes by name."""
        import torch
        if isinstance(value, torch.Tensor):
            if value.is_complex() or value.layout is not torch.strided:
                raise NotImplementedError(f"microtrain has no {value.dtype} tensors of layout {value.layout}")
            return microtrain.tensor(value.numpy(force=True).copy(), device=self.device,
                                     requires_grad=value.requires_grad)
        if isinstance(value, torch.dtype):
            return getattr(microtrain, str(value).removeprefix("torch."))
        if isinstance(value, torch.Size):
            return tuple(value)
        return self.device if isinstance(value, str) and value == "cpu" else value

    def cotangent(self, values: np.ndarray, like: Any) -> Any:
        """A leaf that requires grad, of the dtype of the tensor that it belongs to."""
        return microtrain.tensor(values, dtype=like.dtype, device=self.device, requires_grad=True)

    def array(self, tensor: Any) -> np.ndarray:
        """A tensor's values; computes whatever is pending."""
        return np.asarray(tensor.detach().cpu().numpy())


@dataclass
class Run:
    """What a library made of a case, and which of the results have gradients (`live`, by position)."""

    parts: dict[int, Part] = field(default_factory=dict)
    live: tuple[int, ...] = ()

    def part(self, order: int) -> Part | None:
        """A part; where an earlier one could not be had, why not; None where there is nothing to differentiate."""
        for earlier in range(order):
            found = self.parts.get(earlier)
            if isinstance(found, Exception):
                return found
        return self.parts.get(order)


def run(library: Torch | Package, function: Callable[..., Any], case: Case, order: int) -> Run:
    """A case and its derivatives up to an order, with random cotangents, the same for every library.

    All is recorded before anything is read, as it would be in a program. Nothing is raised: see `Run.parts`.
    """
    recorded, done = record(library, function, case, order)
    for part, found in recorded.items():
        try:
            done.parts[part] = found if isinstance(found, Exception) else [
                None if tensor is None else library.array(tensor) for tensor in found]
        except Exception as error:      # an error that depends on values comes when the value is computed
            done.parts[part] = error
    return done


def mapped(change: Callable[[Any], Any], args: tuple[Any, ...],
           kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with each value changed; a tensor that is passed twice is one tensor still."""
    from torch.utils._pytree import tree_map
    copies: dict[int, Any] = {}

    def once(value: Any) -> Any:
        if id(value) not in copies:
            copies[id(value)] = change(value)
        return copies[id(value)]
    return tree_map(once, args), tree_map(once, kwargs)


def record(library: Torch | Package, function: Callable[..., Any], case: Case,
           order: int) -> tuple[dict[int, list[Any] | Exception], Run]:
    """Value, gradients and second gradients of a case as tensors."""
    rng = np.random.default_rng(case.number)
    done = Run()
    recorded: dict[int, list[Any] | Exception] = {}

    def draw(like: Any) -> Any:
        # float32's numbers, so that every precision can hold them.
        return library.cotangent(rng.standard_normal(tuple(like.shape)).astype(np.float32), like)

    part = VALUE
    try:
        args, kwargs = mapped(library.argument, case.args, case.kwargs)
        values = recorded[VALUE] = tensors_in(case.finish(function(*args, **kwargs)))
        inputs = [tensor for tensor in dict.fromkeys(tensors_in((args, kwargs))) if tensor.requires_grad]
        done.live = tuple(place for place, value in enumerate(values) if value.requires_grad)
        if order >= GRADIENT and done.live:
            part = GRADIENT
            results = [values[place] for place in done.live]
            cotangents = [draw(result) for result in results]
            first = recorded[GRADIENT] = gradients(library, results, inputs, cotangents, create_graph=order > 1)
        if order >= SECOND and done.live:
            part = SECOND
            again = zip(first, [draw(input).detach() for input in inputs], strict=True)
            live = [pair for pair in again if pair[0] is not None and pair[0].requires_grad]
            recorded[SECOND] = gradients(library, [gradient for gradient, _ in live], [*inputs, *cotangents],
                                         [weight for _, weight in live])
    except Exception as error:
        recorded[part] = error
    return recorded, done


def gradients(library: Torch | Package, results: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any],
              create_graph: bool = False) -> list[Any]:
    """The gradients of the inputs; None for one that nothing depends on."""
    if not results:
        return [None] * len(inputs)
    return list(library.grad(results, inputs, cotangents, create_graph=create_graph, allow_unused=True))
