"""Losses: of input and target element by element, and over classes; and one-hot vectors.

Each ends in `reduction`: "mean" over all elements, "sum" or "none"; ValueError for another, TypeError for no text. A
target's log probability is selected by comparing class numbers with the target, not by a gather: the comparison is
elementwise, so logits, selection and loss fuse into one kernel, and so does its derivative.
"""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np

from ..arguments import is_int, is_number, refused
from ..graph.dtypes import TITLES
from ..tensor import Tensor, arange, broadcast_shapes, int64, nn_ops, uint8, where
from ..tensor.host import answered, recorded
from ..tensor.operands import floats_only, no_tensor, node_of
from .function_module import FunctionModule
from .linear import along_channels

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss",
           "MSELoss", "NLLLoss", "SmoothL1Loss", "SoftMarginLoss", "binary_cross_entropy",
           "binary_cross_entropy_with_logits", "cross_entropy", "hinge_embedding_loss", "huber_loss", "kl_div",
           "l1_loss", "mse_loss", "nll_loss", "one_hot", "smooth_l1_loss", "soft_margin_loss"]


def _check_reduction(reduction: str) -> None:
    """Raises ValueError (TypeError for no text) unless `reduction` is "none", "mean" or "sum"."""
    if type(reduction) is not str:
        raise TypeError(f"argument 'reduction' must be str, not {type(reduction).__name__}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    """`loss` itself, its mean or its sum; else as `_check_reduction`."""
    if reduction == "mean":
        return loss.mean()
    _check_reduction(reduction)
    return loss.sum() if reduction == "sum" else loss


def _difference(name: str, input: Tensor, target: Tensor, stacklevel: int = 4) -> Tensor:
    """input - target, a bool beside another dtype counted as 0 or 1. Warns of shapes that differ; `stacklevel` is the
    caller's caller's, a guard between them counted."""
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
    """(input - target)², reduced. `target` has the input's shape (PyTorch's warning, and broadcasting, if not;
    RuntimeError if they do not broadcast), and so has `weight`, a factor for each element (ValueError if not); "mean"
    is over its sum then."""
    return _weighted("mse_loss", nn_ops.squared_error(_difference("mse_loss", input, target, 3)), weight, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target|, reduced; the derivative where they are equal is 0. Arguments and errors: as `mse_loss`."""
    return _weighted("l1_loss", _difference("l1_loss", input, target).abs(), weight, reduction)


