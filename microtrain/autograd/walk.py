"""The walk: from outputs back to leaves, in reverse order of recording, adding up cotangents.

Rules record ordinary nodes, so with `create_graph` the gradients are differentiable like anything else. Nothing is
computed here: the backward graph joins the forward graph and is computed with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

from .. import ops as g
from ..engine import run
from ..engine.session import MAX_PENDING, current
from ..graph.node import Node
from ..graph.spec import Spec
from ..graph.tape import DeadEnd, Entry, Leaf, Recorded, Tape, grad_mode, tape_of
from ..runtime.lock import lock
from .checks import hook_result
from .recorded import FunctionEntry, FunctionOutput, Refusal
from .replay import Visit, replays
from .saved import AGAIN, check_versions, fitted, living, read


def walk(outputs: Sequence[Node], cotangents: Sequence[Node], targets: Sequence[Tape | None] | None, *,
         retain_graph: bool, create_graph: bool, through: bool = False) -> dict[Tape, Node]:
    """Cotangents of the tape entries `targets`, or of every leaf reached when `targets` is None; hooks are called. The
    targets' own rules are used only where they lead to another target, or with `through`."""
    session = current()
    depth = len(session.visiting)
    before, grad_mode.enabled = grad_mode.enabled, create_graph         # no call from here to the block
    try:
        if targets is not None or len(outputs) > 1 or retain_graph or create_graph or session.watchers:
            reached = hooked_leaves(explore(outputs, cotangents, targets, retain_graph, create_graph, None, through))
            return reached if targets is None else {tape: reached[tape] for tape in targets if tape in reached}
        first = session.ordinal()               # the backward of a training step: most were walked before
        room = session.since + MAX_PENDING - first
        found = replays.run(outputs[0], cotangents[0], room)
        if found is None:
            visits: list[Visit] = []
            found = explore(outputs, cotangents, None, False, False, visits, False)
            size = session.ordinal() - first
            if size <= room:
                replays.learn(outputs[0], cotangents[0], visits, size)
        return hooked_leaves(found) if Leaf.hooked else found
    finally:
        grad_mode.enabled = before
        del session.visiting[depth:]


def explore(outputs: Sequence[Node], cotangents: Sequence[Node], targets: Iterable[Tape | None] | None,
            retain_graph: bool, create_graph: bool, learnt: list[Visit] | None, through: bool) -> dict[Tape, Node]:
    """The walk itself; adds to `learnt` the entries it comes to, with their edges and what it made at each."""
    # What leads to a dead end alone is not visited: nothing arrives there.
    wanted = None if targets is None else {tape for tape in targets if tape.__class__ is not DeadEnd}
    needed = None if wanted is None else leading_to(wanted, outputs)
    through = through or wanted is None
    heap: list[tuple[int, Tape]] = []           # entries still to visit, latest recorded first
    cts: dict[Tape, Any] = {}                   # what has arrived at each
    outs: dict[Tape, Node] = {}                 # the outputs that rules ask for
    found: dict[Tape, Node] = {}
    session = current()
    watching, depth = session.watchers, len(session.visiting)
    once = wanted is None and not retain_graph      # whatever is reached is visited, and let go of
    learning, visits = learnt is not None, [] if learnt is None else learnt

    def push(edge: Any, ct: Node | None) -> Any:
        """Add a cotangent to what has arrived at an edge; returns the sum. None is none: it goes on to users'
        functions, which see it as zeros."""
        if edge.__class__ is Node:
            tape: Any = edge.tape
            if tape.saves_out:
                outs[tape] = edge
        else:
            tape = edge
        if tape.__class__ is DeadEnd or (ct is None and (tape.__class__ is Leaf or tape in cts)):
            return None
        arrived: dict[Tape, Any] = found if tape.__class__ is Leaf else cts
        if tape not in arrived:
            arrived[tape] = ct
            if arrived is cts:
                heappush(heap, (-tape.seq, tape))
        else:
            known = arrived[tape]
            arrived[tape] = ct if known is None or ct is None else g.add(known, ct)
        return arrived[tape]

    for node, cotangent in zip(outputs, cotangents, strict=True):
        if needed is None or len(outputs) == 1 or node.tape in needed:      # the hooks of a single one are called
            push(node, cotangent)
    while heap:
        tape = heappop(heap)[1]
        ct = cts.pop(tape)
        made: list[tuple[int, Node, Node]] = []
        visits.append(Visit(tape, tape.edges, made))
        if learning and (tape.hooks is not None or not isinstance(tape, Entry)):
            learning = unlearned(visits)        # what a user's code computes must not be held on to
        arriving = ct
        if watching:
            session.visiting[depth:] = [tape]
        if tape.hooks is not None and ct is not None:
            ct = hooked(tape, ct)
        if wanted is not None:
            onward = leads_on(tape, needed)
            if tape in wanted and ct is not None:
                found[tape] = arriving if onward else ct        # as in PyTorch
            if not (onward or (through and tape in wanted) or isinstance(tape, FunctionEntry)):
                continue            # its own rule is not used: nothing need be kept for it, or is let go of
        if isinstance(tape, Entry):
            pullback, sources, edges = tape.pullback, tape.sources, tape.edges
            out = outs.pop(tape, None) if pullback.saves_out else None
            steps: Iterable[tuple[int, Spec]] = pullback.steps
            if pullback.keeps:
                if not tape.released:
                    check_versions(tape, out)
                elif read(tape):
                    raise RuntimeError(AGAIN)
                else:                           # its rule reads something for dead ends alone
                    steps = living(tape)
            rule, attrs = pullback.rule, pullback.attrs
            for i, want in steps:
                edge = edges[i]
                if needed is not None and tape_of(edge) not in needed:
                    continue
                if ct is None:
                    push(edge, None)
                    continue
                source_ct = (rule.functions[0](i, ct, out, *sources, *attrs) if rule.variadic else
                             rule.functions[i](ct, out, *sources, *attrs))
                if source_ct.spec is not want:
                    source_ct = fitted(source_ct, want)
                if rule.flat and grad_mode.enabled:
                    source_ct = tied(source_ct, edge)
                if watching:
                    run.tell(source_ct, tape, i)
                total = push(edge, source_ct)
                if learning:
                    made.append((i, source_ct, total))
            if pullback.keeps and not retain_graph:
                tape.release(out)
            if ct is not None and ct.seq > session.most and session.full(ct.seq):
                learning = unlearned(visits)
                compute_pending(cts.values())
        elif isinstance(tape, FunctionOutput):
            tape.hand_over(ct, cts, heap)
        elif isinstance(tape, FunctionEntry):
            for i, edge, given in tape.apply(ct):
                if watching and given is not None:
                    run.tell(given, tape, i)
                if needed is None or tape_of(edge) in needed:
                    push(edge, given)
            if not retain_graph:
                tape.release()
        elif isinstance(tape, Refusal):
            raise RuntimeError(tape.message)
    if once:                    # the tape of a kept loss need not hold what rules asked for; one that failed goes on
        for tape, *_ in visits:
            if isinstance(tape, Entry) and tape.bare:
                tape.edges = tuple(map(tape_of, tape.edges))
    if not retain_graph:
        for node in outputs:
            if isinstance(node.tape, Entry) and not node.tape.pullback.keeps:
                node.tape.released = True           # nothing to let go of; but it was differentiated
    return found


