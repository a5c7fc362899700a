"""State dicts: a module's parameters, persistent buffers and extra state by dotted name, out and in."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..scopes import finish
from ..tensor import Tensor, no_grad
from .parameter import Parameter

EXTRA = "_extra_state"
"""What a module's own state that is no tensor is called, after the module's name and a dot."""


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` found missing in the dict, and unexpected in it."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Stateful:
    """What of a module goes into a state dict and comes back. A state dict notes of each module, in `_metadata`, of
    which `_version` it is. What was `_added` to the tensors with some version may be missing in a dict from before it,
    and in one that notes nothing: it is left as it is."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _non_persistent: set[str]
    _version = 1
    _added: Mapping[str, int] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("_save_to_state_dict", "_load_from_state_dict"):
            if name in vars(cls):
                frames = sum("__init_subclass__" in vars(base) for base in cls.__mro__[1:])
                warnings.warn(f"{cls.__name__}.{name} is never called here: state beside parameters and buffers goes "
                              "along by get_extra_state and set_extra_state", stacklevel=frames)

    def get_extra_state(self) -> Any:
        """State that is no tensor, for the state dict; a module that has some writes this and `set_extra_state`."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: get_extra_state is written where there is some")

    def set_extra_state(self, state: Any) -> None:
        """Takes over what `get_extra_state` gave."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: set_extra_state is written where there is some")

    def state_dict(self, *, destination: Any = None, prefix: str = "",
                   keep_vars: bool = False) -> OrderedDict[str, Any]:
        """Returns dotted names to tensors, detached and sharing storage with the module (with `keep_vars` its own).
        Each child puts in its own by its `state_dict`: into `destination`, by names that start with `prefix`."""
        found: Any = OrderedDict() if destination is None else destination
        if destination is None:
            found._metadata = OrderedDict()
        versions = getattr(found, "_metadata", {})
        versions[prefix[:-1]] = {"version": self._version}
        for registry, name in _own_tensors(self):
            found[prefix + name] = registry[name] if keep_vars else registry[name].detach()
        if _writes(self, "get_extra_state"):
            found[prefix + EXTRA] = self.get_extra_state()
        for name, child in self._modules.copy().items():
            if child is not None:
                child.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True,
                        assign: bool = False) -> IncompatibleKeys:
        """Copies the tensors of `state_dict` into this module. Nothing is copied unless everything fits.

        Args:
            state_dict: names to tensors, and to extra state.
            strict: whether missing and unexpected names are errors.
            assign: take the dict's own tensors, with their dtype and device, in place of the module's; a parameter
                stays one, and keeps `requires_grad`.

        Returns:
            `(missing_keys, unexpected_keys)`, both empty when strict. RuntimeError for what does not fit, all of it in
            one message: a shape that differs; with `strict`, missing or unexpected names as well.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        own: dict[str, tuple[dict[str, Any], str] | Stateful] = {}
        older = set[str]()
        for path, module in _walk(self, ""):
            version = getattr(state_dict, "_metadata", {}).get(path[:-1], {}).get("version", 1)
            older.update(path + name for name, since in module._added.items() if version < since)
            own.update({path + place[1]: place for place in _own_tensors(module)})
            if _writes(module, "set_extra_state"):
                own[path + EXTRA] = module
        missing = [name for name in own if name not in state_dict and name not in older]
        unexpected = [name for name in state_dict if name not in own]
        problems = [f"{what} key(s) in state_dict: " + ", ".join(f'"{name}"' for name in names) + ". "
                    for what, names in (("Missing", missing), ("Unexpected", unexpected)) if strict and names]
        tensors = {name: place for name, place in own.items() if name in state_dict and isinstance(place, tuple)}
        for name, (registry, key) in tensors.items():
            problems += _misfit(name, state_dict[name], registry[key], assign)
        if problems:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(problems))

        def copy() -> None:
            with no_grad():
                for name, (registry, key) in tensors.items():
                    source = state_dict[name]
                    source = source if source.shape == registry[key].shape else source.reshape(())
                    if assign:
                        registry[key] = _in_place_of(registry[key], source)
                    else:
                        registry[key].copy_(source)

        finish(copy)
        for name, owner in own.items():
            if name in state_dict and isinstance(owner, Stateful):
                owner.set_extra_state(state_dict[name])
        return IncompatibleKeys(missing, unexpected)


def snapshot(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict that later changes of the module do not reach."""
    return {name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value) for name, value in state.items()}


def _walk(module: Stateful, prefix: str) -> Iterator[tuple[str, Stateful]]:
    """A module and those below it, each with what its names start with; as often as it is registered."""
    yield prefix, module
    for name, child in module._modules.copy().items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.")


def _own_tensors(module: Stateful) -> Iterator[tuple[dict[str, Any], str]]:
    """Where a module's own parameters and persistent buffers are: registry and name."""
    registries: tuple[dict[str, Any], ...] = module._parameters, module._buffers
    for registry in registries:
        for name, tensor in registry.copy().items():
            if tensor is not None and not (registry is module._buffers and name in module._non_persistent):
                yield registry, name


def _writes(module: Stateful, name: str) -> bool:
    return getattr(type(module), name) is not getattr(Stateful, name)


def _misfit(name: str, source: Any, target: Tensor, assign: bool) -> list[str]:
    """What is wrong with a value for a parameter or buffer; one element is one element, with an axis or without."""
    if not isinstance(source, Tensor):
        return [f'While copying the parameter named "{name}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(source)}"]
    if assign and target.requires_grad and not source.is_floating_point():
        return [f'While copying the parameter named "{name}", whose dimensions in the model are {target.shape} and '
                f"whose dimensions in the checkpoint are {source.shape}, an exception occurred : ('only Tensors "
                f"of floating point dtype can require gradients, the checkpoint has {source.dtype}',)."]
    if source.shape == target.shape or (target.dim() == 0 and tuple(source.shape) == (1,)):
        return []
    return [f"size mismatch for {name}: copying a param with shape {source.shape} from checkpoint, the shape in "
            f"current model is {target.shape}."]


def _in_place_of(target: Tensor, source: Tensor) -> Tensor:
    if not isinstance(target, Parameter):
        return source
    return source.requires_grad_(target.requires_grad) if isinstance(source, Parameter) else Parameter(
        source, target.requires_grad)
