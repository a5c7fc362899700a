"""The cuda device on a virtual GPU: training as a user would, what a launch is held to, memory that is told apart from
the host's, streams, graphs; and the faults that the device had before, planted again."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import microtrain as mt
from microtrain import settings
from microtrain.compiler.templates.template import Launch
from microtrain.emulator import EmulatorError
from microtrain.engine import run
from microtrain.engine.plans import plans
from microtrain.errors import OutOfMemoryError
from microtrain.graph import dtypes
from microtrain.graph.spec import Device, spec
from microtrain.runtime import backend, launcher, virtual
from microtrain.runtime.detect import has_cuda
from microtrain.runtime.kinds import KINDS
from microtrain.runtime.virtual import VirtualGpuError, libcuda
from microtrain.runtime.virtual.device import VirtualGpu

ROOT = Path(__file__).resolve().parents[2]
REAL = torch.version.cuda is not None and torch.cuda.is_available() and not virtual.wanted()

pytestmark = [
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted in this process"),
    pytest.mark.skipif(REAL, reason="the driver of a real GPU is loaded in this process"),
    pytest.mark.skipif(libcuda.compiler() is None, reason="needs a C compiler, as Triton does"),
]


@pytest.fixture(scope="module")
def gpu() -> Iterator[VirtualGpu]:
    """The virtual GPU of this process, put in the place of `cuda` while this module runs."""
    import triton
    before, loaded = triton.runtime.driver._active, dict(KINDS["cuda"].loaded)
    where = settings.virtual_gpu.value or "sm_90=reference"
    with settings.virtual_gpu(where):
        has_cuda.cache_clear()
        KINDS["cuda"].loaded.pop(0, None)
        made = virtual.gpu()
        triton.runtime.driver.set_active(made.driver)
        plans.forget()
        yield made
    plans.forget()
    KINDS["cuda"].loaded.clear()
    KINDS["cuda"].loaded.update(loaded)
    has_cuda.cache_clear()
    triton.runtime.driver._active = before


def x(*values: float, requires_grad: bool = False) -> Any:
    return mt.tensor(list(map(float, values)), device="cuda", requires_grad=requires_grad)


# As a user would

@pytest.mark.parametrize("compiled", [False, True])
def test_values_and_gradients_are_the_cpus(compiled: bool, gpu: VirtualGpu, rng: np.random.Generator,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    plans.forget()
    monkeypatch.setattr(gpu, "reference", not compiled)
    given = {name: rng.standard_normal(shape).astype(np.float32)
             for name, shape in (("x", (8, 5)), ("w", (3, 5)), ("b", (3,)))}

    def step(device: str) -> list[np.ndarray]:
        a, w, b = (mt.tensor(array, device=device, requires_grad=name != "x") for name, array in given.items())
        loss = mt.nn.functional.linear(a, w, b).tanh().square().sum()
        loss.backward()
        return [one.detach().cpu().numpy() for one in (loss, w.grad, b.grad)]

    for ours, theirs in zip(step("cuda"), step("cpu"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


# What a launch is held to

def launched(gpu: VirtualGpu) -> list[float]:
    """A launch that reads two buffers, a number and a size."""
    a, b = x(1.0, 2.0, 3.0), x(10.0, 20.0, 30.0)
    return (a * 0.3 + b * b).tolist()


RIGHT = pytest.approx([100.3, 400.6, 900.9])


def test_a_launch_passes_through_tritons_launcher(gpu: VirtualGpu) -> None:
    before = gpu.library.launches
    assert launched(gpu) == RIGHT and gpu.library.launches == before + 1


def swapped(self: Launch, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> tuple[Any, ...]:
    return (pointers[::-1], scalars, *self.rest)


def shifted(by: int) -> Any:
    return lambda self, pointers, scalars: ((*pointers[:-1], pointers[-1] + by), scalars, *self.rest)


PLANTED = [("shifted by 4", shifted(4), "not a multiple of 16"),
           ("past the end", shifted(16), "0 of its 12 bytes lies in a live allocation|outside every allocation"),
           ("elsewhere", lambda self, pointers, scalars: ((*pointers[:-1], 64), scalars, *self.rest),
            "no memory of the device's")]


@pytest.mark.parametrize("plant, said", [pytest.param(*rest, id=name) for name, *rest in PLANTED])
def test_a_pointer_that_is_wrong_is_refused(plant: Any, said: str, gpu: VirtualGpu,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Launch, "arguments", plant)
    with pytest.raises(VirtualGpuError, match=said):
        launched(gpu)
    monkeypatch.undo()
    assert launched(gpu) == RIGHT


def test_pointers_in_another_order_are_noticed(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator says that a kernel reads what nobody wrote, the device that the host does."""
    monkeypatch.setattr(Launch, "arguments", swapped)
    with pytest.raises((EmulatorError, VirtualGpuError), match="nobody wrote"):
        launched(gpu)