def unlearned(visits: Iterable[Visit]) -> bool:
    """Forget what a walk made that is not to be made again; False."""
    for visit in visits:
        visit.made.clear()
    return False


def hooked(tape: Tape, ct: Node) -> Node:
    """A cotangent after the hooks on its tensor, which may replace it or change it in place; then it is retained."""
    hooks = tape.hooks
    assert hooks is not None
    for hook in list(hooks.values()):
        given = hooks.tensor(ct)
        result = hook(given)
        ct = hook_result(hook, result, given.node)
    for reference in hooks.retaining:
        tensor = reference()
        if tensor is not None:
            current().retained.append((tensor, tensor._grad))
            tensor.retain(ct, tape)
    return ct


def hooked_leaves(found: dict[Tape, Node]) -> dict[Tape, Node]:
    """What was found, after the hooks on leaves; those on other tensors were called where they stand."""
    for tape, ct in found.items():
        if tape.__class__ is Leaf and tape.hooking is not None and tape.hooks is not None:
            found[tape] = hooked(tape, ct)
    return found


def tied(ct: Node, edge: Recorded | Tape | None) -> Node:
    """A cotangent that depends on what lies behind an edge as well, with derivative 0."""
    behind = g.full(0, ct.shape, ct.dtype, ct.device)
    behind.tape = tape_of(edge)
    node = g.overwrite(ct, behind)
    assert isinstance(node.tape, Entry)
    node.tape.edges = (ct, edge)        # the very edge: a rule behind it may ask for its output
    return node


def compute_pending(cotangents: Iterable[object]) -> None:
    """Compute what has been recorded so far, when the walk itself has grown the graph past the limit."""
    nodes = dict.fromkeys(ct for ct in cotangents if isinstance(ct, Node) and ct.buffer is None and ct.sources)
    for device in {node.device for node in nodes}:
        with lock:
            run.compute([node for node in nodes if node.device is device], device)
    current().start_counting()


def leading_to(targets: set[Tape | None], outputs: Iterable[Node]) -> set[Tape]:
    """The entries behind `outputs` from which some target is reached."""
    seen: set[Tape] = set()
    stack = [node.tape for node in outputs if node.tape is not None]
    while stack:
        tape = stack.pop()
        if tape not in seen:
            seen.add(tape)
            stack.extend(t for t in map(tape_of, tape.edges) if t is not None and t not in seen)
    needed: set[Tape] = set()
    for tape in sorted(seen, key=lambda t: t.seq):
        if tape in targets or leads_on(tape, needed):
            needed.add(tape)
    return needed


def leads_on(tape: Tape, needed: set[Tape] | None) -> bool:
    """Whether some source of an entry is among those needed."""
    return needed is None or any(tape_of(edge) in needed for edge in tape.edges if edge is not None)
