"""Rows of the emulator's table for memory, warps, matrices and control, against the definitions of the PTX ISA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from microtrain.emulator import EmulatorError
from microtrain.emulator.table import TABLE
from tests.emulator.matrices import MMAS, registers, swizzled, tile_byte
from tests.emulator.rows import COVERED, RNG, THREAD, N, covers, empty, words
from tests.emulator.test_emulator_instructions import CASES
from tests.support.ptx_kernels import Buffer, compute, kernel, run

LANE, WARP = np.arange(N) % 32, np.arange(N) // 32


# ----------------------------------------------------------------------------------------------------------- memory


@covers("ld st cvta")
def test_vectors_narrow_types_and_spaces() -> None:
    x, y = Buffer(words(64 * 4).reshape(64, 4), "x"), empty((64, 4))
    run(kernel("""mov.u32 %r0, %tid.x; mul.wide.u32 %d9, %r0, 16; add.u64 %d8, %d0, %d9; add.u64 %d7, %d1, %d9;
    ld.global.v4.b32 {%r1,%r2,%r3,%r4}, [%d8]; ld.global.nc.L1::evict_last.v2.b64 {%d5, %d6}, [%d8+0];
    mov.b64 {%r5, %r6}, %d6; st.global.v2.b32 [%d7], {%r2, %r1}; st.global.v2.b32 [%d7+8], {%r5, %r6};""", 2), [x, y],
        block=64)
    np.testing.assert_array_equal(y.read(), x.array[:, [1, 0, 2, 3]])


@covers("ld st")
def test_signs_are_extended_as_the_type_says() -> None:
    x = Buffer(np.array([0x80, 0x7F, 0xFF, 1], "u1"), "x")
    y = empty(4, "i4")
    run(kernel("""ld.global.s8 %r1, [%d0]; ld.global.u8 %r2, [%d0]; ld.global.s8 %h1, [%d0+2]; cvt.s32.s16 %r3, %h1;
    ld.global.s16 %r4, [%d0]; st.global.v4.b32 [%d1], {%r1, %r2, %r3, %r4};""", 2), [x, y])
    assert y.read().tolist() == [-128, 128, -1, 0x7F80]


@covers("ld st cvta mov")
def test_generic_addresses_find_their_space() -> None:
    body = THREAD + """.local .align 4 .b8 depot[16];
    mov.u64 %d9, depot; cvta.local.u64 %d8, %d9; st.b32 [%d8+4], %r0; ld.local.b32 %r2, [%d9+4];
    cvt.u64.u32 %d7, %r8; cvta.shared.u64 %d6, %d7; st.b32 [%d6], %r2; ld.shared.b32 %r3, [%r8];
    mad.wide.u32 %d5, %r0, 4, %d0;
    setp.lt.u32 %p1, %r0, 7; selp.b64 %d4, %d6, %d5, %p1; add.u32 %r3, %r3, 100; st.b32 [%d5], %r3; ld.b32 %r4, [%d4];
    st.global.b32 [%d5], %r4;"""
    y = empty(32)
    run(kernel(body, 1), [y], shared=128)
    i = np.arange(32)
    np.testing.assert_array_equal(y.read(), np.where(i < 7, i, i + 100))


@covers("ld.param ld.param::entry prefetch prefetchu applypriority discard createpolicy.fractional createpolicy.range "
        "createpolicy.cvt nanosleep pmevent griddepcontrol.launch_dependents griddepcontrol.wait fence membar "
        "setmaxnreg.inc.sync.aligned setmaxnreg.dec.sync.aligned")
def test_parameters_and_what_only_hints() -> None:
    y = empty(1)
    run(kernel("""ld.param.u32 %r1, [p1]; createpolicy.fractional.L2::evict_last.b64 %d5, 1.0;
    prefetch.global.L1 [%d0]; griddepcontrol.wait; griddepcontrol.launch_dependents; nanosleep.u32 100;
    fence.acq_rel.gpu; membar.gl; fence.proxy.async; setmaxnreg.inc.sync.aligned.u32 232; pmevent 1;
    applypriority.global.L2::evict_normal [%d0], 128;
    setp.eq.u32 %p1, %r1, 77; @%p1 st.global.L1::evict_first.L2::cache_hint.b32 [%d0], %r1, %d5;""", 1, ["u32"]), [y],
        others=[np.uint32(77).tobytes()])
    assert y.read().tolist() == [77]


ATOMICS: list[tuple[str, str, Callable[[Any, Any], Any]]] = [
    ("add.u32", "u4", np.add), ("add.s32", "i4", np.add), ("add.u64", "u8", np.add), ("add.f32", "f4", np.add),
    ("add.f64", "f8", np.add), ("add.noftz.f16", "f2", np.add), ("min.s32", "i4", np.minimum),
    ("max.u32", "u4", np.maximum), ("and.b32", "u4", np.bitwise_and), ("or.b64", "u8", np.bitwise_or),
    ("xor.b32", "u4", np.bitwise_xor), ("exch.b32", "u4", lambda a, b: b),
    ("inc.u32", "u4", lambda a, b: 0 if a >= b else a + 1),
    ("dec.u32", "u4", lambda a, b: b if a == 0 or a > b else a - 1)]


@covers("atom red")
@pytest.mark.parametrize(("opcode", "kind", "function"), ATOMICS, ids=[name for name, _, _ in ATOMICS])
@pytest.mark.parametrize("space", ["global", "shared"])
def test_atomics_take_turns(opcode: str, kind: str, function: Callable[[Any, Any], Any], space: str) -> None:
    """64 threads at three places, the lowest thread first."""
    bits, register = np.dtype(kind).itemsize * 8, {2: "%h", 4: "%r", 8: "%d"}[np.dtype(kind).itemsize]
    given = RNG.integers(0, 9, N).astype(kind)
    start = np.array([5, 6, 7], kind)
    x, p, old = Buffer(given, "x"), Buffer(start, "p"), empty(N, kind)
    move = f"""mov.u32 %r0, %tid.x; rem.u32 %r2, %r0, 3; mov.u32 %r9, global_smem; cvt.u64.u32 %d21, %r9;
    setp.lt.u32 %p2, %r0, 3; mul.wide.u32 %d9, %r2, {bits // 8}; add.u64 %d20, %d1, %d9; add.u64 %d21, %d21, %d9;
    ld.global.b{bits} {register}30, [%d20]; @%p2 st.shared.b{bits} [%d21], {register}30; bar.sync 0;"""
    body = move + f"""mul.wide.u32 %d10, %r0, {bits // 8}; add.u64 %d11, %d0, %d10;
    ld.global.b{bits} {register}31, [%d11];
    atom.{space}.gpu.acq_rel.{opcode} {register}32, [%d2{'0' if space == 'global' else '1'}], {register}31;
    add.u64 %d12, %d2, %d10; st.global.b{bits} [%d12], {register}32; bar.sync 0;
    ld.shared.b{bits} {register}30, [%d21]; setp.lt.u32 %p1, %r0, {3 if space == 'shared' else 0};
    @%p1 st.global.b{bits} [%d20], {register}30;"""
    run(kernel(body, 3), [x, p, old], block=N, shared=64)
    want, seen = start.copy(), np.zeros(N, kind)
    for i in range(N):
        seen[i] = want[i % 3]
        want[i % 3] = function(want[i % 3], given[i])
    np.testing.assert_array_equal(old.read(), seen)
    np.testing.assert_array_equal(p.read(), want)


@covers("atom red")
def test_compare_and_swap_vectors_and_reductions() -> None:
    p, old = Buffer(np.zeros(4, "u4"), "p"), empty(32)
    run(kernel(THREAD + """add.u32 %r2, %r0, 1; atom.global.cas.b32 %r3, [%d0], %r0, %r2;
    mad.wide.u32 %d9, %r0, 4, %d1; st.global.b32 [%d9], %r3; red.global.add.u32 [%d0+4], %r0;
    red.relaxed.gpu.global.max.u32 [%d0+8], %r0;""", 2), [p, old])
    assert p.read().tolist() == [32, 31 * 16, 31, 0] and old.read().tolist() == list(range(32))
    halves = Buffer(np.zeros(2, "f2"), "h")
    run(kernel("mov.b32 %r1, 0x40003C00; red.global.add.noftz.f16x2 [%d0], %r1;", 1), [halves])
    assert halves.read().tolist() == [32.0, 64.0]
    brain = Buffer(np.zeros(2, ml_dtypes.bfloat16), "b")
    run(kernel("mov.b32 %r1, 0x40003F80; atom.global.add.noftz.bf16x2 %r2, [%d0], %r1;", 1), [brain])
    assert brain.read().astype("f4").tolist() == [32.0, 64.0]


@covers("cp.async.ca cp.async.cg cp.async.commit_group cp.async.wait_group cp.async.wait_all")
def test_asynchronous_copies_fill_with_zeros() -> None:
    x, y = Buffer(words(32 * 4).reshape(32, 4), "x"), empty((32, 4))
    run(kernel("""mov.u32 %r0, %tid.x; mov.u32 %r9, global_smem; shl.b32 %r1, %r0, 4; add.u32 %r8, %r9, %r1;
    cvt.u64.u32 %d9, %r1; add.u64 %d8, %d0, %d9; add.u64 %d7, %d1, %d9; setp.lt.u32 %p1, %r0, 20;
    selp.b32 %r2, 16, 0, %p1;
    setp.eq.u32 %p2, %r0, 3; selp.b32 %r2, 4, %r2, %p2;
    cp.async.cg.shared.global [%r8], [%d8], 16, %r2; cp.async.commit_group; cp.async.wait_group 0;
    ld.shared.v4.b32 {%r3,%r4,%r5,%r6}, [%r8]; bar.sync 0;
    cp.async.ca.shared.global [%r8+4], [%d8], 4; cp.async.wait_all; ld.shared.b32 %r4, [%r8+4];
    st.global.v4.b32 [%d7], {%r3,%r4,%r5,%r6};""", 2), [x, y], shared=512)
    want = np.where(np.arange(32)[:, None] < 20, x.array, 0)
    want[3, 1:] = 0
    want[:, 1] = x.array[:, 0]
    np.testing.assert_array_equal(y.read(), want)


# ------------------------------------------------------------------------------------------------------------ warps


@covers("shfl.sync")
@pytest.mark.parametrize("how", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize("width", [32, 8])
def test_shuffles(how: str, width: int) -> None:
    """By the loop of the PTX ISA, 9.7.9.6."""
    values, step = words(), RNG.integers(0, 12, N).astype("u4")
    control = (32 - width) << 8 | (0 if how == "up" else 31)
    have, inside = compute(f"shfl.sync.{how}.b32 %y0|%y1, %x0, %x1, {control}, -1;", [values, step], ["u4", "?"])
    want, valid = values.copy(), np.zeros(N, bool)
    for i in range(N):
        lane, b = i % 32, int(step[i])
        segment, clamp = control >> 8 & 31, control & 31
        top, least = (lane & segment) | (clamp & ~segment), lane & segment
        j = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": least | (b & ~segment & 31)}[how]
        valid[i] = j >= top if how == "up" else j <= top
        want[i] = values[i - lane + j] if valid[i] else values[i]
    np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(inside, valid)


@covers("redux.sync vote.sync match.any.sync match.all.sync activemask elect.sync bar.warp.sync")
def test_folds_votes_and_matches() -> None:
    x = RNG.integers(-5, 5, N).astype("i4")
    p = RNG.random(N) < 0.9
    have = compute("""redux.sync.max.s32 %y0, %x0, -1; redux.sync.add.s32 %y1, %x0, -1; redux.sync.and.b32 %y2, %x0, -1;
    vote.sync.ballot.b32 %y3, %x1, -1; vote.sync.all.pred %y4, %x1, -1; vote.sync.any.pred %y5, %x1, -1;
    match.any.sync.b32 %y6, %x0, -1; match.all.sync.b32 %y7|%p9, %x0, -1; activemask.b32 %y8; elect.sync %y9|%p8, -1;
    vote.sync.uni.pred %p7, %x1, -1; bar.warp.sync -1;""", [x, p],
                   ["i4", "i4", "i4", "u4", "?", "?", "u4", "u4", "u4", "u4"])
    for w in range(2):
        mine = w == WARP
        ballot = sum(1 << int(i) for i in LANE[mine & p])
        folds = [x[mine].max(), x[mine].sum(), np.bitwise_and.reduce(x[mine]), ballot, p[mine].all(), p[mine].any()]
        for one, fold in zip(have, folds, strict=False):
            assert (one[mine] == fold).all()
        assert [int(v) for v in have[6][mine]] == [sum(1 << int(j) for j in LANE[mine][x[mine] == v]) for v in x[mine]]
    assert (have[7] == 0).all() and (have[8] == 2**32 - 1).all() and (have[9] == 0).all()


@covers("redux.sync vote.sync elect.sync")
def test_only_the_named_lanes_take_part() -> None:
    x = RNG.integers(0, 1000, N).astype("u4")
    have = compute("""mov.b32 %r20, 0xFFFF0000; mov.u32 %r21, %laneid; setp.ge.u32 %p1, %r21, 16; mov.b32 %y0, 0;
    mov.b32 %y1, 0; mov.b32 %y2, 0;
    @%p1 redux.sync.min.u32 %y0, %x0, %r20; @%p1 vote.sync.ballot.b32 %y1, 1, %r20; @%p1 elect.sync %y2|%p2, %r20;
    """, [x], ["u4", "u4", "u4"])
    upper = LANE >= 16
    least = np.array([x[(w == WARP) & upper].min() for w in WARP])
    np.testing.assert_array_equal(have[0], np.where(upper, least, 0))
    np.testing.assert_array_equal(have[1], np.where(upper, np.uint32(0xFFFF0000), 0))
    np.testing.assert_array_equal(have[2], np.where(upper, 16, 0))


@covers("bar.sync barrier.sync bar.cta.sync barrier.cta.sync bar.red.popc bar.red.and bar.red.or barrier.red.popc "
        "barrier.red.and barrier.red.or barrier.cta.red.popc barrier.cta.red.and barrier.cta.red.or "
        "barrier.cluster.arrive barrier.cluster.wait")
def test_barriers() -> None:
    p = RNG.random(N) < 0.5
    have = compute(THREAD + """st.shared.b32 [%r8], %r0; barrier.cta.sync 0; barrier.cluster.arrive.aligned;
    barrier.cluster.wait.aligned; xor.b32 %r1, %r1, 252; add.u32 %r8, %r9, %r1; ld.shared.b32 %y0, [%r8];
    bar.red.popc.u32 %y1, 0, %x0; barrier.red.and.pred %y2, 0, %x0; bar.red.or.pred %y3, 0, %x0;""", [p],
                   ["u4", "u4", "?", "?"], shared=256)
    np.testing.assert_array_equal(have[0], np.arange(N) ^ 63)
    assert (have[1] == p.sum()).all() and (have[2] == p.all()).all() and (have[3] == p.any()).all()


# --------------------------------------------------------------------------------------------------------- matrices


@covers("ldmatrix stmatrix")
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_matrices_of_eight_by_eight(count: int, transposed: bool) -> None:
    """Row r of matrix i lies where lane 8 i + r says; a lane gets two neighbours, and stores them as it got them."""
    tiles = RNG.integers(0, 2**16, (count, 8, 8)).astype("u2")
    x, y, z = Buffer(tiles, "x"), empty((32, count)), empty(tiles.shape, "u2")
    parts = ", ".join(f"%r{20 + i}" for i in range(count))
    suffix = f"x{count}{'.trans' if transposed else ''}.shared.b16"
    body = f"""mov.u32 %r0, %tid.x; mov.u32 %r9, global_smem; shl.b32 %r1, %r0, 4; add.u32 %r8, %r9, %r1;
    setp.lt.u32 %p1, %r0, {8 * count}; mad.wide.u32 %d9, %r0, 16, %d0; mad.wide.u32 %d8, %r0, 16, %d2;
    @%p1 ld.global.v4.b32 {{%r2,%r3,%r4,%r5}}, [%d9]; @%p1 st.shared.v4.b32 [%r8], {{%r2,%r3,%r4,%r5}}; bar.sync 0;
    ldmatrix.sync.aligned.m8n8.{suffix} {{{parts}}}, [%r8]; bar.sync 0;
    stmatrix.sync.aligned.m8n8.{suffix} [%r8], {{{parts}}}; bar.sync 0;
    @%p1 ld.shared.v4.b32 {{%r2,%r3,%r4,%r5}}, [%r8]; @%p1 st.global.v4.b32 [%d8], {{%r2,%r3,%r4,%r5}};
    mul.wide.u32 %d7, %r0, {4 * count}; add.u64 %d7, %d7, %d1;"""
    body += "".join(f"st.global.b32 [%d7+{4 * i}], %r{20 + i};" for i in range(count))
    run(kernel(body, 3), [x, y, z], shared=512)
    have = y.read().view("u2").reshape(32, count, 2)
    for lane in range(32):
        for i in range(count):
            for j in range(2):
                row, column = lane // 4, 2 * (lane % 4) + j
                assert have[lane, i, j] == (tiles[i, column, row] if transposed else tiles[i, row, column])
    np.testing.assert_array_equal(z.read(), tiles)


@covers("mma.sync.aligned")
@pytest.mark.parametrize(("shape", "d", "kind", "numpy_kind"), MMAS, ids=[f"{s}-{d}-{k}" for s, d, k, _ in MMAS])
def test_products_of_a_warp(shape: str, d: str, kind: str, numpy_kind: Any) -> None:
    """Small integers, of which every sum is exact."""
    m, n, k = (int(part) for part in shape[1:].replace("n", " ").replace("k", " ").split())
    a, b = (RNG.integers(0 if kind == "u8" else -4, 5, size).astype(numpy_kind) for size in ((m, k), (k, n)))
    c = RNG.integers(-9, 9, (m, n)).astype({"f32": "f4", "f64": "f8", "s32": "i4", "f16": "f2"}[d])
    width = np.dtype(numpy_kind).itemsize
    raw = [registers(a, kind, "a", m, width), registers(b, kind, "b", m, width),
           registers(c, d, "c", m, c.dtype.itemsize)]
    buffers = [Buffer(one, name) for one, name in zip(raw, "abc", strict=True)]
    y = empty(raw[2].shape, raw[2].dtype.str[1:])
    lines, names = ["mov.u32 %r0, %tid.x;"], []
    for which, one in enumerate(raw):
        size, register = one.dtype.itemsize, "%d" if one.dtype.itemsize == 8 else "%r"
        names.append([f"{register}{30 + 10 * which + i}" for i in range(one.shape[1])])
        lines.append(f"mul.wide.u32 %d9, %r0, {one[0].nbytes}; add.u64 %d9, %d9, %d{which};")
        lines += [f"ld.global.b{8 * size} {name}, [%d9+{size * i}];" for i, name in enumerate(names[-1])]
    braced = ["{" + ", ".join(group) + "}" for group in (names[2], names[0], names[1], names[2])]
    lines.append(f"mma.sync.aligned.{shape}.row.col.{d}.{kind}.{kind}.{d} {', '.join(braced)};")
    lines.append(f"mul.wide.u32 %d9, %r0, {raw[2][0].nbytes}; add.u64 %d9, %d9, %d3;")
    size = raw[2].dtype.itemsize
    lines += [f"st.global.b{8 * size} [%d9+{size * i}], {name};" for i, name in enumerate(names[2])]
    run(kernel("\n".join(lines), 4), [*buffers, y])
    want = a.astype("f8") @ b.astype("f8") + c
    np.testing.assert_array_equal(y.read(), registers(want.astype(c.dtype), d, "c", m, c.dtype.itemsize))


@covers("wgmma.mma_async.sync.aligned wgmma.fence.sync.aligned wgmma.commit_group.sync.aligned "
        "wgmma.wait_group.sync.aligned")
@pytest.mark.parametrize("layout", [0, 1, 2, 3])
@pytest.mark.parametrize("across", [False, True])
def test_products_of_a_warp_group(layout: int, across: bool) -> None:
    """A of 64 x 16 and B of 16 x 64 in shared memory, in each layout, along k or across."""
    a, b = (RNG.integers(-4, 5, (64, 16)).astype("f2") for _ in range(2))
    wide = {0: 16, 1: 128, 2: 64, 3: 32}[layout]
    leading, stride = (2048, 8 * wide) if not across else (16 * wide, 8 * wide)
    if layout == 0:
        leading, stride = (128, 256)
    image = np.zeros(2 * 8192, "u1")
    for which, matrix in enumerate((a, b)):
        for row in range(64):
            for column in range(16):
                at = 8192 * which + swizzled(tile_byte(row, column, layout, across, leading, stride), layout)
                image[at:at + 2] = matrix[row, column:column + 1].view("u1")
    x, y = Buffer(image.view("u4"), "x"), empty((128, 32), "f4")
    field = (leading >> 4) << 16 | (stride >> 4) << 32 | layout << 62
    parts = ", ".join(f"%r{100 + i}" for i in range(32))
    body = "mov.u32 %r0, %tid.x; mov.u32 %r9, global_smem; shl.b32 %r1, %r0, 2; add.u32 %r8, %r9, %r1;"
    body += "cvt.u64.u32 %d9, %r1; add.u64 %d8, %d0, %d9;"
    body += "".join(f"ld.global.b32 %r2, [%d8+{512 * i}]; st.shared.b32 [%r8+{512 * i}], %r2;" for i in range(32))
    body += "".join(f"mov.b32 %r{100 + i}, 0f3F800000;" for i in range(32))
    flip = int(across)
    body += f"""fence.proxy.async; bar.sync 0; cvt.u64.u32 %d10, %r9; shr.u64 %d10, %d10, 4;
    mov.b64 %d11, {field}; or.b64 %d12, %d10, %d11; add.u64 %d13, %d12, 512; setp.eq.u32 %p1, 0, 0;
    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {{{parts}}}, %d12, %d13, %p1, 1, 1, {flip}, {flip};
    wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;
    mul.wide.u32 %d7, %r0, 128; add.u64 %d7, %d7, %d1;"""
    body += "".join(f"st.global.b32 [%d7+{4 * i}], %r{100 + i};" for i in range(32))
    run(kernel(body, 2), [x, y], block=128, shared=2 * 8192)
    want = a.astype("f4") @ b.astype("f4").T + 1
    have = y.read()
    for thread in range(0, 128, 5):
        for i in range(32):
            row = thread // 32 * 16 + thread % 32 // 4 + 8 * (i % 4 >= 2)
            assert have[thread, i] == want[row, i // 4 * 8 + 2 * (thread % 4) + i % 2]


# ---------------------------------------------------------------------------------------------------------- control


@covers("bra bra.uni ret ret.uni exit")
def test_threads_that_part_meet_again() -> None:
    """Loops of different length, and a shuffle after them that needs all."""
    have, = compute("""mov.u32 %r20, %tid.x; and.b32 %r21, %r20, 7; mov.u32 %y0, 0;
$L1:
    setp.ge.u32 %p1, %y0, %r21; @%p1 bra $L2;
    add.u32 %y0, %y0, 1; bra.uni $L1;
$L2:
    shfl.sync.bfly.b32 %y0, %y0, 1, 31, -1;""", [words()], ["u4"])
    np.testing.assert_array_equal(have, (np.arange(N) ^ 1) & 7)
    y = Buffer(np.zeros(32, "u4"), "y")
    run(kernel("mov.u32 %r0, %tid.x; setp.gt.u32 %p1, %r0, 9; @%p1 ret; setp.gt.u32 %p1, %r0, 4; @%p1 exit;"
               "mad.wide.u32 %d9, %r0, 4, %d0; st.global.b32 [%d9], 1;", 1), [y])
    assert y.read().sum() == 5


@covers("brx.idx")
def test_a_table_of_branches() -> None:
    have, = compute("""mov.u32 %r20, %tid.x; rem.u32 %r21, %r20, 3; mov.u32 %y0, 5;
$TABLE: .branchtargets $A, $B,
      $C;
    brx.idx %r21, $TABLE;
$A: mov.u32 %y0, 10; bra $C;
$B: mov.u32 %y0, 20;
$C: add.u32 %y0, %y0, 1;""", [words()], ["u4"])
    np.testing.assert_array_equal(have, np.array([11, 21, 6])[np.arange(N) % 3])


@covers("call call.uni st.param ld.param ret")
def test_calls_by_some_threads() -> None:
    function = """
.func (.param .b32 result) triple(.param .b32 x, .param .b32 y)
{
    .reg .b32 %r<5>; .reg .pred %p<3>;
    ld.param.b32 %r1, [x]; ld.param.b32 %r2, [y]; setp.gt.u32 %p1, %r1, 20; @%p1 bra $BIG;
    mul.lo.u32 %r1, %r1, 3;
$BIG:
    add.u32 %r1, %r1, %r2; st.param.b32 [result], %r1; ret;
}
.visible .entry"""
    body = """mov.u32 %r0, %tid.x; mov.u32 %r5, 1000; setp.lt.u32 %p1, %r0, 8; @%p1 bra $SKIP;
    { .param .b32 p0; .param .b32 p1; .param .b32 back;
    st.param.b32 [p0], %r0; st.param.b32 [p1], 7; call.uni (back), triple, (p0, p1); ld.param.b32 %r5, [back]; }
$SKIP: mad.wide.u32 %d9, %r0, 4, %d0; st.global.b32 [%d9], %r5;"""
    y = empty(32)
    run(kernel(body, 1).replace(".visible .entry", function, 1), [y])
    i = np.arange(32)
    np.testing.assert_array_equal(y.read(), np.where(i < 8, 1000, np.where(i > 20, i, 3 * i) + 7))


@covers("ld.param")
def test_a_parameter_by_its_address() -> None:
    """As LLVM writes it where a branch picks one of two pointers."""
    body = """mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 8; mov.b64 %d10, p0; mov.b64 %d11, p1;
    selp.b64 %d12, %d10, %d11, %p1; ld.param.b64 %d13, [%d12]; mad.wide.u32 %d9, %r0, 4, %d13;
    st.global.b32 [%d9], %r0;"""
    few, many = empty(8), empty(32)
    run(kernel(body, 2), [few, many])
    np.testing.assert_array_equal(few.read(), np.arange(8))
    np.testing.assert_array_equal(many.read()[8:], np.arange(8, 32))


@covers("trap brkpt")
def test_a_trap_ends_the_launch() -> None:
    with pytest.raises(EmulatorError, match="trap: the kernel stops itself: thread 9 of program"):
        run(kernel("mov.u32 %r0, %tid.x; setp.eq.u32 %p1, %r0, 9; @%p1 trap;", 1), [empty(1)])


@covers("mov")
def test_programs_and_threads_in_three_dimensions() -> None:
    from microtrain.emulator import launch, parse
    from tests.support.ptx_kernels import MEMORY
    y = empty((2, 3, 2, 2, 4, 8, 6), "u4")
    names = ("ctaid.x", "ctaid.y", "ctaid.z", "tid.x", "tid.y", "tid.z")
    body = "".join(f"mov.u32 %r{i}, %{name};" for i, name in enumerate(names))
    body += """mad.lo.u32 %r10, %r2, 3, %r1; mad.lo.u32 %r10, %r10, 2, %r0; mad.lo.u32 %r11, %r5, 4, %r4;
    mad.lo.u32 %r11, %r11, 8, %r3; mad.lo.u32 %r10, %r10, 64, %r11; mad.wide.u32 %d9, %r10, 24, %d0;"""
    body += "".join(f"st.global.b32 [%d9+{4 * i}], %r{i};" for i in range(6))
    launch(parse(kernel(body, 1)), "kernel", (2, 3, 2), (8, 4, 2), 0, [y.address.to_bytes(8, "little")], MEMORY)
    have = y.read().reshape(2, 3, 2, 2, 4, 8, 6)
    for axis, i in zip((2, 1, 0, 5, 4, 3), range(6), strict=True):
        assert (np.moveaxis(have[..., i], axis, 0) == np.arange(have.shape[axis]).reshape(-1, 1, 1, 1, 1, 1)).all()


def test_every_row_of_the_table_is_tested() -> None:
    of_cases = {row for case in CASES for row in case.rows.split()}
    assert set(TABLE) - of_cases - COVERED == set()
    assert of_cases | COVERED <= set(TABLE)
