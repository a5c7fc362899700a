"""Rows of the table: threads together. (PTX ISA 9.7.13 to 9.7.15, and control.)"""

from __future__ import annotations

from .emitter import Emitter
from .table import Op, plain, row, silent

SHAPES = "m8n8k4 m16n8k4 m16n8k8 m16n8k16 m16n8k32 m16n8k64"
WORDS = {"f64": "f8", "f32": "f4", "s32": "i4"}
"""Types of the registers of a matrix; the others are packed in words."""
KINDS = "f16 bf16 tf32 f32 f64 s8 u8 s32 e4m3 e5m2"

plain("shfl.sync", "b32", "M.shuffle({site}, {how!r}, {a:u4}, {b:u4}, {c:u4}, {d:u4}, {on})", "u4 pred",
      "up down bfly idx")
row("redux.sync", "s32 u32 b32 f32", "add min max and or xor abs NaN")(
    lambda e, op: f"M.reduce_warp({{site}}, {op.one_of('add min max and or xor', '')!r}, {{a}}, {{b:u4}}, {{on}})")
row("vote.sync", "pred b32", "all any uni ballot")(
    lambda e, op: ("M.vote({site}, {how!r}, {a:pred}, {b:u4}, {on})", "u4" if op.has("ballot") else "pred"))
plain("match.any.sync", "b32 b64", "M.match({site}, True, {a}, {b:u4}, {on})", "u4 pred")
plain("match.all.sync", "b32 b64", "M.match({site}, False, {a}, {b:u4}, {on})", "u4 pred")
plain("activemask", "b32", "M.vote({site}, 'ballot', np.bool_(True), np.uint32(0xFFFFFFFF), {on})")
plain("elect.sync", "", "M.elect({site}, {a:u4}, {on})", "u4 pred")     # the lowest thread of the warp that takes part

silent("bar.warp.sync", "M.warp_barrier(on)")
# What ends a block is the machine's, which lets nobody pass a barrier before all have come. A cluster is one program.
silent("bar.sync barrier.sync bar.cta.sync barrier.cta.sync", modifiers="aligned")
silent("barrier.cluster.arrive barrier.cluster.wait", modifiers="aligned release acquire relaxed")
silent("bra bra.uni brx.idx ret ret.uni exit call call.uni")
# Time, registers and the launch before are not modelled; the order of a product's registers is always kept.
silent("nanosleep pmevent setmaxnreg.inc.sync.aligned setmaxnreg.dec.sync.aligned", types="u32")
silent("griddepcontrol.launch_dependents griddepcontrol.wait wgmma.fence.sync.aligned")
silent("wgmma.commit_group.sync.aligned", "M.products.commit(M.rows_of(on))")
silent("wgmma.wait_group.sync.aligned", "M.wait_products(on, {a:n})")
silent("trap brkpt", "M.trap({site}, {on})")


def _reduced(e: Emitter, op: Op) -> tuple[str, str]:
    """At the barrier that the translator puts before it all threads are together. The predicate comes last."""
    name = op.row.name.rsplit(".", 1)[1]
    return f"M.reduce_program({name!r}, {{{'abc'[len(op.operands) - 2]}:pred}})", "u4" if name == "popc" else "pred"


for _barrier in ("bar", "barrier", "barrier.cta"):
    row(f"{_barrier}.red.popc {_barrier}.red.and {_barrier}.red.or", "u32 pred", "aligned")(_reduced)


@row("mma.sync.aligned", KINDS, f"{SHAPES} row col satfinite")
def _matrix_product(e: Emitter, op: Op) -> tuple[str, str]:
    """Types are those of d, a, b and c."""
    d, *given = (WORDS.get(kind, "u4") for kind in op.types)
    groups = ", ".join(f"{{{name}:[{t}]}}" for name, t in zip("abc", given, strict=True))
    return f"M.mma({{site}}, {{how!r}}, {op.types}, {groups}, {op.has('satfinite')}, {{on}})", f"{d}*"


WIDE = " ".join(f"m64n{n}k{k}" for n in range(8, 257, 8) for k in (8, 16, 32))


@row("wgmma.mma_async.sync.aligned", KINDS, f"{WIDE} satfinite", accumulates=True)
def _group_product(e: Emitter, op: Op) -> tuple[str, str]:
    """Four warps at once; a is in registers or, as b, a description of a tile in shared memory."""
    t, left = WORDS.get(op.types[0], "u4"), "{a:[u4]}" if op.operands[1].startswith("{") else "{a:u8}"
    flags = [int(flag) for flag in op.operands[4:]]
    return (f"M.wgmma({{site}}, {{how!r}}, {op.types}, {e.parts(op.operands[0], t)}, {left}, {{b:u8}}, {{c:pred}}, "
            f"{flags}, {{on}})", f"{t}*")
