"""Losses over classes, and one-hot vectors.

The target's log probability is selected by comparing class numbers with the target, not by a gather: the comparison is
elementwise, so logits, selection and loss fuse into one kernel, and so does its derivative.
"""

from __future__ import annotations

import math

from ..arguments import is_int, is_number, refused
from ..graph.dtypes import TITLES
from ..tensor import Tensor, arange, int64, nn_ops, uint8, where
from ..tensor.operands import floats_only, no_tensor, node_of
from .elementwise_loss import check_reduction, reduced
from .function_module import FunctionModule

__all__ = ["CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss", "one_hot"]


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
    if weight is None:
        return
    classes = input.shape[_class_dim(input)]
    if list(weight.shape) != [classes]:
        raise RuntimeError(f"weight tensor should be defined either for all {classes} classes or no classes "
                           f"but got weight tensor of shape: {list(weight.shape)}")


def _along(vector: Tensor, input: Tensor) -> Tensor:
    """A (C,) vector shaped to broadcast along the class dimension of `input`."""
    trailing = input.dim() - 1 - _class_dim(input)
    return vector.reshape(-1, *[1] * trailing) if trailing else vector


def _check_class_range(target: Tensor, classes: int, ignore_index: int) -> bool:
    """Whether the indices could be looked at; raises IndexError, naming one, if it is out of range.

    Only values that lie in the host's memory are looked at: computing them, or waiting for a GPU, would break up
    the step that is being recorded.
    """
    if not target.device.kind.native or target.node.buffer is None:
        return False
    known = target.__dict__.get("_extent")          # a data set's targets are looked at once, not at every step
    if known is None or known[0] is not target.node:
        values = target.numpy()
        known = target.__dict__["_extent"] = (target.node, values.min(initial=0), values.max(initial=0))
    if known[1] < 0 or known[2] >= classes:
        values = target.numpy()
        bad = values[((values < 0) | (values >= classes)) & (values != ignore_index)]
        if bad.size:
            raise IndexError(f"Target {bad[0]} is out of bounds.")
    return True


def _pick(log_prob: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> tuple[Tensor, Tensor]:
    """(log probability, weight) of each target, both of the target's shape; 0 and 0 where it is ignored.

    A class index that is out of range, and could not be looked at, gives NaN.
    """
    dim = _class_dim(log_prob)
    classes = log_prob.shape[dim]
    valid = target != ignore_index
    chosen = _along(arange(classes, device=log_prob.device), log_prob) == target.unsqueeze(dim)
    if 0 <= ignore_index < classes:
        chosen = chosen & valid.unsqueeze(dim)
    weighted = log_prob if weight is None else log_prob * _along(weight, log_prob)
    picked = where(chosen, weighted, 0.0).sum(dim)
    if not _check_class_range(target, classes, ignore_index):
        picked = where(valid & ((target < 0) | (target >= classes)), math.nan, picked)
    if weight is None:
        return picked, valid
    return picked, where(chosen, _along(weight, log_prob), 0.0).sum(dim)


def _averaged(total: Tensor, counted: Tensor, reduction: str) -> Tensor:
    """Minus a log probability, reduced; "mean" divides by the weights that count. 0 - x is never -0."""
    if reduction == "mean":
        return 0 - total.sum() / counted.sum()
    return 0 - (total.sum() if reduction == "sum" else total)


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
    check_reduction(reduction)
    _check_class_indices(input, target, weight)
    floats_only(input.node, "nll_loss")
    picked, counted = _pick(nn_ops.flat(input), target, weight, ignore_index)
    return _averaged(picked, counted, reduction)


def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of `softmax(input)` against class indices or class probabilities.

    Args:
        input: logits, (C,) or (N, C) or (N, C, d1, ...).
        target: class indices as in `nll_loss`, or probabilities of the input's shape.
        weight, ignore_index, reduction: as in `nll_loss`.
        label_smoothing: the share of the target spread evenly over the classes (Szegedy et al., 2016).

    Raises:
        As `nll_loss`; RuntimeError: smoothing outside [0, 1].
    """
    check_reduction(reduction)
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
    dim = _class_dim(input)
    log_prob = input.log_softmax(dim)
    picked, counted = _pick(log_prob, target, weight, ignore_index)
    if label_smoothing > 0:
        spread = log_prob if weight is None else log_prob * _along(weight, log_prob)
        even = where(target != ignore_index, spread.sum(dim), 0.0)
        picked = picked * (1 - label_smoothing) + even * (label_smoothing / input.shape[dim])
    return _averaged(picked, counted, reduction)


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
    classes = input.shape[dim]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    weighted = target if weight is None else target * _along(weight, input)
    loss = -(input.log_softmax(dim) * weighted).sum(dim)
    if reduction == "mean":
        return loss.sum() / math.prod(loss.shape)
    return reduced(loss, reduction)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Class indices of any shape to int64 vectors: 1 at the index, 0 elsewhere, in a new last dimension.

    `num_classes` is the length of the vectors; -1: one more than the largest index. Raises RuntimeError for another
    dtype, an index negative or too large, nothing to infer the classes from.
    """
    if TITLES[tensor.dtype.name] != "Long":
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if math.prod(tensor.shape) == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    else:
        smallest, largest = int(tensor.min()), int(tensor.max())
        if smallest < 0:
            raise RuntimeError("Class values must be non-negative.")
        if num_classes == -1:
            num_classes = largest + 1
        if largest >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    return (tensor.unsqueeze(-1) == arange(num_classes, device=tensor.device)).long()


class NLLLoss(FunctionModule, function=nll_loss): ...
class CrossEntropyLoss(FunctionModule, function=cross_entropy): ...
