"""Activations as composites: one node each, which keeps its input alone and has a derivative in closed form.

The conventions at the joints are those of PyTorch's kernels. The tensor layer hands them float32 or float64, never half
precisions.
"""

from __future__ import annotations

import math
from typing import Any

from ..node import Kind, Node
from ..primitives import row, same
from .basic import ops


def activation(name: str, decompose: Any, **options: Any) -> Any:
    """The row of a function of one tensor and any number of numbers, 0-d nodes of its dtype: a number that changes from
    step to step is not part of a plan."""
    return row(name, Kind.COMPOSITE, same, decompose=decompose, **options)


def _leaky_relu(x: Node, slope: Node) -> Node:
    o = ops()
    return o.where(o.gt(x, 0), x, o.mul(x, slope))


def _elu(x: Node, alpha: Node, scale: Node, input_scale: Node) -> Node:
    """scale x above 0, scale alpha (exp(input_scale x) - 1) below."""
    o = ops()
    return o.where(o.lt(x, 0), o.mul(o.expm1(o.mul(x, input_scale)), o.mul(scale, alpha)), o.mul(x, scale))


def _gelu(x: Node) -> Node:
    """x times the normal distribution function of x (Hendrycks and Gimpel, 2016)."""
    o = ops()
    return o.mul(o.mul(x, 0.5), o.add(o.erf(o.mul(x, math.sqrt(0.5))), 1))


def gelu_exponent(x: Node) -> Node:
    """2 sqrt(2 / pi) (x + 0.044715 x^3)."""
    o = ops()
    return o.mul(o.add(x, o.mul(o.mul(o.mul(x, x), x), 0.044715)), 2 * math.sqrt(2 / math.pi))


def _gelu_tanh(x: Node) -> Node:
    """As (1 + tanh(u / 2)) / 2 is sigmoid(u), without the sum that cancels."""
    o = ops()
    return o.mul(x, o.sigmoid(gelu_exponent(x)))


def _silu(x: Node) -> Node:
    o = ops()
    return o.div(x, o.add(o.exp(o.neg(x)), 1))


def _mish(x: Node) -> Node:
    """x tanh(softplus(x)) (Misra, 2019)."""
    o = ops()
    return o.mul(x, o.tanh(o.softplus(x)))


def _log_sigmoid(x: Node) -> Node:
    o = ops()
    return o.neg(o.softplus(o.neg(x)))


def _hardtanh(x: Node, low: Node, high: Node) -> Node:
    return ops().clamp(x, low, high)


def _hardsigmoid(x: Node) -> Node:
    o = ops()
    return o.div(o.clamp(o.add(x, 3), 0, 6), 6)


def _hardswish(x: Node) -> Node:
    o = ops()
    return o.div(o.mul(x, o.clamp(o.add(x, 3), 0, 6)), 6)


def _threshold(x: Node, threshold: Node, value: Node) -> Node:
    o = ops()
    return o.where(o.le(x, threshold), value, x)


def _hardshrink(x: Node, lambd: Node) -> Node:
    o = ops()
    return o.where(inside(x, lambd), 0, x)


def _softshrink(x: Node, lambd: Node) -> Node:
    """x brought nearer to 0 by lambd; a zero of x's sign between; NaN stays."""
    o = ops()
    return o.where(inside(x, lambd), o.mul(x, 0), o.where(o.gt(x, 0), o.sub(x, lambd), o.add(x, lambd)))


def inside(x: Node, lambd: Node) -> Node:
    """Whether -lambd <= x <= lambd."""
    o = ops()
    return o.bitwise_and(o.ge(x, o.neg(lambd)), o.le(x, lambd))


def _prelu(x: Node, weight: Node) -> Node:
    o = ops()
    return o.where(o.gt(x, 0), x, o.mul(weight, x))


LEAKY_RELU = activation("leaky_relu", _leaky_relu)
ELU = activation("elu", _elu)
GELU = activation("gelu", _gelu)
GELU_TANH = activation("gelu_tanh", _gelu_tanh, grad_name="GeluBackward0")
SILU = activation("silu", _silu)
MISH = activation("mish", _mish)
LOG_SIGMOID = activation("log_sigmoid", _log_sigmoid)
HARDTANH = activation("hardtanh", _hardtanh)
HARDSIGMOID = activation("hardsigmoid", _hardsigmoid)
HARDSWISH = activation("hardswish", _hardswish)
THRESHOLD = activation("threshold", _threshold)
HARDSHRINK = activation("hardshrink", _hardshrink)
SOFTSHRINK = activation("softshrink", _softshrink)
PRELU = row("prelu", Kind.COMPOSITE, same, decompose=_prelu, grad_name="PreluKernelBackward0")


def _sloped(ct: Node, x: Node, slope: Node) -> Node:
    o = ops()
    return o.where(o.gt(x, 0), ct, o.mul(ct, slope))


def _between(ct: Node, x: Node, low: Node, high: Node) -> Node:
    o = ops()
    return o.where(o.bitwise_or(o.le(x, low), o.ge(x, high)), 0, ct)


def _above(ct: Node, x: Node, threshold: Node, value: Node) -> Node:
    o = ops()
    return o.where(o.le(x, threshold), 0, ct)


def _outside(ct: Node, x: Node, lambd: Node) -> Node:
    return ops().where(inside(x, lambd), 0, ct)


LEAKY_RELU_BACKWARD = activation("leaky_relu_backward", _sloped)
HARDTANH_BACKWARD = activation("hardtanh_backward", _between)
THRESHOLD_BACKWARD = activation("threshold_backward", _above)
SHRINK_BACKWARD = activation("shrink_backward", _outside)
PRELU_BACKWARD = activation("prelu_backward", _sloped)
"""The derivatives of the piecewise linear ones, times ct."""
