"""The walk: from outputs back to leaves, in reverse order of recording, adding up cotangents.

Rules record ordinary nodes, so with `create_graph` the gradients are differentiable like anything else. Nothing is
computed here: the backward graph joins the forward graph and is computed with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

from ..compiler import realize
from ..graph import ops as g
from ..graph.node import Node
from ..graph.spec import Spec
from ..graph.tape import Entry, Leaf, grad_mode, hooks, overwritten, tape_of, versions
from .function import FunctionEntry, FunctionOutput

Tape = Any

AGAIN = ("Trying to backward through the graph a second time (or directly access saved tensors after they have already "
         "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
         "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
         "saved tensors after calling backward.")


def walk(outputs: Sequence[Node], cotangents: Sequence[Node], targets: Iterable[Tape] | None, *, retain_graph: bool,
         create_graph: bool) -> dict[Tape, Node]:
    """Cotangents of the tape entries `targets`, or of every leaf reached when `targets` is None.

    Without `retain_graph`, what the tape kept for the entries walked is released.
    """
    wanted = None if targets is None else set(targets)
    needed = None if wanted is None else leading_to(wanted, outputs)
    heap: list[tuple[int, Tape]] = []           # entries still to visit, latest recorded first
    cts: dict[Tape, Any] = {}                   # what has arrived at each
    outs: dict[Tape, Node] = {}                 # the outputs that rules may ask for
    found: dict[Tape, Node] = {}
    most = realize.started[0] + realize.MAX_PENDING
    hooking, checking, watching = len(hooks) > 0, overwritten[0], realize.watchers
    once = wanted is None and not retain_graph      # whatever is reached is visited, and let go of

    def push(edge: Any, ct: Node) -> None:
        """Add a cotangent to what has arrived at an edge."""
        if edge.__class__ is Node:
            tape: Tape = edge.tape
            outs[tape] = edge
        else:
            tape = edge
        if needed is not None and tape not in needed:
            return
        if tape.__class__ is Leaf:
            have = found.get(tape)
            found[tape] = ct if have is None else g.add(have, ct)
            return
        have = cts.get(tape)
        if have is None:
            cts[tape] = ct
            heappush(heap, (-tape.seq, tape))
        else:
            cts[tape] = g.add(have, ct)

    for node, cotangent in zip(outputs, cotangents, strict=True):
        push(node, cotangent)
    before, grad_mode.enabled = grad_mode.enabled, create_graph
    try:
        while heap:
            tape = heappop(heap)[1]
            ct = cts.pop(tape)
            if hooking and tape in hooks:
                ct = hooked(tape, ct)
            if wanted is not None and tape in wanted:
                found[tape] = ct
                if not leads_on(tape, needed):
                    continue            # its own rule is not used: nothing need be kept for it, or is let go of
            if isinstance(tape, Entry):
                out = outs.pop(tape, None) if tape.saves_out else None
                if tape.keeps:
                    if tape.released:
                        raise RuntimeError(AGAIN)
                    if checking:
                        check_versions(tape, out)
                signature, sources = tape.signature, tape.sources
                rule: Any = signature.rule
                i = -1
                for edge in tape.edges:
                    i += 1
                    if edge is None or (needed is not None and tape_of(edge) not in needed):
                        continue
                    source_ct = (rule.functions[0](i, ct, out, *sources, *signature.attrs) if rule.variadic else
                                 rule.functions[i](ct, out, *sources, *signature.attrs))
                    if source_ct.spec is not signature.inputs[i]:
                        source_ct = fitted(source_ct, signature.inputs[i])
                    if watching:
                        realize.tell(source_ct, tape)
                    push(edge, source_ct)
                    if once and edge.__class__ is Node:
                        tape.edges[i] = edge.tape       # `outs` has the value; the tape of a kept loss need not hold it
                if tape.keeps and not retain_graph:
                    tape.release(out)
                if ct.seq > most:
                    compute_pending(cts.values())
                    most = realize.started[0] + realize.MAX_PENDING
            elif isinstance(tape, FunctionOutput):
                tape.hand_over(ct, cts, heap)
            elif isinstance(tape, FunctionEntry):
                for edge, source_ct in tape.apply(ct, create_graph):
                    push(edge, source_ct)
                if not retain_graph:
                    tape.release()
        for tape, ct in found.items():
            if tape.__class__ is Leaf and tape in hooks:
                found[tape] = hooked(tape, ct)
        if not retain_graph:
            for node in outputs:
                if isinstance(node.tape, Entry) and not node.tape.keeps:
                    node.tape.released = True           # nothing to let go of; but it was differentiated
    finally:
        grad_mode.enabled = before
    return found


def hooked(tape: Tape, ct: Node) -> Node:
    """A cotangent after the hooks on its tensor."""
    for hook in list(hooks[tape].values()):
        ct = hook(ct)
    return ct


def fitted(ct: Node, want: Spec) -> Node:
    """A cotangent in its source's shape and dtype: broadcasting is undone here, and only here."""
    return g.cast(g.sum_to(ct, want.shape), want.dtype)


def compute_pending(cotangents: Iterable[Any]) -> None:
    """Compute what has been recorded so far, when the walk itself has grown the graph past the limit."""
    nodes = [ct for ct in cotangents if isinstance(ct, Node) and ct.buffer is None and ct.sources]
    for device in {node.device for node in nodes}:
        realize.compute([node for node in nodes if node.device is device], device)
    realize.start_counting()


def check_versions(entry: Entry, out: Node | None) -> None:
    """Raise, in PyTorch's words, when a value that the rule needs has since been changed in place."""
    kept = [s for s in entry.sources if s.__class__ is Node]
    if entry.saves_out and out is not None:
        kept.append(out)
    for node in kept:
        if node in versions:
            cell, version = versions[node]
            if cell.version != version:
                kind = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16"}.get(
                    node.dtype.name, node.dtype.name)
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"[torch.{kind}Tensor {list(node.shape)}], which is output 0 of "
                    f"{getattr(getattr(node, 'tape', None), 'name', 'a leaf')}, is at version {cell.version}; expected "
                    f"version {version} instead. Hint: the operation that needs it is {entry.name}.")


def leading_to(targets: set[Tape], outputs: Iterable[Node]) -> set[Tape]:
    """The entries behind `outputs` from which some target is reached."""
    seen: set[Tape] = set()
    stack = [node.tape for node in outputs if node.tape is not None]
    while stack:
        tape = stack.pop()
        if tape not in seen:
            seen.add(tape)
            stack.extend(t for t in map(tape_of, edges(tape)) if t is not None and t not in seen)
    needed: set[Tape] = set()
    for tape in sorted(seen, key=lambda t: t.seq):
        if tape in targets or leads_on(tape, needed):
            needed.add(tape)
    return needed


def leads_on(tape: Tape, needed: set[Tape] | None) -> bool:
    """Whether some source of an entry is among those needed."""
    return needed is None or any(tape_of(edge) in needed for edge in edges(tape) if edge is not None)


def edges(tape: Tape) -> Sequence[Any]:
    """The edges of any kind of tape entry."""
    return () if tape.__class__ is Leaf else tape.edges
