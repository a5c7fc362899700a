"""Computing what is pending: the graph behind every value that is still held, as one program.

Reading any value brings every pending value that a tensor still holds up to date along with it: what is not read now is
held to be read later, and one program fuses better than many.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from functools import partial

from .. import settings
from ..compiler.program import Program
from ..compiler.simplify import simplify
from ..errors import AcceleratorError
from ..graph.node import Node, Unmade, topological
from ..graph.spec import Device
from ..graph.tape import Tape, strip
from ..runtime.lock import lock
from .donation import Apart, uninterrupted
from .plans import plans
from .session import Session, current, pending, sessions
from .step import Step

listeners: list[Callable[[int, Program], None]] = []
"""Told of each program that is run, and of how many kernels: on the cpu device, how many there would be on a GPU."""


def report(step: Step) -> None:
    """Tell the listeners of a step about to run."""
    kernels, program = step.executable.kernels, step.program
    if program.device.kind.native:
        from ..compiler.schedule import schedule
        program = simplify(Program.read(step.key), native=False)
        kernels = len(schedule(program))
    for listener in listeners:
        listener(kernels, program)


def compute(roots: Iterable[Node], device: Device) -> None:
    """Compute `roots` and whatever the tape keeps on the way, as one program; called by who has the lock."""
    step, order = plans.find(roots, device)
    if step is None:
        return
    if listeners:
        report(step)
    for i in step.outputs:
        tape = order[i].tape
        if tape is not None and not tape.bare:
            strip(tape)
    if step.executable.passed:
        at_hand = [node for node in order if node.buffer is not None]
        for k in step.executable.passed:
            at_hand[k].shared = True
        del at_hand
    leaves = [order[i].buffer for i in step.inputs]
    if step.trusted and step.executable.donatable and not settings.debug.value:
        uninterrupted(compute_in_place, step, order, leaves)
        return
    values = traced(step, order, leaves) if settings.debug.value else step.executable.run(leaves)
    settle_values(step, [order[i] for i in step.outputs], values)
    step.trusted = True


def compute_in_place(step: Step, order: list[Node], leaves: list[object]) -> None:
    """Compute outputs over the leaves that nobody else holds. Empties `order`."""
    apart = Apart(order, step.key, step.outputs, leaves, step.executable.donatable)
    apart.run(step.executable, partial(settle_values, step))


def settle_values(step: Step, nodes: list[Node], values: list[object]) -> None:
    """Give the computed nodes their values."""
    for node, value, shared in zip(nodes, values, step.shared):     # noqa: B905 (made for each other)
        node.realize(value, shared)


def traced(step: Step, order: list[Node], leaves: list[object]) -> list[object]:
    """Run a step, saying on stderr what MICROTRAIN_DEBUG asks for."""
    from .explain import describe_kernels, recorded_listing
    level = settings.debug.value
    print(f"microtrain: {len(step.program.values)} nodes, {len(leaves)} inputs, {len(step.outputs)} outputs on "
          f"{step.program.device}", file=sys.stderr)
    print("\n".join(recorded_listing(Program.read(step.key), order, {order[i] for i in step.outputs})), file=sys.stderr)
    if level >= 2:
        print(describe_kernels(step.program), file=sys.stderr)
    if level >= 3:
        print(step.executable.describe(), file=sys.stderr)
    start = time.perf_counter()
    values = step.executable.run(leaves)
    if level >= 4:
        print(f"microtrain: {(time.perf_counter() - start) * 1e6:.0f} us", file=sys.stderr)
    return values


def realize(node: Node) -> object:
    """The buffer of a node, computing it and everything pending on its device if need be."""
    recorder = current().recorder
    if recorder is not None:
        recorder.read(node)
    if node.buffer is None:
        flush(node.spec.device, node)
    return node.buffer


def flush(device: Device, wanted: Node | None = None, patient: bool = False, session: Session | None = None) -> None:
    """Compute everything pending on `device`, and `wanted`; when `patient`, without the losses that may yet be dropped.
    `session` is this thread's, where it is at hand.

    One value that cannot be computed (a division of integers by zero, say) does not spoil the others. On a device that
    can no longer be used (AcceleratorError) none can. Whatever is raised, what was not computed is pending as before.
    """
    session = session or current()
    if session.recorder is not None and wanted is None:
        return                                  # a step that is recorded is one program
    with lock:
        if wanted is not None and wanted.buffer is not None:        # another thread was quicker
            return
        if len(sessions) > 1:
            session.forget_ended()
        roots: dict[Node, None] = {}
        held, left = session.held, []
        count, started = len(held), session.started
        for reference in held:                  # one pass over many that are dead, in each step of training
            tensor = reference()
            if tensor is not None:
                node = tensor.node
                if type(node) is not Unmade and node.buffer is None:
                    if node.spec.device is device and not (patient and node.seq > started and may_be_dropped(node)):
                        roots[node] = None
                    else:
                        left.append(reference)
        if wanted is not None:
            roots[wanted] = None
        together = True
        try:
            if len(sessions) > 1:               # of this graph, what others hold: once, without what they have beside
                elsewhere = session.elsewhere().difference(roots)
                compute([node for node in topological(roots) if node in elsewhere] if elsewhere else [], device)
            compute(roots, device)
        except AcceleratorError:
            raise
        except Exception:
            together = False
        if not together:        # out here the exception is gone, and with it the memory that its frames hold
            isolate(roots, wanted, device, session)
        else:
            held[:count] = left
        session.updated.discard(device)
        session.start_counting()


def may_be_dropped(node: Node) -> bool:
    """Whether a value of this step was differentiated already: a loss that nobody has read. Most are dropped in the
    next step; one that is still held then is computed with it."""
    return getattr(node.tape, "released", False)


def isolate(roots: Iterable[Node], wanted: Node | None, device: Device, session: Session) -> None:
    """Compute each root alone, after they failed together. Raises only for the one that is wanted: another that fails
    is no longer pending and raises when it is read."""
    failed: set[Node] = set()
    try:
        for node in roots:
            try:
                compute([node], device)
            except AcceleratorError:
                raise
            except Exception:
                failed.add(node)
                if node is wanted:
                    raise
    finally:
        session.keep(failed)


def parameter_changed(device: Device) -> None:
    """Note that a parameter was updated in place: a step of training ends here. It is computed before the next
    operation that requires grad is recorded, so every step is a graph of the same structure, its loss read or not."""
    session = current()
    session.updated.add(device)
    session.limit = 0


def settle(node: Node, session: Session) -> None:
    """Compute what is pending in this thread when a step has ended or the graph has grown past `MAX_PENDING`. `node`
    was just recorded and no tensor holds it yet."""
    if node.tape is not None and node.spec.device in session.updated and not session.watchers:
        flush(node.spec.device, None, node.spec.device.kind.native, session)
    elif node.seq > session.most or session.watchers:
        bound(node, session)


def bound(node: Node, session: Session) -> None:
    """Compute what is pending in this thread when the graph has grown past `MAX_PENDING`."""
    if session.watchers:
        tell(node)
    elif node.seq > session.most and session.full(node.seq):
        for device in dict.fromkeys((node.spec.device, *(n.spec.device for n in pending()))):
            flush(device)


def tell(node: Node, entry: Tape | None = None, index: int = 0) -> None:
    """Tell the watchers of an operation, or of the derivative of the one behind a tape entry by its source `index`."""
    with lock:
        for watcher in list(current().watchers):
            watcher(node, entry, index)
