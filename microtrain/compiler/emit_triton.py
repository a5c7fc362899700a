"""From a group to the source of the `@triton.jit` functions that its template takes.

A template in `kernels` is the skeleton: index arithmetic, masks, tiles and the order of a reduction. What is written
here is the expression alone, one statement an operation, with literal sizes, so that Triton folds the indices.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

from ..graph import dtypes
from ..graph import primitives as p
from ..graph.dtypes import DType
from ..graph.node import Kind
from ..graph.opaque import KernelCall, output
from ..kernels.tiles import index_bits
from .access import operand_coords, reduction_coords
from .domain import MatmulDomain, OpaqueDomain, ReduceDomain, SlabDomain
from .emit_value import COMPUTE, HALF, STORAGE, Arguments, Body, Touch, rounded
from .group import Group, Schedule, fold_of
from .horizontal import parts_of
from .index import stride
from .lower import IDENTITIES
from .program import Value

CLASS_ROLES = 12
"""Pointers of a part that may be of a class with others: each is one more call within a call for Triton's compiler."""

MULTIPLE = 16
"""What a size is a multiple of decides how wide accesses are, up to 16 elements."""


@dataclass(frozen=True)
class Function:
    """One emitted device function: its name, which ends in a hash of its text, and the text."""

    name: str
    source: str


