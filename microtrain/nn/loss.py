"""Losses as modules: each holds its options and calls the function of the same meaning in nn.functional."""

from __future__ import annotations

from dataclasses import field

from ..tensor import Tensor
from . import functional
from .function_module import FunctionModule, options
from .module import Module


class _Pairwise(FunctionModule):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape to a scalar, or to that shape if not reduced."""
        return self._applied(input, target)


@options
class _Loss(_Pairwise):
    reduction: str = field(default="mean", kw_only=True)


class MSELoss(_Loss, function=functional.mse_loss):
    """Mean squared error; see `functional.mse_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss, function=functional.l1_loss):
    """Mean absolute error; see `functional.l1_loss`."""


class SmoothL1Loss(_Loss, function=functional.smooth_l1_loss):
    """Huber's loss over beta; see `functional.smooth_l1_loss`."""

    beta: float = field(default=1.0, kw_only=True)


class HuberLoss(_Pairwise, function=functional.huber_loss):
    """Half the squared error up to delta, then its tangent; see `functional.huber_loss`.

    Raises:
        TypeError: delta is not a number.
    """

    reduction: str = "mean"
    delta: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.delta, int | float):
            raise TypeError(f"delta must be a float or int, got: {type(self.delta)}")


class KLDivLoss(_Loss, function=functional.kl_div):
    """Kullback-Leibler divergence from log probabilities; see `functional.kl_div`."""

    log_target: bool = field(default=False, kw_only=True)


class HingeEmbeddingLoss(_Loss, function=functional.hinge_embedding_loss):
    """Distances of pairs that are alike (1) or not (-1); see `functional.hinge_embedding_loss`."""

    margin: float = 1.0


class SoftMarginLoss(_Loss, function=functional.soft_margin_loss):
    """Logistic loss of scores with targets 1 and -1; see `functional.soft_margin_loss`."""


class _WeightedLoss(Module):
    """Holds `weight` as a buffer, so that it moves with the module."""

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction
        self.register_buffer("weight", weight)


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities; see `functional.binary_cross_entropy`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Probabilities and targets of one shape to a scalar, or to that shape if not reduced."""
        return functional.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of logits; see `functional.binary_cross_entropy_with_logits`."""

    pos_weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean",
                 pos_weight: Tensor | None = None) -> None:
        super().__init__(weight, reduction=reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits and targets of one shape to a scalar, or to that shape if not reduced."""
        return functional.binary_cross_entropy_with_logits(input, target, self.weight, pos_weight=self.pos_weight,
                                                           reduction=self.reduction)


class NLLLoss(_WeightedLoss):
    """Negative log likelihood of class indices; see `functional.nll_loss`."""

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Log probabilities (N, C, ...) and class indices (N, ...) to a scalar, or (N, ...) if not reduced."""
        return functional.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(_WeightedLoss):
    """Cross entropy of logits; see `functional.cross_entropy`."""

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0) -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits (N, C, ...) and class indices (N, ...) or probabilities (N, C, ...) to a scalar."""
        return functional.cross_entropy(input, target, self.weight, ignore_index=self.ignore_index,
                                        reduction=self.reduction, label_smoothing=self.label_smoothing)
