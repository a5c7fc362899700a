"""What arrives with a launch, read from the raw parameters that Triton's launcher passes, what must hold of it, and how
the emulator runs it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ... import emulator
from ...errors import VirtualGpuError
from ..launcher import GRID
from .libcuda import Config
from .memory import Held

if TYPE_CHECKING:
    from .hardware import Hardware

Types = str | tuple["Types", ...]
"""A parameter's type by Triton's name for it, or those of a tuple's members."""

WIDTHS = {"i1": 1, "i8": 1, "u1": 1, "u8": 1, "i16": 2, "u16": 2, "fp16": 2, "bf16": 2, "i32": 4, "u32": 4, "fp32": 4,
          "f32": 4, "i64": 8, "u64": 8, "fp64": 8}
"""Bytes of a parameter by Triton's name for its type; a pointer has 8."""

WARP = 32
LARGEST_BLOCK = 1024


@dataclass(frozen=True)
class Arrived:
    """One launch as the driver was told of it."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    stream: int
    parameters: tuple[bytes, ...]

    def integer(self, k: int, signed: bool = True) -> int:
        """Parameter k, an integer or (unsigned) a pointer."""
        return int.from_bytes(self.parameters[k], "little", signed=signed)


class Function:
    """What a handle of the driver stands for: a kernel with a signature; `attributes` are the hints that it has.

    Attributes:
        names: what each parameter is called: `x_ptr`, or `ptrs[2]` for a tuple's member.
        kinds: Triton's names of the parameters' types, in order.
        aligned: the parameters whose addresses the compiler took for multiples of 16.
    """

    def __init__(self, name: str, signature: Mapping[str, Types], num_warps: int,
                 attributes: Mapping[tuple[int, ...], Iterable[Sequence[object]]]) -> None:
        found = [member for k, (parameter, kind) in enumerate(signature.items())
                 for member in members((k,), parameter, kind)]
        self.name, self.num_warps = name, num_warps
        self.names = {k: parameter for k, (_, parameter, _) in enumerate(found)}
        self.kinds = [kind for *_, kind in found]
        self.aligned = {k for k, (path, _, kind) in enumerate(found) if kind.startswith("*")
                        and any(hint[0] == "tt.divisibility" for hint in attributes.get(path, ()))}

    def run(self, arrived: Arrived, gpu: Hardware) -> None:
        """Compute what the launch computes."""
        raise NotImplementedError


def members(path: tuple[int, ...], name: str, kind: Types) -> Iterator[tuple[tuple[int, ...], str, str]]:
    """What a kernel has of a parameter: itself, the members of a tuple, nothing of a constexpr; each with its place."""
    if isinstance(kind, tuple):
        for k, member in enumerate(kind):
            yield from members((*path, k), f"{name}[{k}]", member)
    elif kind != "constexpr":
        yield path, name, kind


def arrived(config: Config, arguments: Sequence[int], kinds: Iterable[str]) -> Arrived:
    """The launch that a CUlaunchConfig and an array of pointers to parameters of these types tell of."""
    parameters = [ctypes.string_at(arguments[k], WIDTHS.get(kind, 8)) for k, kind in enumerate(kinds)]
    return Arrived(tuple(config.grid), tuple(config.block), config.shared, config.stream or 0, tuple(parameters))


def check(function: Function, launch: Arrived, gpu: Hardware) -> list[Held]:
    """The allocations that a launch's pointers lie in. Raises VirtualGpuError that says what is wrong with it."""
    def wrong(what: str) -> VirtualGpuError:
        return VirtualGpuError(f"launch of {function.name} on grid {list(launch.grid)}: {what}")

    if any(not 0 < n <= most for n, most in zip(launch.grid, GRID, strict=True)):
        raise wrong(f"a grid has 1 to {list(GRID)} programs along its axes")
    if launch.block != (WARP * function.num_warps, 1, 1) or launch.block[0] > LARGEST_BLOCK:
        raise wrong(f"a block of {list(launch.block)} threads for a kernel compiled for {function.num_warps} warps")
    if launch.shared > gpu.properties.shared_memory_per_block_optin:
        raise wrong(f"{launch.shared} bytes of shared memory, and a block may have "
                    f"{gpu.properties.shared_memory_per_block_optin}")
    current = gpu.streams.current.cuda_stream
    if launch.stream != current:
        raise wrong(f"queued on stream {launch.stream:#x}, while the current one is {current:#x}")
    used = []
    for k, kind in enumerate(function.kinds):
        if not kind.startswith("*") or not (address := launch.integer(k, signed=False)):
            continue
        if k in function.aligned and address % 16:
            raise wrong(f"pointer {k} ({kind}) is {address:#x}, not a multiple of 16 as the kernel was compiled for")
        found = gpu.memory.holding(address)
        if found is None:
            raise wrong(f"pointer {k} ({kind}) is {address:#x}, {gpu.memory.whereabouts(address)}")
        used.append(found)
    return used


class Source(Protocol):
    """As much as is used of what Triton compiles: `attrs`, where it has them, are the hints."""

    @property
    def signature(self) -> Mapping[str, Types]: ...


class Metadata(Protocol):
    """As much as is used of what Triton says of a compiled kernel."""

    @property
    def num_warps(self) -> int: ...
    @property
    def num_ctas(self) -> int: ...


class Emulated(Function):
    """A function that Triton compiled, microtrain's or anybody's: its PTX is run by the emulator."""

    def __init__(self, name: str, ptx: str | None, source: Source, metadata: Metadata) -> None:
        super().__init__(name, source.signature, metadata.num_warps, getattr(source, "attrs", {}))
        self.kinds += ["*i8", "*i8"]            # what Triton passes behind: memory that few kernels ask for
        self.ptx, self.num_ctas = ptx, metadata.num_ctas

    @cached_property
    def module(self) -> emulator.Module:
        """The PTX, parsed. Raises VirtualGpuError where there is none, where its parameters are of other widths,
        and for clusters."""
        if self.num_ctas != 1:
            raise VirtualGpuError(f"{self.name} has {self.num_ctas} CTAs a program (num_ctas), which the emulator does "
                                  "not know: compile it with one")
        if self.ptx is None:
            raise VirtualGpuError(f"{self.name} was found in Triton's cache without its PTX, which the emulator runs: "
                                  "compile it again without TRITON_STORE_BINARY_ONLY, or give it another cache")
        module = emulator.parse(self.ptx)
        has = [*module.functions[self.name].parameters.values()]
        told = [WIDTHS.get(kind, 8) for kind in self.kinds]
        if has != told:
            raise VirtualGpuError(f"{self.name} is compiled for parameters of {has} bytes, and its signature says "
                                  f"{told}")
        return module

    def run(self, arrived: Arrived, gpu: Hardware) -> None:
        """Emulate every thread. Raises EmulatorError, which names the line, where the kernel does what it must not."""
        emulator.launch(self.module, self.name, arrived.grid, arrived.block, arrived.shared, arrived.parameters,
                        gpu.memory.arena, names=self.names)
