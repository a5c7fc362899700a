"""The stand-in for the driver's library (`libcuda.c`): built, loaded, and Triton's driver on top of it."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...files import cache_folder, replacing

NAME = "libcuda.so.1"
SOURCE = Path(__file__).with_suffix(".c")

MAX_PARAMETERS = 1024
"""That the library notes of a launch."""

REFUSED = 999
"""The error code of a launch that was refused."""


class Config(ctypes.Structure):
    """The head of a CUlaunchConfig."""

    _fields_ = (("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
                ("stream", ctypes.c_void_p), ("attributes", ctypes.c_void_p), ("count", ctypes.c_uint))


Hook = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Config), ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
Asked = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
Live = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)


def compiler() -> str | None:
    """The C compiler that Triton would use."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> None:
    """Compile the library into a folder. Raises RuntimeError without a C compiler."""
    command = compiler()
    if command is None:
        raise RuntimeError("a stub of the driver needs a C compiler, as Triton does: install gcc or set CC")
    subprocess.run([command, "-shared", "-fPIC", "-O1", f"-DMAX_PARAMETERS={MAX_PARAMETERS}", f"-Wl,-soname,{NAME}",
                    str(SOURCE), "-o", str(folder / NAME)], check=True)


def built() -> Path:
    """The folder of the library in the user's cache, built if it is not there; one of this process's own where the user
    has no cache that can be written to."""
    made = hashlib.sha256(SOURCE.read_bytes() + str(MAX_PARAMETERS).encode()).hexdigest()[:16]
    try:
        return _with_library(cache_folder() / f"libcuda-{made}")
    except OSError:
        own = Path(tempfile.mkdtemp(prefix="microtrain-"))
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        return _with_library(own)


def _with_library(folder: Path) -> Path:
    if not (folder / NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as aside, replacing(folder / NAME) as temporary:     # whoever else builds it
            build(Path(aside))
            shutil.copy(Path(aside) / NAME, temporary)
    return folder


class LibCuda:
    """The library, loaded: from then on it is what this process finds under the driver's name. Raises RuntimeError
    where another library answers to it, as in a process that has used a real GPU."""

    def __init__(self, folder: Path) -> None:
        ctypes.CDLL(str(folder / NAME), ctypes.RTLD_GLOBAL)
        self.folder, self.library = folder, ctypes.CDLL(NAME)
        if not hasattr(self.library, "launches"):
            raise RuntimeError(f"{NAME} is a real driver's in this process: a virtual one needs a process of its own")
        self.kept: list[object] = []

    @property
    def launches(self) -> int:
        """How many kernels were launched."""
        return ctypes.c_long.in_dll(self.library, "launches").value

    def describe(self, attributes: Mapping[int, int]) -> None:
        """What the device says it has, by the numbers of CU_DEVICE_ATTRIBUTE."""
        table = (ctypes.c_int * 256).in_dll(self.library, "attributes")
        for number, value in attributes.items():
            table[number] = value

    def listen(self, on_launch: Callable[..., int], is_device_memory: Callable[[int], int],
               on_graph: Callable[..., int]) -> None:
        """Have Python told of every launch and of graphs, and asked whose memory an address is."""
        for name, function in (("on_launch", Hook(on_launch)), ("is_device_memory", Live(is_device_memory)),
                               ("on_graph", Asked(on_graph))):
            self.kept.append(function)
            ctypes.c_void_p.in_dll(self.library, name).value = ctypes.cast(function, ctypes.c_void_p).value

    def refuse(self, why: str) -> int:
        """The error code of a launch, with a text that cuGetErrorString will give."""
        (ctypes.c_char * 512).in_dll(self.library, "refusal").value = why.encode("ascii", "replace")[:500]
        return REFUSED

    def capturing(self, on: bool) -> None:
        """Whether a stream is being captured."""
        ctypes.c_int.in_dll(self.library, "capturing").value = int(on)


@cache
def triton_driver_class() -> Any:
    """Triton's CUDA driver with its questions to PyTorch answered here."""
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia import driver as nvidia

    class Driver(nvidia.CudaDriver):
        """`current_stream` is a function; `torch` is the stand-in, if there is one."""

        def __init__(self, library: LibCuda, capability: int, current_stream: Callable[[], int], torch: Any) -> None:
            knobs.nvidia.libcuda_path = str(library.folder)
            nvidia.libcuda_dirs.cache_clear()
            nvidia.library_dirs.cache_clear()
            self.utils, self.launcher_cls = nvidia.CudaUtils(), nvidia.CudaLauncher
            self.capability, self.current_stream, self.torch = capability, current_stream, torch

        def get_current_target(self) -> object:
            return GPUTarget("cuda", self.capability, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return self.current_stream()

        def get_device_capability(self, device: int = 0) -> tuple[int, int]:
            return divmod(self.capability, 10)

        def get_device_interface(self) -> object:
            return self.torch.cuda

        def get_empty_cache_for_benchmark(self) -> object:
            return self.torch.empty(1 << 20, dtype=self.torch.int32, device="cuda")     # there is no L2 to displace

    return Driver
