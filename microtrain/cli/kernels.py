"""`python -m microtrain kernels --target sm_90`: what the kernels would use on a GPU, found out without one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ..runtime.detect import installed
from ..runtime.resources import TARGETS
from ..testing import budgets
from ..testing.budgets import Specimen, Verdict
from .errors import UsageError
from .parse import whole_number

HEADS = ("kernel", "template", "registers", "spills", "shared B", "load bits", "store bits")
SUMMARY = ("kind", "kernels", "registers", "budget", "shared B", "budget", "16 bytes", "narrower", "excused", "wrong")


def columns(rows: Iterable[tuple[object, ...]], left: int) -> str:
    """Rows of words as text, the first `left` columns to the left."""
    words = [[str(word) for word in row] for row in rows]
    widths = [max(len(row[i]) for row in words) for i in range(len(words[0]))]
    return "\n".join("  ".join(f"{word:<{w}}" if i < left else f"{word:>{w}}"
                               for i, (word, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in words)


def table(verdicts: list[Verdict]) -> str:
    """A row for each kernel."""
    rows: list[tuple[object, ...]] = [HEADS]
    for v in verdicts:
        r = v.resources
        rows.append((v.specimen.origin, v.specimen.template, r.registers, r.spills, r.shared_bytes, r.load_bits or "-",
                     r.store_bits))
    return columns(rows, 2)


def summary(verdicts: list[Verdict]) -> str:
    """A row for each kind of kernel: the most that any uses, beside the budget; accesses; and how many are wrong."""
    rows: list[tuple[object, ...]] = [SUMMARY]
    for kind, of in sorted(budgets.BUDGETS.items()):
        these = [v for v in verdicts if v.specimen.kind == kind]
        if these:
            allowed = of[these[0].resources.target]
            bits = [access.bits for v in these for access in v.resources.accesses]
            rows.append((kind, len(these), max(v.resources.registers for v in these), allowed.registers,
                         max(v.resources.shared_bytes for v in these), allowed.shared_bytes,
                         sum(one == 128 for one in bits), sum(one < 128 for one in bits),
                         sum(bool(v.excuses) for v in these), sum(bool(v.problems) for v in these)))
    excuses = dict.fromkeys(excuse for v in verdicts for excuse in v.excuses)
    lines = [f"excused {sum(excuse in v.excuses for v in verdicts)}: {excuse.reason}" for excuse in excuses]
    return "\n".join([columns(rows, 1), *lines])


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--target", default="sm_90", metavar="NAME",
                        help=f"the GPU to compile for: {', '.join(TARGETS)} (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="compile for every target")
    parser.add_argument("--sample", type=whole_number, default=0, metavar="COUNT",
                        help="compile so many kernels of random programs and training steps, too, and sum up")


def run(args: argparse.Namespace) -> int:
    """Print the tables; 1 where a kernel breaks its budget, with its source, else 0.

    Raises UsageError for an unknown target.
    """
    if not args.all and args.target not in TARGETS:
        raise UsageError(f"unknown target '{args.target}'; known: {', '.join(TARGETS)}")
    if not installed("triton"):
        raise UsageError("compiling kernels needs Triton: pip install 'microtrain[gpu]'")
    specimens = [one for case in budgets.CASES for one in budgets.of_case(case)]
    sampled = budgets.sample(args.sample) if args.sample else []
    wrong = 0
    for target in TARGETS if args.all else (args.target,):
        verdicts = judged([*specimens, *sampled], target)
        print(f"{target} ({TARGETS[target].about})\n{(summary if sampled else table)(verdicts)}\n", flush=True)
        for verdict in verdicts:
            if verdict.problems:
                wrong += 1
                print(verdict.report(), flush=True)
    return 1 if wrong else 0


def judged(specimens: list[Specimen], target: str) -> list[Verdict]:
    """Compile and judge kernels, as many at once as there are cores: Triton's compilers let each other run."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return list(pool.map(lambda specimen: budgets.judged(specimen, target), specimens))
    finally:
        pool.shutdown(cancel_futures=True)      # an interrupt does not wait for what has not begun
