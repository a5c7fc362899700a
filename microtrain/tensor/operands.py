"""Arguments of an operation as nodes of one dtype on one device, by PyTorch's rules of promotion, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import ops as g
from ..graph import dtypes
from ..graph.constants import GIVEN, constant, given
from ..graph.dtypes import DType, number, promote_types
from ..graph.node import Node
from .host import moved
from .memory import named
from .types import Operand, Tensor

F = TypeVar("F", bound=Callable[..., object])
_CATEGORY: dict[type, int] = {bool: 0, int: 1, float: 2}


def called(function: F, name: str, doc: str | None = None) -> F:
    """A function that was made in another, by its own name."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc or function.__doc__
    return function


def not_a_tensor(name: str, value: object, argument: str = "input", position: int = 1) -> TypeError:
    """The error, in PyTorch's words, for an argument that must be a tensor and is none."""
    return TypeError(f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
                     f"{type(value).__name__}")


def node_of(value: object, name: str, argument: str = "input", position: int = 1) -> Node:
    """The node of a tensor argument. Raises TypeError for anything else."""
    if not isinstance(value, Tensor):
        raise not_a_tensor(name, value, argument, position)
    return value.node


def flag(value: object, name: str, argument: str) -> bool:
    """An argument that is True or False. Raises TypeError in PyTorch's words for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}(): argument '{argument}' must be bool, not {type(value).__name__}")
    return bool(value)


def no_tensor(name: str, **arguments: object) -> TypeError:
    """The error for the first of some arguments, in order, that is no tensor."""
    return next(not_a_tensor(name, value, argument, position)
                for position, (argument, value) in enumerate(arguments.items(), 1) if not isinstance(value, Tensor))


def number_beside(x: Node, value: Any) -> tuple[Node, Node] | None:
    """A tensor's node and a Python number as operands of one dtype; None when `value` is no number. An integer beyond
    an integer dtype wraps around, as PyTorch's does; one beyond 64 bits raises OverflowError."""
    dtype = x.spec.dtype
    if value.__class__ in GIVEN and dtype.category == 2:
        return x, given(value, dtype, x.spec.device)
    if dtype.category == 2:
        known = x.spec.constants.get(value) if value.__class__ in _CATEGORY and value else None
        if known is not None:
            return x, known
    if value.__class__ not in _CATEGORY:
        value = stranger(value)
        if value is None:
            return None
    if _CATEGORY[value.__class__] > dtype.category:
        dtype = dtypes.of_scalar(value)
        x = g.cast(x, dtype)
        if dtype.category == 1:
            check_range(value, dtype)       # beside booleans it counts as int64, and does not wrap
    if dtype.category == 1:
        value = wrapped(value, dtype)
    node = constant(value, dtype, x.spec.device)
    if dtype.category == 2 and value:
        node = x.spec.constants.setdefault(value, node)
    return x, node


def stranger(value: Any) -> bool | int | float | None:
    """The number that an operand of none of Python's own types is; None where it is no number. Raises TypeError, saying
    what to write, for an array: NumPy would go on alone, and compare it as another object."""
    if isinstance(value, np.ndarray) or (type(value).__module__ == "torch" and hasattr(value, "__array__")):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"unsupported operand: a Tensor goes with Tensors and numbers, not {kind} (of shape "
                        f"{list(value.shape)}): write microtrain.tensor(array), or x.numpy() to go on in NumPy")
    if isinstance(value, int | float | np.generic) and not isinstance(value, np.complexfloating):
        return number(value) if not isinstance(value, np.generic) or value.dtype.kind in "biuf" else None
    return None


def wrapped(value: int, dtype: DType) -> int:
    """An integer as one of an integer dtype, modulo its size. Raises OverflowError beyond 64 bits."""
    if dtype.low <= value <= dtype.high:
        return value
    if not -2**63 <= value < 2**64:
        raise OverflowError(f"int too big to convert to {dtype!r}: {value}")
    return int(np.uint64(value % 2**64).astype(dtype.numpy))


def beyond(value: Operand, x: Node) -> bool:
    """Whether a value is a Python integer that no element of an integer tensor can be."""
    dtype = x.spec.dtype
    return dtype.category == 1 and isinstance(value, (int, np.integer)) and not dtype.low <= value <= dtype.high


def check_range(value: float, dtype: DType) -> None:
    """Raise RuntimeError when an integer does not fit a dtype."""
    if not dtype.low <= value <= dtype.high:
        raise RuntimeError(without_overflow(value, dtype))