def _weighted(name: str, loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return _reduced(loss, reduction)
    node_of(weight, name, "weight")
    if weight.shape != loss.shape:
        raise ValueError("Inputs and weight must have the same size.")
    total = loss * weight
    return total.sum() / weight.sum() if reduction == "mean" else _reduced(total, reduction)


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, *,
                         reduction: str = "mean") -> Tensor:
    """-(target log(input) + (1-target) log(1-input)), logarithms floored at -100, weighted and reduced.

    Args:
        input: probabilities in [0, 1], any shape. On the cpu device one outside raises RuntimeError when the loss is
            computed; on a GPU it gives NaN, as looking would mean waiting.
        target: probabilities of the same shape (else ValueError) and dtype (else RuntimeError).
        weight: a factor for each element, broadcast to the input's shape.
    """
    if input.shape != target.shape:
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) "
                         "is deprecated. Please ensure they have the same size.")
    if input.dtype != target.dtype:
        raise RuntimeError(f"binary_cross_entropy: input has dtype {input.dtype} but target has {target.dtype}; "
                           "cast the target with target.to(input.dtype)")
    loss = nn_ops.binary_cross_entropy(input, target)
    return _reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None, *,
                                     reduction: str = "mean", pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy of `sigmoid(input)`, computed from the logits so that nothing overflows. (1-t) x +
    softplus(-x), with softplus(-x) times 1 + (pos_weight-1) t: neither term cancels the other. `target` holds
    probabilities, of the input's shape (else ValueError); `weight`, a factor for each element, and `pos_weight`, one
    for the positive part, are broadcast to it."""
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
    return _reduced(loss if weight is None else loss * weight, reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:
    """(input - target)² / 2 where |input - target| < delta, else delta (|input - target| - delta / 2); reduced. Huber,
    "Robust Estimation of a Location Parameter", 1964. Arguments as `mse_loss`, but "mean" is over all elements with
    weights too, as in PyTorch; RuntimeError unless delta > 0."""
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta. Got: {delta}")
    loss = nn_ops.huber(_difference("huber_loss", input, target), float(delta))
    return _reduced(loss if weight is None else _weighted("huber_loss", loss, weight, "none"), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """(input - target)² / (2 beta) where |input - target| < beta, else |input - target| - beta / 2; reduced. Girshick,
    "Fast R-CNN", 2015. With beta 0 it is `l1_loss`; RuntimeError for a negative one."""
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta. Got: {beta}")
    difference = _difference("smooth_l1_loss", input, target)
    return _reduced(nn_ops.smooth_l1(difference, float(beta)) if beta > 0 else difference.abs(), reduction)


def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target (log(target) - input): the Kullback-Leibler divergence, input being *log* probabilities; reduced.

    Args:
        input: log probabilities, any shape.
        target: probabilities (where they are 0 the log term counts nothing), or their logarithms, broadcast to input's
            shape.
        reduction: "batchmean" divides the sum by the first dimension's size, which is the divergence; "mean" by the
            number of elements (with PyTorch's warning); "sum" or "none".
        log_target: whether target holds logarithms.  RuntimeError for an integer or bool dtype.
    """
    if reduction == "mean":
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size."
                      "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
                      "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
                      stacklevel=3)
    if not (input.is_floating_point() and target.is_floating_point()):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = where(target == 0, 0.0, target * target.log()) - target * input
    if reduction != "batchmean":
        return _reduced(loss, reduction)
    return loss.sum() / input.shape[0] if input.dim() else loss.sum()


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1 (both added where it is neither); reduced. Inputs
    are distances, `margin` the one from which dissimilar pairs cost nothing; the shapes broadcast."""
    apart = where(target != 1, (margin - input).clamp_min(0), 0.0)
    return _reduced(apart + where(target != -1, input, 0.0), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target input)), reduced; finite even where PyTorch's exponential overflows. Inputs are scores,
    targets 1 or -1, of a shape that broadcasts to the input's (else RuntimeError)."""
    if input.shape != target.shape and (shape := broadcast_shapes(input.shape, target.shape)) != input.shape:
        raise RuntimeError(f"output with shape {list(input.shape)} doesn't match the broadcast shape {list(shape)}: "
                           f"the target of shape {list(target.shape)} has to broadcast to the input's")
    return _reduced(nn_ops.logistic(-(target * input)), reduction)


def _class_dim(input: Tensor) -> int:
    """(C,) has its classes in dimension 0; (N, C, ...) in dimension 1."""
    return 0 if input.dim() == 1 else 1


