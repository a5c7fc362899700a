"""State dicts: a module's parameters and persistent buffers by dotted name, out and in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from microtrain.tensor import Tensor, no_grad

if TYPE_CHECKING:
    from microtrain.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` found missing in the dict, and unexpected in it."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def _named_state(module: Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """A module's own parameters and buffers before its children's: the order of PyTorch's state dicts."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield prefix + name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent:
            yield prefix + name, buffer
    for name, child in module._modules.items():
        if child is not None:
            yield from _named_state(child, f"{prefix}{name}.")


def state_of(module: Module, prefix: str, keep_vars: bool) -> OrderedDict[str, Tensor]:
    """The state dict of ``module``; names start with ``prefix``."""
    return OrderedDict(
        (name, tensor if keep_vars else tensor.detach()) for name, tensor in _named_state(module, prefix)
    )


def load_state(module: Module, state: Mapping[str, Tensor], strict: bool) -> IncompatibleKeys:
    """Copies ``state`` into ``module`` after all of it has been checked, so that a bad dict changes nothing.

    Raises:
        TypeError: not a mapping.  RuntimeError: what does not fit, all of it in one message.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state)}.")
    own = dict(_named_state(module, ""))
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    problems: list[str] = []
    if strict and missing:
        problems.append("Missing key(s) in state_dict: " + ", ".join(f'"{name}"' for name in missing) + ". ")
    if strict and unexpected:
        problems.append(
            "Unexpected key(s) in state_dict: " + ", ".join(f'"{name}"' for name in unexpected) + ". "
        )
    for name, target in own.items():
        if name not in state:
            continue
        source = state[name]
        if not isinstance(source, Tensor):
            problems.append(
                f'While copying the parameter named "{name}", expected torch.Tensor or Tensor-like object '
                f"from checkpoint but received {type(source)}"
            )
        elif source.shape != target.shape:
            problems.append(
                f"size mismatch for {name}: copying a param with shape {source.shape} from checkpoint, "
                f"the shape in current model is {target.shape}."
            )
    if problems:
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(problems)
        )
    with no_grad():
        for name, target in own.items():
            if name in state:
                target.copy_(state[name])
    return IncompatibleKeys(missing, unexpected)
