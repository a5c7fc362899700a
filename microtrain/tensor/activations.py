"""The activations that are single nodes; `nn.functional` checks arguments. Each is given a tensor and numbers.

Half precisions are computed in float32 and rounded once; a hard shrink compares in them, as PyTorch's does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph.composite import activations as a
from ..graph.node import Node, record2, record_with
from ..graph.ops import like
from ..runtime.lock import lock
from .operands import floats_only, in_float32, no_bool, node_of
from .storage import wrap

if TYPE_CHECKING:
    from .tensor_class import Tensor


def activation(primitive: Any, name: str, accept: Any = floats_only, widen: Any = in_float32) -> Any:
    """A function of a tensor and numbers; `inplace` overwrites the tensor, through its twin."""
    operation = widen(lambda x, *numbers: record_with(primitive, x, *[like(n, x) for n in numbers]))

    def function(input: Tensor, *numbers: float, inplace: bool = False) -> Tensor:
        x = accept(node_of(input, name), name)
        if not inplace:
            return wrap(operation(x, *numbers))
        with lock:
            input.check_inplace()
            return input.assign(operation(input.twin().node, *numbers), name + "_")
    function.__name__ = name
    return function


leaky_relu = activation(a.LEAKY_RELU, "leaky_relu")
elu = activation(a.ELU, "elu")
gelu = activation(a.GELU, "gelu")
gelu_tanh = activation(a.GELU_TANH, "gelu")
silu = activation(a.SILU, "silu")
mish = activation(a.MISH, "mish")
logsigmoid = activation(a.LOG_SIGMOID, "log_sigmoid")
hardtanh = activation(a.HARDTANH, "hardtanh", no_bool)
hardsigmoid = activation(a.HARDSIGMOID, "hardsigmoid")
hardswish = activation(a.HARDSWISH, "hardswish")
threshold = activation(a.THRESHOLD, "threshold", no_bool)
hardshrink = activation(a.HARDSHRINK, "hardshrink", widen=lambda operation: operation)
softshrink = activation(a.SOFTSHRINK, "softshrink")


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x above 0, else weight * x; the shapes broadcast, the dtypes agree."""
    return wrap(in_float32(_prelu)(floats_only(input.node, "prelu"), weight.node))


def _prelu(x: Node, weight: Node) -> Node:
    return record2(a.PRELU, x, weight)
