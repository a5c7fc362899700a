"""A kernel compiled for a named target, with no GPU, and what it would use there, read from its assembly."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..kernels.tiles import ENABLE_FP_FUSION
from .backend import Launch
from .compile_cache import anew
from .compiling import Attributes, Signature, compile_kernel, divisible_by_16

STACK_ALIGNMENT = 16  # bytes; ptxas rounds an array's size up to this


class Assembled(Protocol):
    """As much as is read of Triton's CompiledKernel."""

    asm: Mapping[str, Any]
    metadata: Any


@dataclass(frozen=True)
class Target:
    """A GPU as Triton names it."""

    backend: str  # "cuda" or "hip"
    arch: int | str
    warp_size: int  # threads
    about: str


TARGETS = {"sm_80": Target("cuda", 80, 32, "NVIDIA Ampere, A100"),
           "sm_90": Target("cuda", 90, 32, "NVIDIA Hopper, H100 and H200"),
           "sm_100": Target("cuda", 100, 32, "NVIDIA Blackwell, B200"),
           "gfx942": Target("hip", "gfx942", 64, "AMD CDNA 3, MI300")}


class Access(NamedTuple):
    """One instruction that touches global memory, and the line of the kernel that it was compiled from. `function` is
    the emitted function's name, "" where the line lies in none or where the compiler forgot it."""

    kind: str  # "load" or "store"
    bits: int  # that a thread moves
    function: str
    line: int


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel uses on its target."""

    target: str
    registers: int  # 32-bit registers a thread (AMD: vector registers, accumulation ones included)
    spills: int  # NVIDIA: bytes of stack a thread, arrays apart; AMD: vector registers spilled
    shared_bytes: int  # a program
    accesses: tuple[Access, ...]  # to global memory, in program order
    assembly: str  # PTX or AMD's assembly
    binary: bytes = field(default=b"", repr=False)  # NVIDIA's cubin

    @cached_property
    def instructions(self) -> int:
        """The machine's instructions in it, padding apart."""
        if not self.binary:
            return len(_AMD_INSTRUCTION.findall(self.assembly))
        return len(_SASS_INSTRUCTION.findall(_cuobjdump("-sass", self.binary)))

    @cached_property
    def turn(self) -> int:
        """NVIDIA: the machine's instructions in its longest loop, those of all branches; 0 without one. Functions that
        it calls, for quotients that are not normal numbers, lie outside."""
        code = [(int(place, 16), text) for place, text in _SASS_PLACED.findall(_cuobjdump("-sass", self.binary))]
        loops = [(int(back[1], 16), place) for place, text in code if (back := _SASS_BRANCH.match(text))]
        first, last = max(loops, key=lambda loop: loop[1] - loop[0], default=(1, 0))
        return sum(first <= place <= last for place, _ in code)

    @property
    def loads(self) -> tuple[int, ...]:
        """The bits that a thread reads in each load."""
        return tuple(access.bits for access in self.accesses if access.kind == "load")

    @property
    def stores(self) -> tuple[int, ...]:
        """The bits that a thread writes in each store."""
        return tuple(access.bits for access in self.accesses if access.kind == "store")

    @property
    def load_bits(self) -> int:
        """The widest load, in bits; 0 without loads."""
        return max(self.loads, default=0)

    @property
    def store_bits(self) -> int:
        """The widest store, in bits; 0 without stores."""
        return max(self.stores, default=0)


def compile_for(target: str, fn: object, signature: Signature, constexprs: Mapping[str, object],
                attrs: Attributes | None = None, num_warps: int = 4, num_stages: int = 3,
                enable_fp_fusion: bool = ENABLE_FP_FUSION, maxnreg: int | None = None) -> Resources:
    """Compile a `@triton.jit` kernel for a target of `TARGETS` and read off its resources.

    maxnreg: registers a thread may have at most, on NVIDIA. attrs: None for those of `divisible_by_16(signature)`.
    Raises ValueError for an unknown target, RuntimeError where Triton was loaded for its interpreter, and Triton's own
    errors where the kernel does not compile.
    """
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; known: {', '.join(TARGETS)}")
    from triton.backends.compiler import GPUTarget

    chosen = TARGETS[target]
    options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": enable_fp_fusion}
    if maxnreg is not None:
        options["maxnreg"] = maxnreg
    gpu = GPUTarget(chosen.backend, chosen.arch, chosen.warp_size)
    hints = divisible_by_16(signature) if attrs is None else attrs
    kernel = compile_kernel(fn, signature, constexprs, hints, options, gpu)
    text, read = ("ptx", _read_nvidia) if chosen.backend == "cuda" else ("amdgcn", _read_amd)
    if text not in kernel.asm:  # from a cache that keeps binaries alone (TRITON_STORE_BINARY_ONLY=1)
        with anew():
            kernel = compile_kernel(fn, signature, constexprs, hints, options, gpu)
    return read(target, kernel)


