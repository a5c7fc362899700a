"""A microtrain function as a PyTorch function: PyTorch's own `gradcheck`, or a PyTorch training loop, can call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import microtrain

from ..graph.dtypes import from_name


def as_torch(fn: Callable[..., Any], device: str | None = None) -> Callable[..., Any]:
    """A function of PyTorch tensors on the CPU that runs `fn` in microtrain, on the default device or another.

    It can be differentiated as often as `fn` can: the derivative of what it computes is again such a function, the
    vector-Jacobian product that microtrain records. Each backward computes the forward anew. Arguments that are no
    tensors are handed on; `fn` gives a Tensor or a tuple of them.
    """
    import torch

    def crossing(*arguments: Any) -> Any:
        result = Bridge.apply(*arguments)
        return result if len(result) > 1 else result[0]

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            ctx.needs = tuple(i for i, needs in enumerate(ctx.needs_input_grad) if needs)
            ctx.places = tuple(i for i, one in enumerate(arguments) if isinstance(one, torch.Tensor))
            ctx.plain = tuple(None if i in ctx.places else one for i, one in enumerate(arguments))
            ctx.save_for_backward(*[arguments[i] for i in ctx.places])
            with microtrain.no_grad():
                given = [entering(one, device) if i in ctx.places else one for i, one in enumerate(arguments)]
                results = fn(*given)
            results = tuple(results) if isinstance(results, tuple | list) else (results,)
            ctx.live = tuple(i for i, result in enumerate(results) if result.dtype.is_floating_point)
            outputs = tuple(leaving(result) for result in results)
            ctx.mark_non_differentiable(*[out for i, out in enumerate(outputs) if i not in ctx.live])
            return outputs

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            arguments = list(ctx.plain)
            for place, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
                arguments[place] = saved
            product = as_torch(vector_jacobian_product(fn, len(arguments), ctx.needs, ctx.live), device)
            found = product(*arguments, *[cotangents[i] for i in ctx.live])
            found = iter(found if isinstance(found, tuple) else (found,))
            return tuple(next(found) if i in ctx.needs else None for i in range(len(arguments)))

    return crossing


def vector_jacobian_product(fn: Callable[..., Any], count: int, needs: tuple[int, ...],
                            live: tuple[int, ...]) -> Callable[..., Any]:
    """Of the `count` arguments of `fn` and the cotangents of its results `live`: the gradients of arguments `needs`.

    Where nothing depends on an argument, zeros.
    """
    def product(*arguments: Any) -> Any:
        inputs, cotangents = list(arguments[:count]), arguments[count:]
        with microtrain.enable_grad():
            for i in needs:
                inputs[i] = inputs[i] if inputs[i].requires_grad else inputs[i].detach().requires_grad_()
            results = fn(*inputs)
            results = tuple(results) if isinstance(results, tuple | list) else (results,)
            pairs = [(results[i], ct) for i, ct in zip(live, cotangents, strict=True) if results[i].requires_grad]
            sources = [inputs[i] for i in needs]
            if not pairs:
                return tuple(microtrain.zeros_like(source) for source in sources)
            return microtrain.autograd.grad([y for y, _ in pairs], sources, [ct for _, ct in pairs],
                                            create_graph=True, materialize_grads=True)
    return product


def entering(tensor: Any, device: str | None) -> Any:
    """PyTorch's tensor as microtrain's."""
    values = tensor.detach().cpu()
    name = str(values.dtype).rpartition(".")[2]
    dtype = from_name(name)
    array = values.float().numpy(force=True) if name == "bfloat16" else values.numpy(force=True)
    return microtrain.tensor(np.array(array), dtype=dtype, device=device)


def leaving(tensor: Any) -> Any:
    """microtrain's tensor as PyTorch's."""
    import torch
    array = tensor.detach().cpu().numpy()
    dtype = getattr(torch, tensor.dtype.name)
    return torch.tensor(array.astype(np.float32) if tensor.dtype.name == "bfloat16" else array, dtype=dtype)
