"""The cuda device as far as it goes without a GPU: its errors, its launches on a stubbed PyTorch, and how Triton takes
their arguments on a stubbed driver. What needs a GPU is the rest of the suite, run with MICROTRAIN_DEVICE=cuda."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from microtrain import ops as g
from microtrain import settings
from microtrain.compiler.executable import Executable
from microtrain.compiler.templates.template import Launch, options
from microtrain.graph import dtypes
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec
from microtrain.kernels.tiles import ENABLE_FP_FUSION
from microtrain.ops.user_kernel import KernelCall, record_call
from microtrain.runtime import cuda, interpret
from microtrain.runtime.compile_cache import anew
from microtrain.runtime.null import NullBackend
from microtrain.runtime.torch_memory import TorchMemory
from tests.support.programs import program
from tests.support.stub_gpu import CompiledKernel, CudaLauncher, FakeGpu, OneKernel, addresses, stubbed

interpreted = os.environ.get("TRITON_INTERPRET") == "1"
compiles = pytest.mark.skipif(interpreted, reason="kernels are interpreted in this process (TRITON_INTERPRET=1)")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU; this one has one")


# ------------------------------------------------------------------------------------------------------------ errors

@compiles
@no_gpu
def test_without_a_gpu_the_error_says_so_and_what_would_work() -> None:
    with settings.virtual_gpu(""):
        with pytest.raises(RuntimeError, match=r"no CUDA device: .*(without CUDA|no GPU).*'cpu'.*'interpret'"):
            cuda.CudaBackend()
        assert cuda.is_available() is False


@pytest.mark.parametrize("module, make", [(cuda, "import_torch"), (interpret, "import_torch")])
@pytest.mark.parametrize("missing", ["torch", "triton"])
def test_without_its_packages_the_error_names_the_extra(module: Any, make: str, missing: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with settings.virtual_gpu(""), pytest.raises(RuntimeError, match=r"needs PyTorch.*pip install 'microtrain\[gpu\]'"):
        getattr(module, make)()


def test_an_interpreting_process_has_no_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match=r"TRITON_INTERPRET=1.*start another process"):
        cuda.CudaBackend()


def test_a_process_that_compiles_cannot_interpret_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")         # so that it is put back whatever the device sets
    monkeypatch.setitem(sys.modules, "triton.language.standard", SimpleNamespace(sum=None))
    with pytest.raises(RuntimeError, match="MICROTRAIN_DEVICE=interpret"):
        interpret.choose_interpreter()
    assert os.environ["TRITON_INTERPRET"] == "0"
    monkeypatch.delitem(sys.modules, "triton.language.standard")
    interpret.choose_interpreter()
    assert os.environ["TRITON_INTERPRET"] == "1"


# ------------------------------------------------------------------------------------------------------ stubbed PyTorch

@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return stubbed(monkeypatch)


def test_a_gpu_that_is_not_there_is_named(gpu: FakeGpu) -> None:
    with pytest.raises(RuntimeError, match=r"no device cuda:2: this machine has 2 \(cuda:0 to cuda:1\)"):
        cuda.CudaBackend(2)


class Refusing(CudaLauncher):
    """A launcher of another signature."""

    tried = 0

    def launch(self, *arguments: Any) -> None:
        Refusing.tried += 1
        raise TypeError("function takes exactly 3 arguments (16 given)")


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the version that Triton says it has."""
    return lambda text: monkeypatch.setattr(triton, "__version__", text)


def test_the_first_launch_compiles_and_later_ones_go_straight_to_the_driver(gpu: FakeGpu, version: Any) -> None:
    version("3.7.1")
    backend, kernel = cuda.CudaBackend(1), CompiledKernel(gpu)
    launch = OneKernel(kernel)
    first, second = addresses(backend, 2), addresses(backend, 2)
    backend.launch(launch, first, (3,))
    backend.driver.streams[1] = 99
    backend.launch(launch, second, (4,))
    assert launch.compilations == 1
    for call, given, scalar, stream in zip(kernel.calls, (first, second), (3, 4), (71, 99), strict=True):
        way, current, *arguments = call
        assert way == "direct" and current == [1] and gpu.current == []
        assert arguments == [7, 2, 1, stream, "function", False, False, (4, 1, 0), None, None, None, None, None,
                             "annotations", b"signature", (given, (scalar,), 5, "expr", 256)]


def test_the_current_gpu_is_left_alone(gpu: FakeGpu) -> None:
    backend, kernel = cuda.CudaBackend(0), CompiledKernel(gpu)
    backend.launch(OneKernel(kernel), addresses(backend, 1), ())
    (way, current, *_), = kernel.calls
    assert way == "direct" and current == [] and gpu.entered == []


