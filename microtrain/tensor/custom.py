"""A user's own Triton kernel as an operation: recorded like any other, with the user's own derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..autograd import Function
from ..autograd.recorded import FunctionCtx
from ..graph.dtypes import DType
from ..graph.node import Node
from ..graph.spec import Shape, Spec
from ..ops.user_kernel import KernelCall, record_call
from .storage import wrap
from .types import Tensor

Grid = int | Sequence[int] | Callable[..., int | Sequence[int]]
TRITON_NAMES = ("JITFunction", "InterpretedFunction")


class CustomKernel:
    """A Triton kernel with what it takes to call it: made by `custom_kernel`, called with Tensors."""

    def __init__(self, kernel: Any, name: str, outputs: Callable[..., Iterable[object]], grid: Grid,
                 scalars: Callable[..., Sequence[int | float]], constants: Mapping[str, object],
                 backward: Callable[..., object] | None, saved: Callable[..., Iterable[Tensor]],
                 options: dict[str, int]) -> None:
        self.kernel, self.name, self.outputs, self.grid, self.scalars = kernel, name, outputs, grid, scalars
        self.constants, self.backward, self.saved, self.options = dict(constants), backward, saved, options
        self.calls: dict[tuple[Spec, ...], KernelCall] = {}
        self.function: type[Function] = type(name, (_Recorded,), {"operation": self})

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs of the kernel: a Tensor, or a tuple where there are several. Raises TypeError for an argument
        that is no Tensor or a call that does not fit the kernel's parameters, RuntimeError for tensors on different
        devices or on one that runs no Triton kernels."""
        if not inputs or not all(isinstance(x, Tensor) for x in inputs):
            given = ", ".join(type(x).__name__ for x in inputs) or "nothing"
            raise TypeError(f"{self.name}(): takes Tensors, one for each pointer that the kernel reads, not {given}; "
                            "numbers go into scalars= or constants=")
        return self.function.apply(*inputs)

    def __repr__(self) -> str:
        return f"<custom kernel {self.name}({', '.join(self.kernel.arg_names)})>"

    def record(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Record one call."""
        nodes = tuple([x.node for x in inputs])
        key = tuple([node.spec for node in nodes])
        if key not in self.calls:
            self.check_device(nodes)
            self.calls[key] = self.call_on(inputs)
        return tuple([wrap(node) for node in record_call(self.calls[key], nodes)])

    def check_device(self, nodes: tuple[Node, ...]) -> None:
        """Raise RuntimeError unless the inputs are on one device that runs this kernel."""
        devices = list(dict.fromkeys(node.device for node in nodes))
        if len(devices) > 1:
            raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                               f"{devices[0]} and {devices[1]}! (when computing {self.name})")
        device = devices[0]
        if device.kind.native:
            raise RuntimeError(f"{self.name} is a Triton kernel, which the {device} device cannot run: move its inputs "
                               "to 'cuda', or to 'interpret', which runs kernels without a GPU")
        interpreted = type(self.kernel).__name__ == "InterpretedFunction"
        if interpreted is not device.kind.interpreted:
            has, needs = ("interpreted", "compiled") if interpreted else ("compiled", "interpreted")
            raise RuntimeError(f"{self.name} was decorated to be {has}, and the {device} device needs it {needs}: "
                               "@triton.jit decides when it decorates; set MICROTRAIN_DEVICE=interpret to interpret "
                               "kernels in a process (and import microtrain first), leave it unset to compile them")

    def call_on(self, inputs: tuple[Tensor, ...]) -> KernelCall:
        """How the kernel is called on inputs of these shapes and dtypes. Raises TypeError where it does not fit."""
        try:
            described = self.outputs(*inputs)
            pair = isinstance(described, tuple) and len(described) == 2 and isinstance(described[1], DType)
            described = [described] if pair or isinstance(described, Tensor) else list(described)
        except TypeError as error:
            raise TypeError(f"{self.name}(): outputs= does not take {len(inputs)} inputs: {error}") from error
        outputs = tuple([_described(out, self.name) for out in described])
        if not outputs:
            raise TypeError(f"{self.name}(): outputs= gave nothing; a kernel writes at least one array")
        scalars = self.scalars(*inputs)
        if not isinstance(scalars, Sequence) or isinstance(scalars, str):
            raise TypeError(f"{self.name}(): scalars= gave {scalars!r} of type {type(scalars).__name__}; it gives a "
                            "list or tuple of ints and floats")
        for value in scalars:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{self.name}(): scalars= gave {value!r} of type {type(value).__name__}; a kernel "
                                "takes ints and floats, anything else belongs in constants=")
        parameters = self.kernel.arg_names
        absent = sorted(set(self.constants) - set(parameters))
        free = [name for name in parameters if name not in self.constants]
        if absent or len(free) != len(inputs) + len(outputs) + len(scalars):
            reason = (f"it has no parameter {', '.join(absent)}" if absent else
                      f"{len(free)} parameters ({', '.join(free)}) are left for {len(inputs)} input and {len(outputs)} "
                      f"output pointers and {len(scalars)} scalars")
            raise TypeError(f"{self.name}(): the call does not fit the kernel's parameters: {reason}")
        grid = self.grid(*inputs) if callable(self.grid) else self.grid
        grid = (grid,) if isinstance(grid, int) else tuple(grid)
        if not 1 <= len(grid) <= 3 or not all(isinstance(n, int) and n >= 0 for n in grid):
            raise TypeError(f"{self.name}(): grid= gave {grid}; it is 1 to 3 ints, the number of programs along each "
                            "axis")
        return KernelCall(self.name, self.kernel, grid, outputs, tuple(scalars), self.constants, self.options)


class _Recorded(Function):
    """A custom kernel on the tape."""

    operation: CustomKernel

    @classmethod
    def forward(cls, ctx: FunctionCtx, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = cls.operation.record(inputs)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*cls.operation.saved(inputs, outputs))
        return outputs if len(outputs) > 1 else outputs[0]

    @classmethod
    def backward(cls, ctx: FunctionCtx, *cotangents: Tensor | None) -> object:
        operation = cls.operation
        if operation.backward is None:
            raise NotImplementedError(f"derivative for {operation.name} is not implemented: give custom_kernel a "
                                      "backward=, another custom kernel or a function of Tensors")
        results = operation.backward(*cotangents, *ctx.saved_tensors)
        return tuple(results) if isinstance(results, list) else results


def custom_kernel(kernel: Any, *, outputs: Callable[..., Iterable[object]], grid: Grid,
                  scalars: Callable[..., Sequence[int | float]] | None = None,
                  constants: Mapping[str, object] | None = None, backward: Callable[..., object] | None = None,
                  saved: Callable[..., Iterable[Tensor]] | None = None, num_warps: int = 4, num_stages: int = 3,
                  name: str | None = None) -> CustomKernel:
    """A `@triton.jit` kernel as an operation on Tensors.

    The kernel is called with the inputs' pointers, the outputs' pointers and the scalars, in this order, and with the
    constants by name. All arrays are contiguous in row-major order; the kernel reads its inputs, writes every element
    of its outputs and changes nothing else. It runs where the device is `cuda` or `interpret` and compiles on `null`.

    Args:
        kernel: what `@triton.jit` made; TypeError for anything else.
        outputs: of the inputs, one or a sequence of Tensors (whose shape and dtype are taken) or pairs (shape, dtype).
        grid: the number of programs along each axis, an int or 1 to 3 of them, or a function of the inputs.
        scalars: of the inputs, the ints and floats that follow the pointers; a new value is a new plan.
        constants: the kernel's constexprs.
        backward: of the outputs' cotangents and what was saved, the cotangent of each input (or None): a custom kernel
            or a function of Tensors. Written in operations that have derivatives, it can be differentiated again.
        saved: of the tuples of inputs and of outputs, the tensors that the backward is given; by default the inputs.
        num_warps, num_stages: Triton's.
        name: what errors and `explain` call it; by default the kernel's name.

    `outputs`, `grid` and `scalars` are called once for each combination of shapes and dtypes: they may depend on these.
    """
    if type(kernel).__name__ not in TRITON_NAMES:
        raise TypeError(f"custom_kernel(): kernel must be a function decorated with @triton.jit, not "
                        f"{type(kernel).__name__}")
    return CustomKernel(kernel, name or kernel.fn.__name__, outputs, grid, scalars or (lambda *inputs: ()),
                        constants or {}, backward, saved or (lambda inputs, outputs: inputs),
                        {"num_warps": num_warps, "num_stages": num_stages})


def _described(out: object, name: str) -> tuple[Shape, DType]:
    """The shape and dtype of an output."""
    if isinstance(out, Tensor):
        return out.node.shape, out.node.dtype
    shape, dtype = out if isinstance(out, tuple) and len(out) == 2 else (None, None)
    if not isinstance(dtype, DType) or not all(isinstance(n, int) and n >= 0 for n in shape or ()):
        raise TypeError(f"{name}(): outputs= gave {out!r}; an output is described by a Tensor or by (shape, dtype)")
    return tuple(shape or ()), dtype