def without_overflow(value: object, dtype: DType) -> str:
    """PyTorch's words for a number that a dtype does not hold."""
    name = f"{dtype.name}_t" if dtype.category == 1 and dtype is not dtypes.int32 else in_c(dtype)
    return f"value cannot be converted to type {name} without overflow: {value}"


def in_c(dtype: DType) -> str:
    """What PyTorch's errors call a dtype."""
    return {"float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
            "uint8": "unsigned char", "int8": "signed char", "int16": "short", "int32": "int",
            "int64": "long"}.get(dtype.name, dtype.name)


def converted(value: Operand, dtype: DType, name: str = "masked_fill") -> bool | int | float:
    """A number to fill with, as a value of a dtype: cut to an integer; a negative one wraps around in uint8. Raises
    RuntimeError for one that the dtype does not hold, TypeError for what is no number, in PyTorch's words."""
    if value.__class__ is float and dtype.wide and abs(value) < 3e38:
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, complex | float | int):
        raise TypeError(f"{name}(): argument 'value' must be Number, not {type(value).__name__} ({value!r})")
    if dtype.category == 0 and not isinstance(value, complex):
        return bool(value)
    if not dtypes.holds(dtype, value):
        raise RuntimeError(without_overflow(value, dtype))
    return float(value) if dtype.category == 2 else wrapped(int(value), dtype)


def result_dtype(x: Node, y: Node) -> DType:
    """PyTorch's promotion: a 0-d operand yields to one with axes unless it is of a higher category."""
    a, b = x.spec.dtype, y.spec.dtype
    if a is b:
        return a
    if bool(x.spec.shape) != bool(y.spec.shape):
        wide, point = (a, b) if x.spec.shape else (b, a)
        if wide.category >= point.category:
            return wide
    return promote_types(a, b)


def comparable_dtype(x: Node, y: Node) -> DType:
    """The dtype in which two are compared: of integers one that holds both, also where one has no axes."""
    a, b = x.spec.dtype, y.spec.dtype
    return promote_types(a, b) if a.category == b.category == 1 else result_dtype(x, y)


def operands(a: Operand, b: Operand, name: str, common: Callable[[Node, Node], DType] = result_dtype
             ) -> tuple[Node, Node] | None:
    """Two arguments, at least one a tensor, as nodes of one dtype; None for a foreign type."""
    if isinstance(a, Tensor):
        x = a.node
        if isinstance(b, Tensor):
            y = b.node
            if x.spec.dtype is not y.spec.dtype:
                dtype = common(x, y)
                x, y = g.cast(x, dtype), g.cast(y, dtype)
            if x.spec.device is not y.spec.device:
                x, y = beside_point(x, y, name)
            return x, y
        return number_beside(x, b)
    pair = number_beside(b.node, a) if isinstance(b, Tensor) else None
    return None if pair is None else (pair[1], pair[0])


def beside_point(x: Node, y: Node, name: str) -> tuple[Node, Node]:
    """Operands on two devices: a 0-d cpu tensor goes along, anything else raises."""
    if not y.spec.shape and y.spec.device.kind.native:
        return x, moved(y, x.spec.device)
    if not x.spec.shape and x.spec.device.kind.native:
        return moved(x, y.spec.device), y
    raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                       f"{x.spec.device} and {y.spec.device}! (in {name}; move one with .to({str(x.spec.device)!r}))")


def must_be_operands(a: Operand, b: Operand, name: str) -> tuple[Node, Node]:
    """As `operands`, raising TypeError for a foreign type."""
    pair = operands(a, b, name)
    if pair is None:
        bad = b if isinstance(a, Tensor) else a
        raise TypeError(f"{name}(): expected a Tensor or a number, not {type(bad).__name__}")
    return pair


def filling(value: Operand, x: Node, name: str) -> Node | bool | int | float:
    """What to fill a tensor with: a number, or a 0-d tensor, whose value is read where x's integers may not hold it."""
    if not isinstance(value, Tensor):
        return converted(value, x.spec.dtype, name)
    if x.spec.dtype.category == 1 and value.node.spec.dtype is not x.spec.dtype:
        return converted(value.item(), x.spec.dtype, name)
    return g.cast(value.node, x.spec.dtype)


