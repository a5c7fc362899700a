"""`python -m microtrain kernels --target sm_90`: what the kernels would use on a GPU, found out without one."""

from __future__ import annotations

import argparse

from ..bench.text import columns
from ..runtime.detect import installed
from ..runtime.resources import TARGETS, compile_launch
from ..testing.specimens import CASES, Specimen, compiled_at_once, of_case
from .parse import UsageError

HEADS = ("kernel", "template", "registers", "spills", "shared B", "load bits", "store bits")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--target", default="sm_90", metavar="NAME",
                        help=f"the GPU to compile for: {', '.join(TARGETS)} (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="compile for every target")


def chosen(args: argparse.Namespace) -> tuple[str, ...]:
    """The targets asked for. Raises UsageError for one that is unknown, or where there is no Triton."""
    if not args.all and args.target not in TARGETS:
        raise UsageError(f"unknown target '{args.target}'; known: {', '.join(TARGETS)}")
    if not installed("triton"):
        raise UsageError("compiling kernels needs Triton: pip install 'microtrain[gpu]'")
    return tuple(TARGETS) if args.all else (args.target,)


def run(args: argparse.Namespace) -> int:
    """Print a table for each target. Raises UsageError as `chosen`."""
    targets = chosen(args)
    specimens = [one for case in CASES for one in of_case(case)]
    for target in targets:
        print(f"{target} ({TARGETS[target].about})\n{table(specimens, target)}\n", flush=True)
    return 0


def table(specimens: list[Specimen], target: str) -> str:
    """A row for each kernel, compiled for a target."""
    found = compiled_at_once(specimens, lambda one: compile_launch(target, one.kernel.launch(target)))
    return columns(HEADS, [(one.origin, one.template, str(used.registers), str(used.spills), str(used.shared_bytes),
                            str(used.load_bits or "-"), str(used.store_bits))
                           for one, used in zip(specimens, found, strict=True)], left=2)
