"""The package as a command, from its first import on: what ends it before the command line is there to say so."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import Any, NoReturn


def started() -> bool:
    """Whether this process is the script `microtrain`, or `python -m microtrain`, or a part of it, on its way to
    its module."""
    called = os.path.basename(sys.argv[0]) if sys.argv else ""
    return called == "microtrain" or (called == "-m" and any(
        option.startswith("-") and option.endswith("m") and module.partition(".")[0] == "microtrain"
        for option, module in pairwise(sys.orig_argv)))


def at_once(number: int, frame: Any) -> NoReturn:
    """Ends the process: nothing has begun that would have to be taken back."""
    os.write(2, b"microtrain: interrupted\n" if number == 2 else b"microtrain: terminated\n")
    os._exit(128 + number)


def begin() -> None:
    """Has SIGINT and SIGTERM end a command without a traceback through half an import; changes nothing elsewhere."""
    if started():
        import signal
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) is usual:       # nohup's wish is kept
                signal.signal(number, at_once)
