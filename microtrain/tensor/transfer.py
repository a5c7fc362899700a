"""Between tensors and the rest of the world: numbers, NumPy, devices, dtypes."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.function import Function
from ..engine.run import realize
from ..graph import dtypes
from ..graph import ops as g
from ..graph.dtypes import DType
from ..graph.node import Node
from ..graph.spec import Device
from ..graph.tape import grad_mode
from ..runtime import backend
from ..runtime.lock import locked
from .core import Handle
from .create import kind, place, put
from .index import values
from .memory import alone
from .operands import flag, labelled
from .storage import wrap

if TYPE_CHECKING:
    from .tensor_class import Tensor


class _Move(Function):
    """A copy on another device; its gradient comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, device: Device) -> Tensor:
        ctx.home = x.device
        return wrap(put(values(x.node), x.dtype, device))

    @staticmethod
    def backward(ctx: Any, ct: Tensor) -> tuple[Tensor, None]:
        return ct.to(ctx.home), None


def moved(node: Node, device: Device) -> Node:
    """The node's value on a device; the node itself when it is there."""
    if node.spec.device is device:
        return node
    if node.tape is not None and grad_mode.enabled:
        return _Move.apply(wrap(node), device).node
    return put(values(node), node.dtype, device)


def exported(node: Node) -> Any:
    """A node's buffer, which others may see from now on."""
    buffer = realize(node)
    node.shared = True
    return buffer


TO, AS, LIKE = (tuple(names.split()) for names in ("device dtype non_blocking copy", "dtype non_blocking copy",
                                                   "other non_blocking copy"))
"""The orders in which arguments of `to` come, by what the first of them is."""


def conversion(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, DType | None, bool]:
    """What arguments of `to` ask for: device and dtype, each None where none is given, and whether always to copy.

    They are `(device, dtype, non_blocking, copy)`, `(dtype, non_blocking, copy)` or `(tensor, non_blocking, copy)`, and
    may go by these names. Raises TypeError for any others.
    """
    first: Any = args[0] if args else kwargs.get("other")
    if first.__class__ is DType and len(args) == 1 and not kwargs:      # most calls
        return None, first, False
    order = LIKE if isinstance(first, Handle) else AS if isinstance(first, (DType, builtins.type)) else TO
    given = {**dict(zip(order, args, strict=False)), **kwargs}
    if len(given) != len(args) + len(kwargs) or not given.keys() <= set(LIKE if order is LIKE else TO):
        named = (f"{name}={builtins.type(value).__name__}" for name, value in kwargs.items())
        got = ", ".join((*(builtins.type(value).__name__ for value in args), *named))
        raise TypeError(f"to() received an invalid combination of arguments - got ({got}), but expected "
                        "(device, dtype), (dtype) or (Tensor other), each with non_blocking and copy")
    for name in ("non_blocking", "copy"):
        flag(given.get(name, False), "to", name)
    if order is LIKE:
        return first.device, first.dtype, given.get("copy", False)
    device = given.get("device")
    if isinstance(device, builtins.bool) or not (device is None or isinstance(device, (str, Device, builtins.int))):
        raise TypeError(f"to() received an invalid argument {device!r}: expected a dtype, a device or a tensor")
    return device, kind(given.get("dtype")), given.get("copy", False)


