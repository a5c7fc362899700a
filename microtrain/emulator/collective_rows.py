"""Rows of the table: threads together. (PTX ISA 9.7.13 to 9.7.15, and control.)"""

from __future__ import annotations

from .emitter import Emitter
from .table import Op, numpy_type, row

SHAPES = ("m8n8k4 m16n8k4 m16n8k8 m16n8k16 m16n8k32 m16n8k64")
KINDS = "f16 bf16 tf32 f32 f64 s8 u8 s32 e4m3 e5m2"


@row("shfl.sync", "b32", "up down bfly idx")
def _shuffle(e: Emitter, op: Op) -> None:
    results = op.operands[0].split("|")
    a, b, c = (e.get(operand, "u4") for operand in op.operands[1:4])
    e.line(f"t = M.shuffle({e.site}, {op.modifiers[0]!r}, {a}, {b}, {c}, {e.get(op.operands[4], 'u4')}, {e.lanes()})")
    e.put(results[0], "t[0]", "u4")
    if len(results) > 1:
        e.put(results[1], "t[1]", "pred")


@row("redux.sync", "s32 u32 b32 f32", "add min max and or xor abs NaN")
def _reduce_warp(e: Emitter, op: Op) -> None:
    t = numpy_type(op.type)
    name = op.one_of("add min max and or xor", "")
    value = e.get(op.operands[1], t)
    e.line(f"t = M.reduce_warp({e.site}, {name!r}, {value}, {e.get(op.operands[2], 'u4')}, {e.lanes()})")
    e.put(op.operands[0], "t", t)


@row("vote.sync", "pred b32", "all any uni ballot")
def _vote(e: Emitter, op: Op) -> None:
    name = op.modifiers[0]
    predicate, members = e.get(op.operands[1], "pred"), e.get(op.operands[2], "u4")
    e.line(f"t = M.vote({e.site}, {name!r}, {predicate}, {members}, {e.lanes()})")
    e.put(op.operands[0], "t", "u4" if name == "ballot" else "pred")


@row("match.any.sync match.all.sync", "b32 b64")
def _match(e: Emitter, op: Op) -> None:
    results = op.operands[0].split("|")
    value, members = e.get(op.operands[1], numpy_type(op.type)), e.get(op.operands[2], "u4")
    e.line(f"t = M.match({e.site}, {'any' in op.row.name}, {value}, {members}, {e.lanes()})")
    e.put(results[0], "t[0]", "u4")
    if len(results) > 1:
        e.put(results[1], "t[1]", "pred")


@row("activemask", "b32")
def _active_mask(e: Emitter, op: Op) -> None:
    e.put(op.operands[0], f"M.vote({e.site}, 'ballot', np.bool_(True), np.uint32(0xFFFFFFFF), {e.lanes()})", "u4")


@row("elect.sync")
def _elect(e: Emitter, op: Op) -> None:
    """The lowest thread of the warp that takes part."""
    lane, _, chosen = op.operands[0].partition("|")
    e.line(f"t = M.elect({e.site}, {e.get(op.operands[1], 'u4')}, {e.lanes()})")
    e.put(lane.strip(), "t[0]", "u4")
    if chosen:
        e.put(chosen.strip(), "t[1]", "pred")


@row("bar.warp.sync", writes=0)
def _warp_barrier(e: Emitter, op: Op) -> None:
    e.line("M.warp_barrier(on)")


@row("bar.sync barrier.sync bar.cta.sync barrier.cta.sync", "", "aligned", writes=0)
@row("barrier.cluster.arrive barrier.cluster.wait", "", "aligned release acquire relaxed", writes=0)
def _barrier(e: Emitter, op: Op) -> None:
    """Ends a block: the machine lets nobody pass before all have come. A cluster is one program."""


@row("bar.red.popc bar.red.and bar.red.or barrier.red.popc barrier.red.and barrier.red.or "
     "barrier.cta.red.popc barrier.cta.red.and barrier.cta.red.or", "u32 pred", "aligned")