@dataclass
class Kernel:
    """A group ready to be compiled: emitted functions by the template's parameter, and its arguments in order.

    `pointers` lists buffers read, then buffers written (`stores`); `constants` are the template's other constexprs that
    follow from the dtypes, type names as text ("tl.float32"). `along_rows` says that a kernel over rows mostly loads
    memory whose neighbours belong to different rows; `operand_bytes` what is loaded for an element of a product's
    operands. `bodies` wrote its functions: they know what is loaded and stored where; `touches` has that by statement
    (listed for each function that has it).
    """

    group: Group
    functions: dict[str, Function | tuple[Function, ...]]
    constants: dict[str, Any]
    pointers: list[Value]
    scalars: list[Value]
    wide: bool
    along_rows: bool = False
    operand_bytes: tuple[int, int] = (0, 0)
    bodies: list[Body] = field(default_factory=list)
    touches: dict[str, list[Touch]] = field(default_factory=dict)

    @property
    def emitted(self) -> list[Function]:
        """All its functions."""
        return [f for value in self.functions.values() for f in (value if isinstance(value, tuple) else (value,))]

    @property
    def held(self) -> int:
        """32-bit registers for what a kernel over rows loads for each element."""
        return sum(-(-touch.node.dtype.itemsize // 4) for touches in self.touches.values() for touch in touches
                   if {"r", "c"} <= touch.sizes.keys() and touch.node not in self.group.members)

    @property
    def index_type(self) -> str:
        """The type of the kernel's indices."""
        return "tl.int64" if self.wide else "tl.int32"


def emit(group: Group, schedule: Schedule) -> Kernel:
    """The kernel of a group."""
    if isinstance(group.domain, OpaqueDomain):
        return called(group, group.domain.call)
    scalars = [node for node in group.reads if node.primitive is p.SCALAR]
    pointers = in_memory(group)
    largest = max([*[part.domain.numel for part in parts_of(group)], *[node.spec.numel for node in pointers]])
    kernel = Kernel(group, {}, {}, pointers, scalars, index_bits(largest) == 64)
    arguments = Arguments({node: k for k, node in enumerate(pointers)},
                          {node: k for k, node in enumerate(scalars)}, kernel.index_type)

    def body(masks: dict[frozenset[str], str], part: Group = group, given: Arguments = arguments) -> Body:
        made = Body(part, given, masks, schedule.place)
        made.fenced = overwrites(part, schedule)
        kernel.bodies.append(made)
        return made

    WRITERS[group.domain.template](kernel, body)
    for noted in {id(made.arguments): made.arguments.touches for made in kernel.bodies}.values():
        for statement, touches in noted.items():
            kernel.touches.setdefault(statement, []).extend(touches)
    return kernel


def overwrites(group: Group, schedule: Schedule) -> bool:
    """Whether a kernel with more than one result may be given the memory of an input that it reads for one of them.

    Threads that hold an element twice must then have loaded it before another one stores it. With a single result,
    which an element reaches only through the thread that stores it, there is nobody to disturb.
    """
    given = {node.spec for node in group.reads if node.primitive is p.BUFFER}
    outputs = schedule.program.outputs
    return len(group.stores) > 1 and any(node.spec in given for node in group.stores if node in outputs)


def called(group: Group, call: KernelCall) -> Kernel:
    """A user's kernel: it writes all its outputs, also those that nobody asked for."""
    first = group.root
    given = {node.attrs[1]: node for node in group.members if node is not first}
    group.stores = [first, *[given.get(i) or output(first, i) for i in range(1, len(call.outputs))]]
    return Kernel(group, {}, {}, [*first.sources, *group.stores], [], wide=False)


def function(role: str, parameters: str, lines: list[str]) -> Function:
    """The function of these statements under a name that no other text has: Triton tells functions apart by name."""
    text = f"({parameters}):\n" + "".join(f"    {line}\n" for line in lines or ["pass"])
    name = f"{role}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Function(name, f"@triton.jit\ndef {name}{text}")


def finished(body: Body, members: list[Value]) -> list[str]:
    """The statements that compute and store the members of the body's group."""
    for node in members:
        if node.primitive.kind is Kind.REDUCE:
            body.registers[node] = reduced(body, node)
        else:
            body.member(node)
    if body.fenced:
        body.lines.append("tl.debug_barrier()")
    for node in body.group.stores:
        body.store(node)
    return body.lines


def reduced(body: Body, node: Value) -> str:
    """A reduction over what is held on chip. One that leaves a single value leaves a scalar."""
    group, kind = body.group, node.primitive.triton
    fold = fold_of(node, group.domain, group.members[node])
    if isinstance(group.domain, MatmulDomain):
        return body.let(settled(f"sum_{fold.over}", node.dtype), "m" if fold.over == "a" else "n")
    value = body.value(node.sources[0], reduction_coords(node, fold.kept, fold.folded))
    if accumulator(node.dtype) != COMPUTE[node.dtype]:
        value = body.let(f"{value}.to({accumulator(node.dtype)})", body.symbols[value])
    mask = body.boundary(frozenset(fold.over))[0]
    text = f"column_{kind}({value}, {mask})" if fold.over == "r" else f"row_{kind}({value}, {mask})"
    if fold.over == "rc":
        text = f"finish_{kind}({text}, 0)"
    if isinstance(group.domain, SlabDomain) and fold.kept == group.domain.b:
        return body.let(settled(f"only({text})", node.dtype), "b" if fold.kept.terms else "")
    return body.let(settled(text, node.dtype), "c" if fold.over == "r" else "r")


def strided(body: Body) -> bool:
    """Whether more loads are contiguous in r than in c."""
    return sum((stride(index, "r") == 1) - (stride(index, "c") == 1) for _, index in body.loads) > 0


def accumulator(dtype: DType) -> str:
    """The type in which a reduction or a product of a dtype is accumulated."""
    small = dtype.category < 2 and dtype.itemsize < 4
    return "tl.int32" if small else COMPUTE[dtype]


def settled(expression: str, dtype: DType) -> str:
    """An accumulated result in the compute type of its dtype, rounded as if stored."""
    if dtype is dtypes.bool_:
        return f"({expression} != 0)"
    if accumulator(dtype) != COMPUTE[dtype]:
        return f"{expression}.to({COMPUTE[dtype]})"
    return rounded(expression, dtype)


def in_memory(group: Group) -> list[Value]:
    """The buffers that a kernel reads, then those that it writes."""
    return [*[node for node in group.reads if node.primitive is not p.SCALAR], *group.stores]


def _map(kernel: Kernel, body: Any) -> None:
    made = body({frozenset("i"): "mask"})
    kernel.functions["EXPR"] = function("map", MAP_PARAMETERS, finished(made, list(kernel.group.members)))


MAP_PARAMETERS = "ptrs, scalars, i, mask"


def _maps(kernel: Kernel, body: Any) -> None:
    """Parts whose functions have the same text, whose buffers have the same dtypes and whose sizes the same divisors
    are a class: one function, and for each role the pointers of all parts."""
    numbers = {node: k for k, node in enumerate(kernel.scalars)}

    def written(part: Group, first: int) -> tuple[Function, Body]:
        places = {node: first + k for k, node in enumerate(in_memory(part))}
        made = body({frozenset("i"): "mask"}, part, Arguments(places, numbers, kernel.index_type))
        return function("map", MAP_PARAMETERS, finished(made, list(part.members))), made

    classes: dict[Any, list[tuple[Group, Function, Body]]] = {}
    for part in parts_of(kernel.group):
        roles = in_memory(part)
        expression, made = written(part, 0)
        alone = part.index if len(roles) > CLASS_ROLES else -1
        kind = (expression.name, *[node.dtype for node in roles], math.gcd(part.domain.numel, MULTIPLE), alone)
        classes.setdefault(kind, []).append((part, expression, made))
    pointers: list[Value] = []
    parts: list[Group] = []
    found: dict[str, list[Any]] = {name: [] for name in ("EXPRS", "ROLES", "FIRSTS", "DIVISORS", "PARTS")}
    for kind, members in classes.items():
        (part, expression, made), *others = members
        if not others:
            kernel.bodies.remove(made)
            expression, _ = written(part, len(pointers))
        row = {"EXPRS": expression, "ROLES": len(in_memory(part)), "FIRSTS": len(pointers), "DIVISORS": kind[-2],
               "PARTS": len(parts)}
        for name, value in row.items():
            found[name].append(value)
        parts += [part for part, *_ in members]
        pointers += [node for role in zip(*[in_memory(part) for part, *_ in members], strict=True) for node in role]
    kernel.pointers[:] = pointers
    kernel.functions["EXPRS"] = tuple(found.pop("EXPRS"))
    found["PARTS"].append(len(parts))
    kernel.constants |= {name: tuple(values) for name, values in found.items()}
    kernel.constants["NUMELS"] = tuple([part.domain.numel for part in parts])


def _row(kernel: Kernel, body: Any) -> None:
    rows = body({frozenset("r"): "row_mask", frozenset("rc"): "mask"})
    lines = finished(rows, list(kernel.group.members))
    kernel.functions["BODY"] = function("row", "ptrs, scalars, r, c, row_mask, mask", lines)
    kernel.along_rows = strided(rows)


def _slab(kernel: Kernel, body: Any) -> None:
    slab = body({frozenset("r"): "row_mask", frozenset("rc"): "mask"})
    lines = finished(slab, list(kernel.group.members))
    kernel.functions["BODY"] = function("slab", "ptrs, scalars, b, r, c, row_mask, mask", lines)


def _reduce(kernel: Kernel, body: Any) -> None:
    group, root = kernel.group, kernel.group.root
    domain = group.domain
    assert isinstance(domain, ReduceDomain)
    load = body({frozenset("rc"): "mask"})
    value = load.value(root.sources[0], reduction_coords(root, domain.r, domain.c))
    kernel.functions["LOAD"] = function("load", "ptrs, scalars, r, c, mask", [*load.lines, f"return {value}"])
    kernel.along_rows = strided(load)
    epilogue = body({frozenset("r"): "row_mask"})
    epilogue.registers[root] = epilogue.let(settled("acc", root.dtype), "r")
    rest = list(group.members)[1:]
    kernel.functions["EPILOGUE"] = function("reduced", "ptrs, scalars, r, acc, row_mask", finished(epilogue, rest))
    kernel.constants |= {"ACC": accumulator(root.dtype), "IDENTITY": IDENTITIES[root.primitive](root.dtype)}


def zero_outside(load: Body, value: str, columns: str) -> bool:
    """Whether an operand's tile is 0 outside its matrix as it is: a load of each element, with nothing done to it."""
    return len(load.lines) == len(load.loads) and load.symbols[value].issuperset(columns.split(", "))


def operand_type(product: Value) -> str:
    """What the operands' tiles are rounded to: a half precision also where they were only widened from it, for products
    of such numbers are exact in float32, and tensor cores add them up in float32."""
    if product.dtype in HALF:
        return STORAGE[product.dtype]
    widened = {source.sources[0].dtype for source in product.sources if source.primitive is p.CAST}
    both = all(source.primitive is p.CAST for source in product.sources)
    if both and product.dtype is dtypes.float32 and len(widened) == 1 and widened <= set(HALF):
        return STORAGE[widened.pop()]
    return accumulator(product.dtype)


def bytes_loaded(load: Body, columns: str) -> int:
    """What is read from memory for one element of a matrix operand; what its rows or columns share does not count."""
    group, place = load.group, load.place
    return sum(node.dtype.itemsize for (node, *_), name in load.known.items()
               if (node.primitive is p.BUFFER or place.get(node, group) is not group)
               and load.symbols[name].issuperset(columns.split(", ")))


def _matmul(kernel: Kernel, body: Any) -> None:
    group, root = kernel.group, kernel.group.root
    domain = group.domain
    assert isinstance(domain, MatmulDomain)
    places = operand_coords(root, domain.b, domain.m, domain.n, domain.k)
    sizes = []
    for role, columns, source, coords in zip("AB", ("m, k", "k, n"), root.sources, places, strict=True):
        load = body({frozenset(columns.split(", ")): "mask"})
        value = load.value(source, coords)
        sizes.append(bytes_loaded(load, columns))
        if not zero_outside(load, value, columns):
            value = f"tl.where(mask, {value}, 0)"
        kernel.functions[f"LOAD_{role}"] = function(f"load_{role.lower()}", f"ptrs, scalars, b, {columns}, mask",
                                                    [*load.lines, f"return {value}"])
    epilogue = body({frozenset("mn"): "mask"})
    epilogue.owners = {frozenset("m"): "once_m", frozenset("n"): "once_n"}
    epilogue.registers[root] = epilogue.let(settled("acc", root.dtype), "mn")
    rest = list(group.members)[1:]
    sums = [fold_of(node, domain, group.members[node]).over for node in rest if node.primitive.kind is Kind.REDUCE]
    lines = finished(epilogue, rest)
    parameters = "ptrs, scalars, b, m, n, acc, sum_a, sum_b, mask, once_m, once_n"
    kernel.functions["EPILOGUE"] = function("epilogue", parameters, lines)
    kernel.constants |= {"SUM_A": int("a" in sums), "SUM_B": int("b" in sums)}
    kernel.operand_bytes = (sizes[0], sizes[1])
    kernel.constants["ACC"] = accumulator(root.dtype)
    kernel.constants["OPERAND"] = operand_type(root)


WRITERS = {"map": _map, "maps": _maps, "row": _row, "slab": _slab, "reduce": _reduce, "matmul": _matmul}
