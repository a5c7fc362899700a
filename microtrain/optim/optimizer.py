"""Optimizer: parameter groups, state, and their state dicts; the updates are its subclasses'."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ..arguments import described
from ..autograd import enable_grad
from ..autograd.api import zero_gradients
from ..engine.session import current
from ..runtime.lock import lock, locked
from ..scopes import finish
from ..tensor import Tensor, no_grad

ParamGroup = dict[str, Any]
State = dict[str, Any]
Numbers = tuple[Any, ...]
"""What a step multiplies and adds for a group: Python numbers, or a tensor as the rate."""


class Optimizer:
    """Base of the optimizers. `step` records its updates as tensor operations: they run with the next value read.

    Args:
        params: tensors, or pairs of a name and a tensor, or dicts of options with either under `"params"`.
        defaults: options for the groups that do not give their own.

    TypeError where `params` is a tensor, or holds something else than tensors; ValueError for no parameters, one that
    is not a leaf, one that is in two groups, and names for some of them only.
    """

    param_groups: list[ParamGroup]
    state: dict[Tensor, dict[str, Any]]
    _like_params: tuple[str, ...] = ()
    """What the state of a parameter holds in the parameter's own shape."""
    _needed: tuple[str, ...] = ()
    """What no state goes without, unless it is empty."""
    _given: tuple[str, ...] = ()
    """The options from which `_numbers` makes numbers: a compiled step is handed those anew. What else an update reads
    of an option is whether it is zero."""
    stepped = False
    """Whether a step was ever taken, by which a scheduler knows that it is not the first."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls).get("step")
        if own is None:
            return

        @functools.wraps(own)
        def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
            self.stepped = True
            return own(self, *args, **kwargs)

        setattr(cls, "step", step)      # noqa: B010 (mypy minds a method that is assigned)

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, "
                            f"but got {type(params).__name__}")
        self.defaults = dict(defaults)
        self.param_groups = []
        self.state = defaultdict(dict)
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: ParamGroup) -> None:
        """Adds a group of parameters with options of its own. Errors as of the constructor; nothing is added then."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        if "params" not in param_group:
            raise ValueError(f"param_group must have 'params', but has only {sorted(map(str, param_group))}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but a set was given")
        if not isinstance(given, Iterable):
            raise TypeError(f"param_group['params'] must be Tensors, not {described(given)}")
        listed = [given] if isinstance(given, Tensor) else list(given)
        if wrong := next((param for param in listed if isinstance(param, tuple) and len(param) != 2), None):
            raise TypeError(f"optimizer params must be Tensors or pairs of a name and a Tensor, not {described(wrong)}")
        names = [param[0] for param in listed if isinstance(param, tuple)]
        if names and len(names) != len(listed):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        params = [param[1] if isinstance(param, tuple) else param for param in listed]
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}")
            if not param.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        if any(bool(names) != ("param_names" in group) for group in self.param_groups):
            raise ValueError("all optimizer param groups should be with/without names. cannot add param group "
                             f"{'with' if names else 'without'} names to the optimizer")
        own = {id(param) for param in params}
        if own & {id(param) for group in self.param_groups for param in group["params"]}:
            raise ValueError("some parameters appear in more than one parameter group")
        if len(own) != len(params):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                          "an error; see github.com/pytorch/pytorch/issues/40967 for more information", stacklevel=3)
        named = {"param_names": names} if names else {}
        self.param_groups.append({**self.defaults, **param_group, "params": params, **named})

    def _parameters(self) -> Iterator[Tensor]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients, or fills them with zeros."""
        zero_gradients([param for group in self.param_groups for param in group["params"]], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient. `closure` computes the loss and its gradients anew; called with
        gradients enabled. Returns what it returned."""
        self.stepped = True
        loss = None
        if closure is not None:
            if not callable(closure):
                raise TypeError(f"step(): argument 'closure' must be callable, not {type(closure).__name__}")
            with enable_grad():
                loss = closure()
        self._update_all()
        return loss

    @no_grad()
    def _update_all(self) -> None:
        left: list[list[Any]] = []              # parameters, each with what becomes of it
        memories: set[Any] = set()
        apart = True
        recorder = current().recorder
        for number, group in enumerate(self.param_groups):
            known: dict[int, Numbers] = {}
            for param in group["params"]:
                grad = param._grad
                if grad is not None:
                    memory = param.shared_memory()
                    if memories and (memory in memories or grad.shared_memory() in memories):
                        apart = False           # what is read from here on is what those before leave there
                    if memory is not None:
                        memories.add(memory)
                    state = self.state.get(param, {})
                    count = state.get("step", 0)
                    if count not in known:
                        numbers = self._numbers(group, count)
                        known[count] = numbers if recorder is None else recorder.numbers(self, number, count, numbers)
                    change = self._update(param, grad, group, state, known[count]) if apart else None
                    left.append([param, grad, group, known[count], change])
        left.reverse()
        with lock:
            finish(self._take, left)            # a step is taken by all parameters or by none

    def _take(self, left: list[list[Any]]) -> None:
        """Gives parameters their new values and states, from the end of the list, and lets go of each that has them."""
        while left:
            param, grad, group, numbers, change = left[-1]
            if change is None:
                left[-1][4] = change = self._update(param, grad, group, self.state.get(param, {}), numbers)
            value, state = change
            if state:
                self.state[param].update(state)
            param.become(value)
            left.pop()

    def _numbers(self, group: ParamGroup, count: int) -> Numbers:
        """The numbers of a group's step, of the host, for parameters that have made `count` steps."""
        return ()

    def _update(self, param: Tensor, grad: Tensor, group: ParamGroup, state: State,
                numbers: Numbers) -> tuple[Tensor, State]:
        """A parameter's value after the step, and what becomes of its state; called without gradients. Nothing is
        changed here. Tensors of the state are new ones in each step: cheaper to record than changes in place, and the
        same on the device."""
        raise NotImplementedError(f"{type(self).__name__} has no update rule")

    @locked
    def state_dict(self) -> dict[str, Any]:
        """Returns `{"state": {index: ...}, "param_groups": [...]}` with parameters replaced by their index."""
        index = {id(param): i for i, param in enumerate(self._parameters())}
        groups = [{**group, "params": [index[id(param)] for param in group["params"]]} for group in self.param_groups]
        return {"state": {index[id(param)]: dict(state) for param, state in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over options and state from `state_dict`; tensors are copied. All or nothing. An option that a group
        there has not is this optimizer's default; names of parameters, those that it has. ValueError for no `"state"`
        or `"param_groups"`, for groups that differ in number or size from this optimizer's, for the state of a
        parameter that is in no group, of another shape or of another kind of optimizer; TypeError for a state or groups
        that are no dicts."""
        for part in ("state", "param_groups"):
            if part not in state_dict:
                raise ValueError(f"loaded state dict must have {part!r}, but has only {sorted(map(str, state_dict))}")
        loaded = state_dict["param_groups"]
        if not (isinstance(loaded, list | tuple) and all(isinstance(group, Mapping) for group in loaded)):
            raise TypeError(f"loaded state dict: 'param_groups' must be a list of dicts, not {described(loaded)}")
        if not isinstance(state_dict["state"], Mapping):
            raise TypeError(f"loaded state dict: 'state' must be a dict, not {described(state_dict['state'])}")
        if not all(isinstance(group.get("params"), list | tuple) for group in loaded):
            raise ValueError("loaded state dict contains a parameter group without a list of 'params'")
        if len(loaded) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(self.param_groups, loaded, strict=True)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of optimizer's "
                             "group")
        indices = chain.from_iterable(group["params"] for group in loaded)
        by_index = dict(zip(indices, self._parameters(), strict=True))
        for i, values in state_dict["state"].items():
            if i not in by_index:
                raise ValueError(f"loaded state dict has a state of parameter {i!r}, which is in no group")
            self._check_state(i, values, by_index[i])
        kept = {by_index[i]: _adopt(values, by_index[i]) for i, values in state_dict["state"].items()}
        state: dict[Tensor, dict[str, Any]] = defaultdict(dict, kept)
        groups = [
            {**self.defaults, **{k: v for k, v in own.items() if k == "param_names"},
             **copy.deepcopy({k: v for k, v in new.items() if k != "params"}), "params": own["params"]}
            for own, new in zip(self.param_groups, loaded, strict=True)
        ]
        self.state, self.param_groups = state, groups

    def _check_state(self, index: Any, values: Any, param: Tensor) -> None:
        """Raises TypeError or ValueError where a loaded state is none of this parameter, or not of this optimizer."""
        if not isinstance(values, Mapping):
            raise TypeError(f"loaded state dict: the state of parameter {index} must be a dict, "
                            f"not {described(values)}")
        if lacking := [name for name in self._needed if values and name not in values]:
            raise ValueError(f"loaded state dict: the state of parameter {index} has no {lacking[0]!r}, only "
                             f"{sorted(map(str, values))}: it is another optimizer's")
        for name in self._like_params:
            value = values.get(name)
            if isinstance(value, Tensor) and value.shape != param.shape:
                raise ValueError(f"loaded state dict: {name!r} of parameter {index} has shape {list(value.shape)}, but "
                                 f"the parameter has {list(param.shape)}")

    def __repr__(self) -> str:
        lines = []
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"


def _adopt(values: Mapping[str, Any], param: Tensor) -> dict[str, Any]:
    """A copy of one parameter's state, its tensors on the parameter's device and in its dtype; a count is a number."""
    def adopted(key: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return copy.deepcopy(value)
        return int(value) if key == "step" else value.detach().to(param.device).to(param.dtype).clone()

    return {key: adopted(key, value) for key, value in values.items()}


def check_at_least_zero(name: str, value: Any) -> None:
    """Raises ValueError, in PyTorch's words, unless `value` >= 0 (a NaN is not)."""
    if not value >= 0:
        raise ValueError(f"Invalid {name}: {value}")


def check_lr(lr: float | Tensor) -> None:
    """Raises ValueError for a negative rate, or for a tensor of more than one element."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, got shape {list(lr.shape)}")
    check_at_least_zero("learning rate", lr)


def rate(lr: float | Tensor) -> Any:
    """A rate as a factor that changes no shape: a tensor of one element is made 0-d."""
    return lr.reshape(()) if isinstance(lr, Tensor) else lr


def check_implementation(foreach: bool | None, differentiable: bool, fused: bool | None) -> None:
    """Checks PyTorch's choices of an implementation. All updates are fused here, so there is nothing to choose."""
    if differentiable:
        raise NotImplementedError("differentiable=True is not supported: a step is taken without gradients; "
                                  "write the update as tensor operations to differentiate through it")
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
