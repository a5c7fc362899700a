"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor, zeros_like
from .optimizer import Numbers, Optimizer, ParamGroup, State, check_at_least_zero, check_implementation, check_lr, rate


class Adam(Optimizer):
    """p -= lr m̂ / (sqrt(v̂) + eps), m and v running means of the gradient and its square (Kingma & Ba, 2015).

    Args:
        params: tensors or groups.
        lr: step size, >= 0 (or ValueError, as for what follows); a tensor of one element may be changed in place.
        betas: decay rates of m and v, each in [0, 1).
        eps: >= 0, added to the root.
        weight_decay: >= 0; times the parameter, added to the gradient (to the step in AdamW).
        amsgrad: divide by the largest v so far (Reddi et al., 2018).
        maximize: ascend instead.
        foreach, capturable, fused: accepted; all updates are fused.
        differentiable: False, or NotImplementedError.
    """

    _like_params = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _needed = ("step", "exp_avg", "exp_avg_sq")
    _given = ("lr", "betas", "eps", "weight_decay")
    _decoupled_weight_decay = False

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None) -> None:
        check_lr(lr)
        check_at_least_zero("epsilon value", eps)
        if not isinstance(betas, tuple | list) or len(betas) != 2 or any(isinstance(beta, str) for beta in betas):
            raise ValueError(f"Invalid betas: expected a pair of numbers, got {betas!r}")
        for position, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"Invalid beta parameter at index {position}: {beta}")
        check_at_least_zero("weight_decay value", weight_decay)
        check_implementation(foreach, differentiable, fused)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                    "maximize": maximize, "foreach": foreach, "capturable": capturable,
                    "differentiable": differentiable, "fused": fused}
        super().__init__(params, defaults)

    def _numbers(self, group: ParamGroup, count: int) -> Numbers:
        beta1, beta2 = group["betas"]
        lr, decay, step = rate(group["lr"]), group["weight_decay"], count + 1
        # The bias corrections are numbers of the host: they reach the kernel as scalars, not as new code.
        return (beta1, 1 - beta1, beta2, 1 - beta2, 1 - lr * decay if self._decoupled_weight_decay else decay,
                lr / (1 - beta1 ** step), 1 / math.sqrt(1 - beta2 ** step), group["eps"])

    def _update(self, param: Tensor, grad: Tensor, group: ParamGroup, state: State,
                numbers: Numbers) -> tuple[Tensor, State]:
        beta1, rest1, beta2, rest2, decay, lr, root_correction, eps = numbers
        if not state:
            state = {"step": 0, "exp_avg": zeros_like(param), "exp_avg_sq": zeros_like(param)}
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = zeros_like(param)
        step = state["step"] + 1
        direction = -grad if group["maximize"] else grad
        value = param
        if group["weight_decay"] != 0:
            if self._decoupled_weight_decay:
                value = param * decay
            else:
                direction = direction + param * decay
        mean = state["exp_avg"] * beta1 + direction * rest1
        square = state["exp_avg_sq"] * beta2 + direction * direction * rest2
        state = {"step": step, "exp_avg": mean, "exp_avg_sq": square} | (
            {"max_exp_avg_sq": state["max_exp_avg_sq"].maximum(square)} if group["amsgrad"] else {})
        denominator = state.get("max_exp_avg_sq", square).sqrt() * root_correction + eps
        return value - mean / denominator * lr, state


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself: p *= 1 - lr weight_decay (Loshchilov & Hutter, 2019). Args
    and errors: as `Adam`; `weight_decay` is 0.01 unless given."""

    _decoupled_weight_decay = True

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, **options: Any) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)
