"""Learning rates that change from epoch to epoch: call `step()` once an epoch, after the optimizer's."""

from __future__ import annotations

import math as _math
import types as _types
import warnings as _warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..arguments import tidy as _tidy
from ..scopes import finish as _finish
from ..tensor import Tensor
from .optimizer import Optimizer

Rate = Any
"""A number, or the 1-element tensor that a group has as its rate."""

MORE = "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
TOO_EARLY = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call "
    "them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in "
    "PyTorch skipping the first value of the learning rate schedule. " + MORE
)
OVERRIDDEN = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make sure "
    "to call `optimizer.step()` before `lr_scheduler.step()`. " + MORE
)
WITH_EPOCH = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed "
    "form is used instead of the new chainable form, where available."
)
NOT_SAVED = ("optimizer", "_own_step")


class LRScheduler:
    """Base: keeps each group's first learning rate and sets `group["lr"]` from the epoch number. A rate that is a
    tensor is changed in place; what is told or saved is a copy. `last_epoch` is -1 to begin, else the epoch after which
    to resume; KeyError if no group has an `"initial_lr"` then."""

    _is_initial = False
    _get_lr_called_within_step = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self._own_step = vars(optimizer).get("step")
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{number}] when resuming scheduler "
                               "with last_epoch >= 0: load the state of the optimizer that was scheduled before")
        self.base_lrs = [_copied(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[Rate]:
        """The groups' rates for `self.last_epoch`, from the rates they have now; called by `step`."""
        raise NotImplementedError(f"{type(self).__name__} has no rule for the learning rate")

    def get_last_lr(self) -> list[Rate]:
        """The groups' rates as last set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Moves to the next epoch and sets the groups' rates; warns where the optimizer has made no step yet. `epoch`
        is one to move to instead (deprecated), by the rule's closed form where it has one."""
        optimizer = self.optimizer
        own_step = vars(optimizer).get("step")          # the user's, on this optimizer
        if self._step_count == 1 and own_step is not self._own_step:
            _warnings.warn(OVERRIDDEN, UserWarning, stacklevel=2)
        elif self._step_count == 1 and own_step is None and not optimizer.stepped:
            _warnings.warn(TOO_EARLY, UserWarning, stacklevel=2)
        if epoch is not None:
            _warnings.warn(WITH_EPOCH, UserWarning, stacklevel=2)
        before = self.last_epoch, self._step_count
        now = self.last_epoch + 1 if epoch is None else epoch, self._step_count + 1
        (self.last_epoch, self._step_count), self._get_lr_called_within_step = now, True
        try:
            rates = self.get_lr() if epoch is None else getattr(self, "_get_closed_form_lr", self.get_lr)()
        finally:
            (self.last_epoch, self._step_count), self._get_lr_called_within_step = before, False

        def take() -> None:
            self.last_epoch, self._step_count = now
            for group, lr in zip(optimizer.param_groups, rates, strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(lr if not isinstance(lr, Tensor) else lr.reshape(()))
                else:
                    group["lr"] = lr
            self._last_lr = self._rates()

        _finish(take)           # all groups have their new rates, or an interrupt came before

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in vars(self).items() if key not in NOT_SAVED}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        vars(self).update({key: value for key, value in state_dict.items() if key not in NOT_SAVED})

    def _bases(self) -> list[Rate]:
        """The groups' first rates. Raises ValueError where groups were added or taken away since."""
        if len(self.base_lrs) != len(self.optimizer.param_groups):
            raise ValueError(f"{type(self).__name__} was made for {len(self.base_lrs)} parameter groups, the optimizer "
                             f"has {len(self.optimizer.param_groups)}: make it after the last add_param_group")
        return self.base_lrs

    def _rates(self) -> list[Rate]:
        return [_copied(group["lr"]) for group in self.optimizer.param_groups]

    def _called(self) -> None:
        if not self._get_lr_called_within_step:
            _warnings.warn("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                          UserWarning, stacklevel=3)


def _copied(lr: Rate) -> Rate:
    return lr.detach().clone() if isinstance(lr, Tensor) else lr


class StepLR(LRScheduler):
    """Multiplies the rate by `gamma` every `step_size` epochs. Raises ValueError for a size of 0."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size == 0:
            raise ValueError("Invalid step_size: 0, the rate would change at no epoch or at all of them")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The rates now, times gamma where a step ends."""
        self._called()
        due = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if due else lr for lr in self._rates()]

    def _get_closed_form_lr(self) -> list[Rate]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self._bases()]


class CosineAnnealingLR(LRScheduler):
    """From the first rate down to `eta_min` along half a cosine of `T_max` epochs, and up again after it. eta_min +
    (base - eta_min) (1 + cos(pi epoch / T_max)) / 2 (Loshchilov & Hutter, 2017, without restarts), computed from the
    previous rate as PyTorch does, so that it can be chained with other schedulers. Raises ValueError for a `T_max` of
    0."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max == 0:
            raise ValueError("Invalid T_max: 0, half a cosine takes at least one epoch")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return 1 + _math.cos(_math.pi * epoch / self.T_max)

    def get_lr(self) -> list[Rate]:
        """The rates now, moved one epoch along the cosine; as they are where the scheduler was just made."""
        self._called()
        if self._is_initial:
            return self._rates()
        if self._step_count == 1 and self.last_epoch > 0:
            return self._get_closed_form_lr()
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The cosine just touched eta_min: the ratio of heights is 0/0 there.
            rise = (1 - _math.cos(_math.pi / self.T_max)) / 2
            return [lr + (base - self.eta_min) * rise for lr, base in zip(self._rates(), self._bases(), strict=True)]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [ratio * (lr - self.eta_min) + self.eta_min for lr in self._rates()]

    def _get_closed_form_lr(self) -> list[Rate]:
        height = self._height(self.last_epoch)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self._bases()]


class LambdaLR(LRScheduler):
    """The first rate times `lr_lambda(epoch)`, of one function, or of one for each group (ValueError for others)."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
                 last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The first rates times the functions' values."""
        self._called()
        return [base * factor(self.last_epoch) for factor, base in zip(self.lr_lambdas, self._bases(), strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of a callable object its attributes, of a function nothing (None)."""
        kept = [None if isinstance(factor, _types.FunctionType) else dict(getattr(factor, "__dict__", {}))
                for factor in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave; functions stay as they are, callable objects take the attributes.
        ValueError for no functions, or another number of them; nothing is changed then."""
        kept = state_dict.get("lr_lambdas")
        if kept is None:
            raise ValueError(f"loaded state dict must have 'lr_lambdas', but has only {sorted(map(str, state_dict))}")
        if len(kept) != len(self.lr_lambdas):
            raise ValueError(f"Expected {len(self.lr_lambdas)} lr_lambdas, but got {len(kept)}")
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "lr_lambdas"})
        for factor, attributes in zip(self.lr_lambdas, kept, strict=True):
            if attributes:
                vars(factor).update(attributes)
_tidy(globals())
