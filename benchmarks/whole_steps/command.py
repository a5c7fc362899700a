"""``python -m benchmarks --steps``: times whole steps on a CPU, prints a table, writes steps-DATE.json and .png."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from microtrain import settings
from microtrain.bench.measure import measure
from microtrain.bench.timing import Contender, loop_clock
from microtrain.cli.parse import UsageError
from microtrain.files import check_destination
from microtrain.runtime.detect import installed

from ..bench_device import FULL, ONCE, QUICK, Effort
from ..environment import again_on_one_thread, environment, on_one_thread
from ..report import write_json
from . import contenders
from .contenders import Histories, Row, judge, makers
from .picture import draw
from .results import Result, document, reasons, table


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        0, or 1 where a result was wrong or microtrain could not take a step.

    Raises:
        UsageError: an argument that does not apply, or no PyTorch.
        OSError: the results cannot be written.
    """
    if args.device not in (None, "cpu") or args.workloads is not None or args.peers is not None:
        raise UsageError("--steps times models of its own on the cpu: leave out --device, --workloads and --peers")
    if not installed("torch"):
        raise UsageError("--steps measures against PyTorch, which is not installed")
    extent = next((one for one in ("quick", "tiny", "once") if getattr(args, one)), "full")
    now, stem = datetime.now(UTC), None
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        # A look never takes the place of a measurement of the same day.
        stem = args.output / f"steps-{now:%Y-%m-%d}{'' if extent == 'full' else f'-{extent}'}"
        check_destination(stem.with_suffix(".json"))
    if not on_one_thread():
        output = ["--output", str(args.output)] if args.output is not None else []
        return again_on_one_thread(["--steps", *([f"--{extent}"] if extent != "full" else []), *output])
    one_processor()
    where = environment("cpu")
    print(f"{where['device']['name']}, one thread; python {where['versions']['python']}, "
          + ", ".join(f"{name} {version or 'not installed'}" for name, version in where["versions"].items()
                      if name != "python"))
    with settings.device("cpu"):
        results = [measured(row, {"full": FULL, "quick": QUICK}.get(extent, ONCE), extent in ("full", "once"))
                   for row in contenders.rows(tiny=extent == "tiny")]
    print(table(results), *[f"\n{line}" for line in [reasons(results)] if line], sep="\n")
    if stem is not None:
        write_json(stem.with_suffix(".json"), document(results, where, now.isoformat(timespec="seconds"), extent))
        print(f"results  {stem.with_suffix('.json')}")
        if installed("matplotlib") and any(result.comparison.first.time for result in results):
            print(f"picture  {draw(results, stem.with_suffix('.png'))}")
    failed = [f"{result.row.workload.name}: {name}" for result in results for name in result.failed]
    if failed:
        print(f"failed: {'; '.join(failed)}")
    return 1 if failed else 0


def one_processor() -> None:
    """Holds this process, with every thread that a library starts, to one of its processors, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def measured(row: Row, effort: Effort, slow: bool = True) -> Result:
    """Check and time everybody in turn; those that are slow to compile if `slow`."""
    import torch

    if sys.stderr.isatty():
        print(row.workload.name, file=sys.stderr, flush=True)
    torch.set_num_threads(1)
    inputs = Histories().inputs(row.workload)
    clock = loop_clock(effort.seconds, processor=True)

    def settled(make: Callable[[], Contender]) -> Contender:
        # What a library loaded to compile is not looked through for cycles while somebody else is timed.
        made = make()
        gc.collect()
        gc.freeze()
        return made

    try:
        found = makers(row, inputs, judge(row, inputs), slow)
        return Result(row, measure({name: partial(settled, make) for name, make in found.items()}, (clock,),
                                   effort.rounds))
    finally:
        gc.unfreeze()
