"""What arrives with a launch, read from the raw parameters that Triton's launcher passes, and what must hold of it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .errors import VirtualGpuError
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
LARGEST_GRID = (2 ** 31 - 1, 65535, 65535)
LARGEST_BLOCK = 1024


@dataclass(frozen=True)
class Arrived:
    """One launch as the driver was told of it."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    stream: int
    parameters: tuple[bytes, ...]

    def address(self, k: int) -> int:
        """Parameter k, a pointer."""
        return int.from_bytes(self.parameters[k], "little")

    def integer(self, k: int) -> int:
        """Parameter k, a signed integer."""
        return int.from_bytes(self.parameters[k], "little", signed=True)


class Function(Protocol):
    """What a handle of the driver stands for.

    Attributes:
        kinds: Triton's names of the parameters' types, in order.
        aligned: the parameters whose addresses the compiler took for multiples of 16.
    """

    name: str
    kinds: list[str]
    aligned: frozenset[int]
    num_warps: int

    def run(self, arrived: Arrived, gpu: Hardware) -> None:
        """Compute what the launch computes."""


def arrived(config: Config, arguments: Sequence[int], kinds: Iterable[str]) -> Arrived:
    """The launch that a CUlaunchConfig and an array of pointers to parameters of these types tell of."""
    parameters = [ctypes.string_at(arguments[k], WIDTHS.get(kind, 8)) for k, kind in enumerate(kinds)]
    return Arrived(tuple(config.grid), tuple(config.block), config.shared, config.stream or 0, tuple(parameters))


def check(function: Function, launch: Arrived, gpu: Hardware) -> list[Held]:
    """The allocations that a launch's pointers lie in. Raises VirtualGpuError that says what is wrong with it."""
    def wrong(what: str) -> VirtualGpuError:
        return VirtualGpuError(f"launch of {function.name} on grid {list(launch.grid)}: {what}")

    if any(not 0 < n <= most for n, most in zip(launch.grid, LARGEST_GRID, strict=True)):
        raise wrong(f"a grid has 1 to {list(LARGEST_GRID)} programs along its axes")
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
        if not kind.startswith("*") or not (address := launch.address(k)):
            continue
        if k in function.aligned and address % 16:
            raise wrong(f"pointer {k} ({kind}) is {address:#x}, not a multiple of 16 as the kernel was compiled for")
        found = gpu.memory.holding(address)
        if found is None:
            raise wrong(f"pointer {k} ({kind}) is {address:#x}, {gpu.memory.whereabouts(address)}")
        used.append(found)
    return used


def flat(kinds: Iterable[Types]) -> Iterator[str]:
    """The members of tuples among types, in order, without constexprs: what a kernel has as parameters."""
    for kind in kinds:
        if isinstance(kind, tuple):
            yield from flat(kind)
        elif kind != "constexpr":
            yield kind


def aligned(signature: Iterable[Types],
            attributes: Mapping[tuple[int, ...], Iterable[Sequence[object]]]) -> frozenset[int]:
    """Which parameters of a signature carry the hint that they are divisible by 16."""
    def paths(kinds: Iterable[Types], path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], str]]:
        for k, kind in enumerate(kinds):
            if isinstance(kind, tuple):
                yield from paths(kind, (*path, k))
            elif kind != "constexpr":
                yield (*path, k), kind

    return frozenset(k for k, (path, kind) in enumerate(paths(signature))
                     if kind.startswith("*") and any(hint[0] == "tt.divisibility" for hint in attributes.get(path, ())))
