"""The arguments of ``Module.to``."""

from __future__ import annotations

from typing import Any

from microtrain.tensor import DType, Tensor
from microtrain.tensor.create import kind


def device_and_dtype(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Sorts the arguments of ``Module.to`` into a device and a dtype, either of them None when not given."""
    unknown = set(kwargs) - {"device", "dtype"}
    if unknown:
        raise TypeError(f"to() takes device and dtype; got an unexpected keyword argument '{min(unknown)}'")
    device, wanted = kwargs.get("device"), kwargs.get("dtype")
    for argument in args:
        if isinstance(argument, Tensor):
            device, wanted = argument.device, argument.dtype
        elif isinstance(argument, DType | type):
            wanted = argument
        elif argument is not None:
            device = argument
    wanted = kind(wanted)
    if wanted is not None and not wanted.is_floating_point:
        raise TypeError(
            f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={wanted}"
        )
    return device, wanted
