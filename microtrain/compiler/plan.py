"""A program as a list of kernel launches on one device: memory is taken as it is needed and let go at its last use."""

from __future__ import annotations

from typing import Any

from .. import settings
from ..graph.node import SCALAR, Node
from ..runtime import backend
from .emit_triton import emit
from .group import Schedule
from .launch import Launch, encoded, launch_of
from .program import Program
from .schedule import schedule


class Executable:
    """A scheduled program. `kernels` is the number of launches of a run; `groups` what each of them computes."""

    def __init__(self, program: Program) -> None:
        self.groups: Schedule = schedule(program)
        self.program = self.groups.program
        device = program.device
        self.backend = backend(device.type, device.index)
        self.steps = [Step(launch_of(emit(group, self.groups), self.backend.arch)) for group in self.groups]
        self.kernels = len(self.steps)
        known = {*self.groups.place, *self.program.inputs}
        wanted = dict.fromkeys([*self.program.outputs, *[node for step in self.steps for node in step.pointers]])
        self.empty = [node for node in wanted if node not in known and node.spec.numel == 0]
        self.release_at_last_use()

    def release_at_last_use(self) -> None:
        """Tell each step which buffers nothing needs after it."""
        kept = {*self.program.inputs, *self.program.outputs}
        last = {node: step for step in self.steps for node in step.launch.kernel.pointers}
        for node, step in last.items():
            if node not in kept:
                step.dying.append(node)

    def run(self, values: list[Any]) -> list[Any]:
        """Fresh buffers of the outputs (row-major), given buffers, and Python numbers for scalars, of the inputs."""
        device = self.backend
        memory: dict[Node, Any] = dict(zip(self.program.inputs, values, strict=True))
        for node in self.empty:
            memory[node] = device.empty(node.spec)
        for step in self.steps:
            for node in step.stores:
                buffer = memory[node] = device.empty(node.spec)
                if settings.poison.value:
                    device.poison(buffer, node.spec)
            device.launch(step.launch, tuple([memory[node] for node in step.pointers]),
                          tuple([encoded(memory[node], node.dtype) for node in step.scalars]))
            if settings.validate.value and step.launch.kernel.group.domain.template != "opaque":
                self.validate(step, memory)
            for node in step.dying:
                del memory[node]
        return [memory[node] for node in self.program.outputs]

    def validate(self, step: Step, memory: dict[Node, Any]) -> None:
        """Compute what a step stored with NumPy too. Raises RuntimeError where the two differ."""
        from .validate import compare, largest, reference
        group = step.launch.kernel.group
        values = [memory[node] if node.primitive is SCALAR else self.backend.to_numpy(memory[node])
                  for node in group.reads]
        scale = largest(values)
        for node, expected in zip(group.stores, reference(group).run(values), strict=True):
            compare(group, node, self.backend.to_numpy(memory[node]), expected, scale)

    def describe(self) -> str:
        """Each kernel for a person to read: template, domain, operations, what it reads and writes, and its source."""
        return "\n".join(step.describe(number) for number, step in enumerate(self.steps, 1))


class Step:
    """One launch of a run."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.pointers, self.scalars = launch.kernel.pointers, launch.kernel.scalars
        self.stores = launch.kernel.group.stores
        self.dying: list[Node] = []

    def describe(self, number: int) -> str:
        kernel = self.launch.kernel
        group = kernel.group
        reads = [str(node.spec) for node in kernel.pointers if node not in self.stores]
        reads += [f"{len(kernel.scalars)} numbers"] if kernel.scalars else []
        lines = [f"kernel {number}: {group.domain}, grid {self.launch.grid}",
                 f"  reads  {', '.join(reads) or 'nothing'}",
                 f"  writes {', '.join(str(node.spec) for node in self.stores)}",
                 f"  computes {', '.join(node.primitive.name for node in group.members)} ({group.ops} operations)"]
        sources = "\n".join(function.source for function in kernel.emitted)
        return "\n".join(lines) + "\n" + "".join(f"    {line}\n" for line in sources.splitlines())


def build(program: Program) -> Executable:
    """A program compiled for its device: cuda, interpret or null."""
    return Executable(program)
