"""The cuda device in trouble, on a stubbed PyTorch: memory that is gone, a GPU that is broken, streams, a capture; and
what `microtrain.cuda` answers."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import ops as g
from microtrain.compiler import loop_kernel
from microtrain.compiler.executable import Executable
from microtrain.engine.plans import plans
from microtrain.engine.session import current, pending
from microtrain.errors import AcceleratorError, OutOfMemoryError
from microtrain.graph import dtypes
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import backend, cuda, detect, kernel_backend, launcher
from microtrain.runtime.kinds import KINDS
from microtrain.testing import gradcheck
from tests.support.programs import program
from tests.support.stub_gpu import CompiledKernel, FakeGpu, OneKernel, addresses, stubbed

OF = spec((4, 5), dtypes.float32, Device("cuda:1"))
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ILLEGAL = "CUDA error: an illegal memory access was encountered\nCompile with `TORCH_USE_CUDA_DSA`"


# ------------------------------------------------------------------------------------------------ a device of the host

class Host(cuda.CudaBackend):
    """The second GPU, on the host's memory: kernels are computed by the NumPy twins of their groups.

    Not the first one: what other tests have left pending there, on a machine that has it, is no memory of the host's.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self.launched = 0
        self.room = float("inf")        # bytes that one allocation may have
        self.failing: Exception | None = None

    def queue(self, launch: Any, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> None:
        from microtrain.compiler.cpu.reference import reference
        self.launched += 1
        if self.failing is not None:
            raise self.failing
        made = launch.kernel
        memory = dict(zip(made.pointers, pointers, strict=True))
        numbers = dict(zip(made.scalars, scalars, strict=True))
        given = [decoded(numbers[node], node.dtype) if node in numbers else at(memory[node], node.spec).copy()
                 for node in made.group.reads]
        meant = reference(made.group.reads, made.group.stores).run(given)
        for node, value in zip(made.group.stores, meant, strict=True):
            at(memory[node], node.spec)[...] = value

    def allocate(self, shape: Any, dtype: Any) -> Any:
        self.torch.empty = self.empty_within
        return super().allocate(shape, dtype)

    def empty_within(self, shape: Any, **options: Any) -> Any:
        made = torch.empty(shape, **options)
        if made.numel() * made.element_size() > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate some")
        return made

    def to_numpy(self, buffer: Any) -> np.ndarray:
        return super().to_numpy(buffer.clone())


def decoded(bits: int, dtype: dtypes.DType) -> Any:
    """A run-time number as the kernel reads it."""
    return np.int64(bits).view(np.float64) if dtype.is_floating_point else dtype.numpy.type(bits)


def at(address: int, of: Any) -> np.ndarray:
    """The host's memory at an address."""
    import ctypes
    size = of.numel * of.dtype.itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), of.dtype.numpy).reshape(of.shape)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return stubbed(monkeypatch)


