"""`python -m microtrain parity [NAME ...]`: operators compared with PyTorch, over the samples of its own database."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .. import settings
from ..files import check_destination, replacing
from ..tensor import default_device
from ..testing.database.operators import DTYPES, FURTHER, NAMES, database
from ..testing.database.parity import about, at_most, parity
from ..testing.report import ORDERS, SECOND, ParityReport
from .parse import DEVICES, UsageError, check_device, positive_int

KNOWN = (*NAMES, *FURTHER)

INTERPRETED = 2
"""Samples of an operator and dtype on the interpret device, unless told: a kernel takes milliseconds there."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="operators under their names in PyTorch's database, or patterns: 'log*' (default: all)")
    parser.add_argument("--device", action="append", choices=DEVICES,
                        help="where to run; may be given several times (default: the default device)")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="may be given several times (default: both)")
    parser.add_argument("--order", type=int, choices=range(SECOND + 1), default=SECOND,
                        help=f"derivatives to compare: {', '.join(ORDERS[:SECOND + 1])} (default: 2)")
    parser.add_argument("--most", type=positive_int, metavar="N",
                        help=f"at most so many samples of an operator and dtype (default: all; {INTERPRETED} on "
                             "interpret)")
    parser.add_argument("--errors", action="store_true", help="try the arguments that must raise, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page to look at")


def run(args: argparse.Namespace) -> int:
    """Prints the table; 1 where a case failed, else 0.

    Raises UsageError for an unknown name, a device that cannot be used here, or no PyTorch to compare with, OSError
    where a file cannot be written.
    """
    for path in (args.json, args.html):
        if path is not None:
            check_destination(path)
    names = chosen(args.names)
    devices = args.device or [default_device().type]
    for device in devices:      # first of all: a process interprets kernels or compiles them
        with settings.device(device):
            check_device(device)
    try:
        database()
    except ImportError as error:
        raise UsageError(str(error)) from error
    report = ParityReport(about(devices))
    for device in devices:
        most = args.most or (INTERPRETED if device == "interpret" else None)
        for name in progress(names, device):
            report.merge(parity([name], device, args.dtype or DTYPES, args.order,
                                list if most is None else at_most(most), args.errors))
    print(report.text())
    for path, contents in ((args.json, report.json), (args.html, report.html)):
        if path is not None:
            with replacing(path) as temporary:
                temporary.write_text(contents(), encoding="utf-8")
            print(f"written  {path}")
    return 1 if report.failures else 0


def chosen(patterns: Sequence[str]) -> list[str]:
    """The operators that the patterns match, all without any.

    Raises UsageError, naming near ones, for a pattern that matches none.
    """
    # The last part of a name is enough: gelu is nn.functional.gelu.
    words = [(word, name) for name in KNOWN for word in (name, name.rpartition(".")[2])]
    found = set[str]()
    for pattern in patterns or "*":
        matching = {name for word, name in words if fnmatchcase(word, pattern)}
        if not matching:
            near = dict(words)
            close = dict.fromkeys(near[word] for word in difflib.get_close_matches(pattern, near, n=4))
            raise UsageError(f"no operator is called '{pattern}'" + (f"; near it: {', '.join(close)}" if close else ""))
        found |= matching
    return [name for name in KNOWN if name in found]


def progress(names: Sequence[str], device: str) -> Iterator[str]:
    """The names, shown on a terminal as their turn comes."""
    shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    for number, name in enumerate(names, 1):
        if shown:
            print(f"\r\x1b[K{device} {number}/{len(names)} {name}", end="", file=sys.stderr, flush=True)
        yield name
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
