"""Learning rates that change from epoch to epoch: call ``step()`` once an epoch, after the optimizer's."""

from __future__ import annotations

import math as _math
from collections.abc import Callable, Sequence
from typing import Any

from microtrain.arguments import tidy as _tidy
from microtrain.optim.optimizer import Optimizer


class LRScheduler:
    """Base: keeps each group's first learning rate and sets ``group["lr"]`` from the epoch number.

    Args:
        optimizer: the optimizer whose groups are changed.
        last_epoch: -1 to begin; else the epoch after which to resume (the groups hold ``"initial_lr"`` then).

    Raises:
        TypeError: not an Optimizer.
        KeyError: resuming without ``"initial_lr"`` in the groups.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    "param 'initial_lr' is not specified in "
                    f"param_groups[{number}] when resuming an optimizer"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def get_lr(self) -> list[float]:
        """The groups' rates for ``self.last_epoch``, from the rates they have now."""
        raise NotImplementedError(f"{type(self).__name__} has no rule for the learning rate")

    def get_last_lr(self) -> list[float]:
        """The groups' rates as last set."""
        return self._last_lr

    def step(self) -> None:
        """Moves to the next epoch and sets the groups' rates."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave."""
        vars(self).update({key: value for key, value in state_dict.items() if key != "optimizer"})

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]


class StepLR(LRScheduler):
    """Multiplies the rate by ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rates now, times gamma where a step ends."""
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if due else lr for lr in self._rates()]


class CosineAnnealingLR(LRScheduler):
    """From the first rate down to ``eta_min`` along half a cosine of ``T_max`` epochs, and up again after it.

    eta_min + (base - eta_min) (1 + cos(pi epoch / T_max)) / 2 (Loshchilov & Hutter, 2017, without restarts),
    computed from the previous rate as PyTorch does, so that it can be chained with other schedulers.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return 1 + _math.cos(_math.pi * epoch / self.T_max)

    def get_lr(self) -> list[float]:
        """The rates now, moved one epoch along the cosine."""
        if self.last_epoch == 0:
            return self._rates()
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The cosine just touched eta_min: the ratio of heights is 0/0 there.
            rise = (1 - _math.cos(_math.pi / self.T_max)) / 2
            return [
                lr + (base - self.eta_min) * rise
                for lr, base in zip(self._rates(), self.base_lrs, strict=True)
            ]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [ratio * (lr - self.eta_min) + self.eta_min for lr in self._rates()]


class LambdaLR(LRScheduler):
    """The first rate times ``lr_lambda(epoch)``.

    Args:
        optimizer: the optimizer.
        lr_lambda: one function of the epoch, or one for each group.
        last_epoch: as in :class:`LRScheduler`.

    Raises:
        ValueError: the number of functions is not the number of groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The first rates times the functions' values."""
        return [
            base * factor(self.last_epoch)
            for factor, base in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]

_tidy(globals())
