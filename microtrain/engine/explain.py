"""What pending tensors would become: the recorded graph and the kernels made of it, without computing anything.

The kernels are those of a GPU whatever the device, so that fusion can be read, and counted, on any machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .. import ops as g
from ..compiler.cpu.reference import evaluated
from ..compiler.program import Program, Value, listing, passed, sized
from ..compiler.schedule import schedule
from ..compiler.simplify import simplify
from ..compiler.templates.template import Group, Schedule
from ..files import replacing
from ..graph.node import Kind, Node
from ..graph.spec import Device
from ..runtime.lock import locked
from .handle import HasNode
from .plans import linearize
from .session import current, pending

TEXT_SUFFIXES = (".dot", ".gv")
"""Files that `Explanation.draw` writes as DOT text, without Graphviz."""

PICTURE_SUFFIXES = (".svg", ".png", ".pdf", ".ps", ".jpg", ".gif")
"""Files that Graphviz renders."""


def explain(*tensors: HasNode, file: IO[str] | None = None, draw: str | os.PathLike[str] | None = None) -> Explanation:
    """Print the graph behind pending tensors and the kernels that it would become on a GPU; nothing is computed.

    Args:
        tensors: tensors of any shape, dtype and device (also `cpu` and `null`); none at all: everything pending, which
            is what reading one value computes.
        file: where the text, `str()` of the Explanation returned, goes; by default to standard output.
        draw: a file for the picture too. Raises as `Explanation.draw`.
    """
    for tensor in tensors:
        if not isinstance(getattr(tensor, "node", None), Node):
            raise TypeError(f"explain() takes tensors, not {type(tensor).__name__}")
    with uncounted():
        explanation = Explanation([tensor.node for tensor in tensors] if tensors else pending())
    print(explanation, file=file)
    if draw is not None:
        explanation.draw(draw)
    return explanation


@contextmanager
def uncounted() -> Iterator[None]:
    """Nodes recorded inside do not count as pending operations: explaining never brings a computation forward."""
    session = current()
    first = session.ordinal()
    try:
        yield
    finally:
        session.discount(session.ordinal() + 1 - first)


@dataclass(frozen=True)
class KernelSummary:
    """One kernel: its template, what it runs over, the names of the values it reads and writes, its operations.

    `operations` lists primitives by name, those computed inline included, views and constants not.
    """

    template: str
    domain: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    operations: tuple[str, ...]

    def __str__(self) -> str:
        times = Counter(self.operations)
        operations = ", ".join(name if n == 1 else f"{name} x{n}" for name, n in times.items())
        return (f"{self.template} over {self.domain}\n"
                f"    reads    {', '.join(self.reads) or 'nothing'}\n"
                f"    writes   {', '.join(self.writes)}\n"
                f"    computes {operations or 'a copy'}")


class Explanation:
    """The graphs behind some nodes and their kernels, as they were when it was made: it holds text, no values.

    `kernels` is the number of launches on a GPU; `summaries` tells of each; `nodes` counts the recorded nodes, leaves
    included. `str()` gives the text, `dot()` the picture as DOT, `draw(path)` a file.
    """

    @locked
    def __init__(self, roots: Iterable[Node]) -> None:
        wanted = list(dict.fromkeys(roots))
        self.summaries: list[KernelSummary] = []
        self.nodes = 0
        self._text = [f"at hand: {node.spec}, nothing to compute" for node in wanted if node.buffer is not None]
        self._dot: list[str] = []
        uncomputed = [node for node in wanted if node.buffer is None]
        for device in dict.fromkeys(node.device for node in uncomputed):
            self._explain([node for node in uncomputed if node.device is device], device)
        if not wanted:
            self._text.append("nothing is pending")

    @property
    def kernels(self) -> int:
        """How many kernels the tensors would take on a GPU."""
        return len(self.summaries)

    def _explain(self, roots: list[Node], device: Device) -> None:
        """Add the program of some pending nodes on one device."""
        order, key, outputs = linearize(roots)
        recorded = Program.read(key)
        groups = schedule(simplify(recorded, native=False))
        names = named(groups, [f"%{value.number}" for value in recorded.inputs], [f"%{i}" for i in outputs])
        found = summaries(groups, names)
        others = sum(1 for node in pending() if node.device is device and node not in roots)
        beside = f" ({others} other pending values there would be computed with it)" if others else ""
        graph = recorded_listing(recorded, order, set(roots))
        self._text += [f"graph of {len(order)} nodes on {device}{beside}", *graph,
                       f"kernels on a GPU: {len(found)}", *numbered(found)]
        self._dot += clusters(groups, names, f"p{self.nodes}_")
        self.summaries += found
        self.nodes += len(order)

    def __str__(self) -> str:
        return "\n".join(self._text)

    def __repr__(self) -> str:
        return f"<Explanation: {self.nodes} nodes, {self.kernels} kernels>"

    def dot(self) -> str:
        """The scheduled graph as DOT text, each kernel a cluster; what two kernels compute inline stands in both."""
        head = ["digraph microtrain {", '  node [shape=box, fontname="Helvetica", fontsize=10];',
                '  graph [fontname="Helvetica", fontsize=11];']
        return "\n".join([*head, *self._dot, "}"]) + "\n"

    def draw(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture: DOT text to a .dot or .gv file, which always works, others through Graphviz's `dot`.
        Returns the path. Raises ValueError for an unknown suffix, RuntimeError where `dot` is missing (saying what to
        install) or fails, OSError where the file cannot be written; nothing half-written is left."""
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix in TEXT_SUFFIXES:
            content = self.dot().encode()
        elif suffix in PICTURE_SUFFIXES:
            content = rendered(self.dot(), suffix[1:])
        else:
            raise ValueError(f"cannot draw to {str(target)!r}: the file's suffix is one of "
                             f"{', '.join((*TEXT_SUFFIXES, *PICTURE_SUFFIXES))}")
        with replacing(target) as temporary:
            temporary.write_bytes(content)
        return target


