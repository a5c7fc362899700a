"""Between tensors and the rest of the world: numbers, NumPy, devices, dtypes, DLPack (dmlc.github.io/dlpack)."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from .. import ops as g
from ..engine.handle import type_of
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.spec import Device
from ..graph.tape import grad_mode
from ..runtime import backend
from ..runtime.lock import locked
from .create import DeviceLike, kind, place, tensor
from .host import glimpse, lent, moved, values
from .memory import alone
from .operands import called, flag
from .storage import wrap
from .types import Tensor

TO, AS, LIKE = (tuple(names.split()) for names in ("device dtype non_blocking copy", "dtype non_blocking copy",
                                                   "other non_blocking copy"))
"""The orders in which arguments of `to` come, by what the first of them is."""


def conversion(args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[DeviceLike, DType | None, bool]:
    """What arguments of `to` ask for: device and dtype, each None where none is given, and whether always to copy. They
    are `(device, dtype, non_blocking, copy)`, `(dtype, non_blocking, copy)` or `(tensor, non_blocking, copy)`, and may
    go by these names. Raises TypeError for any others."""
    first = args[0] if args else kwargs.get("other")
    if isinstance(first, DType) and len(args) == 1 and not kwargs:      # most calls
        return None, first, False
    order = LIKE if isinstance(first, Tensor) else AS if isinstance(first, (DType, builtins.type)) else TO
    given: dict[str, Any] = {**dict(zip(order, args, strict=False)), **kwargs}
    if len(given) != len(args) + len(kwargs) or not given.keys() <= set(LIKE if order is LIKE else TO):
        named = (f"{name}={builtins.type(value).__name__}" for name, value in kwargs.items())
        got = ", ".join((*(builtins.type(value).__name__ for value in args), *named))
        raise TypeError(f"to() received an invalid combination of arguments - got ({got}), but expected "
                        "(device, dtype), (dtype) or (Tensor other), each with non_blocking and copy")
    for name in ("non_blocking", "copy"):
        flag(given.get(name, False), "to", name)
    if isinstance(first, Tensor):
        return first.device, first.dtype, given.get("copy", False)
    device = given.get("device")
    if isinstance(device, bool) or not (device is None or isinstance(device, (str, Device, int))):
        raise TypeError(f"to() received an invalid argument {device!r}: expected a dtype, a device or a tensor")
    return device, kind(given.get("dtype")), given.get("copy", False)


def item(self: Tensor) -> bool | int | float:
    """The one element as a Python number."""
    node = self.node
    if node.spec.numel != 1:
        raise RuntimeError(f"a Tensor with {node.spec.numel} elements cannot be converted to Scalar")
    seen = glimpse(node)
    return (values(node) if seen is None else seen).item()


def tolist(self: Tensor) -> Any:
    """Nested lists of Python numbers."""
    found = values(self.node)
    return (found.astype(np.float32) if self.node.dtype is dtypes.bfloat16 else found).tolist()


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """The value as a read-only array (copy it to write). Raises as PyTorch does when a gradient would be lost."""
    if not force:
        if self.node.tape is not None and grad_mode.enabled:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                               "instead.")
        if self.node.device.kind.gpu:
            raise TypeError(f"can't convert {self.node.device} device type tensor to numpy. Use Tensor.cpu() to "
                            "copy the tensor to host memory first.")
    return values(self.node)


def as_array(self: Tensor, dtype: np.dtype | builtins.type | None = None, copy: bool | None = None) -> np.ndarray:
    """The value for NumPy, as `numpy`."""
    found = self.numpy()
    if dtype is not None and np.dtype(dtype) != found.dtype:
        return found.astype(dtype)
    return found.copy() if copy else found


def as_dlpack(self: Tensor, **options: Any) -> object:
    """The value through DLPack (a copy). Refused, as in PyTorch, when a gradient is required."""
    if self.node.tape is not None:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if self.node.device.kind.gpu:
        return lent(self.node).__dlpack__(**options)
    return values(self.node).copy().__dlpack__(**options)


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's numbers of the device."""
    device = self.node.device
    return (2, device.index) if isinstance(device.index, int) else (1, 0)


def cuda_array_interface(self: Tensor) -> dict[str, object]:
    """Where the value lies on a CUDA device."""
    if not self.node.device.kind.gpu:
        raise AttributeError(f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.node.device}")
    if self.node.tape is not None:
        raise RuntimeError("Can't get __cuda_array_interface__ on Tensor that requires grad; use tensor.detach()")
    return lent(self.node).__cuda_array_interface__


def as_bool(self: Tensor) -> bool:
    """Whether the one element is not 0. Raises RuntimeError for several."""
    if self.node.spec.numel != 1:
        raise RuntimeError("Boolean value of Tensor with " + ("no values" if not self.node.spec.numel else
                           "more than one value") + " is ambiguous")
    return bool(self.item())


def as_float(self: Tensor) -> float:
    """The one element. Raises ValueError for several."""
    return float(_only(self))


def as_int(self: Tensor) -> int:
    """The one element cut to an integer. Raises ValueError for several."""
    return int(_only(self))


def as_index(self: Tensor) -> int:
    """The one integer element. Raises TypeError for another."""
    if self.node.dtype.category == 2 or self.node.spec.numel != 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(self.item())


def formatted(self: Tensor, spec: str) -> str:
    """A 0-d tensor as its number is formatted."""
    return format(self.item(), spec) if not self.node.shape else object.__format__(self, spec)


def to(self: Tensor, *args: object, **kwargs: object) -> Tensor:
    """With another dtype or device (or another tensor's); itself when nothing changes. See `conversion`."""
    device, dtype, copy = conversion(args, kwargs)
    node = self.node if device is None else moved(self.node, place(device))
    node = node if dtype is None else g.cast(node, dtype)
    if node is self.node:
        return self.clone() if copy else self
    return wrap(node)