def _check_class_indices(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    shape, indices = input.shape, target.shape
    if not shape:
        raise RuntimeError("input tensor should be 1D or 2D")
    if len(shape) == 1 and indices:
        raise ValueError(f"For a 1D input (classes {shape[0]}) the target should be a 0D class index, "
                         f"but got target of shape {indices}")
    if len(shape) > 1 and (not indices or shape[0] != indices[0]):
        batch = indices[0] if indices else 1
        raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({batch}).")
    if len(shape) <= 2 and len(indices) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if len(shape) > 2 and indices != (shape[0], *shape[2:]):
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {list(indices)}")
    if target.dtype not in (int64, uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {TITLES[target.dtype.name]}")
    _check_weight(input, weight)
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(f"expected scalar type {TITLES[input.dtype.name]} but found {TITLES[weight.dtype.name]}: "
                           "the classes' weights must have the input's dtype")


def _check_weight(input: Tensor, weight: Tensor | None) -> None:
    classes = input.shape[_class_dim(input)]
    if weight is not None and list(weight.shape) != [classes]:
        raise RuntimeError(f"weight tensor should be defined either for all {classes} classes or no classes "
                           f"but got weight tensor of shape: {list(weight.shape)}")


def _check_class_range(target: Tensor, classes: int, ignore_index: int) -> bool:
    """Whether the indices could be looked at; raises IndexError, naming one, if it is out of range. Only values that
    lie in the host's memory are looked at: computing them, or waiting for a GPU, would break up the step that is being
    recorded."""
    if not target.device.kind.native or target.node.buffer is None:
        return False
    known = target.__dict__.get("_looked_at")       # a data set's targets are looked at once, not at every step
    asked = (target.node.buffer, classes, ignore_index)
    if known is None or known[0] is not asked[0] or known[1:] != asked[1:] or recorded():
        bad = answered(target.node, partial(_no_class, classes, ignore_index))
        if bad is not None:
            raise IndexError(f"Target {bad} is out of bounds.")
        target.__dict__["_looked_at"] = asked
    return True


def _no_class(classes: int, ignore_index: int, indices: np.ndarray) -> int | None:
    """The first of some indices that is no class, unless it is `ignore_index`."""
    if indices.min(initial=0) >= 0 and indices.max(initial=0) < classes:
        return None
    bad = indices[((indices < 0) | (indices >= classes)) & (indices != ignore_index)]
    return int(bad[0]) if bad.size else None


def _reduced_pick(log_prob: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
                  label_smoothing: float = 0.0) -> Tensor:
    """Minus the log probability of each target that is not ignored; "mean" divides by the weights that count. A class
    index that is out of range, and could not be looked at, gives NaN."""
    dim = _class_dim(log_prob)
    classes = log_prob.shape[dim]
    valid = target != ignore_index
    chosen = along_channels(arange(classes, device=log_prob.device), log_prob) == target.unsqueeze(dim)
    if 0 <= ignore_index < classes:
        chosen = chosen & valid.unsqueeze(dim)
    by_class = None if weight is None else along_channels(weight, log_prob)
    weighted = log_prob if by_class is None else log_prob * by_class
    picked = where(chosen, weighted, 0.0).sum(dim)
    if not _check_class_range(target, classes, ignore_index):
        picked = where(valid & ((target < 0) | (target >= classes)), math.nan, picked)
    if label_smoothing > 0:
        even = where(valid, weighted.sum(dim), 0.0)
        picked = picked * (1 - label_smoothing) + even * (label_smoothing / classes)
    if reduction != "mean":
        return 0 - _reduced(picked, reduction)       # which is never -0
    counted = valid if by_class is None else where(chosen, by_class, 0.0).sum(dim)
    return 0 - picked.sum() / counted.sum()


def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100,
             reduction: str = "mean") -> Tensor:
    """Minus the log probability of the target class, weighted by class and reduced.

    Args:
        input: log probabilities, (C,) or (N, C) or (N, C, d1, ...).
        target: class indices 0..C-1, int64 or uint8, () or (N,) or (N, d1, ...).
        weight: (C,), a factor for each class.
        ignore_index: targets of this value count for nothing.
        reduction: "mean" (over the weights of the targets that count), "sum" or "none".

    Raises:
        ValueError: batch sizes that differ; an unknown reduction.  RuntimeError: other shapes, the target's dtype.
        IndexError: a class index out of range (on a GPU: NaN).
    """
    _check_reduction(reduction)
    _check_class_indices(input, target, weight)
    floats_only(input.node, "nll_loss")
    return _reduced_pick(nn_ops.flat(input), target, weight, ignore_index, reduction)


def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of `softmax(input)` against class indices or class probabilities.

    Args:
        input: logits, (C,) or (N, C) or (N, C, d1, ...).
        target: class indices as in `nll_loss`, or probabilities of the input's shape.
        weight, ignore_index, reduction: as in `nll_loss`, and so the errors.
        label_smoothing: the share of the target spread evenly over the classes (Szegedy et al., 2016), in [0, 1].
    """
    _check_reduction(reduction)
    try:
        one, other = input.node.spec.shape, target.node.spec.shape
    except AttributeError:
        raise no_tensor("cross_entropy", input=input, target=target) from None
    if label_smoothing.__class__ is not float and not is_number(label_smoothing):
        raise refused("cross_entropy", "label_smoothing", None, ("float",), label_smoothing)
    if ignore_index.__class__ is not int and not is_int(ignore_index):
        raise refused("cross_entropy", "ignore_index", None, ("int",), ignore_index)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if weight is not None:
        node_of(weight, "cross_entropy", "weight", 3)
    if one == other:
        return _soft_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    _check_class_indices(input, target, weight)
    if input.dim() == 2 and weight is None and label_smoothing == 0:
        _check_class_range(target, input.shape[1], ignore_index)
        classes = target if target.dtype is int64 else target.long()
        return nn_ops.cross_entropy(input, classes, ignore_index, reduction)
    log_prob = input.log_softmax(_class_dim(input))
    return _reduced_pick(log_prob, target, weight, ignore_index, reduction, label_smoothing)


def _soft_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
                        label_smoothing: float) -> Tensor:
    """-sum over classes of target log softmax(input); "mean" is over everything but the classes."""
    if not target.is_floating_point():
        raise RuntimeError("Expected floating point type for target with class probabilities, got "
                           f"{TITLES[target.dtype.name]}")
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    _check_weight(input, weight)
    dim = _class_dim(input)
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[dim]
    weighted = target if weight is None else target * along_channels(weight, input)
    loss = -(input.log_softmax(dim) * weighted).sum(dim)
    return loss.sum() / math.prod(loss.shape) if reduction == "mean" else _reduced(loss, reduction)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Class indices of any shape to int64 vectors: 1 at the index, 0 elsewhere, in a new last dimension. `num_classes`
    is the length of the vectors; -1: one more than the largest index. RuntimeError for another dtype, an index negative
    or too large, nothing to infer the classes from."""
    if tensor.dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    found = answered(tensor.node, partial(_classes, num_classes))
    if isinstance(found, str):
        raise RuntimeError(found)
    num_classes = num_classes if found is None else found
    return (tensor.unsqueeze(-1) == arange(num_classes, device=tensor.device)).long()


def _classes(wanted: int, indices: np.ndarray) -> int | str | None:
    """What is wrong with indices of so many classes; how many those are, where -1 are wanted; else None."""
    if not indices.size:
        return "Can not infer total number of classes from empty tensor." if wanted <= 0 else None
    if indices.min() < 0:
        return "Class values must be non-negative."
    if wanted != -1 and indices.max() >= wanted:
        return "Class values must be smaller than num_classes."
    return int(indices.max()) + 1 if wanted == -1 else None


class MSELoss(FunctionModule, function=mse_loss, options="reduction"): ...
class L1Loss(FunctionModule, function=l1_loss, options="reduction"): ...
class SmoothL1Loss(FunctionModule, function=smooth_l1_loss): ...
class KLDivLoss(FunctionModule, function=kl_div): ...
class HingeEmbeddingLoss(FunctionModule, function=hinge_embedding_loss): ...
class SoftMarginLoss(FunctionModule, function=soft_margin_loss): ...
class BCELoss(FunctionModule, function=binary_cross_entropy): ...
class BCEWithLogitsLoss(FunctionModule, function=binary_cross_entropy_with_logits): ...
class NLLLoss(FunctionModule, function=nll_loss): ...
class CrossEntropyLoss(FunctionModule, function=cross_entropy): ...


class HuberLoss(FunctionModule, function=huber_loss, options="reduction delta"):
    """Half the squared error up to delta, then its tangent: `functional.huber_loss`. TypeError for a delta that is no
    number."""

    def __post_init__(self) -> None:
        if not isinstance(self.delta, int | float):
            raise TypeError(f"delta must be a float or int, got: {type(self.delta)}")
