"""The cuda device as far as it goes without a GPU: its errors, its launches on a stubbed PyTorch, and how Triton takes
their arguments on a stubbed driver. What needs a GPU is the rest of the suite, run with MICROTRAIN_DEVICE=cuda."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from programs import program

from microtrain.compiler.launch import Launch, encoded, options
from microtrain.compiler.plan import Executable
from microtrain.graph import dtypes
from microtrain.graph import ops as g
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec
from microtrain.kernels.tiles import ENABLE_FP_FUSION
from microtrain.runtime import cuda, interpret
from microtrain.runtime.torch_memory import TorchMemory

interpreted = os.environ.get("TRITON_INTERPRET") == "1"
compiles = pytest.mark.skipif(interpreted, reason="kernels are interpreted in this process (TRITON_INTERPRET=1)")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU; this one has one")


# ------------------------------------------------------------------------------------------------------------ errors

@compiles
@no_gpu
def test_without_a_gpu_the_error_says_so_and_what_would_work() -> None:
    with pytest.raises(RuntimeError, match=r"no CUDA device: .*(without CUDA|no GPU).*'cpu'.*'interpret'"):
        cuda.CudaBackend()
    assert cuda.is_available() is False


@pytest.mark.parametrize("module, make", [(cuda, "import_torch"), (interpret, "import_torch")])
@pytest.mark.parametrize("missing", ["torch", "triton"])
def test_without_its_packages_the_error_names_the_extra(module: Any, make: str, missing: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RuntimeError, match=r"needs PyTorch.*pip install 'microtrain\[gpu\]'"):
        getattr(module, make)()


def test_an_interpreting_process_has_no_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match=r"TRITON_INTERPRET=1.*start another process"):
        cuda.CudaBackend()


def test_a_process_that_compiles_cannot_interpret_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")         # so that it is put back whatever the device sets
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace())
    with pytest.raises(RuntimeError, match="MICROTRAIN_DEVICE=interpret"):
        interpret.choose_interpreter()
    assert os.environ["TRITON_INTERPRET"] == "0"
    monkeypatch.delitem(sys.modules, "triton")
    interpret.choose_interpreter()
    assert os.environ["TRITON_INTERPRET"] == "1"


# ------------------------------------------------------------------------------------------------------ stubbed PyTorch

class FakeGpu:
    """PyTorch with two GPUs that are the CPU; `current` is the device whose guard is entered."""

    def __init__(self) -> None:
        self.current: list[int] = []
        self.synchronized: list[int] = []

    def torch(self) -> Any:
        @contextmanager
        def guard(index: int) -> Iterator[None]:
            self.current.append(index)
            yield
            self.current.pop()

        fake = SimpleNamespace(device_count=lambda: 2, device=guard, synchronize=self.synchronized.append,
                               get_device_capability=lambda index: (9, 0))
        return SimpleNamespace(**{name: getattr(torch, name) for name in (*dtypes.DTYPES, "empty", "from_numpy")},
                               device=lambda name: torch.device("cpu"), cuda=fake, version=SimpleNamespace(hip=None))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    fake = FakeGpu()
    monkeypatch.setattr(cuda, "import_torch", fake.torch)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    return fake


def test_a_gpu_that_is_not_there_is_named(gpu: FakeGpu) -> None:
    with pytest.raises(RuntimeError, match=r"no device cuda:2: this machine has 2 \(cuda:0 to cuda:1\)"):
        cuda.CudaBackend(2)


def test_a_launch_runs_on_its_own_gpu_with_the_tile_and_the_pinned_options(gpu: FakeGpu) -> None:
    calls: list[Any] = []

    class Template:
        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            return lambda *arguments, **named: calls.append((grid, list(gpu.current), arguments, named))

    backend = cuda.CudaBackend(1)
    launch = Launch(cast(Any, None), Template(), (7, 2), {"numel": 5}, {"BLOCK": 256}, options(8, 2))
    buffer = backend.empty(spec((5,), dtypes.float32, Device("cuda:1")))
    backend.launch(launch, (buffer,), (3,))
    (grid, current, arguments, named), = calls
    assert grid == (7, 2) and current == [1] and arguments == ((buffer,), (3,))
    assert named == {"numel": 5, "BLOCK": 256, "num_warps": 8, "num_stages": 2, "enable_fp_fusion": ENABLE_FP_FUSION}
    assert gpu.current == []
    backend.synchronize()
    assert gpu.synchronized == [1]


# --------------------------------------------------------------------------------------------------------------- memory

@pytest.mark.parametrize("dtype", dtypes.DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 5)])
def test_arrays_arrive_and_come_back_as_they_were(dtype: dtypes.DType, shape: tuple[int, ...],
                                                 rng: np.random.Generator) -> None:
    memory = TorchMemory(torch, "cpu")
    array = np.asarray(rng.integers(0, 2, shape) * rng.integers(1, 100, shape), dtype.numpy)
    buffer = memory.from_numpy(array)
    back = memory.to_numpy(buffer)
    assert buffer.is_contiguous() and back.dtype == array.dtype and back.shape == shape
    assert back.tobytes() == array.tobytes() and not back.flags.writeable


def test_memory_is_a_private_contiguous_copy(rng: np.random.Generator) -> None:
    memory = TorchMemory(torch, "cpu")
    array = rng.standard_normal((4, 6)).astype(np.float32)
    buffer = memory.from_numpy(array.T)
    frozen = array.T.copy()
    array[:] = 0
    assert buffer.is_contiguous() and np.array_equal(memory.to_numpy(buffer), frozen)


def test_poison_fills_memory_with_what_is_noticed() -> None:
    memory = TorchMemory(torch, "cpu")
    for dtype in dtypes.DTYPES.values():
        of = spec((3,), dtype, Device("interpret"))
        buffer = memory.empty(of)
        memory.poison(buffer, of)
        found = memory.to_numpy(buffer)
        if dtype.is_floating_point:
            assert np.isnan(found.astype(np.float32)).all()
        else:
            assert (found == (True if dtype is dtypes.bool_ else np.iinfo(dtype.numpy).max)).all()


# ------------------------------------------------------------------------------------------------------- stubbed driver

class StubDriver:
    """A driver for an H100 that is not there: enough for Triton to specialise and compile a launch, not to run it."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


@pytest.fixture
def stub_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import driver
    monkeypatch.setattr(type(driver), "active", StubDriver())


@compiles
@pytest.mark.parametrize("numbers", [(0.1, 1e300), (5e-324, 0.5), (2.0, 8e-323)])
def test_triton_compiles_a_launch_as_it_is_made(stub_driver: None, numbers: tuple[float, float]) -> None:
    """Pointers and scalars travel in tuples; the bits of 5e-324 are 1, which Triton makes a constant of."""
    memory, device = TorchMemory(torch, "cpu"), Device("null:sm_90")
    of = spec((1 << 20,), dtypes.float32, device)
    buffer = memory.empty(of)
    made, _ = program(g.mul(g.add(leaf(buffer, of), 1.37), 1.73))
    step, = Executable(made).steps
    pointers = (buffer,) * len(step.pointers)
    scalars = tuple([encoded(number, dtypes.float64) for number in numbers])
    launch = step.launch
    kernel = launch.template.warmup(
        pointers, scalars, **launch.sizes, **launch.constexprs, grid=launch.grid, **launch.options)
    assert kernel.metadata.num_warps == launch.options["num_warps"]
    assert "ld.global.v4" in kernel.asm["ptx"] and "st.global.v4" in kernel.asm["ptx"]
