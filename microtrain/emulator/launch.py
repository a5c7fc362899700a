"""A launch: parameters looked at, the grid cut into batches, and what is found gathered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .access_rows import STRONG, widths
from .integers import Array
from .machine import Machine
from .memory import Memory
from .parse import Module
from .report import EmulatorError, Report
from .shadow import Sync
from .table import Op
from .threads import Launch
from .translate import Program, translate

BATCH = 1 << 14
"""Threads that run at a time: registers of so many fit the processor's caches."""
SHARED = 1 << 22
"""Bytes of shared memory of the programs that run at a time."""
STUCK = 30
"""Turns of all batches in which programs look at memory in order, and nobody ends or changes any: nobody ever will."""


def launch(module: Module, entry: str, grid: Sequence[int], block: Sequence[int], shared_bytes: int,
           parameters: Sequence[bytes], memory: Memory, names: Mapping[int, str] | None = None, checks: bool = True,
           collect: bool = False, programs: Sequence[int] | None = None) -> Report:
    """Run a kernel over a grid.

    `grid` and `block` are three sizes each (missing ones are 1), `shared_bytes` is the dynamic shared memory of a
    program, `parameters` are the raw little-endian bytes of each parameter, `names` what messages call that to which
    parameters point. `programs`, numbers in the grid, restricts the run to some. Raises `EmulatorError` for parameters
    that do not fit, for instructions that are not known (`UnknownInstruction`), and for faults, unless `collect` is
    set: then the report has them. Without `checks` only values are computed.
    """
    program = translated(module)
    function = module.functions.get(entry)
    if function is None or not function.entry:
        raise EmulatorError(f"no kernel {entry!r} is in the PTX; there are {', '.join(module.entries)}")
    check_parameters(entry, [one.nbytes for one in function.parameters], parameters, names or {})
    sizes = three(grid), three(block)
    needed = (*function.needed_threads, 1, 1)[:3] if function.needed_threads else sizes[1]
    if needed != sizes[1]:
        raise EmulatorError(f"{entry} is compiled for blocks of {needed} threads and launched with {sizes[1]}")
    total = int(np.prod(sizes[0]))
    report = Report()
    held = {name: memory.allocate(len(data), name) for name, data in module.variables.items()}
    try:
        for name, address in held.items():
            data = module.variables[name]
            memory.view(address, len(data))[:] = np.frombuffer(data, np.uint8)
            memory.written(address, len(data))
        values = {one.name: raw for one, raw in zip(function.parameters, parameters, strict=True)}
        whole = Launch(entry, sizes[0], sizes[1], module.shared_bytes + shared_bytes, values,
                       memory, checks, report, [op.instruction for op in program.ops], held, memory.live())
        prepare(whole, program, entry, parameters, names or {}, total)
        chosen = np.arange(total) if programs is None else np.asarray(programs)
        with np.errstate(all="ignore"):
            run(whole, program, entry, chosen)
    finally:
        if checks:
            memory.forget([(low, high) for low, high, _ in whole.ranges.values()], 1 << whole.global_shift)
        for address in held.values():
            memory.free(address)
    if not collect:
        report.check()
    return report


def three(sizes: Sequence[int]) -> tuple[int, int, int]:
    """Three sizes; missing ones are 1."""
    x, y, z, *_ = (*map(int, sizes), 1, 1, 1)
    return x, y, z


def translated(module: Module) -> Program:
    """The module's functions in Python, made once."""
    found = module.translated.get("program")
    if not isinstance(found, Program):
        found = module.translated["program"] = translate(module)
        found.accessed = {site: op for site, op in enumerate(found.ops) if widths(op)}
        found.shifts = narrowest(found.accessed, False), narrowest(found.accessed, True)
        found.strong = any(is_strong(op) for op in found.ops)
    return found


def check_parameters(entry: str, widths: list[int], given: Sequence[bytes], names: Mapping[int, str]) -> None:
    """Raise `EmulatorError` unless there are as many bytes as the kernel reads."""
    if len(widths) != len(given):
        raise EmulatorError(f"{entry} has {len(widths)} parameters; {len(given)} are given")
    for i, (width, raw) in enumerate(zip(widths, given, strict=False)):
        if width != len(raw):
            name = f" ({names[i]})" if i in names else ""
            raise EmulatorError(f"parameter {i}{name} of {entry} has {width} bytes; {len(raw)} are given")


