"""``python -m benchmarks``: checks and times the workloads, prints tables, writes the results."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from microtrain import settings
from microtrain.cli.parse import DEVICES, UsageError, check_device, positive_float
from microtrain.files import check_destination
from microtrain.runtime.detect import installed
from microtrain.tensor import default_device

from .bench_device import FULL, ON_GPU, ONCE, QUICK, Effort, place
from .budget import Budget
from .catalogue import FAMILIES, catalogue
from .ceilings import SuiteCeilings
from .environment import again_on_one_thread, environment, on_one_thread
from .host import command as host_command
from .peers import peers
from .picture import draw
from .report import document, dropped, limits, misses, table, write_json
from .roofline import roofline
from .suite import Result, run_all
from .whole_steps import command as steps_command
from .workload import Subject

SECONDS = 500
"""Of a run, unless told otherwise: with the suite before it a GPU's run is to end within ten minutes or so."""

BETWEEN_WRITES = 30.0
"""Seconds."""

EXTENTS = ("full", "quick", "tiny", "once")

MEANINGLESS = "sizes and samples that show only that everything runs and is right: the times mean nothing"


@dataclass(frozen=True)
class Chosen:
    """What the arguments ask for. `extent` is one of EXTENTS; `peers` are all where it is None."""

    device: str
    families: tuple[str, ...]
    extent: str
    seconds: float
    output: Path | None
    peers: tuple[str, ...] | None = None

    @property
    def effort(self) -> Effort:
        """Samples and seconds."""
        full = ON_GPU if self.device == "cuda" else FULL
        return {"full": full, "quick": QUICK}.get(self.extent, ONCE)

    @property
    def subjects(self) -> list[Subject]:
        """The workloads. Raises ValueError as `catalogue`."""
        return catalogue(self.device, self.extent == "quick", self.families, smallest=self.extent == "tiny")

    def stem(self, now: datetime) -> Path | None:
        """Where results go, without their suffixes. A look never takes the place of a measurement of the same day."""
        if self.output is None:
            return None
        return self.output / f"{self.device}-{now:%Y-%m-%d}{'' if self.extent == 'full' else f'-{self.extent}'}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--device", choices=DEVICES,
                        help="where to run (default: MICROTRAIN_DEVICE, else cuda where there is one, else cpu)")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="write DEVICE-DATE.json there, and two pictures where matplotlib is installed")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="few short samples, small sizes: a look only")
    extent.add_argument("--tiny", action="store_true", help="every workload once at a tiny size, to see that it runs")
    extent.add_argument("--once", action="store_true",
                        help="every workload once at its full size: checked, and everything compiled for a later run")
    parser.add_argument("--seconds", type=positive_float, default=SECONDS, metavar="N",
                        help="for everything; what no longer fits is dropped and named (default: %(default)s)")
    parser.add_argument("--host", action="store_true",
                        help="time what a step costs this process instead: recorded, its plan looked up, launched")
    parser.add_argument("--steps", action="store_true",
                        help="time whole steps on the cpu instead: compiled, many in one call, and the peers likewise")
    parser.add_argument("--workloads", metavar="A,B", help=f"some of {', '.join(FAMILIES)} (default: all)")
    parser.add_argument("--peers", metavar="A,B", help="some of the peers, by the names in the tables (default: all)")


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
    if args.steps:
        return steps_command.run(args)
    chosen = _chosen(args)
    now = datetime.now(UTC)
    stem = chosen.stem(now)
    if stem is not None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        check_destination(stem.with_suffix(".json"))
    if chosen.device == "cpu" and not on_one_thread():
        return again_on_one_thread(_arguments(args, chosen))
    with settings.device(chosen.device):
        check_device(chosen.device)
        return _measure(chosen, now, stem)


