"""Tensors of the virtual GPU: PyTorch's, on the device `cuda:0`, with their values where the virtual GPU's memory is.

What PyTorch is asked to do with one, it does with the plain tensor inside, over the same memory. That a tensor of the
host's is needed for it is an error, as it is with a real GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

if TYPE_CHECKING:
    import numpy as np

    from .hardware import Hardware
    from .streams import Stream

CUDA = torch.device("cuda", 0)

ACROSS = {"copy_", "to", "cpu", "__get__", "__set__", "__getitem__", "__setitem__", "index_put_"}
"""What takes tensors of both devices, by Python's name."""

ON_HOST = {"item", "tolist", "equal", "allclose", "__bool__", "__float__", "__int__", "__index__", "__contains__"}
"""What waits for the GPU and gives a value to Python."""

DEVICE, IS_CUDA = torch.Tensor.device.__get__, torch.Tensor.is_cuda.__get__


class Storage:
    """What `untyped_storage` gives: the tensor of bytes that others are parts of."""

    def __init__(self, whole: torch.Tensor) -> None:
        self.whole = whole

    def data_ptr(self) -> int:
        return self.whole.untyped_storage().data_ptr()

    def nbytes(self) -> int:
        return self.whole.untyped_storage().nbytes()


class VirtualTensor(torch.Tensor):
    """A tensor on `cuda:0`. `inside` holds its values."""

    inside: torch.Tensor
    gpu: Hardware

    @classmethod
    def __torch_function__(cls, func: Callable[..., object], types: object, args: Sequence[object] = (),
                           kwargs: Mapping[str, object] | None = None) -> object:
        # Not __torch_dispatch__: a PyTorch without CUDA lets no tensor on `cuda` come that far.
        if func in (DEVICE, IS_CUDA):
            return CUDA if func == DEVICE else True
        name, kwargs = func.__name__, dict(kwargs or {})
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        mixed = any(not isinstance(one, cls) and one.dim() for one in tensors)
        if mixed and name not in ACROSS:
            raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, {CUDA} "
                               "and cpu!")
        onto = destination(name, args, kwargs)
        wrappers = {id(one.inside): one for one in tensors if isinstance(one, cls)}
        gpu = next(iter(wrappers.values())).gpu
        inner_args, inner_kwargs = tree_map(unwrapped, args), tree_map(unwrapped, kwargs)

        def run() -> object:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*inner_args, **inner_kwargs)

        if name == "__setitem__" or "out" in kwargs or (name.endswith("_") and not name.endswith("__")):
            target = kwargs.get("out", args[0])
            gpu.queue_operation(lambda: written(run(), target), synchronizes=mixed or not isinstance(target, cls))
            return None if name == "__setitem__" else target
        host = onto == "cpu" or name in ON_HOST
        if host:
            gpu.streams.forbid_capture()
            found = run()
            return found.clone() if isinstance(found, torch.Tensor) else found

        def on_device(one: object) -> object:
            return one if not isinstance(one, torch.Tensor) else wrappers[id(one)] if id(one) in wrappers else placed(
                one, gpu)

        made = tree_map(on_device, run())
        if gpu.streams.capturing is not None and not name.startswith("__"):
            gpu.streams.capturing.work.append(lambda: tree_map(renew, tree_map(unwrapped, made), run()))
        return made

    def data_ptr(self) -> int:
        return self.inside.data_ptr()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        if force:
            return self.cpu().numpy()
        raise TypeError(f"can't convert {CUDA} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
                        "host memory first.")

    def __array__(self, dtype: object = None, **rest: object) -> np.ndarray:
        return self.numpy()

    def untyped_storage(self) -> Storage:
        return Storage(self.inside)

    def set_(self, source: Storage, offset: int, size: Sequence[int], *stride: Sequence[int]) -> VirtualTensor:
        """A tensor over a part of a storage. A wrapper cannot change its shape, so it is a new one."""
        part = torch.empty(0, dtype=self.dtype).set_(source.whole.untyped_storage(), offset, size, *stride)
        return on_gpu(part, self.gpu)

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        inside = self.inside
        strides = None if inside.is_contiguous() else tuple([n * inside.element_size() for n in inside.stride()])
        return {"shape": tuple(inside.shape), "typestr": inside.numpy().__array_interface__["typestr"], "version": 2,
                "strides": strides, "data": (self.data_ptr(), False)}

    def record_stream(self, stream: Stream) -> None:
        """Have the memory kept until what is queued on the stream by its end has run."""
        held = self.gpu.memory.holding(self.data_ptr())
        if held is not None:
            self.gpu.streams.recorded(held.address, stream)


def destination(name: str, args: Sequence[object], kwargs: dict[str, Any]) -> str | None:
    """The type of the device that a call names, which is then taken for the host, where the values are."""
    if name == "cpu":
        return "cpu"
    onto = kwargs.get("device")
    if name == "to":
        onto = next((one for one in args[1:] if isinstance(one, (str, torch.device))), onto)
    return None if onto is None else torch.device(onto).type


def unwrapped(value: object) -> object:
    """The tensor inside a wrapper; the host in the place of the device."""
    if isinstance(value, (str, torch.device)) and str(value).partition(":")[0] == "cuda":
        return torch.device("cpu")
    return value.inside if isinstance(value, VirtualTensor) else value


def renew(old: object, new: object) -> None:
    """Give a result the values that a replay of the operation gave."""
    if isinstance(old, torch.Tensor):
        old.copy_(new)


def written(result: object, target: object) -> None:
    """Have a tensor of the GPU's count as written by the host."""
    if isinstance(target, VirtualTensor):
        inside = target.inside
        last = sum((n - 1) * stride for n, stride in zip(inside.shape, inside.stride(), strict=True))
        if inside.numel():
            target.gpu.memory.written(inside.data_ptr(), (last + 1) * inside.element_size())


def placed(result: torch.Tensor, gpu: Hardware) -> VirtualTensor:
    """What an operation gave, as a tensor of the GPU's: a view of its memory, or a copy there."""
    if not result.numel() or gpu.memory.owns(result.data_ptr()):
        return on_gpu(result, gpu)
    made = empty(gpu, result.shape, result.dtype)
    made.inside.copy_(result)
    written(None, made)
    return made


def on_gpu(inside: torch.Tensor, gpu: Hardware) -> VirtualTensor:
    """A host tensor over the GPU's memory as a tensor of the GPU's."""
    with torch._C.DisableTorchFunctionSubclass():
        made = inside.as_subclass(VirtualTensor)
        made.inside, made.gpu = inside, gpu
    return made


def empty(gpu: Hardware, shape: Sequence[int], dtype: torch.dtype) -> VirtualTensor:
    """Fresh memory of the virtual GPU's, alive as long as a tensor holds it. Raises torch.OutOfMemoryError."""
    host = torch.empty(tuple(shape), dtype=dtype, device="meta")
    nbytes = host.numel() * host.element_size()
    if not nbytes:
        return on_gpu(torch.empty(tuple(shape), dtype=dtype), gpu)
    address = gpu.allocate(nbytes, f"a buffer of {str(dtype).removeprefix('torch.')}{list(shape)}")
    held = gpu.memory.arena.view(address, nbytes)
    weakref.finalize(held, gpu.free, address).atexit = False        # PyTorch holds the array while it needs the memory
    return on_gpu(torch.from_numpy(held).view(dtype).view(tuple(shape)), gpu)