class Transfer:
    """Conversions."""

    __slots__ = ()
    __array_ufunc__ = None          # an ndarray on the left defers to the tensor: ndarray * Tensor is a Tensor
    __array_priority__ = 1000

    def item(self: Tensor) -> bool | int | float:           # type: ignore[misc]
        """The one element as a Python number."""
        node = self.node
        if node.spec.numel != 1:
            raise RuntimeError(f"a Tensor with {node.spec.numel} elements cannot be converted to Scalar")
        return values(node).item()

    def tolist(self: Tensor) -> Any:                        # type: ignore[misc]
        """Nested lists of Python numbers."""
        found = values(self.node)
        return (found.astype(np.float32) if self.node.dtype is dtypes.bfloat16 else found).tolist()

    def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:      # type: ignore[misc]
        """The value as a read-only array (copy it to write). Raises as PyTorch does when a gradient would be lost."""
        if not force:
            if self.node.tape is not None and grad_mode.enabled:
                raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                                   "instead.")
            if self.node.device.kind.gpu:
                raise TypeError(f"can't convert {self.node.device} device type tensor to numpy. Use Tensor.cpu() to "
                                "copy the tensor to host memory first.")
        return values(self.node)

    def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:     # type: ignore[misc]
        found = self.numpy()
        if dtype is not None and np.dtype(dtype) != found.dtype:
            return found.astype(dtype)
        return found.copy() if copy else found

    def __dlpack__(self: Tensor, **options: Any) -> Any:    # type: ignore[misc]
        """The value through DLPack (a copy). Refused, as in PyTorch, when a gradient is required."""
        if self.node.tape is not None:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if self.node.device.kind.gpu:
            return exported(self.node).__dlpack__(**options)
        return values(self.node).copy().__dlpack__(**options)

    def __dlpack_device__(self: Tensor) -> tuple[int, int]:     # type: ignore[misc]
        device = self.node.device
        return (2, device.index) if device.kind.gpu else (1, 0)

    @property
    def __cuda_array_interface__(self: Tensor) -> dict[str, Any]:       # type: ignore[misc]
        if not self.node.device.kind.gpu:
            raise AttributeError(f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.node.device}")
        if self.node.tape is not None:
            raise RuntimeError("Can't get __cuda_array_interface__ on Tensor that requires grad; use tensor.detach()")
        return exported(self.node).__cuda_array_interface__

    def __bool__(self: Tensor) -> bool:                     # type: ignore[misc]
        if self.node.spec.numel != 1:
            raise RuntimeError("Boolean value of Tensor with " + ("no values" if not self.node.spec.numel else
                               "more than one value") + " is ambiguous")
        return builtins.bool(self.item())

    def __float__(self: Tensor) -> float:                   # type: ignore[misc]
        return builtins.float(_only(self).item())

    def __int__(self: Tensor) -> int:                       # type: ignore[misc]
        return builtins.int(_only(self).item())

    def __index__(self: Tensor) -> int:                     # type: ignore[misc]
        if self.node.dtype.category == 2 or self.node.spec.numel != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return builtins.int(self.item())

    def __format__(self: Tensor, spec: str) -> str:         # type: ignore[misc]
        return format(self.item(), spec) if not self.node.shape else object.__format__(self, spec)

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:      # type: ignore[misc]
        """With another dtype or device (or another tensor's); itself when nothing changes. See `conversion`."""
        device, dtype, copy = conversion(args, kwargs)
        node = self.node if device is None else moved(self.node, place(device))
        node = node if dtype is None else g.cast(node, dtype)
        if node is self.node:
            return self.clone() if copy else self
        return wrap(node)

    def type(self: Tensor, dtype: DType | None = None) -> Any:      # type: ignore[misc]
        """In another dtype; without one, the name of its own."""
        return self.to(dtype=kind(dtype)) if dtype is not None else f"torch.{self.dtype.name}"

    def type_as(self: Tensor, other: Tensor) -> Tensor:     # type: ignore[misc]
        """In another tensor's dtype."""
        return self.to(other.dtype)

    def float(self: Tensor) -> Tensor:                      # type: ignore[misc]
        """As float32."""
        return self.to(dtypes.float32)

    def double(self: Tensor) -> Tensor:                     # type: ignore[misc]
        """As float64."""
        return self.to(dtypes.float64)

    def half(self: Tensor) -> Tensor:                       # type: ignore[misc]
        """As float16."""
        return self.to(dtypes.float16)

    def bfloat16(self: Tensor) -> Tensor:                   # type: ignore[misc]
        """As bfloat16."""
        return self.to(dtypes.bfloat16)

    def long(self: Tensor) -> Tensor:                       # type: ignore[misc]
        """As int64."""
        return self.to(dtypes.int64)

    def int(self: Tensor) -> Tensor:                        # type: ignore[misc]
        """As int32."""
        return self.to(dtypes.int32)

    def short(self: Tensor) -> Tensor:                      # type: ignore[misc]
        """As int16."""
        return self.to(dtypes.int16)

    def char(self: Tensor) -> Tensor:                       # type: ignore[misc]
        """As int8."""
        return self.to(dtypes.int8)

    def byte(self: Tensor) -> Tensor:                       # type: ignore[misc]
        """As uint8."""
        return self.to(dtypes.uint8)

    def bool(self: Tensor) -> Tensor:                       # type: ignore[misc]
        """As bool."""
        return self.to(dtypes.bool_)

    def cpu(self: Tensor) -> Tensor:                        # type: ignore[misc]
        """On the cpu device."""
        return self.to(Device("cpu"))

    def cuda(self: Tensor, device: Any = None) -> Tensor:   # type: ignore[misc]
        """On a CUDA device, by default the current one."""
        return self.to(Device("cuda", device) if device is None or isinstance(device, int) else Device(device))

    def clone(self: Tensor, *, memory_format: None = None) -> Tensor:    # type: ignore[misc]
        """A copy; gradients flow through it."""
        return labelled(wrap(g.identity(self.node)), "CloneBackward0")

    def detach(self: Tensor) -> Tensor:                     # type: ignore[misc]
        """The same memory, off the tape."""
        return self.detached()

    @locked
    def detach_(self: Tensor) -> Tensor:                    # type: ignore[misc]
        """Take this tensor off the tape. Raises RuntimeError for a view."""
        if self._alias is not None and self._alias.is_view():
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        if not self.is_leaf:
            hooks = self.node.tape.hooks            # type: ignore[union-attr]
            self.hold_instead(alone(self.node))
            if hooks:
                self._keep_hooks(hooks)
        return self.requires_grad_(False)

    @property
    def data(self: Tensor) -> Tensor:                       # type: ignore[misc]
        """The same memory, off the tape, changes of which do not count as versions."""
        return self.detached(counts=False)

    @data.setter
    @locked
    def data(self: Tensor, value: Tensor) -> None:          # type: ignore[misc]
        if not isinstance(value, Handle):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self.node.tape is not None and not value.node.dtype.is_floating_point:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype, "
                               f"not {value.node.dtype}")
        mine, its = self.node.spec, value.node.spec
        if its is not mine and not self.is_leaf and (its.shape, its.device) != (mine.shape, mine.device):
            raise RuntimeError("attempting to assign data of another shape or device to a tensor that is a result: "
                               f"expected {mine}, got {its}; without a gradient it may: write x = x.detach() first")
        self.move_to(value)

    def new_tensor(self: Tensor, data: Any, *, dtype: DType | None = None, device: Any = None,         # type: ignore[misc]
                   requires_grad: Any = False) -> Tensor:
        """A new tensor from data, by default of this dtype and device."""
        from .create import tensor
        return tensor(data, dtype=kind(dtype) or self.dtype,
                      device=self.device if device is None else device, requires_grad=requires_grad)


def _only(tensor: Tensor) -> Tensor:
    """A tensor of one element. Raises ValueError for any other."""
    if tensor.node.spec.numel != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return tensor


def synchronize(device: Any = None) -> None:
    """Wait until everything launched on a device has run."""
    where = place(device)
    backend(where.type, where.index).synchronize()