def compile_launch(target: str, launch: Launch) -> Resources:
    """Compile a launch as the cuda device does."""
    signature, even = launch.signature()
    return compile_for(target, launch.function, signature, launch.constexprs, divisible_by_16(signature, even),
                       **launch.options)


def _read_nvidia(target: str, kernel: Assembled) -> Resources:
    """Registers and stack from the cubin by cuobjdump, access widths from the PTX."""
    report = _cuobjdump("-res-usage", kernel.asm["cubin"])
    usage = {name: int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", report)}
    ptx = kernel.asm["ptx"]
    # sin and cos reduce large arguments in an array in local memory, which shares the stack with what is spilled.
    arrays = sum(int(size) for size in re.findall(r"\.local \.align \d+ \.b8\s+\w+\[(\d+)\]", ptx))
    return Resources(target=target, registers=usage["REG"],
                     spills=max(usage["STACK"] + usage["LOCAL"] - -(-arrays // STACK_ALIGNMENT) * STACK_ALIGNMENT, 0),
                     shared_bytes=kernel.metadata.shared, accesses=tuple(located(ptx, _ptx_access)), assembly=ptx,
                     binary=kernel.asm["cubin"])


def _cuobjdump(what: str, binary: bytes) -> str:
    """What Triton's cuobjdump says of a cubin."""
    import triton.backends.nvidia

    tool = Path(triton.backends.nvidia.__path__[0]) / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(binary)
        return subprocess.run([tool, what, cubin], check=True, capture_output=True, text=True).stdout


_SASS_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?!NOP\b)\S", re.MULTILINE)
_SASS_PLACED = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?!NOP\b)(\S.*);", re.MULTILINE)
_SASS_BRANCH = re.compile(r"(?:@\S+ )?BRA\b.*\b0x([0-9a-f]+)")
_AMD_INSTRUCTION = re.compile(r"^\s+(?!s_nop|s_code_end)(?:[vs]_|ds_|global_|buffer_|flat_|scratch_)\w", re.MULTILINE)


PLACE = re.compile(r"<microtrain\.emitted (\w+)>:(\d+):")


def located(assembly: str, read: Callable[[str], tuple[str, int] | None]) -> Iterable[Access]:
    """The accesses of an assembly. The comment at a `.loc` names the source line and those it was inlined at, of which
    the innermost in an emitted function is the access's."""
    function, line = "", 0
    for text in assembly.splitlines():
        if text.lstrip().startswith(".loc"):
            place = PLACE.search(text)
            function, line = (place[1], int(place[2])) if place else ("", 0)
        elif found := read(text):
            yield Access(*found, function, line)


_PTX_ACCESS = re.compile(r"\b(ld|st)\.(?:\w+\.)*?global[\w.:]*?(?:\.v(\d))?\.[busf](\d+)\b")
_PTX_COPY = re.compile(r"\bcp\.async\.c[ag]\.shared\.global[\w.:]* .*?, (0x[0-9a-f]+|\d+)")


def _ptx_access(text: str) -> tuple[str, int] | None:
    """Kind and bits of an access: `ld.global.v4.b32` loads 128, and so does a `cp.async` of 16 bytes."""
    if found := _PTX_ACCESS.search(text):
        return {"ld": "load", "st": "store"}[found[1]], int(found[2] or 1) * int(found[3])
    if found := _PTX_COPY.search(text):
        return "load", 8 * int(found[1], 0)
    return None


def _read_amd(target: str, kernel: Assembled) -> Resources:
    """Everything from the assembly: the metadata at its end, and the instructions' names."""
    assembly = kernel.asm["amdgcn"]

    def metadata(name: str) -> int:
        found = re.search(rf"^\s*\.{name}:\s*(\d+)", assembly, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"Triton's {target} assembly no longer has the metadata .{name}")
        return int(found[1])

    # A scalar register is spilled to a lane of a vector register, not to memory; shared memory is allotted at launch.
    return Resources(target=target, registers=metadata("vgpr_count"), spills=metadata("vgpr_spill_count"),
                     shared_bytes=kernel.metadata.shared, accesses=tuple(located(assembly, _amd_access)),
                     assembly=assembly)


_AMD_BITS = {"dword": 32, "short": 16, "byte": 8}
_AMD_ACCESS = re.compile(r"\b(?:global|buffer|flat)_(load|store)_[us]?(dword|short|byte)(?:x(\d))?")


def _amd_access(text: str) -> tuple[str, int] | None:
    """Kind and bits of a vector access: `global_load_dwordx4` loads 128, `buffer_store_short` stores 16."""
    found = _AMD_ACCESS.search(text)
    return None if found is None else (found[1], _AMD_BITS[found[2]] * int(found[3] or 1))