def describe_kernels(program: Program) -> str:
    """The kernels of a program on a GPU, numbered; `a0`, `a1`, ... are its inputs, `out0`, ... its outputs."""
    groups = schedule(program)
    names = named(groups, [f"a{i}" for i in range(len(program.inputs))],
                  [f"out{i}" for i in range(len(program.outputs))])
    return "\n".join(numbered(summaries(groups, names))) or "no kernels"


def named(groups: Schedule, inputs: list[str], outputs: list[str]) -> dict[Value, str]:
    """What each value in memory is called: inputs and outputs as given, what passes between kernels `t1`, `t2`, ..."""
    names = dict(zip(groups.program.inputs, inputs, strict=True))
    for node, name in zip(groups.program.outputs, outputs, strict=True):
        names[node] = f"{names[node]} = {name}" if node in names else name
    between = [node for group in groups for node in group.stores if node not in names]
    return names | {node: f"t{number}" for number, node in enumerate(between, 1)}


def summaries(groups: Schedule, names: dict[Value, str]) -> list[KernelSummary]:
    """Each kernel in words."""
    found = []
    for group in groups:
        operations = [node.primitive.name for node in evaluated(group.members, group.reads)
                      if node.primitive.kind not in (Kind.VIEW, Kind.CONSTANT)]
        reads = [f"{names[node]} {passed(node)}" for node in group.reads]
        writes = [f"{names[node]} {sized(node)}" for node in group.stores]
        found.append(KernelSummary(group.template.name, group.template.extent(), tuple(reads), tuple(writes),
                                   tuple(operations)))
    return found


def numbered(kernels: list[KernelSummary]) -> list[str]:
    """The lines of a list of kernels."""
    return [f"  kernel {number}: {kernel}" for number, kernel in enumerate(kernels, 1)]


def recorded_listing(program: Program, order: list[Node], roots: set[Node]) -> list[str]:
    """The recorded graph whose nodes are `order`, one assignment a line."""
    marks: dict[Value, str] = {}
    numbers: dict[Value, str] = {}
    for value, node in zip(program.values, order, strict=True):
        if value.primitive is g.SCALAR:
            numbers[value] = str(node.buffer)
            marks[value] = "a number, passed at run time"
        elif node.buffer is not None:
            marks[value] = "at hand"
        else:
            kept = "kept for a derivative" if node.holders and node.sources else ""
            marks[value] = "result" if node in roots else kept
    return listing(program, marks, numbers)


# ------------------------------------------------------------------------------------------------------------- pictures

def clusters(groups: Schedule, names: dict[Value, str], prefix: str) -> list[str]:
    """DOT statements of one program: its leaves, and a cluster for each kernel. `prefix` keeps names apart."""
    lines = []
    leaf = {node: f"{prefix}leaf{i}" for i, node in enumerate(groups.program.inputs)}
    for node, name in leaf.items():
        lines.append(f"  {name} [label={label(names[node], passed(node))}, shape=ellipse];")
    home = dict(leaf)
    edges: list[str] = []
    for number, group in enumerate(groups, 1):
        local: dict[Value, str] = {}
        lines += [f"  subgraph cluster_{prefix}{number} {{",
                  f"    label={label(f'kernel {number}: {group.template.name}', group.template.extent())};",
                  '    style="rounded,filled"; color="#9aa8b8"; fillcolor="#f2f5f9";']
        for i, node in enumerate(evaluated(group.members, group.reads)):
            local[node] = f"{prefix}k{number}_{i}"
            lines.append(f"    {local[node]} [{look(node, group, names)}];")
            edges += [f"  {local.get(source) or home[source]} -> {local[node]};" for source in node.sources]
        lines.append("  }")
        home |= {node: local[node] for node in group.stores}
    return lines + edges


def look(node: Value, group: Group, names: dict[Value, str]) -> str:
    """How a node inside a kernel is drawn: constants bare, views dashed, what is written to memory bold and named."""
    kind = node.primitive.kind
    if kind is Kind.CONSTANT:
        return f"label={label(str(node.attrs[0]))}, shape=plaintext"
    if node in group.stores:
        return f"label={label(f'{names[node]}: {node.primitive.name}', sized(node))}, style=bold"
    return f"label={label(node.primitive.name, sized(node))}" + (", style=dashed" if kind is Kind.VIEW else "")


def label(*lines: str) -> str:
    """A DOT string of some lines."""
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return '"' + "\\n".join(escaped) + '"'


def rendered(dot: str, kind: str) -> bytes:
    """A picture of DOT text. Raises RuntimeError where Graphviz is missing or fails."""
    program = shutil.which("dot")
    if program is None:
        raise RuntimeError(f"drawing a .{kind} file needs Graphviz's `dot` program: install graphviz with apt, dnf, "
                           "brew or conda (pip's graphviz only calls that program), or draw to a .dot file, which "
                           "needs nothing")
    run = subprocess.run([program, f"-T{kind}"], input=dot.encode(), capture_output=True, check=False)
    if run.returncode:
        raise RuntimeError(f"Graphviz could not draw the graph: {run.stderr.decode(errors='replace').strip()}")
    return run.stdout
