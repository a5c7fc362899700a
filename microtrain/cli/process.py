"""What surrounds a command: its standard streams, whatever they lead to, and the signals that end it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

from .. import command

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The status of a process whose reader has had enough, as shells have it."""


class Terminated(BaseException):
    """A signal that asks the process to end. Like KeyboardInterrupt it passes through what cleans up after itself."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number
        super().__init__(f"signal {number}")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Inside, there are standard streams, and what they cannot encode is escaped.

    A process may be started with its streams closed: then the next file that it opens, a model that is saved, would get
    their number, and whatever any library writes to "standard error" would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))     # noqa: SIM115 (for the process's life)
    before = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")]
    for stream, _ in before:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in before:
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)


@contextmanager
def signals() -> Iterator[list[BaseException]]:
    """Inside, SIGTERM and SIGHUP raise Terminated and SIGINT KeyboardInterrupt, so that what is half-written is taken
    back. Gives what was raised so: a library in C may make another error of it. What Python drops, since it came as
    something went away, is raised once more a moment later."""
    came: list[BaseException] = []
    told = sys.unraisablehook

    def end(number: int, frame: Any) -> NoReturn:
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)   # once is enough: what cleans up is left in peace
        came.append(KeyboardInterrupt() if number == signal.SIGINT else Terminated(number))
        raise came[-1]

    def dropped(found: sys.UnraisableHookArgs) -> None:
        if not came or found.exc_value is not came[-1]:
            return told(found)
        number = came[-1].status - 128 if isinstance(came[-1], Terminated) else signal.SIGINT
        signal.signal(number, end)
        threading.Timer(0.01, signal.pthread_kill, [threading.get_ident(), number]).start()

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, command.at_once):       # nohup's wish is kept
            with suppress(ValueError):                                          # not in a thread
                before[number] = signal.signal(number, end)
    sys.unraisablehook = dropped
    try:
        yield came
    finally:
        sys.unraisablehook = told
        for number, usual in before.items():
            signal.signal(number, usual)


def ended(status: int, line: str | None) -> int:
    """Brings out what was printed, then a line on stderr if there is one to tell. The status to end with."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        status = BROKEN_PIPE if line is None else status
    except OSError as error:
        _discard(sys.stdout)
        if line is None:
            status, line = 2, f"error: standard output: {error.strerror}"
    if line is not None:
        try:
            print(f"microtrain: {line}", file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr)
    return status


def _discard(stream: TextIO) -> None:
    """Lets a stream that cannot be written to lead nowhere, so that Python does not try again as it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
