"""PyTorch with two GPUs that are the CPU, Triton's driver on them, and a compiled kernel that notes its launches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from microtrain.compiler.templates.template import Launch, options
from microtrain.graph import dtypes
from microtrain.graph.spec import Device, spec
from microtrain.runtime import cuda


def stubbed(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """Put those GPUs in the place of what the cuda device finds."""
    fake = FakeGpu()
    monkeypatch.setattr(cuda, "import_torch", fake.torch)
    monkeypatch.setattr(cuda, "triton_driver", lambda: fake.driver)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    return fake


class FakeGpu:
    """PyTorch with two GPUs that are the CPU; `current` are those whose guards are entered now, `entered` ever."""

    capturing = False
    broken = ""

    def __init__(self) -> None:
        self.driver = Driver(self)
        self.current: list[int] = []
        self.entered: list[int] = []
        self.synchronized: list[int] = []

    def torch(self) -> Any:
        @contextmanager
        def guard(index: int) -> Iterator[None]:
            self.current.append(index)
            self.entered.append(index)
            yield
            self.current.pop()

        def synchronize(index: int) -> None:
            self.synchronized.append(index)
            is_capturing()

        def is_capturing() -> bool:
            if self.broken:
                raise RuntimeError(self.broken)         # any question is answered so then
            return self.capturing

        fake = SimpleNamespace(device_count=lambda: 2, device=guard, synchronize=synchronize,
                               get_device_capability=lambda index: (9, 0),
                               current_stream=lambda index: self.driver.streams[index],
                               is_current_stream_capturing=is_capturing,
                               mem_get_info=lambda index: (3 << 30, 80 << 30),
                               memory_allocated=lambda index: 70 << 30, memory_reserved=lambda index: 71 << 30)
        return SimpleNamespace(**{name: getattr(torch, name) for name in (*dtypes.DTYPES, "empty", "from_numpy",
                                                                      "OutOfMemoryError")},
                               device=lambda name: torch.device("cpu"), cuda=fake, version=SimpleNamespace(hip=None))


class Driver:
    """Triton's driver on those GPUs: what is current, and the kernels that were queued."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        self.streams = {0: 70, 1: 71}

    def get_current_device(self) -> int:
        return self.gpu.current[-1] if self.gpu.current else 0

    def get_current_stream(self, device: int) -> int:
        return self.streams[device]


class CudaLauncher:
    """Triton's launcher as far as it is known, by name and shape; the C functions behind it note their arguments."""

    global_scratch_size = profile_scratch_size = 0
    launch_cooperative_grid, launch_pdl = False, False
    arg_annotations, kernel_signature = "annotations", b"signature"

    def __init__(self, kernel: CompiledKernel) -> None:
        self.kernel = kernel

    def launch(self, *arguments: Any) -> None:
        self.kernel.calls.append(("direct", list(self.kernel.gpu.current), *arguments))


class CompiledKernel:
    """Triton's CompiledKernel. `calls` are its launches, by either way."""

    function, packed_metadata = "function", (4, 1, 0)

    def __init__(self, gpu: FakeGpu, launcher: type[CudaLauncher] = CudaLauncher) -> None:
        self.gpu, self.calls, self.run = gpu, cast(list[Any], []), launcher(self)

    def __getitem__(self, grid: tuple[int, int, int]) -> Any:
        return lambda *arguments, stream: self.calls.append(
            ("public", list(self.gpu.current), grid, stream, *arguments))


class OneKernel(Launch):
    """A launch whose compiled kernel is given, and counts how often it is asked for."""

    def __init__(self, kernel: CompiledKernel, grid: tuple[int, ...] = (7, 2)) -> None:
        template = SimpleNamespace(arg_names=["ptrs", "scalars", "numel", "EXPR", "BLOCK"])
        super().__init__(cast(Any, None), template, grid, {"numel": 5}, {"BLOCK": 256, "EXPR": "expr"}, options(8, 2))
        self.of, self.compilations = kernel, 0

    def compiled(self, kernels: dict[Any, Any]) -> Any:
        self.compilations += 1
        return self.of


def addresses(backend: Any, count: int) -> tuple[int, ...]:
    return tuple([backend.empty(spec((5,), dtypes.float32, Device("cuda:1"))).data_ptr() for _ in range(count)])
