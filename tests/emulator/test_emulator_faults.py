"""Faults planted in kernels, in Triton or in the PTX, each found by the emulator and named at its place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("compiles kernels, which are interpreted in this process", allow_module_level=True)

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from microtrain.emulator import EmulatorError, UnknownInstruction, parse
from microtrain.emulator.launch import translated
from tests.support import compiled_kernels as k
from tests.support.compiled_kernels import Address, empty, filled, launched
from tests.support.ptx_kernels import MEMORY, Buffer, kernel, run

TARGETS = (80, 90)
DOT = {"M": 64, "N": 64, "K": 128, "BK": 32, "TA": 0, "TB": 0, "PRECISION": "ieee", "ACC": tl.float32}


def found(words: str, launching: Callable[[], object]) -> EmulatorError:
    """The error of a launch, in which a pattern must be found."""
    with pytest.raises(EmulatorError) as caught:
        launching()
    assert re.search(words, str(caught.value), re.S), str(caught.value)
    return caught.value


def product(edit: Callable[[str], str] | None, target: int, depth: int = 256, **options: Any) -> None:
    """The product of two matrices, compared with NumPy's where nothing is planted."""
    a, b, c = filled((64, depth), "a", "f2"), filled((depth, 64), "b", "f2"), empty((64, 64), "c")
    launched(k.dot, [a, b, c], 1, target, edit=edit, **options, **DOT | {"K": depth})
    np.testing.assert_allclose(c.read(), a.array.astype("f8") @ b.array, atol=2e-2)


def edited(pattern: str, to: str | Callable[[re.Match[str]], str] = "") -> Callable[[str], str]:
    return lambda text: re.sub(pattern, to, text, flags=re.S)


def zeros(n: int, name: str) -> Buffer:
    return Buffer(np.zeros(n, "i4"), name)


def ints(shape: Any, name: str) -> Buffer:
    return empty(shape, name, "i4")


STORE = "mov.u32 %r0, %tid.x; mad.wide.u32 %d9, %r0, 4, %d0; st.global.b32 [%d9], %r1;"
"""Each thread stores r1 at its place."""
PART = "mov.u32 %r0, %tid.x; setp.lt.u32 %p0, %r0, {}; mov.u32 %r1, 0; @%p0 bra $SKIP;\n"
ONE = kernel("st.global.b32 [%d0], 1;", 1, ["u32"])


def ptx(body: str, size: int = 32, **options: Any) -> Callable[[], object]:
    return lambda: run(kernel(body, 1), [empty(size, "y")], **options)


def past(space: str, base: str) -> Callable[[], object]:
    return ptx(f"""mov.u64 %d5, global_smem; mov.u32 %r0, %tid.x; mad.wide.u32 %d9, %r0, 4, {base};
    st.{space}.b32 [%d9], %r0;""", 16, shared=64)


