"""What stands in for PyTorch where microtrain has a virtual GPU: PyTorch, with another `torch.cuda`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from .streams import Event, Graph, Stream
from .tensors import CUDA, VirtualTensor, empty

if TYPE_CHECKING:
    from .hardware import Hardware

DeviceLike: TypeAlias = torch.device | str | int | None
"""What names a GPU for PyTorch: its device, a string, a number, or None."""

FACTORIES = {"zeros", "ones", "full", "rand", "randn", "randint", "arange", "linspace", "eye", "tensor", "as_tensor",
             "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like"}


class CudaModule:
    """`torch.cuda` of one virtual GPU. Raises RuntimeError for another one, ValueError for what is no GPU."""

    def __init__(self, gpu: Hardware) -> None:
        self.gpu = gpu
        streams = gpu.streams
        self.OutOfMemoryError = torch.OutOfMemoryError
        self.Event, self.Stream, self.CUDAGraph = partial(Event, streams), streams.new, partial(Graph, streams)

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def set_device(self, device: DeviceLike) -> None:
        index_of(device)

    @contextmanager
    def device(self, device: DeviceLike) -> Iterator[None]:
        index_of(device)
        yield

    def get_device_capability(self, device: DeviceLike = None) -> tuple[int, int]:
        return self.gpu.properties.major, self.gpu.properties.minor

    def get_device_name(self, device: DeviceLike = None) -> str:
        return str(self.gpu.properties.name)

    def get_device_properties(self, device: DeviceLike = None) -> SimpleNamespace:
        return self.gpu.properties

    def synchronize(self, device: DeviceLike = None) -> None:
        if device is not None:
            index_of(device)
        self.gpu.synchronize()

    def current_stream(self, device: DeviceLike = None) -> Stream:
        return self.gpu.streams.current

    @contextmanager
    def stream(self, stream: Stream | None) -> Iterator[None]:
        with stream or nullcontext():
            yield

    @contextmanager
    def graph(self, graph: Graph, **options: object) -> Iterator[None]:
        self.gpu.library.capturing(True)
        try:
            with self.gpu.streams.capture(graph):
                yield
        finally:
            self.gpu.library.capturing(False)

    def is_current_stream_capturing(self) -> bool:
        return self.gpu.streams.capturing is not None

    def memory_allocated(self, device: DeviceLike = None) -> int:
        return self.gpu.memory.used

    memory_reserved = memory_allocated

    def max_memory_allocated(self, device: DeviceLike = None) -> int:
        return self.gpu.memory.peak

    max_memory_reserved = max_memory_allocated

    def reset_peak_memory_stats(self, device: DeviceLike = None) -> None:
        self.gpu.memory.peak = self.gpu.memory.used

    def mem_get_info(self, device: DeviceLike = None) -> tuple[int, int]:
        return self.gpu.memory.capacity - self.gpu.memory.used, self.gpu.memory.capacity

    def empty_cache(self) -> None:
        """There is none."""

    def _sleep(self, cycles: int) -> None:
        """Nothing waits here."""

    def __getattr__(self, name: str) -> object:
        raise AttributeError(f"the virtual GPU has no torch.cuda.{name}")


class VirtualTorch:
    """PyTorch, but what is made on `cuda` is made on the virtual GPU."""

    def __init__(self, gpu: Hardware) -> None:
        self.gpu, self.cuda = gpu, CudaModule(gpu)
        self.version = SimpleNamespace(cuda="virtual", hip=None)

    def empty(self, *shape: Any, dtype: torch.dtype | None = None, device: DeviceLike = None,
              **rest: object) -> torch.Tensor:
        if device is None or torch.device(device).type != "cuda":
            return torch.empty(*shape, dtype=dtype, device=device, **rest)
        index_of(device)
        of = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return empty(self.gpu, of, dtype or torch.get_default_dtype())

    def __getattr__(self, name: str) -> Any:
        found = getattr(torch, name)
        return partial(self.made, found) if name in FACTORIES else found

    def made(self, factory: Callable[..., torch.Tensor], *args: object, device: DeviceLike = None,
             **rest: object) -> torch.Tensor:
        """What a factory makes, on the virtual GPU where it was asked for there."""
        like = args[0] if args and isinstance(args[0], VirtualTensor) else None
        if like is not None:
            args = (like.inside, *args[1:])
        if like is None if device is None else torch.device(device).type != "cuda":
            return factory(*args, device=device, **rest)
        host = factory(*args, **rest)
        return empty(self.gpu, host.shape, host.dtype).copy_(host)


def index_of(device: DeviceLike) -> int:
    """A device's number. Raises RuntimeError for another than 0, ValueError for no GPU."""
    named = torch.device("cuda", device) if isinstance(device, int) else torch.device(str(device))
    if named.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {named}")
    index = named.index
    if index not in (None, 0, -1):
        raise RuntimeError(f"CUDA error: invalid device ordinal {index}: the virtual GPU is {CUDA}")
    return 0
