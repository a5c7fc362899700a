"""``python -m microtrain kernels --target sm_90``: what the kernels would use on a GPU, found out without one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from microtrain.cli.errors import UsageError
from microtrain.compiler.launch import Launch
from microtrain.compiler.plan import Executable, build
from microtrain.compiler.realize import linearize
from microtrain.compiler.simplify import simplify
from microtrain.graph import dtypes
from microtrain.graph import ops as g
from microtrain.graph.dtypes import DType
from microtrain.graph.node import Node, leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import backend
from microtrain.runtime.null import TARGETS, Resources

Operand = Callable[..., Node]
"""`x(4096, 1024)` is a tensor in memory of that shape; `dtype=` its dtype, float32 unless told."""

LARGE = 1 << 24
"""Elements of the elementwise cases."""

WIDE = 128
"""Bits of the widest access a thread has: what each kernel should reach where sizes divide."""


@dataclass(frozen=True)
class Case:
    """A program that stands for a use of a template. `wide` says that its accesses can be 16 bytes wide."""

    name: str
    make: Callable[[Operand], list[Node]]
    wide: bool = True


def _map(x: Operand) -> list[Node]:
    a = x(LARGE)
    return [g.mul(g.add(g.exp(a), x(LARGE)), g.tanh(a))]


def _map_of(dtype: DType) -> Callable[[Operand], list[Node]]:
    return lambda x: [g.mul(g.sigmoid(x(LARGE, dtype=dtype)), x(LARGE, dtype=dtype))]


def _special(x: Operand) -> list[Node]:
    return [g.atan2(g.erfc(x(LARGE)), g.log10(x(LARGE)))]


def _normal(x: Operand) -> list[Node]:
    return [g.normal(7, 9, (LARGE,), dtypes.float32, x(1).device)]


def _views(x: Operand) -> list[Node]:
    half = g.slice(x(8192, 4096), (4096, 0), (4096, 4096), (1, 1))
    return [g.add(g.reshape(half, (LARGE,)), g.reshape(g.transpose(x(4096, 4096)), (LARGE,)))]


def _softmax(x: Operand) -> list[Node]:
    return [g.softmax(x(4096, 1024), 1)]


def _softmax_backward(x: Operand) -> list[Node]:
    out, ct = x(4096, 1024), x(4096, 1024)
    return [g.mul(out, g.sub(ct, g.sum(g.mul(ct, out), (1,), keepdim=True)))]


def _layer_norm(x: Operand) -> list[Node]:
    a = x(4096, 1024)
    centred = g.sub(a, g.keep(g.mean(a, (1,)), a.shape, (1,)))
    scale = g.rsqrt(g.add(g.keep(g.var(a, (1,), 0), a.shape, (1,)), 1e-5))
    return [g.add(g.mul(g.mul(centred, scale), x(1024)), x(1024))]


def _column_sum(x: Operand) -> list[Node]:
    return [g.sum(x(256, 1024), (0,))]


def _full_sum(x: Operand) -> list[Node]:
    return [g.sum(x(1 << 22), (0,))]


def _long_rows(x: Operand) -> list[Node]:
    return [g.sum(x(256, 1 << 16), (1,))]


def _linear(dtype: DType) -> Callable[[Operand], list[Node]]:
    def make(x: Operand) -> list[Node]:
        product = g.matmul(x(1024, 512, dtype=dtype), x(512, 256, dtype=dtype))
        return [g.relu(g.add(product, x(256, dtype=dtype)))]
    return make


def _weight_update(x: Operand) -> list[Node]:
    gradient = g.matmul(g.transpose(x(1024, 256)), x(1024, 512))
    momentum = g.add(g.mul(x(256, 512), 0.9), gradient)
    return [momentum, g.sub(x(256, 512), g.mul(momentum, 0.1))]


CASES = (
    Case("elementwise", _map),
    Case("elementwise, float64", _map_of(dtypes.float64)),
    Case("elementwise, bfloat16", _map_of(dtypes.bfloat16)),
    Case("special functions", _special),
    Case("normal random numbers", _normal),
    Case("slice + transpose", _views),
    Case("softmax", _softmax),
    Case("softmax backward", _softmax_backward),
    Case("layer norm", _layer_norm),
    Case("column sum", _column_sum),
    Case("sum of 4 M elements", _full_sum),
    Case("sums of rows of 65536", _long_rows),
    Case("linear + relu", _linear(dtypes.float32)),
    Case("linear + relu, bfloat16", _linear(dtypes.bfloat16)),
    Case("linear + relu, float64", _linear(dtypes.float64)),
    Case("weight gradient + update", _weight_update),
)


@dataclass(frozen=True)
class Row:
    """One compiled kernel of the table."""

    name: str
    template: str
    resources: Resources
    reads: bool
    wide: bool

    @property
    def problems(self) -> list[str]:
        """What a kernel should not do: spill registers, or touch memory a few bytes at a time."""
        found = []
        if self.resources.spills:
            found.append(f"{self.name} ({self.template}): spills {self.resources.spills}")
        bits = self.resources.load_bits if self.reads else self.resources.store_bits
        if self.wide and bits < WIDE:
            found.append(f"{self.name} ({self.template}): its widest access is {bits} bits, not {WIDE}")
        return found


def compiled(case: Case, target: str) -> Iterator[Row]:
    """The kernels of a case, compiled for a target."""
    device = Device(f"null:{target}")
    memory = backend("null", target)

    def operand(*shape: int, dtype: DType = dtypes.float32) -> Node:
        of = spec(shape, dtype, device)
        return leaf(memory.empty(of), of)

    order, _, outputs, values = linearize(case.make(operand))
    program, _ = simplify(order, [order[i] for i in outputs], device)
    plan: Executable = build(program)
    plan.run(values)
    for step in plan.steps:
        launch: Launch = step.launch
        reads = len(launch.kernel.pointers) > len(step.stores)
        yield Row(case.name, launch.kernel.group.domain.template, memory.resources[launch], reads, case.wide)


def table(rows: list[Row]) -> str:
    """The rows as text, in columns."""
    heads = ("kernel", "template", "registers", "spills", "shared B", "load bits", "store bits")
    cells = []
    for row in rows:
        r = row.resources
        cells.append((row.name, row.template, *map(str, (r.registers, r.spills, r.shared_bytes, r.load_bits or "-",
                                                         r.store_bits))))
    widths = [max(len(cell[i]) for cell in (heads, *cells)) for i in range(len(heads))]
    return "\n".join("  ".join(f"{word:<{w}}" if i < 2 else f"{word:>{w}}" for i, (word, w) in
                               enumerate(zip(cell, widths, strict=True))).rstrip() for cell in (heads, *cells))


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--target", default="sm_90", metavar="NAME",
                        help=f"the GPU to compile for: {', '.join(TARGETS)} (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="compile for every target")


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 where a kernel spills or is narrow, else 0. Raises UsageError for an unknown target."""
    if not args.all and args.target not in TARGETS:
        raise UsageError(f"unknown target '{args.target}'; known: {', '.join(TARGETS)}")
    targets: Any = TARGETS if args.all else (args.target,)
    problems = []
    for target in targets:
        rows = [row for case in CASES for row in compiled(case, target)]
        print(f"{target} ({TARGETS[target].about})\n{table(rows)}\n", flush=True)
        problems += [f"{target}: {problem}" for row in rows for problem in row.problems]
    for problem in problems:
        print(problem)
    return 1 if problems else 0
