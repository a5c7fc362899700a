"""Kernels of a few lines of PTX, for tests of the emulator: text around a body, and a launch of it on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtrain.emulator import Memory, Module, Report, launch, parse

HEAD = """
.version 8.7
.target sm_90a
.address_size 64
.extern .shared .align 16 .b8 global_smem[];
.visible .entry kernel({parameters})
{{
    .reg .pred %p<40>;
    .reg .b16 %h<40>;
    .reg .b32 %r<400>;
    .reg .b64 %d<80>;
    .loc 1 7 3 // kernel.py:7:3
{body}
    ret;
}}
"""
MEMORY = Memory()
"""One arena for all kernels of these tests."""


def kernel(body: str, pointers: int, others: Sequence[str] = ()) -> str:
    """A kernel of `pointers` pointers, loaded into %d0, %d1, ..., and other parameters by type."""
    types = [*["u64"] * pointers, *others]
    parameters = ", ".join(f".param .{t} p{i}" for i, t in enumerate(types))
    loads = "\n".join(f"    ld.param.b64 %d{i}, [p{i}];" for i in range(pointers))
    return HEAD.format(parameters=parameters, body=loads + "\n" + body)


class Buffer:
    """An array in the emulator's memory."""

    def __init__(self, array: np.ndarray, name: str, written: bool = True) -> None:
        self.array = np.ascontiguousarray(array)
        self.address = MEMORY.allocate(self.array.nbytes, name)
        if written:
            MEMORY.view(self.address, self.array.nbytes)[:] = self.array.reshape(-1).view(np.uint8)
            MEMORY.written(self.address, self.array.nbytes)

    def read(self) -> np.ndarray:
        """What is there now."""
        return MEMORY.view(self.address, self.array.nbytes).view(self.array.dtype).reshape(self.array.shape).copy()


def run(text: str | Module, buffers: Sequence[Buffer | int], grid: int = 1, block: int = 32, shared: int = 0,
        others: Sequence[bytes] = (), collect: bool = False, names: dict[int, str] | None = None) -> Report:
    """Launch the one kernel of a PTX text."""
    module = parse(text) if isinstance(text, str) else text
    addresses = [one.address if isinstance(one, Buffer) else one for one in buffers]
    raw = [address.to_bytes(8, "little") for address in addresses]
    return launch(module, module.entries[0], (grid,), (block,), shared, [*raw, *others], MEMORY, names, collect=collect)


def compute(body: str, inputs: Sequence[np.ndarray], outputs: Sequence[str], shared: int = 0) -> list[np.ndarray]:
    """What a body makes of arrays, one element a thread.

    Inputs are in %x0, %x1, ...; outputs, of the NumPy types given, are taken from %y0, ... Booleans are predicates.
    """
    n = len(inputs[0])
    kinds = {1: "b16", 2: "b16", 4: "b32", 8: "b64"}
    lines = ["mov.u32 %r399, %tid.x;"]
    for i, array in enumerate(inputs):
        size, kind = array.dtype.itemsize, kinds[array.dtype.itemsize]
        lines += [f".reg .{kind} %v{i}x;", f"mad.wide.u32 %d79, %r399, {size}, %d{i};",
                  f"ld.global.b{8 * size} %v{i}x, [%d79];"]
        if array.dtype == bool:
            lines += [f".reg .pred %x{i}q;", f"setp.ne.b16 %x{i}q, %v{i}x, 0;"]
        body = body.replace(f"%x{i}", f"%x{i}q" if array.dtype == bool else f"%v{i}x")
    for i, kind in enumerate(outputs):
        declared = "pred" if kind == "?" else kinds[np.dtype(kind).itemsize]
        lines.append(f".reg .{declared} %w{i}y;")
        body = body.replace(f"%y{i}", f"%w{i}y")
    lines.append(body)
    for i, kind in enumerate(outputs):
        size, register = np.dtype(kind).itemsize, f"%w{i}y"
        if kind == "?":
            lines.append(f"selp.b16 %h39, 1, 0, {register};")
            register = "%h39"
        lines += [f"mad.wide.u32 %d79, %r399, {size}, %d{len(inputs) + i};",
                  f"st.global.b{8 * size} [%d79], {register};"]
    sources = [Buffer(array, f"x{i}") for i, array in enumerate(inputs)]
    targets = [Buffer(np.zeros(n, kind), f"y{i}", written=False) for i, kind in enumerate(outputs)]
    run(kernel("\n".join(lines), len(inputs) + len(outputs)), [*sources, *targets], block=n, shared=shared)
    return [target.read() for target in targets]