FAULTS: list[tuple[str, str, Callable[[], object]]] = [
    ("a wrong stride reads past the end", r"out of bounds: read of 4 bytes .* x\[\d+\].*program \(7, 0, 0\)",
     lambda: launched(k.rows, [filled((8, 128), "x"), empty((8, 128), "y"), 144, 128], 8, B=128)),
    ("a misaligned vector load", r"misaligned: read of 16 bytes whose address is no multiple of 16 at x\[1\]",
     lambda: launched(k.softmax, [Address(filled(1025, "x").address + 4), empty(1024, "y")], B=1024)),
    *[(f"no barrier before a release, {target}", r"race: reads 4 bytes .* x\[\d+\].*written by thread \d+ of program",
       lambda target=target: launched(
           k.neighbours, [zeros(1, "arrived"), ints((20, 128), "x"), ints((20, 128), "y"), 20], 20, target, WAIT=True,
           B=128, edit=edited(r"bar\.sync\s+0;(?=.*?atom\.global[\w.]*release)"))) for target in TARGETS],
    ("programs that wait for nobody", r"2 programs of counted wait for each other and do not end",
     lambda: launched(k.counted, [Buffer(np.array([1, 0], "i4"), "count"), ints(2, "out")], 2, LOCK=True, B=128)),
    # The wait for a copy lets one group more be under way.
    *[(f"a stale shared tile, sm_{target}",
       r"asynchronous: read of shared memory that an asynchronous copy, not yet waited for, will fill",
       lambda target=target: product(edited(r"cp\.async\.wait_group\s+(\d)", lambda match:
                                            f"cp.async.wait_group {int(match[1]) + 1}"), target, stages=3))
      for target in TARGETS],
    # No barrier between the wait and the reads, and the next copy.
    ("a tile overwritten while it is read", r"shared race: .*(written|read) by thread \d+", lambda: product(
        edited(r"(cp\.async\.wait_group\s+\d;\s*(?:\.loc[^\n]*\n\s*|\$\w+:\s*)*)bar\.sync\s+0;", r"\1"), 80, stages=3)),
    ("a product looked at before its wait",
     r"asynchronous: %\w+ is used before the wgmma that writes it is waited for",
     lambda: product(edited(r"wgmma\.wait_group\.sync\.aligned \d;"), 90, 128)),
    ("threads wait at different barriers",
     r"barrier: threads of a program wait at different barriers: here, and after line \d+: thread \d+ of program "
     r"\(0, 0, 0\).*kernel.py:7:3: bar.sync 0",
     ptx(PART.format(40) + "bar.sync 0;\nbra $END;\n$SKIP:\nbar.sync 0;\n$END:\n" + STORE, 64, block=64)),
    ("threads have returned", r"barrier: threads of a program have returned, and others wait at a barrier",
     ptx(PART.format(40) + "bar.sync 0;\nbra $END;\n$SKIP:\nret;\n$END:\n" + STORE, 64, block=64)),
    ("a shuffle without its lanes",
     r"barrier: threads of a warp that the instruction names are not there, as the thread: thread 0",
     ptx(PART.format(10) + "shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\n$SKIP:\n" + STORE)),
    ("a store past the end of shared memory", r"out of bounds: write of 4 bytes outside the 64 bytes of shared memory "
     r".*shared\[byte 64\].*thread 16", past("shared", "%d5")),
    ("a store past the end", r"out of bounds: write of 4 bytes outside every allocation at y\[16\].*thread 16",
     past("global", "%d0")),
    ("shared memory that nobody wrote",
     r"unwritten: read of 4 bytes of shared memory that nothing wrote at shared\[byte 8\]",
     ptx("mov.u32 %r5, global_smem; ld.shared.b32 %r1, [%r5+8];" + STORE, shared=64)),
    ("a parameter of a wrong width", r"parameter 1 \(n\) of kernel has 4 bytes; 8 are given",
     lambda: run(ONE, [empty(1, "y")], others=[bytes(8)], names={1: "n"})),
    ("a parameter too few", r"kernel has 2 parameters; 1 are given", lambda: run(ONE, [empty(1, "y")])),
    ("a block of a wrong size", r"compiled for blocks of \(64, 1, 1\) threads and launched with \(32, 1, 1\)",
     lambda: run(ONE.replace(")\n{", ")\n.reqntid 64\n{"), [empty(1, "y")], others=[bytes(4)])),
]


