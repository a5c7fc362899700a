"""What a user's own code hands to the walk, checked where it arrives: results of a `Function`, of hooks, and gradients
that are assigned. What fits is converted as PyTorch converts it; what does not is refused in PyTorch's words.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import ops as g
from ..engine import run
from ..engine.handle import HasNode, is_tensor, type_of
from ..engine.session import current
from ..graph.dtypes import TITLES
from ..graph.node import Node
from ..graph.spec import Shape, Spec
from .anomaly import HookAt


class GradientTypeError(TypeError, RuntimeError):
    """Something that is no Tensor where a gradient is due: a TypeError, which PyTorch raises as a RuntimeError."""


def tensor_type(spec: Spec) -> str:
    """PyTorch's name of a tensor's type, e.g. `torch.FloatTensor`."""
    place = "" if spec.device.kind.native else f"{spec.device.type}."
    return f"torch.{place}{TITLES[spec.dtype.name]}Tensor"


def expands_to(shape: Shape, other: Shape) -> bool:
    """Whether `shape` broadcasts to `other`, so that a gradient of the latter can be summed to the former."""
    lead = len(other) - len(shape)
    return lead >= 0 and all(a in (1, b) for a, b in zip(shape, other[lead:], strict=True))


def gradient(name: str, index: int, result: object, want: Spec) -> Node:
    """Gradient number `index` that function `name` returned for an input of the spec `want`, as a node of that spec:
    broadcasting is undone, the dtype converted, and so is the device of a 0-d tensor. Raises GradientTypeError for what
    is no Tensor, RuntimeError for one that does not fit."""
    if not is_tensor(result):
        raise GradientTypeError(f"Function {name} returned an invalid gradient at index {index} - expected Variable or "
                                f"None (got {type_of(result)}): a gradient is a Tensor of shape {list(want.shape)}")
    have = result.node.spec
    if have is want:
        return result.node
    wrong = f"Function {name} returned an invalid gradient at index {index} - "
    if not expands_to(want.shape, have.shape):
        raise RuntimeError(f"{wrong}got {list(have.shape)} but expected shape compatible with {list(want.shape)}")
    if have.device is not want.device:
        if have.shape:
            raise RuntimeError(f"{wrong}expected device {want.device} but got {have.device}")
        result = result.to(want.device)
    node = result.node if have.dtype.category else g.cast(result.node, want.dtype)      # bools would not be counted
    return g.cast(g.sum_to(node, want.shape), want.dtype)


def hook_result(hook: Callable[..., object], result: object, ct: Node) -> Node:
    """The cotangent after a hook that was given `ct` and returned `result`: `ct` itself where that is None. Raises
    TypeError for what is no Tensor, RuntimeError for another shape, dtype or device."""
    if result is None:
        return ct
    if not is_tensor(result):
        raise TypeError(f"expected Variable, but hook returned '{type_of(result)}'")
    have, want = result.node.spec, ct.spec
    if have is not want:
        changed = f"hook '{getattr(hook, '__name__', '<unknown>')}' has changed the"
        if have.dtype is not want.dtype or have.device is not want.device:
            raise RuntimeError(f"{changed} type of value (was {tensor_type(want)} got {tensor_type(have)})")
        raise RuntimeError(f"{changed} size of value (was {list(want.shape)} got {list(have.shape)})")
    if current().watchers:
        run.tell(result.node, HookAt(hook))
    return result.node


def assigned(value: object, tensor: HasNode) -> None:
    """Refuse what cannot be a tensor's `.grad`: TypeError for no Tensor, RuntimeError for one that does not fit."""
    if not is_tensor(value):
        raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type_of(value)}")
    if value is tensor:
        raise RuntimeError("can't assign Variable as its own grad")
    have, want = value.node.spec, tensor.node.spec
    if have is want:
        return
    if have.dtype is not want.dtype:
        raise RuntimeError(f"attempting to assign a gradient with dtype '{have.dtype!r}' to a tensor with dtype "
                           f"'{want.dtype!r}'. The gradient must match the tensor's dtype")
    if have.device is not want.device:
        raise RuntimeError(f"attempting to assign a gradient with device type '{have.device}' to a tensor with device "
                           f"type '{want.device}'. Please ensure that the gradient and the tensor are on the same "
                           "device")
    raise RuntimeError(f"attempting to assign a gradient of size '{list(have.shape)}' to a tensor of size "
                       f"'{list(want.shape)}'. Please ensure that the gradient and the tensor are the same size")
