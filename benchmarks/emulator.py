"""How fast the emulator runs compiled kernels: millions of instructions of single threads a second, on one core.

    python -m benchmarks.emulator [sm_80|sm_90]

Kernels of the budgets run once each for a batch of programs, with checks and without; parsing and translating is apart.
Best of five; other processes on the machine show.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from microtrain.emulator import Memory, launch, parse
from microtrain.emulator.launch import translated
from microtrain.runtime.resources import compile_launch
from microtrain.testing.specimens import CASES, Specimen, of_case

THREADS = 1 << 14
"""Of the programs that run: one batch."""
ROUNDS = 5
NAMED = ("elementwise", "elementwise, bfloat16", "softmax", "layer norm", "linear + relu, bfloat16", "linear + relu",
         "linear + relu, float64", "large linear + relu, bfloat16")


def measured(specimen: Specimen, target: str, checks: bool) -> tuple[int, float, float]:
    """Instructions executed, the seconds that took, and those of parsing and translating."""
    launching = specimen.kernel.launch(target)
    resources = compile_launch(target, launching)
    begin = time.process_time()
    module = parse(resources.assembly)
    translated(module)
    made = time.process_time() - begin
    memory, raw = Memory(), []
    for node in specimen.kernel.pointers:
        nbytes = int(np.prod(node.shape)) * node.dtype.numpy.itemsize
        address = memory.allocate(nbytes, str(node.spec))
        memory.view(address, nbytes)[:] = 0
        memory.written(address, nbytes)
        raw.append(address.to_bytes(8, "little"))
    raw += [bytes(8) for _ in specimen.kernel.scalars]
    raw += [int(size).to_bytes(8 if specimen.kernel.wide else 4, "little") for size in launching.sizes.values()]
    entry, = module.entries
    raw += [bytes(8)] * (len(module.functions[entry].parameters) - len(raw))
    threads = 32 * launching.options["num_warps"]
    programs = range(min(THREADS // threads, int(np.prod(launching.grid))))
    best = float("inf")
    for _ in range(ROUNDS if len(programs) < 64 or specimen.template != "matmul" else 2):
        begin = time.process_time()
        report = launch(module, entry, launching.grid, (threads,), resources.shared_bytes, raw, memory, checks=checks,
                        programs=programs)
        best = min(best, time.process_time() - begin)
    return report.thread_instructions, best, made


def main() -> None:
    """Print a row for each kernel."""
    target = sys.argv[1] if len(sys.argv) > 1 else "sm_80"
    print(f"{target:34}{'M instructions':>15}{'M/s, checks':>13}{'M/s, bare':>12}{'ms to translate':>17}")
    for name in NAMED:
        specimen, = of_case(next(case for case in CASES if case.name == name))
        count, checked, made = measured(specimen, target, True)
        _, bare, _ = measured(specimen, target, False)
        print(f"{name:34}{count / 1e6:15.2f}{count / checked / 1e6:13.0f}{count / bare / 1e6:12.0f}{made * 1e3:17.1f}")


if __name__ == "__main__":
    main()
