"""A launch: parameters looked at, the grid cut into batches, and what is found gathered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .integers import Array
from .machine import Machine
from .machine_rows import spaces, widths
from .memory import Memory
from .parse import Module
from .report import EmulatorError, Report
from .shadow import Sync
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
    program, called = translated(module), names or {}
    function = module.functions.get(entry)
    if function is None or not function.entry:
        raise EmulatorError(f"no kernel {entry!r} is in the PTX; there are {', '.join(module.entries)}")
    if len(function.parameters) != len(parameters):
        raise EmulatorError(f"{entry} has {len(function.parameters)} parameters; {len(parameters)} are given")
    values = dict(zip(function.parameters, parameters, strict=True))
    for i, (width, raw) in enumerate(zip(function.parameters.values(), parameters, strict=True)):
        if width != len(raw):
            name = f" ({called[i]})" if i in called else ""
            raise EmulatorError(f"parameter {i}{name} of {entry} has {width} bytes; {len(raw)} are given")
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
        shifts = program.global_shift, program.shared_shift
        whole = Launch(entry, *sizes, module.shared_bytes + shared_bytes, values, memory, checks, report,
                       [op.instruction for op in program.ops], held, memory.live(), *shifts,
                       Sync(total) if program.strong else None)
        prepare(whole, program, [called.get(i, "") for i in range(len(parameters))])
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
    return found


def prepare(whole: Launch, program: Program, names: Sequence[str]) -> None:
    """What is known of the accesses before the first: where they belong, and what is both read and written."""
    pointers: dict[str, int] = {}
    index = {region.start: i for i, region in enumerate(whole.regions)}
    for (name, raw), called in zip(whole.parameters.items(), names, strict=True):
        region = whole.memory.find(int.from_bytes(raw, "little")) if len(raw) == 8 else None
        if region is not None:
            pointers[name] = index[region.start]
            if called:
                whole.names[region.start] = called
    read: set[int] = set()
    written: set[int] = set()
    everything = set(range(len(whole.regions)))
    for code in program.codes.values():
        for site, origin in code.origins.items():
            if not widths(program.ops[site]):
                continue
            regions = {pointers[name] for name in origin or () if name in pointers}
            if regions:
                whole.allowed[site] = frozenset(regions)
            name = program.ops[site].row.name
            if "global" in spaces(program.ops[site]):
                read |= set() if name in ("st", "red") else regions or everything
                written |= regions or everything if name in ("st", "red", "atom") else set()
    whole.tracked = frozenset(read & written)


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