def _chosen(args: argparse.Namespace) -> Chosen:
    try:
        device = args.device or str(default_device().type)
    except RuntimeError as error:
        raise UsageError(f"{settings.device.variable}: {error}") from error
    if device not in DEVICES:
        raise UsageError(f"benchmarks time {', '.join(DEVICES)}, and the default device is '{device}'; give --device")
    families = FAMILIES if args.workloads is None else tuple(name for name in args.workloads.split(",") if name)
    extent = next((one for one in EXTENTS[1:] if getattr(args, one)), EXTENTS[0])
    peers = None if args.peers is None else tuple(name for name in args.peers.split(",") if name)
    chosen = Chosen(device, families, "tiny" if device == "interpret" else extent, args.seconds, args.output, peers)
    try:
        _ = chosen.subjects
    except ValueError as error:
        raise UsageError(str(error)) from error
    return chosen


def _measure(chosen: Chosen, now: datetime, stem: Path | None) -> int:
    budget = Budget(chosen.seconds)
    where = environment(chosen.device)
    against = peers(chosen.device)
    if chosen.peers is not None:
        try:
            against = against.only(chosen.peers)
        except ValueError as error:
            raise UsageError(str(error)) from error
    try:
        at = place(chosen.device, chosen.effort)
    except ImportError as error:
        raise UsageError(f"device '{chosen.device}' cannot be timed here: {error}") from error
    print(f"{where['device']['name']} ({chosen.device}), microtrain {where['versions']['microtrain']}, numpy "
          f"{where['versions']['numpy']}, torch {where['versions']['torch'] or 'not installed'}")
    for note in [*against.notes, *([MEANINGLESS] if chosen.effort is ONCE else [])]:
        print(note)
    subjects = chosen.subjects

    def write(results: list[Result], path: Path) -> None:
        write_json(path, document(results, where, at.ceilings.document(), now.isoformat(timespec="seconds"),
                                  chosen.extent, len(results) == len(subjects)))

    path = None if stem is None else stem.with_suffix(".json")
    progress = _Progress(len(subjects), None if path is None else partial(write, path=path))
    results = run_all(subjects, at, against, budget, progress)
    for text in (table(results, chosen.device), limits(results), misses(results), dropped(results)):
        if text:
            print(text, end="\n\n")
    if stem is not None and path is not None:
        write(results, path)
        print(f"results  {path}")
        title = f"microtrain on {where['device']['name']} ({chosen.device}), {now:%Y-%m-%d}"
        _draw(results, at.ceilings, stem, title if chosen.extent == "full" else f"{title}, {chosen.extent}")
    wrong = [result.subject.name for result in results if not result.passed]
    if wrong:
        print(f"failed: {', '.join(wrong)}")
    return 1 if wrong else 0


class _Progress:
    """A line a workload, to somebody who watches; and now and then the results so far, to a file, so that a run that is
    killed has not been in vain."""

    def __init__(self, total: int, write: Callable[[list[Result]], None] | None) -> None:
        self.total, self.write, self.written = total, write, time.monotonic()

    def __call__(self, subject: Subject, results: list[Result]) -> None:
        if sys.stderr.isatty():
            print(f"{len(results) + 1}/{self.total} {subject.name}", file=sys.stderr, flush=True)
        if self.write is not None and results and time.monotonic() - self.written > BETWEEN_WRITES:
            self.write(results)
            self.written = time.monotonic()


def _draw(results: list[Result], ceilings: SuiteCeilings, stem: Path, title: str) -> None:
    if not installed("matplotlib"):
        print("picture  none: matplotlib is not installed")
        return
    if any(result.comparison.first.time is not None for result in results):
        print(f"picture  {draw(results, stem.with_suffix('.png'), title)}")
        drawn = roofline(results, ceilings, stem.with_name(f"{stem.name}-roofline.png"), title)
        print(f"picture  {drawn}")


def _arguments(args: argparse.Namespace, chosen: Chosen) -> list[str]:
    """The same command's, with the device found."""
    found = ["--device", chosen.device, "--seconds", str(args.seconds)]
    found += [] if chosen.extent == "full" else [f"--{chosen.extent}"]
    found += ["--workloads", args.workloads] if args.workloads is not None else []
    found += ["--output", str(args.output)] if args.output is not None else []
    found += ["--peers", args.peers] if args.peers is not None else []
    return found
