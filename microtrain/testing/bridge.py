"""A microtrain function as a PyTorch function: PyTorch's own `gradcheck`, or a PyTorch training loop, can call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import microtrain

from .running import Library, dtype_name, listed


def as_torch(fn: Callable[..., Any], device: str | None = None) -> Callable[..., Any]:
    """A function of PyTorch tensors on the CPU that runs `fn` in microtrain, on the default device or another.

    It can be differentiated as often as `fn` can: the derivative of what it computes is again such a function, the
    vector-Jacobian product that microtrain records. Each backward computes the forward anew. Arguments that are no
    tensors are handed on; `fn` gives a Tensor or a tuple of them.
    """
    import torch
    ours, theirs = Library(microtrain, device), Library(torch)

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            tensors = [one if isinstance(one, torch.Tensor) else None for one in arguments]
            ctx.save_for_backward(*tensors)
            ctx.others = [None if isinstance(one, torch.Tensor) else one for one in arguments]
            with microtrain.no_grad():
                results = listed(fn(*(one if tensor is None else ours.tensor(theirs.array(tensor), dtype_name(tensor))
                                      for one, tensor in zip(arguments, tensors, strict=True))))
            ctx.live = [i for i, result in enumerate(results) if result.dtype.is_floating_point]
            outputs = tuple(theirs.tensor(ours.array(result), dtype_name(result)) for result in results)
            ctx.mark_non_differentiable(*[out for i, out in enumerate(outputs) if i not in ctx.live])
            return outputs if len(outputs) > 1 else outputs[0]

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            arguments = [other if saved is None else saved
                         for other, saved in zip(ctx.others, ctx.saved_tensors, strict=True)]
            wanted = [i for i, needs in enumerate(ctx.needs_input_grad) if needs]
            product = as_torch(vector_jacobian_product(fn, len(arguments), wanted, ctx.live), device)
            found = iter(listed(product(*arguments, *[cotangents[i] for i in ctx.live])))
            return tuple(next(found) if needs else None for needs in ctx.needs_input_grad)

    return Bridge.apply


def vector_jacobian_product(fn: Callable[..., Any], count: int, wanted: list[int],
                            live: list[int]) -> Callable[..., Any]:
    """Of the `count` arguments of `fn` and the cotangents of its results `live`: the gradients of arguments `wanted`.

    Where nothing depends on an argument, zeros.
    """
    def product(*arguments: Any) -> Any:
        inputs, cotangents = list(arguments[:count]), arguments[count:]
        with microtrain.enable_grad():
            for i in wanted:
                inputs[i] = inputs[i] if inputs[i].requires_grad else inputs[i].detach().requires_grad_()
            results = listed(fn(*inputs))
            pairs = [(results[i], ct) for i, ct in zip(live, cotangents, strict=True) if results[i].requires_grad]
            sources = [inputs[i] for i in wanted]
            if not pairs:
                return tuple(microtrain.zeros_like(source) for source in sources)
            return microtrain.autograd.grad([y for y, _ in pairs], sources, [ct for _, ct in pairs],
                                            create_graph=True, materialize_grads=True)
    return product