def test_triton_3_6_takes_the_arguments_one_by_one(gpu: FakeGpu, version: Any) -> None:
    version("3.6.0")
    backend, kernel = cuda.CudaBackend(1), CompiledKernel(gpu)
    given = addresses(backend, 3)
    backend.launch(OneKernel(kernel, (7,)), given, (3, 4))
    (_, _, *arguments), = kernel.calls
    assert arguments == [7, 1, 1, 71, "function", False, False, None, None, (4, 1, 0), None, None, None,
                         given, (3, 4), 5, "expr", 256]


def test_a_launcher_that_does_not_take_the_call_is_tried_once(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refusing, "tried", 0)
    Refusing.__name__ = "CudaLauncher"
    backend, kernel = cuda.CudaBackend(1), CompiledKernel(gpu, Refusing)
    launch, given = OneKernel(kernel), addresses(backend, 1)
    for scalar in (3, 4, 5):
        backend.launch(launch, given, (scalar,))
    assert Refusing.tried == 1 and launch.compilations == 1
    assert kernel.calls == [("public", [1], (7, 2, 1), 71, given, (scalar,), 5, "expr", 256)
                            for scalar in (3, 4, 5)]


@pytest.mark.parametrize("unknown", ["version", "name", "scratch", "sanitizer"])
def test_an_unknown_launcher_is_not_tried(unknown: str, gpu: FakeGpu, version: Any) -> None:
    backend, kernel = cuda.CudaBackend(0), CompiledKernel(gpu)
    if unknown == "version":
        version("3.10.0")
    elif unknown == "name":
        kernel.run = type("HIPLauncher", (CudaLauncher,), {})(kernel)
    elif unknown == "scratch":
        cast(Any, kernel.run).global_scratch_size = 128
    else:
        cast(Any, kernel.run).gsan_enabled = True
    launch = OneKernel(kernel)
    for _ in range(2):
        backend.launch(launch, addresses(backend, 1), ())
    assert [call[0] for call in kernel.calls] == ["public", "public"]


