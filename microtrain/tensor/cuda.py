"""`microtrain.cuda`: what PyTorch programs ask of `torch.cuda`.

A device is given as there: None (the current one), an index, "cuda", "cuda:1", a device. What is asked of the driver or
of the allocator, which are PyTorch's, is asked of PyTorch, and raises what it raises there; each of these but
`is_available` and `device_count` raises RuntimeError without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager as _AbstractContextManager
from types import ModuleType as _ModuleType
from typing import Any
from typing import Protocol as _Protocol
from typing import TypeVar as _TypeVar

from ..arguments import tidy as _tidy
from ..errors import OutOfMemoryError as OutOfMemoryError
from ..errors import missing as _missing
from ..graph.spec import Device
from ..runtime import backend
from ..runtime.detect import has_cuda
from . import random as _random
from .create import DeviceLike as _DeviceLike
from .operands import called as _called
from .types import Tensor as _Tensor

_Answer = _TypeVar("_Answer", covariant=True)


def is_available() -> bool:
    """Whether there is a CUDA device that can be used (a driver, PyTorch and Triton)."""
    return has_cuda()


def device_count() -> int:
    """How many CUDA devices there are."""
    return int(_torch().device_count()) if has_cuda() else 0


def current_device() -> int:
    """The index of the device that "cuda" means."""
    return int(_torch().current_device())


def set_device(device: _DeviceLike) -> None:
    """Let "cuda" mean this device, for PyTorch too."""
    _torch().set_device(_index(device))


def device(device: _DeviceLike) -> _AbstractContextManager[object]:
    """A context manager in which "cuda" means this device, for PyTorch too."""
    return _torch().device(_index(device))


def synchronize(device: _DeviceLike = None) -> None:
    """Wait until everything launched on a CUDA device has run. Raises AcceleratorError where a kernel failed. What is
    pending is not launched by this: a value is computed when it is read."""
    index = _index(device)
    count = device_count()
    if count and index >= count:
        raise RuntimeError(f"CUDA error: invalid device ordinal: {index}; this machine has cuda:0 to cuda:{count - 1}")
    backend("cuda", index).synchronize()


class _Asked(_Protocol[_Answer]):
    def __call__(self, device: _DeviceLike = None) -> _Answer: ...


def _asked(name: str, taken: Callable[[Any], _Answer], doc: str) -> _Asked[_Answer]:
    """What PyTorch answers about a device."""
    def asked(device: _DeviceLike = None) -> _Answer:
        return taken(getattr(_torch(), name)(_index(device)))
    return _called(asked, name, doc)


def _two(found: tuple[int, int]) -> tuple[int, int]:
    return int(found[0]), int(found[1])


get_device_name = _asked("get_device_name", str, 'What a device is called: "NVIDIA H100 80GB HBM3".')
get_device_capability = _asked("get_device_capability", _two, "A device's compute capability: (9, 0).")
get_device_properties = _asked("get_device_properties", lambda found: found,
                               "PyTorch's record of a device: name, total_memory (bytes), multi_processor_count, ...")
memory_allocated = _asked("memory_allocated", int,
                          "The bytes of a device in use by values, PyTorch's and microtrain's.")
max_memory_allocated = _asked("max_memory_allocated", int,
                              "Most bytes in use since the start or `reset_peak_memory_stats`.")
memory_reserved = _asked("memory_reserved", int, "The bytes that the allocator has from the driver, in use or not.")
max_memory_reserved = _asked("max_memory_reserved", int,
                             "Most that it had since the start or `reset_peak_memory_stats`.")
reset_peak_memory_stats = _asked("reset_peak_memory_stats", lambda done: None,
                                 "Let `max_memory_allocated` and `max_memory_reserved` start anew.")
mem_get_info = _asked("mem_get_info", _two, "The bytes of a device that are free, and all of them, as the driver says.")


def empty_cache() -> None:
    """Give the driver back what the allocator has and does not use."""
    _torch().empty_cache()


def manual_seed(seed: int) -> None:
    """Seed the default generator, which all devices share."""
    _random.manual_seed(seed)


manual_seed_all = manual_seed


def get_rng_state(device: _DeviceLike = None) -> _Tensor:
    """The state of the default generator, which all devices share."""
    return _random.get_rng_state()


def set_rng_state(new_state: _Tensor, device: _DeviceLike = None) -> None:
    """Let the default generator, which all devices share, go on from a state that `get_rng_state` gave."""
    _random.set_rng_state(new_state)


def get_rng_state_all() -> list[_Tensor]:
    """The state for each device: the same, since they share a generator."""
    return [get_rng_state()] * device_count()


def set_rng_state_all(new_states: Iterable[_Tensor]) -> None:
    """Go on from the states of `get_rng_state_all`. Raises TypeError for what is no iterable of states."""
    if not hasattr(new_states, "__iter__"):
        raise TypeError("set_rng_state_all(): argument 'new_states' must be iterable of Tensors, not "
                        f"{type(new_states).__name__}")
    for state in new_states:
        set_rng_state(state)


def _torch() -> _ModuleType:
    """`torch.cuda`. Raises RuntimeError, saying what is missing, where it cannot be used."""
    from ..runtime.cuda import import_torch
    return import_torch().cuda


def _index(device: _DeviceLike) -> int:
    """The index of a device argument. Raises ValueError for another kind of device, TypeError for anything else."""
    if device is None:
        return current_device()
    if isinstance(device, int) and not isinstance(device, bool):
        return device
    if not isinstance(device, str | Device):
        raise TypeError("a CUDA device is an index, 'cuda', 'cuda:1' or a device, not "
                        f"{device!r} of type {type(device).__name__}")
    given = Device(device)
    if not given.kind.gpu:
        raise ValueError(f"Expected a cuda device, but got: {given}")
    return current_device() if given.index is None else int(given.index)


def __getattr__(name: str) -> object:
    raise _missing("module 'microtrain.cuda'", name)


_tidy(globals())
