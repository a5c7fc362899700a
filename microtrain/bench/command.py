"""``microtrain bench``: checks and times the workloads, prints a table, writes the results."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from .. import settings
from ..cli.device import check_device
from ..cli.errors import UsageError
from ..tensor import default_device
from ..train.atomic import check_destination
from . import host_command
from .catalogue import FAMILIES, catalogue
from .environment import THREAD_VARIABLES, environment, on_one_thread
from .picture import draw
from .report import document, table, write_json
from .suite import FULL, QUICK, Result, peers, run_workload
from .workload import Workload

DEVICES = ("cpu", "cuda")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--device", choices=DEVICES,
                        help="where to run (default: MICROTRAIN_DEVICE, else cuda where there is one, else cpu)")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="write DEVICE-DATE.json there, and DEVICE-DATE.png where matplotlib is installed")
    parser.add_argument("--quick", action="store_true", help="few short samples, small sizes: a look only")
    parser.add_argument("--host", action="store_true",
                        help="time what a step costs this process instead: recorded, its plan looked up, launched")
    parser.add_argument("--workloads", metavar="A,B", help=f"some of {', '.join(FAMILIES)} (default: all)")


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        0, or 1 where a result was wrong or microtrain could not run a workload.

    Raises:
        UsageError: an unknown workload, or a device that cannot be used here.
        OSError: the results cannot be written.
    """
    if args.host:
        return host_command.run(args)
    try:
        device = args.device or str(default_device().type)
    except RuntimeError as error:
        raise UsageError(f"{settings.device.variable}: {error}") from error
    if device not in DEVICES:
        raise UsageError(f"bench times {' or '.join(DEVICES)}, and the default device is '{device}'; give --device")
    try:
        families = FAMILIES if args.workloads is None else [name for name in args.workloads.split(",") if name]
        workloads = catalogue(device, args.quick, families)
    except ValueError as error:
        raise UsageError(str(error)) from error
    now = datetime.now(UTC)
    stem = None
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        # A look never takes the place of a measurement of the same day.
        stem = args.output / f"{device}-{now:%Y-%m-%d}{'-quick' if args.quick else ''}"
        check_destination(stem.with_suffix(".json"))
    if device == "cpu" and not on_one_thread():
        return _again_on_one_thread(args, device)
    with settings.device(device):
        check_device(device)
        return _measure(workloads, device, args.quick, now, stem)


def _measure(workloads: list[Workload], device: str, quick: bool, now: datetime, stem: Path | None) -> int:
    where = environment(device)
    against = peers(device)
    print(f"{where['device']['name']} ({device}), microtrain {where['versions']['microtrain']}, numpy "
          f"{where['versions']['numpy']}, torch {where['versions']['torch'] or 'not installed'}")
    if against.note is not None:
        print(against.note)
    results: list[Result] = []
    for workload in workloads:
        if sys.stderr.isatty():
            print(f"{len(results) + 1}/{len(workloads)} {workload.name}", file=sys.stderr, flush=True)
        results.append(run_workload(workload, device, against, QUICK if quick else FULL))
    print(table(results, device))
    if stem is not None:
        path = stem.with_suffix(".json")
        write_json(path, document(results, where, now.isoformat(timespec="seconds"), quick))
        print(f"results  {path}")
        if importlib.util.find_spec("matplotlib") is None:
            print("picture  none: matplotlib is not installed")
        elif any(result.comparison.first.time is not None for result in results):
            print(f"picture  {draw(results, stem.with_suffix('.png'), _title(where, now))}")
    wrong = [result.workload.name for result in results if not result.passed]
    if wrong:
        print(f"failed: {', '.join(wrong)}")
    return 1 if wrong else 0


def _title(where: dict[str, dict[str, str]], now: datetime) -> str:
    return f"microtrain on {where['device']['name']} ({where['device']['type']}), {now:%Y-%m-%d}"


def _again_on_one_thread(args: argparse.Namespace, device: str) -> int:
    """The same command in a process whose libraries start with one thread: they read how many when they are loaded."""
    command = [sys.executable, "-m", "microtrain", "bench", "--device", device]
    command += ["--quick"] if args.quick else []
    command += ["--workloads", args.workloads] if args.workloads is not None else []
    command += ["--output", str(args.output)] if args.output is not None else []
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    sys.stdout.flush()
    return subprocess.run(command, check=False, env={
        **os.environ, "PYTHONPATH": path, **dict.fromkeys(THREAD_VARIABLES, "1")}).returncode