@overload
def type(self: Tensor, dtype: None = None) -> str: ...
@overload
def type(self: Tensor, dtype: DType) -> Tensor: ...
def type(self: Tensor, dtype: DType | None = None) -> Tensor | str:
    """In another dtype; without one, the name of its own."""
    return self.to(dtype=kind(dtype)) if dtype is not None else f"torch.{self.dtype.name}"


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """In another tensor's dtype."""
    return self.to(other.dtype)


def as_dtype(dtype: DType, name: str) -> Callable[[Tensor], Tensor]:
    """The method that converts to a dtype."""
    def method(self: Tensor) -> Tensor:
        return to(self, dtype)
    return called(method, name, f"As {dtype.name}.")


to_float = as_dtype(dtypes.float32, "float")
double = as_dtype(dtypes.float64, "double")
half = as_dtype(dtypes.float16, "half")
bfloat16 = as_dtype(dtypes.bfloat16, "bfloat16")
long = as_dtype(dtypes.int64, "long")
to_int = as_dtype(dtypes.int32, "int")
short = as_dtype(dtypes.int16, "short")
char = as_dtype(dtypes.int8, "char")
byte = as_dtype(dtypes.uint8, "byte")
to_bool = as_dtype(dtypes.bool_, "bool")


def cpu(self: Tensor) -> Tensor:
    """On the cpu device."""
    return self.to(Device("cpu"))


def cuda(self: Tensor, device: DeviceLike = None) -> Tensor:
    """On a CUDA device, by default the current one."""
    return self.to(Device("cuda", device) if device is None or isinstance(device, int) else Device(device))


def clone(self: Tensor, *, memory_format: None = None) -> Tensor:
    """A copy; gradients flow through it."""
    return wrap(g.identity(self.node), "CloneBackward0")


def detach(self: Tensor) -> Tensor:
    """The same memory, off the tape."""
    return self.detached()


@locked
def detach_(self: Tensor) -> Tensor:
    """Take this tensor off the tape. Raises RuntimeError for a view."""
    if self._alias is not None and self._alias.is_view():
        raise RuntimeError("Can't detach views in-place. Use detach() instead.")
    if not self.is_leaf:
        hooks = self.node.tape.hooks            # type: ignore[union-attr]
        self.hold_instead(alone(self.node))
        if hooks:
            self._keep_hooks(hooks)
    return self.requires_grad_(False)


@locked
def set_data(self: Tensor, value: Tensor) -> None:
    """Let the tensor be in another one's memory, as `x.data = value`."""
    if not isinstance(value, Tensor):
        raise TypeError(f"Variable data has to be a tensor, but got {builtins.type(value).__name__}")
    if self.node.tape is not None and not value.node.dtype.is_floating_point:
        raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype, "
                           f"not {value.node.dtype}")
    mine, its = self.node.spec, value.node.spec
    if its is not mine and not self.is_leaf and (its.shape, its.device) != (mine.shape, mine.device):
        raise RuntimeError("attempting to assign data of another shape or device to a tensor that is a result: "
                           f"expected {mine}, got {its}; without a gradient it may: write x = x.detach() first")
    self.move_to(value)


def _only(self: Tensor) -> bool | int | float:
    if self.node.spec.numel != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return self.item()


def synchronize(device: DeviceLike = None) -> None:
    """Wait until everything launched on a device has run."""
    where = place(device)
    backend(where.type, where.index).synchronize()


HOST = (1, 3, 11, 13)
"""DLPack's numbers of memory that the host can read: its own, and what CUDA and ROCm pinned or manage."""


class Capsule:
    """A DLPack capsule as an object that gives it."""

    def __init__(self, capsule: object) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: object) -> object:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0                     # which memory it really is, NumPy reads from the capsule


def from_dlpack(ext_tensor: object) -> Tensor:
    """A tensor with a copy of another library's array, on the default device.

    PyTorch shares the memory; values are immutable here, so a later change of the array is not seen.

    Args:
        ext_tensor: an object with `__dlpack__` (a NumPy array, a PyTorch tensor in host memory, ...) or a capsule.

    Raises:
        TypeError: it is neither.
        BufferError: it cannot be read: memory of a GPU, a dtype that NumPy lacks, a tensor that requires grad.
    """
    if isinstance(ext_tensor, Tensor):
        ext_tensor.__dlpack__()                       # refuses as it does for others
        return ext_tensor.detach().clone()
    if isinstance(ext_tensor, np.ndarray):
        return tensor(ext_tensor)
    if builtins.type(ext_tensor).__name__ == "PyCapsule":
        ext_tensor = Capsule(ext_tensor)
    elif not (hasattr(ext_tensor, "__dlpack__") and hasattr(ext_tensor, "__dlpack_device__")):
        raise TypeError("from_dlpack(): expected an array with __dlpack__ and __dlpack_device__, or a DLPack capsule, "
                        f"not {type_of(ext_tensor)}")
    kind, _ = ext_tensor.__dlpack_device__()
    if kind not in HOST:
        raise BufferError(f"from_dlpack(): {type_of(ext_tensor)} lies in memory that the host cannot read (DLPack's "
                          f"device type {int(kind)}): copy it there first, with .cpu() or the like")
    try:
        array = np.from_dlpack(ext_tensor)
    except (BufferError, RuntimeError, ValueError, TypeError) as error:
        raise BufferError(f"from_dlpack(): {type_of(getattr(ext_tensor, 'capsule', ext_tensor))} cannot be read: "
                          f"{error}") from error
    return tensor(np.array(array))