@pytest.mark.parametrize(("words", "launching"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_found(words: str, launching: Callable[[], object]) -> None:
    found(words, launching)


# ------------------------------------------------------------------------------------------------ planted in Triton


def test_what_is_right_is_let_pass_and_a_missing_mask_is_not() -> None:
    x, y = filled(1000, "x"), empty(1000, "y")
    report = launched(k.double, [x, y, 1000], 4, B=256)
    np.testing.assert_array_equal(y.read(), x.array * 2)
    assert report.findings == [] and report.programs == 4 and report.thread_instructions > 4 * 128 * 10
    y = empty(1000, "y")
    error = found(r"out of bounds: write of \d+ bytes outside every allocation at y\[1000\] \(byte 4000 of 4000\)",
                  lambda: launched(k.double_unmasked, [x, y, 1000], 4, B=256))
    one, = error.findings
    assert one.program == (3, 0, 0) and "compiled_kernels.py" in one.source and one.instruction.startswith("st.global")
    np.testing.assert_array_equal(y.read(), x.array * 2)        # what was right was done


def test_a_wrong_stride_lets_programs_write_one_place() -> None:
    x, y = filled((8, 128), "x"), empty((8, 128), "y")
    error = found(r"race: writes 4 bytes .* at y\[\d+\].*written by thread \d+ of program \(\d, 0, 0\)",
                  lambda: launched(k.rows, [x, y, 128, 96], 8, B=128))
    assert error.findings[0].count >= 7 * 32


def test_two_programs_on_one_place_even_in_different_batches() -> None:
    """The last program is in the place of the first."""
    x, y = filled((300, 128), "x"), empty((300, 128), "y")
    launched(k.rows, [x, y, 128, 128], 300, B=128)
    wrapped = edited(r"mov.u32\s+(%r\d+), %ctaid.x;", r"mov.u32 \1, %ctaid.x; { .reg .pred q; setp.eq.s32 q, \1, 299;"
                     r" @q mov.u32 \1, 0; }")
    found(r"race: writes .* y\[0\].*written by thread 0 of program \(0, 0, 0\).*thread 0 of program \(299, 0, 0\)",
          lambda: launched(k.rows, [x, y, 128, 128], 300, B=128, edit=wrapped))


def test_a_missing_barrier_before_a_donated_store() -> None:
    x = filled(512, "x")
    launched(k.reverse, [x], BARRIER=True, B=512)
    np.testing.assert_array_equal(x.read(), x.array[::-1])
    found(r"race: writes .* x\[\d+\].*read by thread \d+ of program \(0, 0, 0\)",
          lambda: launched(k.reverse, [filled(512, "x")], BARRIER=False, B=512))


def test_what_nobody_wrote() -> None:
    """The tail of an operand, and what a grid that was one too small left."""
    x, y, z = empty(1000, "x"), empty(1024, "y"), empty(1024, "z")
    MEMORY.written(x.address, 4 * 900)
    found(r"unwritten: read of \d+ bytes that nobody wrote at x\[900\]",
          lambda: launched(k.double, [x, y, 1000], 4, B=256))
    y = empty(1024, "y")
    launched(k.double, [filled(1024, "x"), y, 1024], 3, B=256)
    assert MEMORY.is_written(y.address, 4096).reshape(-1, 4).all(1).sum() == 768
    found(r"unwritten: .* x\[768\] \(byte 3072 of 4096\)", lambda: launched(k.double, [y, z, 1024], 4, B=256))


def test_a_workspace_overlap() -> None:
    x, w, y = filled((4, 256), "x"), empty(1024, "w"), empty((4, 256), "y")
    launched(k.through_workspace, [x, w, y, 256], 4, B=256)
    np.testing.assert_array_equal(y.read(), x.array[:, ::-1])
    found(r"race: (writes|reads) .* w\[\d+\].*(written|read) by thread \d+ of program",
          lambda: launched(k.through_workspace, [x, w, y, 240], 4, B=256))


def test_a_buffer_freed_while_in_use() -> None:
    x, y = filled(1000, "the weights"), empty(1000, "y")
    MEMORY.free(x.address)
    found(r"use after free: read of \d+ bytes of the weights that was freed at the weights\[0\]",
          lambda: launched(k.double, [x, y, 1000], 4, B=256))


def test_an_int32_offset_past_its_range() -> None:
    """12 GB that are never touched."""
    x, y = MEMORY.allocate(3 << 32, "x"), empty(4 * 128, "y")
    try:
        for program in (0, 1, 2):
            MEMORY.written(x + program * 4 * 1_000_000_000, 512)
        launched(k.far, [Address(x), y, 1_000_000_000], 3, B=128)
        error = found(r"out of bounds: read of 4 bytes .* x\[-\d+\]",
                      lambda: launched(k.far, [Address(x), y, 1_000_000_000], 4, B=128))
        assert error.findings[0].program == (3, 0, 0)
    finally:
        MEMORY.free(x)


def test_a_pointer_that_leads_into_another_allocation() -> None:
    """Next to x lies another live buffer: the address is good, and not x's."""
    x, neighbour, y = filled(1024, "x"), filled(1024, "neighbour"), empty(1024, "y")
    step = (neighbour.address - x.address) // 4
    found(r"wrong pointer: read through a pointer to x goes elsewhere at (neighbour\[\d+\]|.*program \(1, 0, 0\))",
          lambda: launched(k.far, [x, y, step], 2, B=128))


def test_programs_that_count_without_a_lock() -> None:
    out = ints(200, "out")
    launched(k.counted, [zeros(2, "count"), out], 200, LOCK=True, B=128)
    assert sorted(out.read()) == list(range(200))
    found(r"race: reads 4 bytes .* count\[1\].*written by thread 0 of program",
          lambda: launched(k.counted, [zeros(2, "count"), out], 200, LOCK=False, B=128))


def test_a_grid_barrier_that_nobody_waits_at() -> None:
    x, y = ints((200, 128), "x"), ints((200, 128), "y")
    launched(k.neighbours, [zeros(1, "arrived"), x, y, 200], 200, WAIT=True, B=128)
    np.testing.assert_array_equal(y.read(), np.roll(x.read(), -1, 0))
    found(r"unwritten: read .* x\[\d+\]|race: reads .* x\[", lambda: launched(
        k.neighbours, [zeros(1, "arrived"), ints((200, 128), "x"), y, 200], 200, WAIT=False, B=128))


def test_an_assertion_of_the_kernel() -> None:
    x = Buffer(np.arange(128).astype("i4"), "x")
    made = triton.compile(ASTSource(k.checked, {"x": "*i32", "B": "constexpr"}, {"B": 128}),
                          target=GPUTarget("cuda", 80, 32), options={"debug": True})
    scratch = [0] * (len(parse(made.asm["ptx"]).functions["checked"].parameters) - 1)
    found(r"assert: an assertion of the kernel fails: thread 5 of program",
          lambda: run(made.asm["ptx"], [x, *scratch], block=128))


# -------------------------------------------------------------------------------------------- planted in compiled PTX


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("which", [0, -1])
def test_a_missing_barrier(target: int, which: int) -> None:
    x, y = filled((4, 1024), "x"), empty((4, 1024), "y")
    launched(k.softmax, [x, y], 4, target, B=1024)
    exact = np.exp(x.array.astype("f8") - x.array.max(1, keepdims=True))
    np.testing.assert_allclose(y.read(), exact / exact.sum(1, keepdims=True), rtol=1e-5)

    def edit(text: str) -> str:
        begin, end = [match.span() for match in re.finditer(r"bar\.sync\s+0;", text)][which]
        return text[:begin] + text[end:]
    found(r"shared race: (reads|writes) \d+ bytes without a barrier after another's access at shared\[byte \d+\], "
          r"(written|read) by thread \d+", lambda: launched(k.softmax, [x, y], 4, target, B=1024, edit=edit))


@pytest.mark.parametrize("target", TARGETS)
def test_a_product_with_nothing_planted(target: int) -> None:
    product(None, target, 128)
    product(None, target, stages=3)


def test_lanes_without_a_value_are_not_stored() -> None:
    """A masked load without `other` leaves its lanes undefined: they may be carried about, and not be stored."""
    x, y = filled(1000, "x"), empty(1024, "y")
    without_others = edited(r"mov\.u32 %r\d+, (0x0|%r\d+);(?=\s*@%p\d+ ld)")    # what Triton writes before the load
    launched(k.double, [x, y, 1000], 4, B=256, edit=without_others)
    np.testing.assert_array_equal(y.read()[:1000], x.array * 2)
    found(r"undefined: a register that no instruction wrote is used as a value for memory: thread \d+ of program "
          r"\(3, 0, 0\) \(12 accesses\)", lambda: launched(k.double_bare, [x, y, 1000], 4, B=256, edit=without_others))


# ------------------------------------------------------------------------------------------------- written in PTX


def test_two_threads_at_one_word_of_shared_memory() -> None:
    body = "mov.u32 %r5, global_smem; mov.u32 %r1, %tid.x; st.shared.b32 [%r5], {};" + STORE
    found(r"shared race: writes 4 bytes .* at shared\[byte 0\], written by thread 31",
          ptx(body.format("%r1"), shared=64))
    ptx(body.format("7"), shared=64)()       # the same value from all: layouts have replicas


def test_warps_need_a_barrier_of_their_own() -> None:
    body = """mov.u32 %r5, global_smem; mov.u32 %r0, %laneid; shl.b32 %r1, %r0, 2; add.u32 %r6, %r5, %r1;
    st.shared.b32 [%r6], %r0; {} xor.b32 %r1, %r1, 4; add.u32 %r6, %r5, %r1; ld.shared.b32 %r1, [%r6];""" + STORE
    found(r"shared race: reads 4 bytes", ptx(body.format(""), shared=128))
    y = ints(32, "y")
    run(kernel(body.format("bar.warp.sync -1;"), 1), [y], shared=128)
    np.testing.assert_array_equal(y.read(), np.arange(32) ^ 1)


def test_unknown_instructions_are_all_named_with_their_lines() -> None:
    text = kernel("tex.1d.v4.f32.s32 {%r1,%r2,%r3,%r4}, [%d0, {%r5}];\nadd.frob.s32 %r1, %r2, %r3;", 1)
    with pytest.raises(UnknownInstruction, match=r"line \d+: tex.1d") as caught:
        translated(parse(text))
    assert "'add' is known, but not with .frob" in str(caught.value)
    with pytest.raises(UnknownInstruction, match=r"no register %q7 was declared"):
        translated(parse(kernel("add.s32 %r1, %q7, 1;", 1)))


def test_a_place_is_told_of_once() -> None:
    body = """mov.u32 %r9, 0;
$LOOP:
    ld.global.b32 %r1, [%d0+4096]; add.s32 %r9, %r9, 1; setp.lt.s32 %p0, %r9, 50; @%p0 bra $LOOP;"""
    error = found("out of bounds", lambda: run(kernel(body, 1), [filled(4, "x")]))
    assert len(error.findings) == 1 and error.findings[0].count == 50 * 32 and str(error).count("out of bounds") == 1