def _barrier_reduction(e: Emitter, op: Op) -> None:
    """At the barrier that the translator puts before it all threads are together."""
    name = op.row.name.rsplit(".", 1)[1]
    e.line(f"t = M.reduce_program({name!r}, {e.get(op.operands[-1], 'pred')})")
    e.put(op.operands[0], "t", "u4" if name == "popc" else "pred")


@row("mma.sync.aligned", KINDS + " f16", f"{SHAPES} row col satfinite")
def _matrix_product(e: Emitter, op: Op) -> None:
    """Types are those of d, a, b and c."""
    d, a, b, c = op.types
    shape = op.modifiers[0]
    groups = []
    for operand, kind in zip(op.operands[1:], (a, b, c), strict=False):
        t = "f8" if kind == "f64" else "f4" if kind == "f32" else "i4" if kind == "s32" else "u4"
        groups.append(f"[{', '.join(e.get(part, t) for part in e.vector(operand))}]")
    e.line(f"t = M.mma({e.site}, {shape!r}, {op.types}, {', '.join(groups)}, {op.has('satfinite')}, {e.lanes()})")
    t = "f8" if d == "f64" else "f4" if d == "f32" else "i4" if d == "s32" else "u4"
    for i, part in enumerate(e.vector(op.operands[0])):
        e.put(part, f"t[{i}]", t)


WIDE = " ".join(f"m64n{n}k{k}" for n in range(8, 257, 8) for k in (8, 16, 32))


@row("wgmma.mma_async.sync.aligned", KINDS, f"{WIDE} satfinite", accumulates=True)
def _group_product(e: Emitter, op: Op) -> None:
    """Four warps at once; a is in registers or, as b, a description of a tile in shared memory."""
    d, _a, _ = op.types
    t = "f4" if d == "f32" else "i4" if d == "s32" else "u4"
    parts = e.vector(op.operands[0])
    first = op.operands[1]
    in_registers = first.startswith("{")
    left = f"[{', '.join(e.get(part, 'u4') for part in e.vector(first))}]" if in_registers else e.get(first, "u8")
    flags = [int(flag) for flag in op.operands[4:]]
    e.line(f"t = M.wgmma({e.site}, {op.modifiers[0]!r}, {op.types}, [{', '.join(e.get(part, t) for part in parts)}], "
           f"{left}, {e.get(op.operands[2], 'u8')}, {e.get(op.operands[3], 'pred')}, {flags}, {e.lanes()})")
    for i, part in enumerate(parts):
        e.put(part, f"t[{i}]", t)


@row("wgmma.fence.sync.aligned", writes=0)
def _group_fence(e: Emitter, op: Op) -> None:
    """Orders registers, which here are never out of order."""


@row("wgmma.commit_group.sync.aligned", writes=0)
def _group_commit(e: Emitter, op: Op) -> None:
    e.line("M.commit_products(on)")


@row("wgmma.wait_group.sync.aligned", writes=0)
def _group_wait(e: Emitter, op: Op) -> None:
    e.line(f"M.wait_products(on, {int(op.operands[0])})")


@row("bra bra.uni brx.idx ret ret.uni exit call call.uni", writes=0)
def _control(e: Emitter, op: Op) -> None:
    """Ends a block: what follows is the machine's."""


@row("trap brkpt", writes=0)
def _trap(e: Emitter, op: Op) -> None:
    e.line(f"M.trap({e.site}, {e.lanes()})")


@row("nanosleep pmevent setmaxnreg.inc.sync.aligned setmaxnreg.dec.sync.aligned", "u32", writes=0, typed=False)
@row("griddepcontrol.launch_dependents griddepcontrol.wait", writes=0)
def _nothing(e: Emitter, op: Op) -> None:
    """Time, registers and the launch before are not modelled."""