def as_floats(a: Operand, b: Operand, name: str) -> tuple[Node, Node] | None:
    """As `operands`, in a floating dtype: a number beside integers is not made one of theirs first."""
    if isinstance(a, Tensor) and not isinstance(b, Tensor):
        pair = number_beside(floating(a.node), b)
    elif isinstance(b, Tensor) and not isinstance(a, Tensor):
        pair = number_beside(floating(b.node), a)
        pair = pair and (pair[1], pair[0])
    else:
        pair = operands(a, b, name)
    return pair and (floating(pair[0]), floating(pair[1]))


def must_be_floats(a: Operand, b: Operand, name: str) -> tuple[Node, Node]:
    """As `as_floats`, raising TypeError for a foreign type."""
    return as_floats(a, b, name) or must_be_operands(a, b, name)


def floating(node: Node) -> Node:
    """Integers and booleans in the default floating dtype; anything else as it is."""
    return node if node.spec.dtype.category == 2 else g.cast(node, dtypes.get_default_dtype())


def floats_only(x: Node, name: str) -> Node:
    """The node, refused unless its dtype is floating point."""
    if x.spec.dtype.category != 2:
        raise NotImplementedError(f'"{name}" not implemented for {x.spec.dtype!r}: convert to a floating-point dtype')
    return x


def by_number(x: Node, value: Operand, operation: Callable[[Node, Node], Node]) -> Node | None:
    """A half precision times or over a number that it does not hold exactly: in float32, and rounded once, as PyTorch
    does (0.999 is not 1 then, as it is in bfloat16); None for anything else."""
    dtype = x.spec.dtype
    if dtype.category != 2 or dtype.wide or not isinstance(value, int | float | np.number):
        return None
    if value.__class__ in GIVEN:        # whatever its value is now
        number = constant(value, dtypes.float32, x.spec.device)
        return in_float32(lambda wide: operation(wide, number))(x)
    value = float(value)
    bits, least = (11, 2.0**-14) if dtype is dtypes.float16 else (8, 2.0**-126)
    exact = (math.frexp(value)[0] * 2**bits).is_integer() and least <= abs(value) <= dtypes.largest_finite(dtype)
    if value == 0 or exact or not math.isfinite(value):
        return None
    number = constant(value, dtypes.float32, x.spec.device)
    return in_float32(lambda wide: operation(wide, number))(x)


def in_float32(operation: Callable[..., Node]) -> Callable[..., Node]:
    """The operation with half precisions computed in float32, and rounded once at the end (so are its derivatives)."""
    def widened(x: Node, *rest: object) -> Node:
        dtype = x.spec.dtype
        if dtype.category != 2 or dtype.itemsize > 2:
            return operation(x, *rest)
        wide = [g.cast(y, dtypes.float32) if isinstance(y, Node) else y for y in (x, *rest)]
        inner = operation(*wide)
        out = g.cast(inner, dtype)
        return out if inner.tape is None else named(out, inner.tape.name)
    return widened


def truth(node: Node) -> Node:
    """Whether elements are non-zero."""
    return node if node.spec.dtype is dtypes.bool_ else g.ne(node, 0)


def labelled(out: Tensor, name: str) -> Tensor:
    """A result whose grad_fn goes by another of PyTorch's names."""
    named(out.node, name)
    return out


def no_bools(x: Operand, y: Operand) -> None:
    """Raise RuntimeError, in PyTorch's words, when an operand of a subtraction is bool."""
    bools = [(v.node.spec.dtype if isinstance(v, Tensor) else v.__class__) in (dtypes.bool_, bool) for v in (x, y)]
    if all(bools):
        raise RuntimeError(g.TWO_BOOLS)
    if any(bools):
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
                           "invert a mask, use the `~` or `logical_not()` operator instead.")


def no_bool(x: Node, name: str) -> Node:
    """The node, refused when it is bool."""
    if x.spec.dtype.category == 0:
        raise NotImplementedError(f'"{name}" not implemented for \'Bool\': convert to an integer or floating-point '
                                  'dtype')
    return x


def divisor(y: Node) -> Node:
    """A divisor, refused when it is the integer 0."""
    if y.spec.dtype.category == 1 and y.primitive is g.LITERAL and y.attrs[0] == 0:
        raise RuntimeError("ZeroDivisionError: integer division or remainder by zero")
    return y


def no_out(out: object, name: str) -> None:
    """Raise NotImplementedError where a result should be written into a tensor that is there already."""
    if out is not None:
        what = f"a {out.dtype!r} tensor of shape {list(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise NotImplementedError(f"{name}(): out= is not supported, got {what}: write out.copy_({name}(...)), or use "
                                  "the result")
