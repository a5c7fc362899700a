"""The virtual GPU of a process: its memory, its streams, and what becomes of a launch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...errors import VirtualGpuError
from ..torch_memory import real_torch
from .graphs import DriverGraphs
from .hardware import PROPERTIES, Hardware
from .launches import Arrived, Emulated, Function, Metadata, Source, arrived, check
from .libcuda import Config, LibCuda, built, triton_driver_class

if TYPE_CHECKING:
    from .cuda_module import VirtualTorch

ATTRIBUTES = {arch: {10: 32, 12: 65536, 13: 1_755_000, 16: has["multi_processor_count"], 36: 2_619_000, 37: 5120,
                     81: has["shared_memory_per_multiprocessor"], 97: has["shared_memory_per_block_optin"]}
              for arch, has in PROPERTIES.items()}
"""The same as the driver tells it: warp, registers of a block, clock (kHz), processors, memory's clock and bus width,
shared memory of a processor and of a block."""


class Driver(Protocol):
    """As much as is used of Triton's driver."""

    launcher_cls: Callable[..., Callable[..., object]]


class VirtualGpu(Hardware):
    """One virtual GPU. `reference` has NumPy compute what each kernel of microtrain's means; its users' kernels, whose
    meaning nobody knows, are emulated all the same. Raises RuntimeError that says what is missing: PyTorch, Triton, a C
    compiler; and where a real driver is used."""

    def __init__(self, arch: str, reference: bool = False) -> None:
        super().__init__(arch)
        self.reference = reference
        self.functions: dict[int, Function] = {}
        self.error: BaseException | None = None
        self.source: tuple[Source, Metadata] | None = None
        self.driver_graphs = DriverGraphs(self.run)
        with real_torch("the cuda device needs PyTorch (a CPU build will do for a virtual GPU) and Triton"):
            self.torch, self.driver = self.start()

    def start(self) -> tuple[VirtualTorch, Driver]:
        """PyTorch's stand-in and Triton's driver."""
        import torch as real
        import triton
        from triton.backends.nvidia.driver import CudaLauncher

        from .cuda_module import VirtualTorch
        real.cuda.is_available()    # PyTorch's own CUDA must not find the library: it looks for one once
        self.library = LibCuda(built())
        self.library.describe(ATTRIBUTES[self.arch])
        self.library.listen(self.on_launch, lambda address: int(self.memory.owns(address)), self.on_graph)
        torch = VirtualTorch(self)
        capability = 10 * self.properties.major + self.properties.minor
        driver = triton_driver_class()(self.library, capability, lambda: self.streams.current.cuda_stream, torch)
        told = self.raised

        class Launcher(CudaLauncher):
            """Triton's, which gets 500 letters of an error by way of C: it is raised whole, as what it is."""

            def __call__(self, *arguments: object, **options: object) -> None:
                try:
                    super().__call__(*arguments, **options)
                finally:
                    told()

        Launcher.__name__ = CudaLauncher.__name__       # by which microtrain knows it

        def launcher(source: Source, metadata: Metadata) -> object:
            self.streams.forbid_capture()       # a module is loaded next
            self.source = source, metadata
            return Launcher(source, metadata)

        driver.launcher_cls = launcher
        triton.runtime.driver.set_active(driver)
        triton.knobs.runtime.kernel_load_end_hook.add(self.loaded)
        return torch, driver

    def add(self, handle: int, function: Function) -> int:
        """Have a handle mean a function."""
        self.functions[handle] = function
        return handle

    def loaded(self, module: object, function: int, name: str, files: dict[str, str], key: str) -> None:
        """Triton's hook: a kernel was loaded, and these are its files by name."""
        assert self.source is not None
        source, metadata = self.source
        text = next((Path(path).read_text() for file, path in files.items() if file.endswith(".ptx")), None)
        self.add(function, Emulated(name, text, source, metadata))

    def on_launch(self, config: ctypes._Pointer[Config], handle: int, arguments: Sequence[int]) -> int:
        """The driver's launch: 0, or an error code. What went wrong is `error`, which `raised` raises."""
        def launched() -> None:
            function = self.functions.get(handle)
            if function is None:
                raise VirtualGpuError(f"launch of a function that nobody loaded, {handle:#x}")
            launch = arrived(config.contents, arguments, function.kinds)
            if not self.driver_graphs.captured(handle, function, launch):
                self.run(handle, launch)

        return self.answered(launched)

    def on_graph(self, name: bytes, *arguments: int) -> int:
        """What the driver is asked of graphs, as a launch."""
        return self.answered(lambda: self.driver_graphs.answer(name, *arguments))

    def answered(self, do: Callable[[], object]) -> int:
        """The driver's answer: 0, or an error code where something went wrong."""
        self.error = None
        try:
            self.raise_hazards()
            do()
            return 0
        except BaseException as error:
            self.error = error
            return self.library.refuse(f"{type(error).__name__}: {error}")

    def run(self, handle: int, launch: Arrived) -> None:
        """Do a launch. Raises VirtualGpuError and EmulatorError."""
        function = self.functions[handle]
        used = check(function, launch, self)

        def run() -> None:
            self.streams.queued(used, self.streams.current.cuda_stream)     # a graph's is where it is replayed
            function.run(launch, self)

        self.queue_operation(run, synchronizes=False)

    def raised(self) -> None:
        """Raise what went wrong in the last launch."""
        error, self.error = self.error, None
        if error is not None:
            raise error
