"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Numbers, Optimizer, ParamGroup, State, check_at_least_zero, check_implementation, check_lr, rate


class SGD(Optimizer):
    """p -= lr d, with d the gradient (plus weight_decay p), or its running sum with momentum.

    The running sum is b = momentum b + (1 - dampening) g, starting at the first g; nesterov steps along
    g + momentum b (Sutskever et al., 2013, in PyTorch's form, where lr multiplies the sum).

    Args:
        params: tensors or groups.
        lr: step size, >= 0 (or ValueError, as for what follows); a tensor of one element may be changed in place.
        momentum, dampening, weight_decay: >= 0, of no unit.
        nesterov: needs a momentum and no dampening.
        maximize: ascend instead.
        foreach, fused: accepted; all updates are fused.
        differentiable: False, or NotImplementedError.
    """

    _like_params = ("momentum_buffer",)
    _given = ("lr", "momentum", "dampening", "weight_decay")

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None) -> None:
        check_lr(lr)
        check_at_least_zero("momentum value", momentum)
        check_at_least_zero("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_implementation(foreach, differentiable, fused)
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                    "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable": differentiable,
                    "fused": fused}
        super().__init__(params, defaults)

    def _numbers(self, group: ParamGroup, count: int) -> Numbers:
        return rate(group["lr"]), group["momentum"], 1 - group["dampening"], group["weight_decay"]

    def _update(self, param: Tensor, grad: Tensor, group: ParamGroup, state: State,
                numbers: Numbers) -> tuple[Tensor, State]:
        lr, momentum, undamped, decay = numbers
        direction = -grad if group["maximize"] else grad
        if group["weight_decay"] != 0:
            direction = direction + param * decay
        if group["momentum"] != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                # A copy: the next backward accumulates into the gradient itself, in place.
                buffer = direction.detach().clone()
            else:
                buffer = buffer * momentum + (direction * undamped if group["dampening"] != 0 else direction)
            state = {"momentum_buffer": buffer}
            direction = direction + buffer * momentum if group["nesterov"] else buffer
        return param - direction * lr, state
