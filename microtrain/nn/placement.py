"""The arguments of `Module.to`."""

from __future__ import annotations

from typing import Any

from ..tensor.transfer import conversion


def device_and_dtype(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The device and the dtype that arguments of `Module.to` ask for, either of them None when not given."""
    device, wanted, copy = conversion(args, kwargs)
    if copy:
        raise RuntimeError(".to() does not accept copy argument")
    if wanted is not None and not wanted.is_floating_point:
        raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={wanted}")
    return device, wanted
