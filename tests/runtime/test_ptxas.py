"""The assembler's fault with packed 16-bit additions, and that compiled kernels are kept clear of it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import triton

import microtrain as mt
from microtrain.emulator import Memory, launch, parse
from microtrain.runtime.ptxas import PACKED, careful, spared
from microtrain.runtime.resources import compile_launch
from microtrain.testing import count_kernels
from microtrain.testing.specimens import specimens

KERNEL = """
.version 8.0
.target sm_90a
.address_size 64

.visible .entry add_kernel(.param .u64 .ptr .global .align 1 a, .param .u64 .ptr .global .align 1 b,
                           .param .u64 .ptr .global .align 1 out)
.reqntid 128
{
	.reg .b32 %r<6>;
	.reg .b64 %rd<8>;
	ld.param.b64 %rd1, [a];
	ld.param.b64 %rd2, [b];
	ld.param.b64 %rd3, [out];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd4, %r1, 4;
	add.s64 %rd5, %rd1, %rd4;
	add.s64 %rd6, %rd2, %rd4;
	add.s64 %rd7, %rd3, %rd4;
	ld.global.b32 %r2, [%rd5];
	ld.global.b32 %r3, [%rd6];
	add.s16x2 %r4, %r2, %r3;
	st.global.b32 [%rd7], %r4;
	ret;
}
"""


def added(ptx: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The kernel on 128 words each."""
    memory = Memory(1 << 20)
    places = [memory.allocate(512, name) for name in ("a", "b", "out")]
    for place, array in zip(places, (a, b), strict=False):
        memory.view(place, 512)[:] = array.view(np.uint8)
        memory.written(place, 512)
    launch(parse(ptx), "add_kernel", (1, 1, 1), (128, 1, 1), 0,
           [int(place).to_bytes(8, "little") for place in places], memory)
    return memory.view(places[2], 512).view(np.uint16).copy()


def test_what_is_put_in_its_place_adds_both_halves_apart() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 1 << 16, 256).astype(np.uint16) for _ in range(2))
    a[:8], b[:8] = (0xFFFF, 1, 0x7FFF, 0x8000) * 2, (1, 0xFFFF, 0x7FFF, 0x8000) * 2
    assert PACKED.search(KERNEL) and not PACKED.search(spared(KERNEL))
    np.testing.assert_array_equal(added(spared(KERNEL), a, b), a + b)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="nothing is compiled there")
def test_a_kernel_that_llvm_packs_is_kept_clear_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The padding and its gradient in one launch, in float64: what an H100 got wrong."""
    with count_kernels() as count:
        x = mt.tensor(np.ones((3, 4)), requires_grad=True)
        y = mt.nn.ConstantPad1d(1, 2.0)(x)
        y.backward(mt.tensor(np.ones((3, 6))))
        y.tolist()
    (one,) = [specimen for program in count.programs for specimen in specimens(program, "padding")
              if specimen.template == "maps"]
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assembly = compile_launch("sm_90", one.kernel.launch("sm_90")).assembly
    assert ".entry maps_kernel" in assembly and not PACKED.search(assembly)
    if triton.__version__.startswith("3.6."):       # later ones leave this kernel's additions apart
        assert "0x7fff7fff" in assembly


def test_a_users_own_hook_is_called_as_well() -> None:
    knobs = triton.knobs
    called: list[int] = []
    stages = {"ptx": lambda source, metadata: "add.s16x2 %r1, %r2, %r3;"}

    def users(*arguments: Any) -> Any:
        called.append(len(arguments))
        return "key", "hash"

    with knobs.runtime.scope():
        knobs.runtime.add_stages_inspection_hook = users
        with careful():
            hook = knobs.runtime.add_stages_inspection_hook
            key, digest = hook()
            hook("backend", stages, "options", "language", 90)
        assert knobs.runtime.add_stages_inspection_hook is users
    assert called == [0, 5] and "key" in key and digest.startswith("hash") and digest != "hash"
    assert "xor.b32 %r1" in stages["ptx"]("source", {})