def test_a_size_that_arrives_wrong_is_refused(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    if not gpu.reference:
        pytest.skip("the emulator sees what a wrong size does, not that it is wrong")
    a = mt.tensor(np.ones(64, np.float32), device="cuda")
    monkeypatch.setattr(Launch, "arguments",
                        lambda self, pointers, scalars: (pointers, scalars, *[n + 1 if type(n) is int else n
                                                                              for n in self.rest]))
    with pytest.raises(VirtualGpuError, match=r"sizes \[64\] arrived as \[65\]"):
        a.exp().tolist()


@pytest.mark.parametrize("part, wrong, said", [
    ("grid", (3, 1, 1), r"on grid \[3, 1, 1\] in place of \[1, 1, 1\]"),
    ("stream", 99, "queued on stream 0x63, while the current one is 0x0")])
def test_a_wrong_grid_or_stream_is_refused(part: str, wrong: Any, said: str, gpu: VirtualGpu,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    plans.forget()        # so that it is queued for the first time
    right = launcher.start
    monkeypatch.setattr("microtrain.runtime.cuda.start", lambda kernel, grid, stream, arguments: right(
        kernel, *((wrong, stream) if part == "grid" else (grid, wrong)), arguments))
    if part == "grid" and not gpu.reference:
        assert launched(gpu) == RIGHT           # programs too many have nothing to do
    else:
        with pytest.raises(VirtualGpuError, match=said):
            launched(gpu)
    plans.forget()


def test_memory_that_was_let_go_of_is_refused(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    a = x(1, 2, 3)
    address = a.node.buffer.address
    del a
    gc.collect()
    monkeypatch.setattr(Launch, "arguments",
                        lambda self, pointers, scalars: ((address, *pointers[1:]), scalars, *self.rest))
    with pytest.raises(VirtualGpuError, match=r"in a buffer of float32\[3\], which was freed"):
        launched(gpu)


# Compiled kernels

@pytest.fixture
def emulated(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualGpu]:
    """The GPU with kernels that are compiled, whichever way this lane takes."""
    plans.forget()
    monkeypatch.setattr(gpu, "reference", False)
    yield gpu
    plans.forget()


def test_a_grid_that_is_too_small_leaves_a_tail_unwritten(emulated: VirtualGpu,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    right = launcher.start
    a = mt.tensor(np.ones(5000, np.float32), device="cuda")
    assert (a + 1).sum().item() == 10000 and (a * 3).tolist() == [3.0] * 5000
    plans.forget()
    monkeypatch.setattr("microtrain.runtime.cuda.start", lambda kernel, grid, stream, arguments: right(
        kernel, (grid[0] - 1,), stream, arguments))
    with pytest.raises(VirtualGpuError, match="of which nobody wrote"):
        (a * 3).tolist()


# Kernels of users'

@triton.jit
def scaled_kernel(x_ptr, out_ptr, scale, numel, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < numel
    tl.store(out_ptr + offs, tl.load(x_ptr + offs, mask=mask, other=0) * scale, mask=mask)


@triton.jit
def unmasked_kernel(x_ptr, out_ptr, scale, numel, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offs, tl.load(x_ptr + offs) * scale)


def scale(kernel: Any, gpu: VirtualGpu, numel: int) -> Any:
    """Launched as Triton's users do, on PyTorch's tensors."""
    a = gpu.torch.arange(numel, dtype=torch.float32, device="cuda")
    out = gpu.torch.empty(numel, dtype=torch.float32, device="cuda")
    kernel[(triton.cdiv(numel, 128),)](a, out, 2.5, numel, BLOCK=128)
    return out.cpu()


def test_a_kernel_is_launched_as_tritons_users_do(gpu: VirtualGpu) -> None:
    assert torch.equal(scale(scaled_kernel, gpu, 300), torch.arange(300) * 2.5)


def test_a_missing_mask_is_named(gpu: VirtualGpu) -> None:
    assert torch.equal(scale(unmasked_kernel, gpu, 256), torch.arange(256) * 2.5)
    with pytest.raises(EmulatorError, match=r"in unmasked_kernel:\n(?s:.*)\(line \d+ of the PTX of unmasked_kernel\)$"):
        scale(unmasked_kernel, gpu, 300)
    assert launched(gpu) == RIGHT       # the process goes on


def test_clusters_are_refused(gpu: VirtualGpu) -> None:
    """Half of each block would not be written."""
    if gpu.properties.major < 9:
        pytest.skip("a GPU of this kind has no clusters, and Triton compiles none")
    a, out = (gpu.torch.zeros(256, device="cuda") for _ in range(2))
    with pytest.raises(VirtualGpuError, match="scaled_kernel has 2 CTAs a program"):
        scaled_kernel[(1,)](a, out, 2.5, 256, BLOCK=256, num_ctas=2)


def test_a_tensor_of_the_hosts_is_refused(gpu: VirtualGpu) -> None:
    with pytest.raises(ValueError, match="cannot be accessed from Triton"):
        scaled_kernel[(1,)](torch.zeros(4), torch.zeros(4), 2.0, 4, BLOCK=128)


def test_a_custom_kernel_is_part_of_a_program(gpu: VirtualGpu) -> None:
    scaled = mt.custom_kernel(scaled_kernel, grid=1, outputs=lambda a: a, scalars=lambda a: (3.0, 4),
                              constants={"BLOCK": 128})
    assert (scaled(x(1, 2, 3, 4) + 1) - 1).tolist() == [5.0, 8.0, 11.0, 14.0]


def test_a_parameter_of_another_width_is_seen(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher that passes 4 bytes of a parameter of 8."""
    right = gpu.driver.launcher_cls

    def narrow(source: Any, metadata: Any) -> Any:
        types = {name: "i64" if name == "numel" else kind for name, kind in source.signature.items()}
        return right(SimpleNamespace(fn=source.fn, signature=types, attrs=source.attrs, constants=source.constants),
                     metadata)

    monkeypatch.setattr(gpu.driver, "launcher_cls", narrow)
    said = r"compiled for parameters of \[8, 8, 4, 4, 8, 8\] bytes.*\[8, 8, 4, 8, 8, 8\]"
    with pytest.raises(RuntimeError, match=said):
        scale(triton.jit(scaled_kernel.fn), gpu, 100)


# Memory

def test_fresh_memory_is_nan_and_the_hosts_own_functions_do_not_see_it(gpu: VirtualGpu) -> None:
    device = backend("cuda")
    buffer = device.torch.empty((4,), dtype=torch.float32, device="cuda")           # type: ignore[attr-defined]
    assert buffer.device == torch.device("cuda:0") and buffer.is_cuda
    assert np.isnan(buffer.cpu().numpy()).all()
    for refused in (buffer.numpy, lambda: np.asarray(buffer), lambda: mt.tensor([1.0], device="cuda").numpy()):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            refused()
    with pytest.raises(RuntimeError, match="found at least two devices, cuda:0 and cpu"):
        buffer + torch.ones(4)
    assert buffer.fill_(2.0).add(1).cpu().tolist() == [3.0] * 4
    assert gpu.memory.holding((buffer + 1).data_ptr()) is not None


def test_memory_comes_back(gpu: VirtualGpu) -> None:
    a = mt.zeros(1000, device="cuda") + 1
    a.sum().item()
    gc.collect()
    while_held = gpu.torch.cuda.memory_allocated()
    del a
    gc.collect()
    assert gpu.torch.cuda.memory_allocated() == while_held - 4000


def test_out_of_memory_is_told_and_survived(gpu: VirtualGpu) -> None:
    small = x(1, 2, 3)
    with pytest.raises(OutOfMemoryError, match=r"out of memory on cuda:0: 93\.13 GiB were asked for .* 80\.00 GiB"):
        (small[0] + 1).expand(25_000_000_000).contiguous().cpu()
    assert (small + 1).tolist() == [2.0, 3.0, 4.0]


# Streams and graphs

def test_memory_used_on_another_stream_is_kept_until_that_is_over(gpu: VirtualGpu,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """The device tells the allocator; with that planted away, the virtual GPU says what would happen."""
    def use() -> None:
        a = x(1, 2, 3)
        with gpu.torch.cuda.stream(gpu.torch.cuda.Stream()):
            b = a + 1
            b.tolist()
            b = a + 2
            run.flush(b.node.device)
            del a
            gc.collect()

    use()
    gpu.synchronize()
    monkeypatch.setattr(type(backend("cuda")), "share", lambda *memory: None)
    use()
    with pytest.raises(VirtualGpuError, match=r"a buffer of float32\[3\], allocated on stream 0x0, was let go of while "
                                              r"stream 0x5eed\w+ may still be using it.*record_stream"):
        gpu.synchronize()
    gpu.synchronize()


def test_of_a_table_its_rows_have_to_be_written(gpu: VirtualGpu) -> None:
    device = backend("cuda")
    space, of = device.workspace(2 * 16), spec((), dtypes.float32, Device("cuda:0"))
    rows, table = [device.part(space, 16 * k, of) for k in range(2)], device.rows(space, 2, 16, of)
    rows[0].fill_(7.0)
    with pytest.raises(VirtualGpuError, match="8 bytes is read, of which nobody wrote 4"):
        device.to_numpy(table)
    rows[1].fill_(8.0)
    assert device.to_numpy(table).tolist() == [7, 8]


def test_a_step_is_captured_and_replayed(gpu: VirtualGpu) -> None:
    cuda = gpu.torch.cuda
    a, w = x(1, 2, 3), x(1, 1, 1)

    def step() -> Any:
        return (a * w).exp()

    step().tolist()
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        out = step()
        run.flush(out.node.device)
    with pytest.raises(VirtualGpuError, match="12 bytes is read, of which nobody wrote 12"):
        out.tolist()            # captured is not run
    graph.replay()
    assert out.tolist() == pytest.approx(np.exp([1, 2, 3]).tolist())
    w.node.buffer.zero_()
    graph.replay()
    assert out.tolist() == [1, 1, 1]


def test_a_capture_refuses_what_a_gpu_would(gpu: VirtualGpu) -> None:
    cuda, a = gpu.torch.cuda, x(1, 2, 3)
    with cuda.graph(cuda.CUDAGraph()), pytest.raises(RuntimeError, match="while a CUDA graph is being captured"):
        (a * 5 + 7 * a).cos().tolist()
    with cuda.graph(cuda.CUDAGraph()), pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        cuda.synchronize()


# The faults that the device had

def fit_on_cuda() -> None:
    """What `microtrain train` does: a model, a loop, its losses read."""
    from microtrain.data import DataLoader, TensorDataset
    from microtrain.train import fit
    data = TensorDataset(mt.ones(8, 2, device="cuda"), mt.ones(8, 1, device="cuda"))
    model = mt.nn.Linear(2, 1, device="cuda")
    loader = DataLoader(data, batch_size=4)
    fit(model, mt.nn.MSELoss(), mt.optim.SGD(model.parameters(), lr=0.1), loader, epochs=2, progress=False)


def test_losses_read_without_a_copy_to_the_host_are_caught(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 1, planted again: whatever brings a tensor to the host leaves it on the device."""
    fit_on_cuda()
    monkeypatch.setattr(mt.Tensor, "cpu", lambda self: self)
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        fit_on_cuda()


def test_every_accessor_answers(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 2: `device_count` and `synchronize` with all that PyTorch takes for a device."""
    assert mt.cuda.is_available() and mt.cuda.device_count() == 1
    for device in (None, 0, "cuda", "cuda:0", mt.device("cuda")):
        mt.cuda.synchronize(device)
    capability = (9, 0) if gpu.arch == "sm_90" else (8, 0)
    assert mt.cuda.get_device_capability() == capability and "virtual" in mt.cuda.get_device_name()


def test_derivatives_are_checked_on_cuda(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 3: `gradcheck` on tensors of the device."""
    from microtrain.testing import gradcheck
    inputs = mt.tensor([0.5, -1.0], dtype=mt.float64, device="cuda", requires_grad=True)
    assert gradcheck(lambda a: a.sin() * a, (inputs,))
    monkeypatch.setattr(mt.Tensor, "cpu", lambda self: self)
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        gradcheck(lambda a: a.sin() * a, (inputs,))
