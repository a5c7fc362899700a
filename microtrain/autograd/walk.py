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
from ..graph.node import RULES, Node
from ..graph.tape import Entry, Leaf, grad_mode, overwritten, tape_of
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
    state = _Walk(needed)
    for node, ct in zip(outputs, cotangents, strict=True):
        state.push(node, ct)
    before, grad_mode.enabled = grad_mode.enabled, create_graph
    found: dict[Tape, Node] = {}
    heap, cts, outs = state.heap, state.cts, state.outs
    most = realize.started[0] + realize.MAX_PENDING
    try:
        while heap:
            tape = heappop(heap)[1]
            ct = cts.pop(tape)
            kind = tape.__class__
            if kind is FunctionEntry:
                for edge, source_ct in tape.apply(ct, create_graph):
                    state.push(edge, source_ct)
                if not retain_graph:
                    tape.release()
                continue
            if tape.hooks is not None:
                for hook in list(tape.hooks.values()):
                    ct = hook(ct)
            if wanted is None:
                if kind is Leaf:
                    found[tape] = ct
            elif tape in wanted:
                found[tape] = ct
            if isinstance(tape, Entry):
                out = outs.pop(tape, None)
                spread(tape, ct, out, state)
                if not retain_graph:
                    tape.release(out)
                if ct.seq > most:
                    state.compute_pending()
                    most = realize.started[0] + realize.MAX_PENDING
            elif isinstance(tape, FunctionOutput):
                state.collect(tape, ct)
    finally:
        grad_mode.enabled = before
    return found


class _Walk:
    """Cotangents on their way, and the entries still to visit, latest recorded first."""

    __slots__ = ("cts", "heap", "needed", "outs")

    def __init__(self, needed: set[Tape] | None) -> None:
        self.heap: list[tuple[int, Tape]] = []
        self.cts: dict[Tape, Any] = {}
        self.outs: dict[Tape, Node] = {}
        self.needed = needed

    def push(self, edge: Any, ct: Node) -> None:
        """Add a cotangent to what has arrived at an edge."""
        if edge.__class__ is Node:
            tape = edge.tape
            self.outs[tape] = edge
        else:
            tape = edge
        if self.needed is not None and tape not in self.needed:
            return
        have = self.cts.get(tape)
        if have is None:
            self.cts[tape] = ct
            heappush(self.heap, (-tape.seq, tape))
        else:
            self.cts[tape] = g.add(have, ct)

    def collect(self, output: FunctionOutput, ct: Node) -> None:
        """Hand the cotangent of one output of a user's function to the function."""
        parent = output.parent
        if parent not in self.cts:
            self.cts[parent] = {}
            heappush(self.heap, (-parent.seq, parent))
        self.cts[parent][output.index] = ct

    def compute_pending(self) -> None:
        """Compute what has been recorded so far, when the walk itself has grown the graph past the limit."""
        nodes = [ct for ct in self.cts.values() if isinstance(ct, Node) and ct.buffer is None and ct.sources]
        for device in {node.device for node in nodes}:
            realize.compute([node for node in nodes if node.device is device], device)
        realize.start_counting()


def spread(entry: Entry, ct: Node, out: Node | None, state: _Walk) -> None:
    """Send an entry's cotangent to its sources, undoing broadcasting."""
    if entry.keeps:
        if entry.released:
            raise RuntimeError(AGAIN)
        if overwritten[0]:
            check_versions(entry, out)
    signature, sources, needed = entry.signature, entry.sources, state.needed
    rule = RULES[signature.primitive.name]
    functions, inputs = rule.functions, signature.inputs
    for i, edge in enumerate(entry.edges):
        if edge is None or (needed is not None and tape_of(edge) not in needed):
            continue
        if rule.variadic:
            source_ct = functions[0](i, ct, out, *sources, *signature.attrs)
        else:
            source_ct = functions[i](ct, out, *sources, *signature.attrs)
        want = inputs[i]
        if source_ct.spec is not want:
            if source_ct.spec.shape != want.shape:
                source_ct = g.sum_to(source_ct, want.shape)
            source_ct = g.cast(source_ct, want.dtype)
        state.push(edge, source_ct)


def check_versions(entry: Entry, out: Node | None) -> None:
    """Raise, in PyTorch's words, when a value that the rule needs has since been changed in place."""
    kept = [s for s in entry.sources if s.__class__ is Node]
    if entry.saves_out and out is not None:
        kept.append(out)
    for node in kept:
        if node.storage is not None:                    # type: ignore[union-attr]
            cell, version = node.storage                # type: ignore[union-attr]
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
        if tape in targets or any(tape_of(edge) in needed for edge in edges(tape) if edge is not None):
            needed.add(tape)
    return needed


def edges(tape: Tape) -> Sequence[Any]:
    """The edges of any kind of tape entry."""
    return () if tape.__class__ is Leaf else tape.edges
