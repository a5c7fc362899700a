"""Launches computed by NumPy: what the kernel's group means, from the parameters that arrived."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from ...errors import VirtualGpuError
from ..backend import CompiledKernel, DType, Launch, Value
from ..compiling import divisible_by_16
from .hardware import Hardware
from .launches import Arrived, Function

if TYPE_CHECKING:
    from .device import VirtualGpu

HANDLES = count(1 << 32, 16)
"""Of functions that the driver's library did not make."""


class Meaning(Function):
    """A function that is known by what it means: nothing is compiled but Triton's launcher for its signature."""

    def __init__(self, launch: Launch) -> None:
        signature, even = launch.signature()
        super().__init__(f"{launch.function.fn.__name__} over {launch.kernel.group.template}", signature,
                         launch.options.get("num_warps", 4), divisible_by_16(signature, even))
        self.launch = weakref.ref(launch)       # it has us, by its kernel's handle

    def run(self, arrived: Arrived, gpu: Hardware) -> None:
        """Read what the group reads, compute, and write what it stores. Raises VirtualGpuError as `check`."""
        launch = self.launch()
        assert launch is not None
        kernel = launch.kernel
        pointers, scalars = len(kernel.pointers), len(kernel.scalars)
        grid = (*launch.grid, 1, 1)[:3]
        if arrived.grid != grid:
            raise VirtualGpuError(f"{self.name}: launched on grid {list(arrived.grid)} in place of {list(grid)}")
        rest = [arrived.integer(k) for k in range(pointers + scalars, len(self.kinds))]
        sizes = [launch.sizes[name] for name in launch.function.arg_names[2:] if name in launch.sizes]
        if rest != sizes:
            raise VirtualGpuError(f"{self.name}: sizes {sizes} arrived as {rest}")
        addresses = {node: arrived.integer(k, signed=False) for k, node in enumerate(kernel.pointers)}
        memory = {node: self.array(gpu, node, address) for node, address in addresses.items()}
        numbers = {node: decoded(arrived.parameters[pointers + k], node.dtype) for k, node in enumerate(kernel.scalars)}
        given: list[object] = [numbers[node] if node in numbers else memory[node].copy() for node in kernel.group.reads]
        for node, value in zip(kernel.group.stores, launch.meaning.run(given), strict=True):
            memory[node][...] = np.asarray(value)
            gpu.memory.written(addresses[node], node.spec.numel * node.dtype.itemsize)

    def array(self, gpu: Hardware, node: Value, address: int) -> np.ndarray:
        """A value in the GPU's memory, which must lie whole in a live allocation."""
        of = node.spec
        nbytes = of.numel * of.dtype.itemsize
        if not nbytes:
            return np.empty(of.shape, of.dtype.numpy)
        found = gpu.memory.holding(address)
        if found is None or address + nbytes > found.address + found.nbytes:
            has = "nothing" if found is None else f"{found.address + found.nbytes - address} of its {nbytes} bytes"
            raise VirtualGpuError(f"{self.name}: of {of}, at {address:#x}, {has} lies in a live allocation")
        return gpu.memory.arena.view(address, nbytes).view(of.dtype.numpy).reshape(of.shape)


def decoded(bits: bytes, dtype: DType) -> np.generic:
    """A run-time number as the dtype that the group reads."""
    value = struct.unpack("<d" if dtype.is_floating_point else "<q", bits)[0]
    return np.dtype(dtype.numpy).type(value)


def uncompiled(launch: Launch, gpu: VirtualGpu) -> CompiledKernel:
    """What stands in for Triton's CompiledKernel: its launcher, and a handle that means the group of this launch."""
    signature, _ = launch.signature()
    names = launch.function.arg_names
    source = SimpleNamespace(fn=launch.function, signature=signature,
                             constants={(names.index(name),): value for name, value in launch.constexprs.items()})
    metadata = SimpleNamespace(num_ctas=1, global_scratch_size=0, global_scratch_align=1, profile_scratch_size=0,
                               profile_scratch_align=1, launch_cooperative_grid=False, launch_pdl=False,
                               tensordesc_meta=None)
    function = Meaning(launch)
    handle = gpu.add(next(HANDLES), function)
    weakref.finalize(launch, gpu.functions.pop, handle).atexit = False
    return Uncompiled(gpu.driver.launcher_cls(source, metadata), handle, function.num_warps)


class Uncompiled:
    """As much of a CompiledKernel as is needed to launch it."""

    def __init__(self, run: Callable[..., object], function: int, num_warps: int) -> None:
        self.run, self.function, self.packed_metadata = run, function, (num_warps, 1, 0)

    def __getitem__(self, grid: tuple[int, int, int]) -> Callable[..., object]:
        from triton import knobs

        def launch(*arguments: object, stream: int) -> None:
            self.run(*grid, stream, self.function, self.packed_metadata, None, knobs.runtime.launch_enter_hook,
                     knobs.runtime.launch_exit_hook, *arguments)
        return launch
