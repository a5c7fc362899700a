"""The emulator's memory, its reading of PTX, and its account of a launch."""

from __future__ import annotations

import ctypes
from itertools import pairwise

import numpy as np
import pytest

from microtrain.emulator import EmulatorError, Finding, Memory, Report, launch, parse
from microtrain.emulator.launch import translated
from microtrain.emulator.memory import SMALL
from tests.support.ptx_kernels import MEMORY, Buffer, kernel, run


def test_memory_is_the_hosts_and_fresh_memory_is_poisoned() -> None:
    memory = Memory(1 << 30)
    address = memory.allocate(16, "x")
    assert address % 512 == 0 and bytes((ctypes.c_ubyte * 16).from_address(address)) == b"\xff" * 16
    memory.view(address, 16)[:] = np.arange(16)
    assert bytes((ctypes.c_ubyte * 16).from_address(address)) == bytes(range(16))
    assert not memory.is_written(address, 16).any()
    memory.written(address + 4, 8)
    assert memory.is_written(address, 16).tolist() == [False] * 4 + [True] * 8 + [False] * 4


@pytest.mark.parametrize("nbytes", [64, SMALL + 1, 40 << 20])
def test_what_was_freed_is_remembered_and_fresh_again(nbytes: int) -> None:
    memory = Memory(1 << 30)
    addresses = set()
    for i in range(3 + (1 << 30) // max(nbytes, 1 << 24)):
        address = memory.allocate(nbytes, f"x{i}")
        assert not memory.is_written(address, nbytes).any()
        memory.view(address, nbytes)[:] = 7
        memory.written(address, nbytes)
        memory.free(address)
        freed = memory.freed(address + nbytes // 2)
        assert freed is not None and freed.name == f"x{i}" and memory.find(address) is None
        addresses.add(address)
    assert len(addresses) > 10          # an address is used again as late as may be
    with pytest.raises(ValueError, match=f"no live allocation begins at {address:#x}; x{i} was freed"):
        memory.free(address)


def test_allocations_keep_their_distance_and_do_not_run_over() -> None:
    memory = Memory(1 << 24)
    held = [memory.allocate(n, str(n)) for n in (1, 512, 1000, 1 << 20, 100)]
    live = memory.live()
    assert [one.start for one in live] == sorted(held)
    assert all(b.start - a.end >= 512 for a, b in pairwise(live))
    with pytest.raises(MemoryError, match=r"no 16777216 bytes together are free in an arena of 16777216 bytes"):
        memory.allocate(1 << 24)
    with pytest.raises(ValueError, match=r"8 bytes at .* do not lie in one live allocation"):
        memory.view(held[0], 8)
    found = memory.find(held[2] + 999)
    assert found is not None and found.name == "1000" and memory.find(held[2] + 1000) is None


def test_terabytes_cost_nothing_until_they_are_touched() -> None:
    memory = Memory(1 << 40)
    first, second = memory.allocate(1 << 38, "first"), memory.allocate(1 << 38, "second")
    memory.view(second, 1 << 38)[-1] = 5
    assert second >= first + (1 << 38) and memory.allocated == 1 << 39


PTX = """
.version 8.7
.target sm_90a      // a comment; with a semicolon
.address_size 64
/* and one
   of two lines */
.global .align 4 .b8 table[8] = {1, 2, 3, 4, 255, 0, 0, 128};
.extern .shared .align 16 .b8 dynamic[];
.shared .align 8 .b8 fixed[24];
.extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);
.file 1 "kernel.py"
.visible .entry kernel(
    .param .u64 .ptr .global .align 1 kernel_param_0,
    .param .align 64 .b8 kernel_param_1[128]
)
.reqntid 32, 1, 1
{
    .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %d<9>;
    .loc 1 3 9
    ld.param.b64 %d1, [kernel_param_0]; mov.u64 %d2, table; ld.global.b32 %r1, [%d2+4];
    .loc 1 4 1 // kernel.py:4:1 @[ other.py:2:2 ]
    { .reg .b32 t<2>, u; mov.b32 t0, %r1; { .reg .b32 u; mov.b32 u, 5; mov.b32 t1, u; } mov.b32 u, t1;
      add.u32 %r2, t0, u; }
    mov.u32 %r3, fixed; mov.u32 %r4, dynamic; sub.u32 %r4, %r4, %r3; ld.param.b32 %r5, [kernel_param_1+124];
    st.global.v4.b32 [%d1], {%r1, %r2, %r4, %r5};
    ret;
}
    .section .debug_info { .b8 1 }
"""


def test_ptx_is_read_with_its_scopes_variables_and_lines() -> None:
    module = parse(PTX)
    assert module.entries == ["kernel"] and module.variables["table"] == bytes([1, 2, 3, 4, 255, 0, 0, 128])
    function = module.functions["kernel"]
    assert [*function.parameters.values()] == [8, 128] and function.needed_threads == (32, 1, 1)
    instructions = [one for one in function.body if not isinstance(one, str)]
    assert instructions[0].source == "kernel.py:3:9" and instructions[3].source == "kernel.py:4:1 @[ other.py:2:2 ]"
    assert PTX.splitlines()[instructions[-2].line - 1].strip().startswith("st.global.v4.b32")
    y = Buffer(np.zeros(4, "u4"), "y")
    raw = [y.address.to_bytes(8, "little"), bytes(124) + (77).to_bytes(4, "little")]
    report = launch(module, "kernel", (1,), (32,), 16, raw, MEMORY)
    assert y.read().tolist() == [0x800000FF, 0x80000104, 32, 77]
    assert report.programs == 1 and report.thread_instructions == 32 * (len(instructions))
    assert len(translated(module).ops) == len(instructions)


def test_a_kernel_that_is_not_there_is_named() -> None:
    with pytest.raises(EmulatorError, match="no kernel 'other' is in the PTX; there are kernel"):
        launch(parse(PTX), "other", (1,), (32,), 0, [], MEMORY)


def test_a_report_counts_places_and_stops_at_many() -> None:
    report = Report()
    for i in range(50):
        report.add(Finding("race", "reads", line=i % 3, kernel="k"))
    assert [one.count for one in report.findings] == [17, 17, 16]
    with pytest.raises(EmulatorError, match="20 faults in k") as caught:
        for i in range(50):
            report.add(Finding("unwritten", "reads", line=i, kernel="k"))
    assert len(caught.value.findings) == 20


def test_only_some_programs_and_without_checks() -> None:
    body = """mov.u32 %r0, %ctaid.x; mov.u32 %r1, %tid.x; mad.lo.u32 %r2, %r0, 32, %r1; mad.wide.u32 %d9, %r2, 4, %d0;
    ld.global.b32 %r3, [%d9]; add.u32 %r3, %r3, 1; st.global.b32 [%d9], %r3;"""
    x = Buffer(np.zeros((1000, 32), "u4"), "x")
    module, raw = parse(kernel(body, 1)), [x.address.to_bytes(8, "little")]
    report = launch(module, "kernel", (1000,), (32,), 0, raw, MEMORY, programs=[3, 999])
    assert report.programs == 2 and np.flatnonzero(x.read().any(1)).tolist() == [3, 999]
    unwritten = Buffer(np.zeros(32, "u4"), "x", written=False)
    launch(module, "kernel", (1,), (32,), 0, [unwritten.address.to_bytes(8, "little")], MEMORY, checks=False)
    assert (unwritten.read() == 0).all()            # 0xFFFFFFFF + 1
    unwritten = Buffer(np.zeros(32, "u4"), "x", written=False)
    report = launch(module, "kernel", (1,), (32,), 0, [unwritten.address.to_bytes(8, "little")], MEMORY, collect=True)
    assert [one.kind for one in report.findings] == ["unwritten"]


def test_a_launch_forgets_who_wrote_when_it_ends() -> None:
    """What one launch's programs wrote, any program of the next may read."""
    body = "mov.u32 %r0, %tid.x; xor.b32 %r1, %r0, {}; mad.wide.u32 %d9, %r1, 4, %d0; ld.global.b32 %r2, [%d9];"
    body += "bar.sync 0; mad.wide.u32 %d9, %r0, 4, %d0; st.global.b32 [%d9], %r2;"
    x = Buffer(np.arange(64, dtype="u4"), "x")
    for flip in (63, 32, 1):
        run(kernel(body.format(flip), 1), [x], block=64)
    np.testing.assert_array_equal(x.read(), np.arange(64) ^ 63 ^ 32 ^ 1)
