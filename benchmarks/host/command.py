"""``python -m benchmarks --host``: times the layers of a step, prints a table, writes host-DATE.json."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from microtrain.bench.comparison import WrongResult
from microtrain.cli.parse import UsageError
from microtrain.files import check_destination

from ..environment import again_on_one_thread, environment, on_one_thread
from ..report import write_json
from .layers import (
    LOOK,
    MANY_SHORT,
    STEPS,
    Cost,
    Unavailable,
    host_document,
    host_table,
    measure_import,
    measure_launches,
    measure_step,
)


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        0, or 1 where a step was wrong or the driver was told something else than by Triton.

    Raises:
        UsageError: an argument that does not apply.
        OSError: the results cannot be written.
    """
    if args.device not in (None, "cpu") or args.workloads is not None:
        raise UsageError("--host times this process, on steps of its own: leave out --device and --workloads")
    now, path = datetime.now(UTC), None
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        # A look never takes the place of a measurement of the same day.
        path = args.output / f"host-{now:%Y-%m-%d}{'-quick' if args.quick else ''}.json"
        check_destination(path)
    if not on_one_thread():
        output = ["--output", str(args.output)] if args.output is not None else []
        return again_on_one_thread(["--host", *(["--quick"] if args.quick else []), *output])
    where = environment("cpu")
    print(f"{where['device']['name']}, microtrain {where['versions']['microtrain']}, python "
          f"{where['versions']['python']}")
    costs, failure = _measured(args.quick)
    print(host_table(costs))
    if failure is not None:
        print(f"failed: {failure}")
        return 1
    if path is not None:
        write_json(path, host_document(costs, where, now.isoformat(timespec="seconds"), args.quick))
        print(f"results  {path}")
    return 0


def _measured(quick: bool) -> tuple[list[Cost], str | None]:
    """What could be timed, and what was wrong."""
    effort = LOOK if quick else MANY_SHORT
    costs: list[Cost] = []
    try:
        for workload in STEPS:
            costs += measure_step(workload, effort)
        costs.append(measure_import(effort))
        costs += measure_launches(effort, STEPS)
    except Unavailable as error:
        print(f"launches are not timed: {error}")
    except WrongResult as error:
        return costs, str(error)
    return costs, None
