"""`python -m tests.budgets --all --sample 200`: the kernels of named cases and of a sample, held against the table."""

from __future__ import annotations

import argparse
import sys

from microtrain.bench.text import columns
from microtrain.cli import kernels
from microtrain.cli.main import answered
from microtrain.cli.parse import Parser, whole_number
from microtrain.runtime.resources import TARGETS
from microtrain.testing.specimens import compiled_at_once
from tests import budgets
from tests.budgets import Verdict

SUMMARY = ("kind", "kernels", "registers", "budget", "shared B", "budget", "16 bytes", "narrower", "excused", "wrong")


def summary(verdicts: list[Verdict]) -> str:
    """A row for each kind of kernel: the most that any uses, beside the budget; accesses; and how many are wrong."""
    rows = []
    for kind, of in sorted(budgets.BUDGETS.items()):
        these = [v for v in verdicts if budgets.kind_of(v.specimen) == kind]
        if these:
            allowed = of[these[0].resources.target]
            bits = [access.bits for v in these for access in v.resources.accesses]
            rows.append((kind, *map(str, (
                len(these), max(v.resources.registers for v in these), allowed.registers,
                max(v.resources.shared_bytes for v in these), allowed.shared_bytes,
                sum(one == 128 for one in bits), sum(one < 128 for one in bits),
                sum(bool(v.excuses) for v in these), sum(bool(v.problems) for v in these)))))
    excuses = dict.fromkeys(excuse for v in verdicts for excuse in v.excuses)
    lines = [f"excused {sum(excuse in v.excuses for v in verdicts)}: {excuse.reason}" for excuse in excuses]
    return "\n".join([columns(SUMMARY, rows), *lines])


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments: those of `microtrain kernels`, and the size of the sample."""
    kernels.configure(parser)
    parser.add_argument("--sample", type=whole_number, default=0, metavar="COUNT",
                        help="judge so many kernels of random programs and training steps, too")


def run(args: argparse.Namespace) -> int:
    """Print a summary for each target, and whatever is wrong with its source; 1 where anything is, else 0."""
    targets = kernels.chosen(args)
    specimens = [one for case in budgets.CASES for one in budgets.of_case(case)]
    specimens += budgets.sample(args.sample) if args.sample else []
    wrong = 0
    for target in targets:
        verdicts = compiled_at_once(specimens, lambda one, target=target: budgets.judged(one, target))
        print(f"{target} ({TARGETS[target].about})\n{summary(verdicts)}\n", flush=True)
        for verdict in verdicts:
            if verdict.problems:
                wrong += 1
                print(verdict.report(), flush=True)
    return 1 if wrong else 0


def command() -> int:
    parser = Parser(prog="python -m tests.budgets", description=__doc__)
    configure(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(answered(command))
