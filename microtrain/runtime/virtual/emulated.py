"""Launches run by the emulator: the PTX of what Triton compiled, microtrain's kernels and anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ...emulator import Module, launch, parse
from .errors import VirtualGpuError
from .launches import WIDTHS, Arrived, Types, aligned, flat

if TYPE_CHECKING:
    from .hardware import Hardware

SCRATCH = ["*i8", "*i8"]
"""What Triton passes behind a kernel's own parameters: memory that few kernels ask for."""


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


class Emulated:
    """A `Function` that Triton compiled: its PTX and its signature."""

    def __init__(self, name: str, ptx: str | None, source: Source, metadata: Metadata) -> None:
        self.name, self.ptx = name, ptx
        own = list(flat(source.signature.values()))
        self.kinds = own + SCRATCH
        self.aligned = aligned(source.signature.values(), getattr(source, "attrs", {}))
        self.num_warps, self.num_ctas = metadata.num_warps, metadata.num_ctas
        self.names = dict(enumerate(parameter_names(source)))

    @cached_property
    def module(self) -> Module:
        """The PTX, parsed. Raises VirtualGpuError where there is none, where its parameters are of other widths,
        and for clusters."""
        if self.num_ctas != 1:
            raise VirtualGpuError(f"{self.name} has {self.num_ctas} CTAs a program (num_ctas), which the emulator does "
                                  "not know: compile it with one")
        if self.ptx is None:
            raise VirtualGpuError(f"{self.name} was found in Triton's cache without its PTX, which the emulator runs: "
                                  "compile it again without TRITON_STORE_BINARY_ONLY, or give it another cache")
        module = parse(self.ptx)
        has = [parameter.nbytes for parameter in module.functions[self.name].parameters]
        told = [WIDTHS.get(kind, 8) for kind in self.kinds]
        if has != told:
            raise VirtualGpuError(f"{self.name} is compiled for parameters of {has} bytes, and its signature says "
                                  f"{told}")
        return module

    def run(self, arrived: Arrived, gpu: Hardware) -> None:
        """Emulate every thread. Raises EmulatorError, which names the line, where the kernel does what it must not."""
        launch(self.module, self.name, arrived.grid, arrived.block, arrived.shared, arrived.parameters,
               gpu.memory.arena, names=self.names)


def parameter_names(source: Source) -> list[str]:
    """What each parameter is called: `x_ptr`, or `ptrs[2]` for a tuple's member."""
    def named(name: str, kind: Types) -> list[str]:
        if isinstance(kind, tuple):
            return [found for k, member in enumerate(kind) for found in named(f"{name}[{k}]", member)]
        return [] if kind == "constexpr" else [name]

    return [found for name, kind in source.signature.items() for found in named(name, kind)]
