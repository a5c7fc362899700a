"""The launch of a small kernel by the driver alone, by Triton, and by microtrain."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import triton
import triton.language as tl

from microtrain import ops as g
from microtrain.bench.comparison import WrongResult
from microtrain.compiler.executable import Executable
from microtrain.compiler.program import Program
from microtrain.compiler.simplify import simplify
from microtrain.engine.plans import linearize
from microtrain.graph.dtypes import float32
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import kernel_backend

SIZE = 1024
WARP = 32


@triton.jit
def add_kernel(x_ptr, y_ptr, out_ptr, numel, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """out = x + y, four arguments."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < numel
    x = tl.load(x_ptr + offs, mask=mask, other=0)
    y = tl.load(y_ptr + offs, mask=mask, other=0)
    tl.store(out_ptr + offs, x + y, mask=mask)


class Addition:
    """x, y and their sum on a device; called, it launches."""

    def __init__(self, torch: Any, device: str) -> None:
        self.torch = torch
        self.x = torch.arange(SIZE, dtype=torch.float32, device=device)
        self.y = torch.ones(SIZE, device=device)
        self.out = torch.zeros(SIZE, device=device)
        self.call = self.prepared()

    def prepared(self) -> Callable[[], Any]:
        """The launch."""
        raise NotImplementedError

    def __call__(self) -> Any:
        return self.call()

    def result(self) -> Any:
        """What the last launch wrote."""
        return self.out

    def check(self) -> None:
        """Launch, and raise WrongResult unless the sum is right: it is exact."""
        self.result().zero_()
        self.call()
        if not self.torch.equal(self.result(), self.x + self.y):
            raise WrongResult("the kernel that was launched did not add")


class TritonLaunch(Addition):
    """`kernel[grid](...)`."""

    def prepared(self) -> Callable[[], Any]:
        return lambda: add_kernel[(1,)](self.x, self.y, self.out, SIZE, BLOCK=SIZE)


class RawLaunch(Addition):
    """`cuLaunchKernel` with arguments that are packed once. Raises OSError without a driver, AttributeError where
    Triton no longer says how its kernels are launched."""

    def prepared(self) -> Callable[[], Any]:
        kernel = add_kernel[(1,)](self.x, self.y, self.out, SIZE, BLOCK=SIZE)
        driver = ctypes.CDLL("libcuda.so.1")
        values = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (self.x, self.y, self.out)]
        # After its own arguments a kernel takes two scratch pointers, which the driver reads where it has them. The
        # size, a multiple of 16, is 1024 to the compiler as to the caller.
        arguments = [*values, ctypes.c_int32(SIZE), ctypes.c_void_p(), ctypes.c_void_p()]
        packed = (ctypes.c_void_p * len(arguments))(*[ctypes.addressof(one) for one in arguments])
        stream = ctypes.c_void_p(self.torch.cuda.current_stream().cuda_stream)
        function = ctypes.c_void_p(kernel.function)
        threads, shared = WARP * kernel.metadata.num_warps, kernel.metadata.shared
        launch = driver.cuLaunchKernel

        def call(kept: Any = (arguments, kernel)) -> None:
            if error := launch(function, 1, 1, 1, threads, 1, 1, shared, stream, packed, None):
                raise RuntimeError(f"cuLaunchKernel failed with error {error}")
        return call


class OwnLaunch(Addition):
    """A launch of an emitted kernel of microtrain's, as a run of a plan makes it. `device` is microtrain's."""

    def __init__(self, torch: Any, torch_device: str, device: str) -> None:
        self.of = spec((SIZE,), float32, Device(device).resolved)
        super().__init__(torch, torch_device)

    def prepared(self) -> Callable[[], Any]:
        memory: Any = kernel_backend(self.of.device.type, self.of.device.index)
        x, y, self.out = (memory.empty(self.of) for _ in range(3))
        x.copy_(self.x)
        y.copy_(self.y)
        a, b = leaf(x, self.of), leaf(y, self.of)
        total = g.add(a, b)
        executable = Executable(simplify(Program.read(linearize([total])[1])))
        (step,) = executable.launches
        where = dict(zip(executable.program.inputs, (x, y), strict=True))
        buffers = [where.get(node, self.out) for node in step.kernel.pointers]
        pointers = tuple(memory.pointers(buffers, None, ()))

        def call(kept: Any = buffers) -> None:
            memory.launch(step, pointers, ())
        return call
