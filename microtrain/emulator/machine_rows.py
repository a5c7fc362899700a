"""Rows of the table for which threads need memory, each other, or the machine. (PTX ISA 9.7.9, 9.7.13 to 9.7.15.)"""

from __future__ import annotations

from .emitter import Emitter
from .parse import size_of
from .table import CACHING, INTEGERS, ORDER, SPACES, Op, numpy_type, plain, row, silent

DATA = f"b8 s8 u8 b16 b32 b64 {INTEGERS} f32 f64"
STRONG = "relaxed acquire release acq_rel volatile"


def space_of(op: Op) -> str:
    """The state space of an access."""
    return op.one_of(SPACES, "generic").split("::")[0]


def order(op: Op, default: str = "weak") -> str:
    """Its memory order; what is only volatile is relaxed."""
    found = op.one_of(STRONG, default)
    return "relaxed" if found == "volatile" else found


def access(e: Emitter, op: Op, what: str, operand: str, nbytes: int, space: str = "", more: int = 0) -> str:
    """What makes an `Access` at an address."""
    base, offset = e.address(operand)
    ordered = order(op, "relaxed" if what == "atomic" else "weak")
    return (f"Access({e.site}, {what!r}, {space or space_of(op)!r}, {base}, {offset + more}, {e.lanes()}, {nbytes}, "
            f"{ordered!r})")


@row("ld.param ld.param::entry", DATA, "v2 v4")
def _load_parameter(e: Emitter, op: Op) -> None:
    name, offset = e.place(op.operands[1])
    t = numpy_type(op.type)
    for i, register in enumerate(e.vector(op.operands[0])):
        at = offset + i * int(t[1])
        e.put(register, f"M.parameter_at({e.get(name, 'u8')}, {at}, '{t}')" if name.startswith("%")     # one of several
              else f"M.parameter(R, {name!r}, {at}, '{t}')", t)


@row("st.param", DATA, "v2 v4", writes=0)
def _store_parameter(e: Emitter, op: Op) -> None:
    name, offset = e.place(op.operands[0])
    t = numpy_type(op.type)
    for i, register in enumerate(e.vector(op.operands[1])):
        e.line(f"R[{name!r}, {offset + i * int(t[1])}] = {e.get(register, t)}")


@row("ld", DATA, f"{SPACES} {ORDER} {CACHING} v2 v4 v8 unified")
def _load(e: Emitter, op: Op) -> None:
    t = numpy_type(op.type)
    parts, unsigned = e.vector(op.operands[0]), f"u{t[1]}"
    merged = op.instruction.predicate is not None and all(e.register_class(part) == unsigned for part in parts)
    olds = e.parts(op.operands[0], unsigned) if merged else "None"
    e.spread(parts, [t] * len(parts), f"M.load({access(e, op, 'read', op.operands[1], widths(op))}, {len(parts)}, "
             f"'{unsigned}', {olds})", merged)


@row("st", DATA, f"{SPACES} {ORDER} {CACHING} v2 v4 v8", writes=0)
def _store(e: Emitter, op: Op) -> str:
    unsigned = f"u{numpy_type(op.type)[1]}"
    return f"M.store({access(e, op, 'write', op.operands[0], widths(op))}, {{b:[u]}}, '{unsigned}')"


ATOMIC = "add min max inc dec and or xor exch cas"
ATOMIC_TYPES = "b16 b32 b64 u32 s32 u64 s64 f16 f16x2 bf16 bf16x2 f32 f64"
ATOMIC_MODIFIERS = f"{SPACES} {ORDER} {ATOMIC} noftz L2::cache_hint v2 v4 v8 shared::cluster"