@pytest.mark.parametrize("hook", ["launch_enter_hook", "launch_exit_hook"])
def test_launch_hooks_are_honoured_while_they_are_set(hook: str, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton import knobs
    backend, kernel = cuda.CudaBackend(0), CompiledKernel(gpu)
    launch, given, chain = OneKernel(kernel), addresses(backend, 1), getattr(knobs.runtime, hook)

    def ways() -> list[str]:
        backend.launch(launch, given, ())
        return [call[0] for call in kernel.calls]

    def profiler(metadata: Any) -> None: ...

    assert ways() == ["direct"]
    chain.add(profiler)
    try:
        assert ways()[1:] == ["public"]
    finally:
        chain.remove(profiler)
    assert ways()[2:] == ["direct"]
    with monkeypatch.context() as patch:
        patch.setattr(knobs.runtime, hook, profiler)
        assert ways()[3:] == ["public"]
    assert ways()[4:] == ["direct"]


def test_an_address_is_asked_for_once(gpu: FakeGpu, version: Any, rng: np.random.Generator) -> None:
    version("3.7.1")
    backend, kernel = cuda.CudaBackend(0), CompiledKernel(gpu)
    made = [backend.empty(spec((5,), dtypes.float32, Device("cuda:0"))), backend.from_numpy(rng.random(4))]
    assert [buffer.address for buffer in made] == [buffer.data_ptr() for buffer in made]
    memory = backend.workspace(4096)
    parts = [(offset, spec((5,), dtypes.float32, Device("cuda:0"))) for offset in (0, 1024)]
    for buffer in (*made, memory):
        buffer.data_ptr = None      # nobody calls it any more
    pointers = backend.pointers([*made, 7], memory, parts)
    assert pointers == [made[0].address, made[1].address, 7, memory.address, memory.address + 1024]
    backend.launch(OneKernel(kernel), tuple(pointers[:2]), ())
    assert kernel.calls[0][-1][0] == (made[0].address, made[1].address)


def test_memory_that_kernels_are_not_compiled_for_is_refused(gpu: FakeGpu) -> None:
    aligned = torch.empty(64, dtype=torch.uint8)
    off = aligned[8 + -aligned.data_ptr() % 16:]
    with pytest.raises(RuntimeError, match=f"{off.data_ptr():#x} is not aligned to 16 bytes"):
        cuda.addressed(off)


def test_the_gpu_is_waited_for(gpu: FakeGpu) -> None:
    cuda.CudaBackend(1).synchronize()
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


def launch_of_a_map(addend: float = 1.37, numel: int = 1 << 20) -> Launch:
    """The launch of a kernel that reads an array and a number or two, and writes an array."""
    of = spec((numel,), dtypes.float32, Device("null:sm_90"))
    made, _ = program(g.mul(g.add(leaf(None, of), addend), 1.73))
    step, = Executable(made).launches
    return step


@compiles
def test_a_launch_is_compiled_for_the_gpu_at_hand_as_the_null_device_compiles_it(stub_driver: None) -> None:
    launch = launch_of_a_map()
    with anew():            # a cache that was carried here may have binaries alone
        kernel = launch.compiled({})
    assert kernel.metadata.target.arch == 90
    assert kernel.metadata.num_warps == launch.options["num_warps"]
    assert kernel.metadata.enable_fp_fusion is ENABLE_FP_FUSION
    assert "ld.global.v4" in kernel.asm["ptx"] and "st.global.v4" in kernel.asm["ptx"]
    null = NullBackend("sm_90")
    null.launch(launch, (), ())
    assert null.resources[launch].assembly == kernel.asm["ptx"]


@compiles
def test_numbers_of_a_run_are_no_constants_of_its_kernel(stub_driver: None) -> None:
    """Triton would make a constant of 1, the bits of 5e-324, and rely on the divisibility of those of 0.5."""
    launch = launch_of_a_map()
    kernel = launch.compiled({})
    count = len(launch.kernel.scalars)
    assert kernel.src.signature["scalars"] == ("i64",) * count and count > 0
    assert all(path[0] != 1 for path in kernel.src.attrs) and all(path[0] != 1 for path in kernel.src.constants)


@compiles
def test_equal_launches_share_a_kernel_and_others_do_not(stub_driver: None) -> None:
    kernels: dict[Any, Any] = {}
    made = [launch_of_a_map().compiled(kernels) for _ in range(2)]
    assert made[0] is made[1] and len(kernels) == 1
    assert launch_of_a_map(addend=2.0).compiled(kernels) is not made[0]         # 2 is part of the structure
    launch = launch_of_a_map()
    launch.options = options(launch.options["num_warps"] * 2)
    assert launch.compiled(kernels).metadata.num_warps == launch.options["num_warps"] and len(kernels) == 3


@compiles
def test_a_users_kernel_is_specialised_as_triton_does(stub_driver: None) -> None:
    launch = launch_of_a_call((1, 48, 7, 2.5))
    kernel = launch.compiled({})
    assert kernel.src.signature == {"BLOCK": "constexpr", "x_ptr": "*fp32", "MORE": "constexpr", "out_ptr": "*fp32",
                                    "one": "constexpr", "even": "i32", "wide": "i64", "scale": "fp32"}
    assert {path for path, hints in kernel.src.attrs.items() if hints} == {(1,), (3,), (5,)}
    assert launch.compiled({}) is kernel            # Triton's own cache has it


@compiles
def test_the_null_device_specialises_a_users_kernel_so_too() -> None:
    launch = launch_of_a_call((1, 48, 1 << 40, 2.5))
    assert launch.signature() == (
        {"BLOCK": "constexpr", "x_ptr": "*fp32", "MORE": "constexpr", "out_ptr": "*fp32", "one": "constexpr",
         "even": "i32", "wide": "i64", "scale": "fp32"}, ["even", "wide"])
    assert launch.constexprs == {"BLOCK": 64, "MORE": 2, "one": 1}


def test_the_arguments_of_a_users_kernel_are_in_the_order_of_its_parameters() -> None:
    assert launch_of_a_call((1, 48, 7, 2.5)).arguments((512, 1024), ()) == (64, 512, 2, 1024, 1, 48, 7, 2.5)


@triton.jit(do_not_specialize=["wide"])
def constants_between_kernel(BLOCK: tl.constexpr, x_ptr, MORE: tl.constexpr, out_ptr, one, even, wide: tl.int64, scale):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < even
    tl.store(out_ptr + i, tl.load(x_ptr + i, mask=mask, other=0) * scale + MORE + one + wide, mask=mask)


def launch_of_a_call(numbers: tuple[int | float, ...]) -> Launch:
    """The launch of a user's kernel, whose constexprs come before and between its pointers."""
    of = spec((48,), dtypes.float32, Device("interpret" if interpreted else "null:sm_90"))
    call = KernelCall("between", constants_between_kernel, (1,), (((48,), dtypes.float32),), numbers,
                      {"BLOCK": 64, "MORE": 2}, {"num_warps": 2})
    made, _ = program(record_call(call, (leaf(None, of),))[0])
    step, = Executable(made).launches
    return step
