"""Losses that compare input and target element by element.

Each ends in `reduction`: "mean" over all elements, "sum" or "none"; ValueError for another, TypeError for no text.
"""

from __future__ import annotations

import warnings

from ..tensor import Tensor, broadcast_shapes, nn_ops, where
from ..tensor.operands import floats_only, no_tensor, node_of
from .function_module import FunctionModule

__all__ = ["BCELoss", "BCEWithLogitsLoss", "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss",
           "SmoothL1Loss", "SoftMarginLoss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
           "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "mse_loss", "smooth_l1_loss", "soft_margin_loss"]


def check_reduction(reduction: str) -> None:
    """Raises ValueError (TypeError for no text) unless `reduction` is "none", "mean" or "sum"."""
    if type(reduction) is not str:
        raise TypeError(f"argument 'reduction' must be str, not {type(reduction).__name__}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """`loss` itself, its mean or its sum."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def _difference(name: str, input: Tensor, target: Tensor, stacklevel: int = 4) -> Tensor:
    """input - target, a bool beside another dtype counted as 0 or 1.

    Warns of shapes that differ; `stacklevel` is the caller's caller's, a guard between them counted.
    """
    try:
        one, other = input.node.spec, target.node.spec
    except AttributeError:
        raise no_tensor(name, input=input, target=target) from None
    if one.shape != other.shape:
        warnings.warn(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
                      "This will likely lead to incorrect results due to broadcasting. "
                      "Please ensure they have the same size.", stacklevel=stacklevel)
    if one.dtype is not other.dtype and 0 in (one.dtype.category, other.dtype.category):
        input, target = (input.to(other.dtype), target) if one.dtype.category == 0 else (input, target.to(one.dtype))
    return input - target


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(input - target)², reduced.

    Args:
        input: any floating shape.
        target: the same shape (PyTorch's warning, and broadcasting, if not; RuntimeError if they do not broadcast).
        reduction: "mean" is over the sum of `weight` if given.
        weight: a factor for each element, of the input's shape.
    """
    check_reduction(reduction)
    return _weighted("mse_loss", nn_ops.squared_error(_difference("mse_loss", input, target, 3)), weight, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target|, reduced; the derivative where they are equal is 0. Arguments and errors: as `mse_loss`."""
    check_reduction(reduction)
    return _weighted("l1_loss", _difference("l1_loss", input, target).abs(), weight, reduction)


def _weighted(name: str, loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduced(loss, reduction)
    node_of(weight, name, "weight")
    if weight.shape != loss.shape:
        raise ValueError("Inputs and weight must have the same size.")
    total = loss * weight
    return total.sum() / weight.sum() if reduction == "mean" else reduced(total, reduction)


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, *,
                         reduction: str = "mean") -> Tensor:
    """-(target log(input) + (1-target) log(1-input)), logarithms floored at -100, weighted and reduced.

    Args:
        input: probabilities in [0, 1], any shape. On the cpu device one outside raises RuntimeError when the loss is
            computed; on a GPU it gives NaN, as looking would mean waiting.
        target: probabilities of the same shape (else ValueError) and dtype (else RuntimeError).
        weight: a factor for each element, broadcast to the input's shape.
    """
    check_reduction(reduction)
    if input.shape != target.shape:
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) "
                         "is deprecated. Please ensure they have the same size.")
    if input.dtype != target.dtype:
        raise RuntimeError(f"binary_cross_entropy: input has dtype {input.dtype} but target has {target.dtype}; "
                           "cast the target with target.to(input.dtype)")
    loss = nn_ops.binary_cross_entropy(input, target)
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None, *,
                                     reduction: str = "mean", pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy of `sigmoid(input)`, computed from the logits so that nothing overflows.

    (1-t) x + softplus(-x), with softplus(-x) times 1 + (pos_weight-1) t: neither term cancels the other.

    Args:
        input: logits, any shape.
        target: probabilities of the same shape (else ValueError).
        weight: a factor for each element, broadcast to the input's shape.
        pos_weight: a factor for the positive part, broadcast likewise.
    """
    check_reduction(reduction)
    try:
        one, other = input.node.spec, target.node.spec
    except AttributeError:
        raise no_tensor("binary_cross_entropy_with_logits", input=input, target=target) from None
    if one.shape != other.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if weight is not None:
        node_of(weight, "binary_cross_entropy_with_logits", "weight", 3)
    if pos_weight is not None:
        node_of(pos_weight, "binary_cross_entropy_with_logits", "pos_weight", 5)
    if one.dtype is not other.dtype or one.dtype.category != 2:
        floats_only(input.node, "binary_cross_entropy_with_logits")
        target = target if other.dtype.category == 2 else target.to(one.dtype)      # in which 1 - target is negative
    if pos_weight is None and one.dtype is target.dtype:
        loss = nn_ops.binary_cross_entropy_with_logits(input, target)
    else:
        factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
        loss = (1 - target) * input + (-input).softplus() * factor
    return reduced(loss if weight is None else loss * weight, reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:
    """(input - target)² / 2 where |input - target| < delta, else delta (|input - target| - delta / 2); reduced.

    Huber, "Robust Estimation of a Location Parameter", 1964. Arguments as `mse_loss`, but "mean" is over all elements
    with weights too, as in PyTorch; RuntimeError unless delta > 0.
    """
    check_reduction(reduction)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta. Got: {delta}")
    loss = nn_ops.huber(_difference("huber_loss", input, target), float(delta))
    return reduced(loss if weight is None else _weighted("huber_loss", loss, weight, "none"), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """(input - target)² / (2 beta) where |input - target| < beta, else |input - target| - beta / 2; reduced.

    Girshick, "Fast R-CNN", 2015. With beta 0 it is `l1_loss`; RuntimeError for a negative one.
    """
    check_reduction(reduction)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta. Got: {beta}")
    difference = _difference("smooth_l1_loss", input, target)
    return reduced(nn_ops.smooth_l1(difference, float(beta)) if beta > 0 else difference.abs(), reduction)


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target (log(target) - input): the Kullback-Leibler divergence, input being *log* probabilities; reduced.

    Args:
        input: log probabilities, any shape.
        target: probabilities (where they are 0 the log term counts nothing), or their logarithms, broadcast to input's
            shape.
        reduction: "batchmean" divides the sum by the first dimension's size, which is the divergence; "mean" by the
            number of elements (with PyTorch's warning); "sum" or "none".
        log_target: whether target holds logarithms.

    Raises:
        RuntimeError: an integer or bool dtype; shapes that do not broadcast.
    """
    if reduction == "mean":
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size."
                      "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
                      "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
                      stacklevel=3)
    elif reduction != "batchmean":
        check_reduction(reduction)
    if not (input.is_floating_point() and target.is_floating_point()):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = where(target == 0, 0.0, target * target.log()) - target * input
    if reduction != "batchmean":
        return reduced(loss, reduction)
    return loss.sum() / input.shape[0] if input.dim() else loss.sum()


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1 (both added where it is neither); reduced.

    Inputs are distances, `margin` the one from which dissimilar pairs cost nothing; the shapes broadcast.
    """
    check_reduction(reduction)
    apart = where(target != 1, (margin - input).clamp_min(0), 0.0)
    return reduced(apart + where(target != -1, input, 0.0), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target input)), reduced; finite even where PyTorch's exponential overflows.

    Inputs are scores, targets 1 or -1, of a shape that broadcasts to the input's (else RuntimeError).
    """
    check_reduction(reduction)
    if input.shape != target.shape and (shape := broadcast_shapes(input.shape, target.shape)) != input.shape:
        raise RuntimeError(f"output with shape {list(input.shape)} doesn't match the broadcast shape {list(shape)}: "
                           f"the target of shape {list(target.shape)} has to broadcast to the input's")
    return reduced(nn_ops.logistic(-(target * input)), reduction)


class MSELoss(FunctionModule, function=mse_loss, options="reduction"): ...
class L1Loss(FunctionModule, function=l1_loss, options="reduction"): ...
class SmoothL1Loss(FunctionModule, function=smooth_l1_loss): ...
class KLDivLoss(FunctionModule, function=kl_div): ...
class HingeEmbeddingLoss(FunctionModule, function=hinge_embedding_loss): ...
class SoftMarginLoss(FunctionModule, function=soft_margin_loss): ...
class BCELoss(FunctionModule, function=binary_cross_entropy): ...
class BCEWithLogitsLoss(FunctionModule, function=binary_cross_entropy_with_logits): ...


class HuberLoss(FunctionModule, function=huber_loss, options="reduction delta"):
    """Half the squared error up to delta, then its tangent: `functional.huber_loss`. TypeError for a delta that is no
    number."""

    def __post_init__(self) -> None:
        if not isinstance(self.delta, int | float):
            raise TypeError(f"delta must be a float or int, got: {type(self.delta)}")