@row("red", ATOMIC_TYPES, ATOMIC_MODIFIERS, writes=0)
@row("atom", ATOMIC_TYPES, ATOMIC_MODIFIERS)
def _atomic(e: Emitter, op: Op) -> None:
    """One read-modify-write for each part of a vector; threads at one place take turns, the lowest first."""
    name, t = op.one_of(ATOMIC, ""), op.type
    address, *values = op.operands[op.row.writes:op.row.writes + 2 + (name == "cas")]
    parts = [e.vector(value) for value in values]
    kind = t if t in ("f16", "bf16", "f16x2", "bf16x2") else numpy_type(t)
    stored = "u2" if t in ("f16", "bf16") else numpy_type(t)
    for i in range(len(parts[0])):
        given = ", ".join(e.get(part[i], stored) for part in parts)
        one = access(e, op, "atomic", address, int(stored[1]), more=int(stored[1]) * i)
        e.line(f"t = M.atomic({one}, {name!r}, {kind!r}, '{stored}', [{given}])")
        if op.row.writes:
            e.put(e.vector(op.operands[0])[i], "t", stored)


@row("fence membar", "", f"{ORDER} gl proxy async alias async.global async.shared::cta global shared shared::cta "
     "mbarrier_init", writes=0)
def _fence(e: Emitter, op: Op) -> str:
    """Generic and asynchronous accesses are in order here: nothing is to be done between them."""
    return "" if op.has("proxy") else "M.synchronize({on}, 'acq_rel')"


# Hints for caches do nothing here; a policy is a number.
HINTS = f"global local L1 L2 L2::evict_unchanged {CACHING}"
silent("prefetch prefetchu applypriority discard", "", "b64", HINTS)
plain("createpolicy.fractional createpolicy.range createpolicy.cvt", "b64", "np.uint64(0)", "u8", HINTS, typed=False)


@row("cp.async.ca cp.async.cg", "", f"shared global shared::cta {CACHING}", writes=0)
def _copy_asynchronously(e: Emitter, op: Op) -> str:
    counted = len(op.operands) > 3 + op.has("L2::cache_hint")
    target, source = (access(e, op, what, operand, widths(op), space) for what, operand, space in
                      zip(("write", "read"), op.operands, ("shared", "global"), strict=False))
    return f"M.copy({target}, {source}, {'{d:u4}' if counted else None})"


silent("cp.async.commit_group", "M.copies.commit(on)")
silent("cp.async.wait_group", "M.wait_copies(on, {a:n})")
silent("cp.async.wait_all", "M.copies.commit(on); M.wait_copies(on, 0)")


MATRIX = "sync aligned m8n8 x1 x2 x4 trans shared shared::cta"
row("ldmatrix", "b16 b8", MATRIX, "u4*")(
    lambda e, op: f"M.load_matrix({access(e, op, 'read', op.operands[1], 16)}, {len(e.vector(op.operands[0]))}, "
                  f"{op.has('trans')})")
row("stmatrix", "b16", MATRIX, writes=0)(
    lambda e, op: f"M.store_matrix({access(e, op, 'write', op.operands[0], 16)}, {{b:[u4]}}, {op.has('trans')})")


def widths(op: Op) -> int:
    """Bytes that a thread accesses at once: what it is aligned to. 0 for what is no access."""
    name = op.row.name
    if name in ("ld", "st"):
        return (op.operands[name == "st"].count(",") + 1) * size_of(op.type)
    if name in ("atom", "red"):
        return size_of(op.type)
    if name.startswith(("cp.async.c", "wgmma.mma")) and "commit" not in name:
        return int(op.operands[2], 0) if name.startswith("cp") else 16
    return 16 if name.endswith("matrix") else 0


def spaces(op: Op) -> tuple[str, ...]:
    """Of the global and the shared space those that an access may go to."""
    name, space = op.row.name, space_of(op)
    if name.startswith("cp.async") or (space == "generic" and name in ("ld", "st", "atom", "red")):
        return "global", "shared"
    return ("shared",) if name.startswith("wgmma") else ("global" if space == "const" else space,)


def orders(op: Op) -> bool:
    """Whether an access orders others, or is ordered."""
    return op.row.name in ("atom", "red") or (op.row.name in ("ld", "st") and order(op) != "weak")


# Threads together, and control.

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
