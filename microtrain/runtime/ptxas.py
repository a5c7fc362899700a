"""A fault of NVIDIA's assembler that compiled kernels are kept clear of.

From sm_90 on, ptxas of CUDA 12.8 to 13.0 (Triton 3.6 to 3.9 bring 12.8 and 12.9; 13.4 has it mended) drops the constant
of a packed addition of 16-bit numbers: `add.s16x2 d, a, c` with a known c becomes `VIADD.16x2 d, a, 0x0`. LLVM writes
such additions where it can tell that an index is below 256. Seen on an H100: of 13,532 kernels 8 had the instruction,
and all the tests that launch these read next to where they should.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PACKED = re.compile(r"\badd\.s16x2\s+([%\w$]+),\s*([%\w$]+),\s*([%\w$]+);")

APART = ("{{ .reg .b32 low_a, low_b, high; and.b32 low_a, {a}, 0x7fff7fff; and.b32 low_b, {b}, 0x7fff7fff; "
         "xor.b32 high, {a}, {b}; and.b32 high, high, 0x80008000; add.u32 low_a, low_a, low_b; "
         "xor.b32 {d}, low_a, high; }}")
"""Both halves of a sum in 32-bit arithmetic: no carry crosses from the lower half when the top bits are added apart."""

KEY = "packed additions apart"
"""Part of what a compiled kernel is found by: one that was compiled without this care is not found."""

Stage = Callable[[object, object], str]


def spared(ptx: str) -> str:
    """PTX that has no packed addition of 16-bit numbers, and computes the same."""
    return PACKED.sub(lambda found: APART.format(d=found[1], a=found[2], b=found[3]), ptx)


@contextmanager
def careful() -> Iterator[None]:
    """What Triton compiles inside the block is kept clear of the fault. A user's own hook of the same kind is called
    before."""
    from triton import knobs

    users = knobs.runtime.add_stages_inspection_hook

    def hook(*arguments: Any) -> tuple[str, str]:
        told = users(*arguments) if users is not None else ("", "")
        if not arguments:       # asked what else a compiled kernel hangs on
            return f"{told[0]} {KEY}", f"{told[1]} {KEY}"
        stages: dict[str, Stage] = arguments[1]
        make = stages.get("ptx")
        if make is not None:
            stages["ptx"] = lambda source, metadata: spared(make(source, metadata))
        return told

    with knobs.runtime.scope():
        knobs.runtime.add_stages_inspection_hook = hook
        yield