def prepare(whole: Launch, program: Program, entry: str, parameters: Sequence[bytes], names: Mapping[int, str],
            total: int) -> None:
    """What is known of the accesses before the first: where they belong, and how narrow they are."""
    pointers: dict[str, int] = {}
    index = {region.start: i for i, region in enumerate(whole.regions)}
    called: dict[int, str] = {}
    function = program.codes[entry].function
    for i, (one, raw) in enumerate(zip(function.parameters, parameters, strict=False)):
        region = whole.memory.find(int.from_bytes(raw, "little")) if len(raw) == 8 else None
        if region is not None:
            pointers[one.name] = index[region.start]
            if i in names:
                called[region.start] = names[i]
    whole.names = called
    accessed = program.accessed
    whole.global_shift, whole.shared_shift = program.shifts
    if program.strong:
        whole.sync = Sync(total)
    read: set[int] = set()
    written: set[int] = set()
    everything = set(range(len(whole.regions)))
    for code in program.codes.values():
        for site, origin in code.origins.items():
            if site not in accessed:
                continue
            regions = {pointers[name] for name in origin or () if name in pointers}
            if regions:
                whole.allowed[site] = frozenset(regions)
            name = program.ops[site].row.name
            if is_shared(program.ops[site]):
                continue
            if name not in ("st", "red"):
                read |= regions or everything
            if name in ("st", "red", "atom"):
                written |= regions or everything
    whole.tracked = frozenset(read & written)


def is_shared(op: Op) -> bool:
    """Whether an access is of shared or local memory alone."""
    return not op.row.name.startswith("cp.async") and any(
        modifier.startswith(("shared", "local")) for modifier in op.modifiers)


def is_strong(op: Op) -> bool:
    """Whether an access orders others, or is ordered."""
    return op.row.name in ("atom", "red") or (op.row.name in ("ld", "st") and any(
        modifier in STRONG.split() for modifier in op.modifiers))


def narrowest(accessed: Mapping[int, Op], shared: bool) -> int:
    """The binary logarithm of the bytes of the narrowest access, which all others are multiples of."""
    found = 16
    for op in accessed.values():
        name = op.row.name
        of_shared = is_shared(op) or name.startswith(("cp.async", "wgmma")) or name.endswith("matrix")
        generic = name in ("ld", "st", "atom", "red") and not any(
            modifier.startswith(("shared", "global", "local", "const")) for modifier in op.modifiers)
        of_global = not is_shared(op) and not name.startswith("wgmma") and not name.endswith("matrix")
        if generic or (of_shared if shared else of_global):
            width = widths(op)
            found = min(found, width & -width)
    return found.bit_length() - 1


def run(whole: Launch, program: Program, entry: str, chosen: Array) -> None:
    """All batches, the first to its end before the next, unless programs may wait for each other."""
    threads = int(np.prod(whole.block))
    size = max(1, min(BATCH // threads, SHARED // max(whole.shared_bytes, 1)))
    waits = whole.sync is not None
    pending = [chosen[i:i + size] for i in range(0, len(chosen), size)][::-1]
    going: list[tuple[Machine, Iterator[None]]] = []
    idle, before = 0, (0, 0)
    while pending or going:
        if pending:
            machine = Machine(whole, pending.pop(), program, entry, waits)
            going.append((machine, machine.run()))
            turns = going[-1:]
        else:
            turns = list(going)
        ended = [one for one in turns if next(one[1], "end") == "end"]
        for one in ended:
            whole.report.thread_instructions += one[0].thread_instructions
            whole.report.programs += one[0].B
            going.remove(one)
        moved = whole.changes > before[0] or whole.polls == before[1]
        idle = 0 if ended or pending or moved else idle + 1
        before = whole.changes, whole.polls
        if idle > STUCK:
            waiting = sum(machine.B for machine, _ in going)
            raise EmulatorError(f"{waiting} programs of {entry} wait for each other and do not end")
