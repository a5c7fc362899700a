"""Tensors and everything that makes or combines them, under PyTorch's names.

A function of a tensor is the method of that name: `sin(x)` is `Tensor.sin(x)`.
"""

import sys
from collections.abc import Callable

from ..arguments import guard
from ..autograd import Function, backward, enable_grad, grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from ..graph.dtypes import *
from ..graph.dtypes import of_scalar
from ..graph.spec import Device
from .core import Size
from .create import *
from .custom import custom_kernel
from .einsum import einsum
from .elementwise import CHECKED
from .gathering import where
from .joining import *
from .linalg import get_float32_matmul_precision, set_float32_matmul_precision
from .operands import must_be_operands, no_out, node_of, not_a_tensor
from .printing import set_printoptions
from .random import *
from .rearranging import tril_indices, triu_indices
from .special import fill
from .tensor_class import FUNCTIONS, Tensor
from .transfer import from_dlpack, synchronize
from .types import Operand

concat = concatenate = cat
row_stack = vstack
dtype, device = DType, Device


def _as_function(name: str) -> Callable[..., object]:
    method = getattr(Tensor, name)
    if method in CHECKED:
        return method

    def function(input: object, *args: object, **kwargs: object) -> object:
        if not isinstance(input, Tensor):
            raise not_a_tensor(name, input)
        if "out" in kwargs:
            no_out(kwargs.pop("out"), name)
        return method(input, *args, **kwargs)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = method.__doc__
    vars(function)["__wrapped__"] = method
    return function


globals().update({name: _as_function(name) for name in FUNCTIONS})


def result_type(a: Operand, b: Operand) -> DType:
    """The dtype of an operation on two tensors or numbers."""
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        for value in (a, b):
            if not isinstance(value, bool | int | float):
                raise TypeError(f"result_type(): expected a Tensor or a number, not {type(value).__name__}")
        return promote_types(of_scalar(a), of_scalar(b))
    return must_be_operands(a, b, "result_type")[0].dtype


def is_tensor(obj: object) -> bool:
    """Whether an object is a Tensor."""
    return isinstance(obj, Tensor)


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    one, two = node_of(input, "equal"), node_of(other, "equal", "other", 2)
    return one.spec.shape == two.spec.shape and bool((input == other).all())


__all__ = ["DType", "Device", "Function", "Generator", "Size", "Tensor", "arange", "as_tensor", "backward", "bernoulli",
           "bfloat16", "bool_", "broadcast_tensors", "cat", "concat", "concatenate", "custom_kernel", "default_device",
           "default_generator", "device", "dtype", "empty", "empty_like", "enable_grad", "equal", "eye", "fill",
           "float16", "float32", "float64", "from_dlpack", "from_numpy", "full", "full_like", "get_default_dtype",
           "get_float32_matmul_precision", "get_rng_state", "grad", "inference_mode", "initial_seed", "int8", "int16",
           "int32", "int64", "is_grad_enabled", "is_tensor", "linspace", "manual_seed", "no_grad", "ones", "ones_like",
           "promote_types", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
           "result_type", "seed", "set_default_device", "set_default_dtype", "set_float32_matmul_precision",
           "set_grad_enabled", "set_rng_state", "set_printoptions", "stack", "synchronize", "tensor", "uint8",
           "tril_indices", "triu_indices", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes", "column_stack",
           "dstack", "einsum", "hstack", "meshgrid", "row_stack", "vstack", "where", "zeros", "zeros_like", *FUNCTIONS]
guard(sys.modules[__name__], (name for name in __all__ if name not in FUNCTIONS),
      but=("Tensor", "backward", "einsum", "from_numpy", "linspace", "manual_seed", "set_rng_state", "where"))
