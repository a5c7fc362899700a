"""What became of a compiled step, in words: its structures, and its last loop."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from ..tensor import Tensor
from .recorder import Draw, Numbers
from .recording import changed
from .results import Recording
from .sight import Sight

MOST = 12
"""Tensors that are named in a line."""


def explained(recordings: Iterable[Recording], refused: Iterable[str], loop: str) -> str:
    """Each structure that was met: how it is replayed, or why it is not; what was refused; the last loop."""
    lines = [line for number, one in enumerate(recordings, start=1) for line in structure(number, one)]
    lines += [f"refused: {reason}" for reason in refused]
    return "\n".join(lines + ([f"last loop: {loop}"] if loop else [])) or "not called yet"


def structure(number: int, recording: Recording) -> list[str]:
    """The lines of one structure."""
    if recording.step is None or recording.reason:
        return [f"structure {number}: run as it is, since {recording.reason}"]
    step = recording.step
    launches = [line for line in step.executable.describe().splitlines() if line.startswith("kernel ")]
    what = f"kernels: {len(launches)}" if launches else f"one function, {step.executable.kernels} statements"
    if recording.runner is not None and recording.runner.machine is not None:
        what = "machine code"
    elif recording.runner is not None and recording.runner.fused:
        what += "; elementwise ones are machine code"
    read = [recording.paths[source.number] for source in recording.inputs if source.kind == "tensor"]
    kinds = Counter(source.kind for source in recording.inputs)
    numbers = Counter(type(event.optimizer).__name__ if isinstance(event, Numbers) else "a generator"
                      for source in recording.inputs if source.kind == "number"
                      for event in [recording.events[source.number]] if isinstance(event, Draw | Numbers))
    lines = [f"structure {number}: replayed on {recording.device}; {what}", *launches,
             f"reads {named(read)}", f"numbers: {named([f'{count} of {of}' for of, count in numbers.items()])}; "
             f"constants: {kinds['constant']}",
             f"changes {named([recording.paths[change.tensor] for change in recording.changes])}"]
    return [lines[0], *[f"  {line}" for line in lines[1:]]]


def named(names: list[str]) -> str:
    """Some names in a line, those of a module's parts as in its state dict."""
    names = [re.sub(r"\._(?:modules|parameters|buffers)\['(\w+)'\]", r".\1", name) for name in names]
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "") or "none"


def another(before: Sight, now: Sight) -> str:
    """How one comes to the first thing that is another now than when a step was looked at before; "" where that is
    known of nothing."""
    for place, held, path in before.places:
        for key, value in [] if id(place) in before.own else changed(place, held):
            if not isinstance(value, Tensor):
                return f"{path}.{key}" if held is not value and isinstance(key, str) and key.isidentifier() else path
    return next((path for path, value in now.given.items() if before.given.get(path, value) != value), "")