@pytest.fixture
def host(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    if INTERPRETED:
        pytest.skip("kernels are interpreted in this process (TRITON_INTERPRET=1)")
    made = Host()
    monkeypatch.setitem(KINDS["cuda"].loaded, 1, made)
    for name in ("known", "recent"):
        monkeypatch.setattr(plans, name, {})
    with mt.settings.device("cuda:1"):
        yield made
    current().keep({node for node in pending() if node.spec.device is OF.device})


def test_fit_and_gradcheck_run_where_numpy_sees_no_memory(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise loop_kernel.Refusal("the host that stands for a GPU here computes a step's kernels, not a loop of them")
    monkeypatch.setattr(loop_kernel, "KernelLoop", refused)
    rng = np.random.default_rng(0)
    x, y = mt.tensor(rng.standard_normal((64, 3))), mt.tensor(rng.standard_normal((64, 1)))
    with pytest.raises(TypeError, match="can't convert cuda:1 device type tensor to numpy"):
        x.numpy()
    assert x[[mt.tensor(3), mt.tensor(-1)],].shape == (2, 3)
    with pytest.raises(IndexError, match="index 64 is out of bounds for dimension 0 with size 64"):
        x[[0, 64]]
    model = mt.nn.Linear(3, 1, dtype=mt.float64)
    data = mt.data.DataLoader(mt.data.TensorDataset(x, y), batch_size=16)
    history = mt.train.fit(model, mt.nn.functional.mse_loss, mt.optim.SGD(model.parameters(), lr=0.1), data, data,
                           epochs=3)
    assert host.launched and history.train_loss[-1] < history.train_loss[0]
    assert gradcheck(lambda a: (a * a).sum(), (mt.tensor([1.0, 2.0], dtype=mt.float64, requires_grad=True),))


# --------------------------------------------------------------------------------------------------------- no memory

def test_without_memory_it_is_said_what_there_is_and_the_next_operation_works(host: Host) -> None:
    x, w = mt.tensor(np.full((256, 256), 2.0, np.float32)), mt.tensor(np.ones(4, np.float32))
    for _ in range(2):
        w += 1.0                            # in place, and over its own memory once the plan is known
        w.tolist()
    w += 1.0
    y = (x + 1).cumsum(0)
    host.room = 1000
    with pytest.raises(OutOfMemoryError, match=r"(?s)out of memory on .*0.2 MiB were asked for in one piece\. Of "
                       r"80.00 GiB 3.00 GiB are free; this process's values hold 70.00 GiB.*keeps 1.00 GiB.*"
                       r"What is pending, \d+ operations in \d+ kernels, needs 0\.\d MiB for \d results.*del x.*"
                       r"nothing was changed"):
        y.cpu()
    assert w.tolist() == [4.0] * 4          # what fits was computed
    host.room = float("inf")
    assert y.cpu().numpy()[-1, 0] == 768.0
    assert issubclass(OutOfMemoryError, RuntimeError) and mt.cuda.OutOfMemoryError is mt.OutOfMemoryError


def test_an_array_for_which_there_is_no_room(host: Host) -> None:
    host.room = 1000
    with pytest.raises(OutOfMemoryError, match=r"3\.8 MiB were asked for"):
        mt.tensor(np.ones(10 ** 6, np.float32))


def test_a_run_without_memory_keeps_none(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error may be kept, with its traceback: what the run had got already is free all the same."""
    a = leaf(host.from_numpy(np.ones((4, 5), np.float32)), OF)
    made, _ = program(g.exp(a), g.sum(g.tanh(a), (0, 1)))
    executable = Executable(made)
    got: list[weakref.ref[Any]] = []
    allocate = host.allocate

    def second_fails(shape: Any, dtype: Any) -> Any:
        if got:
            raise OutOfMemoryError("out of memory")
        buffer = allocate(shape, dtype)
        got.append(weakref.ref(buffer))
        return buffer

    monkeypatch.setattr(host, "allocate", second_fails)
    with pytest.raises(OutOfMemoryError) as kept:
        executable.run([a.buffer])
    gc.collect()
    assert kept.value.__traceback__ is not None and got[0]() is None


# ------------------------------------------------------------------------------------------------------- a broken GPU

def test_a_broken_gpu_ends_the_run_with_one_error(host: Host, gpu: FakeGpu) -> None:
    held = [mt.tensor(np.full(n, 1.0, np.float32)).exp() for n in range(2, 7)]
    host.failing, gpu.broken = RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), ILLEGAL
    before = host.launched
    with pytest.raises(AcceleratorError, match=r"can no longer be used by this process: CUDA error: an illegal memory "
                       r"access was encountered\. .*CUDA_LAUNCH_BLOCKING=1.*'interpret'"):
        held[0].tolist()
    assert host.launched == before + 1
    assert issubclass(AcceleratorError, RuntimeError) and mt.AcceleratorError is AcceleratorError


@pytest.mark.parametrize("action", ["read", "write", "wait"])
def test_a_broken_gpu_is_named_wherever_it_is_noticed(action: str, host: Host, gpu: FakeGpu,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    x = mt.tensor([1.0])
    gpu.broken = ILLEGAL

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError(ILLEGAL)

    monkeypatch.setattr(torch.Tensor, "copy_", fails)
    monkeypatch.setattr(torch.Tensor, "clone", lambda self: fails())
    with pytest.raises(AcceleratorError, match="can no longer be used by this process"):
        {"read": lambda: cuda.CudaBackend.to_numpy(host, fails_to_copy(x.node.buffer)),
         "write": lambda: mt.tensor([2.0]), "wait": host.synchronize}[action]()


def fails_to_copy(buffer: Any) -> Any:
    """A buffer that says it is not the host's, so that it is copied."""
    class Elsewhere:
        device, shape, dtype = torch.device("meta"), buffer.shape, buffer.dtype
    return Elsewhere()


def test_another_error_is_its_own_and_does_not_spoil_the_rest(host: Host) -> None:
    one, other = mt.ones(3).exp(), mt.ones(5).tanh()
    host.failing = ValueError("not this kernel")
    with pytest.raises(ValueError, match="not this kernel"):
        one.tolist()
    host.failing = None
    assert other.tolist() == pytest.approx([np.tanh(1.0)] * 5) and one.tolist() == pytest.approx([np.e] * 3)


# -------------------------------------------------------------------------------------------------------------- streams

class Buffer:
    """Memory that notes which streams it is told of."""

    address = 512

    def __init__(self) -> None:
        self.streams: list[int] = []

    def record_stream(self, stream: int) -> None:
        self.streams.append(stream)


def test_on_one_stream_nobody_is_told(gpu: FakeGpu) -> None:
    at_hand, buffer = cuda.CudaBackend(0), Buffer()
    for _ in range(3):
        assert at_hand.pointers([buffer, 7], None, ()) == [512, 7]
    assert buffer.streams == []


def test_memory_that_another_stream_uses_is_kept_for_it(gpu: FakeGpu) -> None:
    at_hand, buffer, later = cuda.CudaBackend(0), Buffer(), Buffer()
    at_hand.pointers([buffer], None, ())
    gpu.driver.streams[0] = 99
    at_hand.pointers([buffer, 7], None, ())
    at_hand.pointers([buffer, 7], None, ())
    assert buffer.streams == [99]       # once is enough
    gpu.driver.streams[0] = 70          # back on the first: a buffer of the other stream's may come along
    at_hand.pointers([later], None, ())
    assert later.streams == [70]


def test_a_captures_own_stream_is_no_other(gpu: FakeGpu) -> None:
    at_hand, buffer = cuda.CudaBackend(0), Buffer()
    gpu.capturing, gpu.driver.streams[0] = True, 99
    at_hand.pointers([buffer], None, ())
    gpu.capturing, gpu.driver.streams[0] = False, 70
    at_hand.pointers([buffer], None, ())
    assert buffer.streams == []


def test_a_stream_on_which_memory_is_only_made_counts_too(gpu: FakeGpu) -> None:
    at_hand, buffer = cuda.CudaBackend(0), Buffer()
    gpu.driver.streams[0] = 99
    at_hand.from_numpy(np.ones(3))
    gpu.driver.streams[0] = 70
    at_hand.pointers([buffer], None, ())
    assert buffer.streams == [70]


# -------------------------------------------------------------------------------------------------------------- capture

def test_what_a_capture_cannot_hold_is_refused_before_the_driver_refuses(host: Host, gpu: FakeGpu) -> None:
    kernel = CompiledKernel(gpu)
    known, new, given = OneKernel(kernel), OneKernel(kernel), addresses(host, 1)
    cuda.CudaBackend.queue(host, known, given, ())
    x = mt.tensor([1.0])
    gpu.capturing = True
    cuda.CudaBackend.queue(host, known, given, ())
    again = "Run the same step once before the capture"
    with pytest.raises(RuntimeError, match=f"a new kernel cannot be loaded while a CUDA graph is being .*{again}"):
        cuda.CudaBackend.queue(host, new, given, ())
    with pytest.raises(RuntimeError, match=f"an array cannot be copied to the GPU while .*{again}"):
        mt.tensor([2.0])
    with pytest.raises(RuntimeError, match=f"a value cannot be read while .*{again}"):
        x.cpu()
    assert new.compilations == 0 and gpu.synchronized == []
    gpu.capturing = False
    cuda.CudaBackend.queue(host, new, given, ())
    assert new.compilations == 1 and x.tolist() == [1.0]


# ---------------------------------------------------------------------------------------------------------------- grids

@pytest.mark.parametrize("grid", [(2 ** 31,), (2 ** 16, 2 ** 15), (3, 65536), (1, 1, 65536)])
def test_a_grid_that_triton_would_pass_over_is_refused(grid: tuple[int, ...], gpu: FakeGpu) -> None:
    at_hand, kernel = cuda.CudaBackend(0), CompiledKernel(gpu)
    with pytest.raises(ValueError, match=r"a grid of \d+ x \d+ x \d+ programs cannot .* 2147483647 at most, and 65535"):
        at_hand.launch(OneKernel(kernel, grid), addresses(at_hand, 1), ())
    assert kernel.calls == []


@pytest.mark.parametrize("grid", [(2 ** 31 - 1,), (3, 65535), (0,), (1, 1, 65535)])
def test_the_largest_grids_are_launched(grid: tuple[int, ...], gpu: FakeGpu) -> None:
    at_hand, kernel = cuda.CudaBackend(0), CompiledKernel(gpu)
    at_hand.launch(OneKernel(kernel, grid), addresses(at_hand, 1), ())
    assert len(kernel.calls) == 1 and launcher.GRID[0] == 2 ** 31 - 1


# ------------------------------------------------------------------------------------------------- devices and backends

def test_a_gpu_has_one_backend(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KINDS["cuda"], "loaded", {})
    assert backend("cuda") is backend("cuda", 0) is kernel_backend("cuda")
    assert backend("null") is backend("null", "sm_90") and backend("cpu") is backend("cpu", None)
    monkeypatch.setattr(KINDS["cuda"], "current", lambda: 1)
    assert backend("cuda") is backend("cuda", 1) is not backend("cuda", 0)
    with pytest.raises(RuntimeError, match="the cpu device runs no kernels; cuda, interpret, null do"):
        kernel_backend("cpu")


def test_cuda_without_an_index_is_the_current_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    where = mt.device("cuda")
    assert (str(where), repr(where), where.index) == (str(torch.device("cuda")), repr(torch.device("cuda")), None)
    assert where != mt.device("cuda:0") and mt.device("cuda", 0) is mt.device("cuda:0")
    assert where.resolved is mt.device("cuda:0") and mt.device("cpu").resolved is mt.device("cpu")
    monkeypatch.setattr(detect, "_current", [])
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    current = [1]
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    assert where.resolved is mt.device("cuda:1")
    current[0] = 0
    assert where.resolved is mt.device("cuda:0")


# -------------------------------------------------------------------------------------------------------- compile cache

@pytest.mark.skipif(INTERPRETED, reason="kernels are interpreted here")
def test_a_cache_of_binaries_alone_is_no_obstacle_to_the_null_device(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_STORE_BINARY_ONLY", "1")
    from microtrain.runtime.null import NullBackend
    x = leaf(None, spec((1 << 12,), dtypes.float32, Device("null:sm_90")))
    step, = Executable(program(g.add(x, 1.37))[0]).launches
    found = NullBackend("sm_90")
    found.launch(step, (), ())
    assert found.resources[step].load_bits == 128
