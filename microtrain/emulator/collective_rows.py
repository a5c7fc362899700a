"""Rows of the table: threads together. (PTX ISA 9.7.13 to 9.7.15, and control.)"""

from __future__ import annotations

from .emitter import Emitter
from .table import Op, numpy_type, row, silent

SHAPES = ("m8n8k4 m16n8k4 m16n8k8 m16n8k16 m16n8k32 m16n8k64")
WORDS = {"f64": "f8", "f32": "f4", "s32": "i4"}
"""Types of the registers of a matrix; the others are packed in words."""
KINDS = "f16 bf16 tf32 f32 f64 s8 u8 s32 e4m3 e5m2"


@row("shfl.sync", "b32", "up down bfly idx")
def _shuffle(e: Emitter, op: Op) -> None:
    given = ", ".join(e.get(operand, "u4") for operand in op.operands[1:5])
    call = f"M.shuffle({e.site}, {op.modifiers[0]!r}, {given}, {e.lanes()})"
    e.spread(op.operands[0].split("|"), ("u4", "pred"), call)


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
    value, members = e.get(op.operands[1], numpy_type(op.type)), e.get(op.operands[2], "u4")
    e.spread(op.operands[0].split("|"), ("u4", "pred"),
             f"M.match({e.site}, {'any' in op.row.name}, {value}, {members}, {e.lanes()})")


@row("activemask", "b32")
def _active_mask(e: Emitter, op: Op) -> None:
    e.put(op.operands[0], f"M.vote({e.site}, 'ballot', np.bool_(True), np.uint32(0xFFFFFFFF), {e.lanes()})", "u4")


@row("elect.sync")
def _elect(e: Emitter, op: Op) -> None:
    """The lowest thread of the warp that takes part."""
    call = f"M.elect({e.site}, {e.get(op.operands[1], 'u4')}, {e.lanes()})"
    e.spread(op.operands[0].split("|"), ("u4", "pred"), call)


silent("bar.warp.sync", "M.warp_barrier(on)")
# What ends a block is the machine's, which lets nobody pass a barrier before all have come. A cluster is one program.
silent("bar.sync barrier.sync bar.cta.sync barrier.cta.sync", modifiers="aligned")
silent("barrier.cluster.arrive barrier.cluster.wait", modifiers="aligned release acquire relaxed")
silent("bra bra.uni brx.idx ret ret.uni exit call call.uni")
# Time, registers and the launch before are not modelled; the order of a product's registers is always kept.
silent("nanosleep pmevent setmaxnreg.inc.sync.aligned setmaxnreg.dec.sync.aligned", types="u32")
silent("griddepcontrol.launch_dependents griddepcontrol.wait wgmma.fence.sync.aligned")
silent("wgmma.commit_group.sync.aligned", "M.commit_products(on)")
silent("wgmma.wait_group.sync.aligned", "M.wait_products(on, {n})")


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
    groups = ", ".join(e.parts(operand, WORDS.get(kind, "u4"))
                       for operand, kind in zip(op.operands[1:], (a, b, c), strict=False))
    parts = e.vector(op.operands[0])
    e.spread(parts, [WORDS.get(d, "u4")] * len(parts),
             f"M.mma({e.site}, {shape!r}, {op.types}, {groups}, {op.has('satfinite')}, {e.lanes()})")


WIDE = " ".join(f"m64n{n}k{k}" for n in range(8, 257, 8) for k in (8, 16, 32))


@row("wgmma.mma_async.sync.aligned", KINDS, f"{WIDE} satfinite", accumulates=True)
def _group_product(e: Emitter, op: Op) -> None:
    """Four warps at once; a is in registers or, as b, a description of a tile in shared memory."""
    t, parts, first = WORDS.get(op.types[0], "u4"), e.vector(op.operands[0]), op.operands[1]
    left = e.parts(first, "u4") if first.startswith("{") else e.get(first, "u8")
    flags = [int(flag) for flag in op.operands[4:]]
    e.spread(parts, [t] * len(parts), f"M.wgmma({e.site}, {op.modifiers[0]!r}, {op.types}, {e.parts(op.operands[0], t)}"
             f", {left}, {e.get(op.operands[2], 'u8')}, {e.get(op.operands[3], 'pred')}, {flags}, {e.lanes()})")


@row("trap brkpt", writes=0)
def _trap(e: Emitter, op: Op) -> None:
    e.line(f"M.trap({e.site}, {e.lanes()})")
