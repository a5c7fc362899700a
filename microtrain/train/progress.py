"""Showing how far a run is: a bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TextIO, runtime_checkable

from ..errors import shown

WIDTH = 24
"""Characters of the bar."""


@runtime_checkable
class Progress(Protocol):
    """Told after each epoch what was measured in it, and when the run ends."""

    def update(self, epoch: int, values: Mapping[str, float]) -> None:
        """Epoch number `epoch`, counted from 1, is done."""

    def close(self) -> None:
        """No further epoch follows, be it because of an error."""


class Display(Progress, Protocol):
    """One of our own, which can also say something."""

    def note(self, text: str) -> None:
        """Shows a line, after `close`."""


def describe(values: Mapping[str, float]) -> str:
    """`train loss 0.1234  val loss 0.1300`."""
    return "  ".join(f"{shown(name)} {value:.4g}" for name, value in values.items())


def write(stream: TextIO, text: str) -> None:
    """Writes what the stream's encoding can hold, the rest escaped. A stream that can no longer be written to (a pipe
    whose reader has gone, a full disk) costs the display, not the run."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with suppress(OSError, ValueError):
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


class Silent:
    """Shows nothing."""

    def update(self, epoch: int, values: Mapping[str, float]) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Nothing to close."""

    def note(self, text: str) -> None:
        """Shows nothing."""


@dataclass
class Lines(Silent):
    """One line an epoch, no control characters: for logs."""

    epochs: int
    stream: TextIO

    def update(self, epoch: int, values: Mapping[str, float]) -> None:
        """Writes the epoch's line."""
        width = len(str(self.epochs))
        write(self.stream, f"epoch {epoch:{width}}/{self.epochs}  {describe(values)}\n")

    def note(self, text: str) -> None:
        """Writes the line."""
        write(self.stream, f"{shown(text)}\n")


@dataclass
class Bar:
    """A bar that redraws its one line on a terminal."""

    epochs: int
    stream: TextIO
    drawn: int = 0

    def update(self, epoch: int, values: Mapping[str, float]) -> None:
        """Redraws the line."""
        bar = ("#" * (WIDTH * epoch // self.epochs)).ljust(WIDTH, ".")
        text = f"[{bar}] epoch {epoch}/{self.epochs}  {describe(values)}"
        text = text[:shutil.get_terminal_size().columns - 1]     # a line that wraps cannot be drawn over
        write(self.stream, "\r" + text.ljust(self.drawn))
        self.drawn = len(text)

    def close(self) -> None:
        """Ends the line, so that what follows starts on its own."""
        if self.drawn:
            write(self.stream, "\n")

    def note(self, text: str) -> None:
        """Writes the line."""
        write(self.stream, f"{shown(text)}\n")


@dataclass
class TqdmBar:
    """tqdm's bar, with its estimate of the time left."""

    bar: Any

    def update(self, epoch: int, values: Mapping[str, float]) -> None:
        """Moves the bar to `epoch`."""
        with suppress(OSError, ValueError):
            self.bar.set_postfix_str(describe(values), refresh=False)
            self.bar.update(epoch - self.bar.n)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        with suppress(OSError, ValueError):
            self.bar.close()

    def note(self, text: str) -> None:
        """Writes the line."""
        write(self.bar.fp, f"{shown(text)}\n")


def make_progress(epochs: int, stream: TextIO | None = None) -> Display:
    """The progress display: on a terminal tqdm's bar, or our own when tqdm is not installed; else one line an epoch.
    Without a stream, bars go to stderr and lines to stdout: stderr of a run that is logged is for what went wrong."""
    out = sys.stderr if stream is None else stream
    if out is None or not out.isatty() or os.environ.get("TERM") == "dumb":
        lines = sys.stdout if stream is None else stream
        return Silent() if lines is None else Lines(epochs, lines)
    try:
        from tqdm import tqdm
    except ImportError:
        return Bar(epochs, out)
    try:
        return TqdmBar(tqdm(total=epochs, file=out, unit="epoch", dynamic_ncols=True))
    except (OSError, ValueError):
        return Silent()
