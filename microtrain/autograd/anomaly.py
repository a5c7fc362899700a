"""Finding where the first NaN or infinity comes from.

Inside `detect_anomaly` every operation is computed as it is recorded, alone, and looked at: forward where a tensor is
made, backward where a cotangent is. So the first operation that makes something out of finite operands is caught, and
the line of the user's code that recorded it is known, also when it is the derivative that goes wrong.
"""

from __future__ import annotations

import linecache
import sys
import threading
import weakref
from types import FrameType, TracebackType

import numpy as np

from .. import ops as g
from .. import settings
from ..engine import run
from ..engine.session import current
from ..graph.node import Kind, Node, next_seq, topological
from ..graph.tape import Tape
from ..runtime import backend

PACKAGE = __name__.partition(".")[0]


class AnomalyError(RuntimeError):
    """The first NaN or infinity.

    `operation` is the primitive's name, `line` the user's line ("file:number, in function: code"), `backward` says
    whether a derivative made it, `index` where in the result it first stands, `value` what stands there.
    """

    def __init__(self, message: str, operation: str, line: str, backward: bool, index: tuple[int, ...],
                 value: float) -> None:
        super().__init__(message)
        self.operation, self.line, self.backward = operation, line, backward
        self.index, self.value = index, value


class detect_anomaly:
    """Raise AnomalyError at the first operation, forward or backward, that makes a NaN or an infinity.

    Everything is computed one operation at a time: slow, and meant for looking. A NaN or an infinity that was put in by
    hand (a mask filled with -inf) is not what an operation made, but the first operation that reads a NaN of a tensor's
    own data raises too. Without `check_nan` nothing is looked at, but every operation is computed apart.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.lines: weakref.WeakKeyDictionary[Tape, str] = weakref.WeakKeyDictionary()

    def __enter__(self) -> detect_anomaly:
        self.began, self.session = next_seq(), current()
        self.session.watchers += [self.look]
        settings.changed()
        try:
            self.session.start_counting()
        except BaseException:           # an interrupt: then there is no block that could end
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.session.watchers.remove(self.look)
        settings.changed()
        self.session.start_counting()

    def look(self, node: Node, entry: Tape | None = None, index: int = 0) -> None:
        """Compute a node, and what is pending behind it, and look at the values: of the derivative of the operation at
        `entry` by its source number `index`, if any."""
        if not node.device.kind.computes:
            return
        line = user_line()
        known: dict[Node, str] = {}
        for step in topological([node]):
            if step.tape is not None and entry is None and step.seq > self.began:
                self.lines.setdefault(step.tape.place[0] or step.tape, line)
            sources, called = step.sources, written(step)
            operands = [(source, known[source]) for source in sources]
            if step.buffer is None and sources:
                run.compute([step], step.device)
            known[step] = what = state(step)
            if not self.check_nan or not sources or what == "finite":
                continue
            by_hand = {s for source, s in operands if s == "infinity" or source.primitive.kind is Kind.CONSTANT}
            if what not in by_hand and (what == "NaN" or "NaN" not in by_hand):
                verb = "was given" if what in [s for _, s in operands] else "made"
                self.complain(step, f"{called.partition('(')[0]} {verb} {what}", called, operands, entry, line, index)
        if entry is not None and self.check_nan and known[node] == "NaN":
            self.complain(node, f"{entry.name} made NaN", entry.name, [], entry, line, index)

    def complain(self, node: Node, cause: str, called: str, operands: list[tuple[Node, str]], entry: Tape | None,
                 line: str, derivative: int) -> None:
        """Raise for a node. `line` is the user's line now; in a backward the error's is the forward's, and where a
        user's own backward or a hook is at work, it says both."""
        visiting = self.session.visiting
        derived = entry or (visiting[-1] if visiting else None)
        values = array(node)
        bad = np.isnan(values)
        bad = bad if bad.any() else np.isinf(values)
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        value = values[index].item()
        there = [f"{array(source)[index].item()!r}" for source, _ in operands
                 if source.shape == node.shape and source.buffer is not None]
        given = f", from {' and '.join(there)}" if there else ""
        many = f"{int(bad.sum())} of {values.size} elements" if values.size > 1 else "the only element"
        when, at = "forward", ""
        if derived is not None:
            when = f"backward, in the derivative of {derived.name}"
            now, line = line, self.lines.get(derived.place[0] or derived, "a line that was run before detect_anomaly")
            at = f"\n  in the backward at {now}"
        if entry is not None:
            returned = f"\nFunction '{entry.name}' returned nan values in its {derivative}th output."
            at = returned if value != value else ""
        raise AnomalyError(f"{cause} ({when}): {called} -> {node.spec.dtype.name}{list(node.shape)} has "
                           f"{value!r} at {list(index)}{given} ({many})\n  recorded at {line}{at}",
                           called.partition("(")[0], line, derived is not None, index, value)


class HookAt(Tape):
    """What a hook made, as a derivative of the entry it hangs on."""

    name = ""

    def __init__(self, hook: object) -> None:
        self.name = f"hook '{getattr(hook, '__name__', '<unknown>')}'"
        self.at = (current().visiting or [self])[-1]

    @property
    def place(self) -> tuple[Tape | None, int]:
        return self.at, 0


class _Always(threading.local):
    """What is turned on for good, for each thread."""

    mode: detect_anomaly | None = None


_always = _Always()


class set_detect_anomaly:
    """Turn `detect_anomaly` on or off for good; used as a context manager, until the block's end."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = _always.mode
        _switch(detect_anomaly(check_nan) if mode else None)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        _switch(self.before)


def _switch(mode: detect_anomaly | None) -> None:
    before, _always.mode = _always.mode, None
    if before is not None:
        before.__exit__(None, None, None)
    if mode is not None:
        _always.mode = mode.__enter__()


def is_anomaly_enabled() -> bool:
    """Whether operations are being looked at."""
    return bool(current().watchers)


def array(node: Node) -> np.ndarray:
    """The value of a computed node."""
    return np.asarray(backend(node.device.type, node.device.index).to_numpy(node.buffer))


def state(node: Node) -> str:
    """"NaN", "infinity" or "finite"."""
    if not node.dtype.is_floating_point or not node.spec.numel:
        return "finite"
    constant = node.primitive.kind is Kind.CONSTANT
    values = np.asarray(node.attrs[0] if constant else node.buffer if node.primitive is g.SCALAR else array(node))
    if np.isnan(values).any():
        return "NaN"
    return "infinity" if np.isinf(values).any() else "finite"


def written(node: Node) -> str:
    """An operation with what it takes: `div(float32[3], float32[])`; a user's own goes by its own name."""
    maker = None if node.tape is None else getattr(node.tape.place[0], "function", None)
    name = (maker.__name__ if maker is not None else
            node.attrs[0].name if node.primitive.kind is Kind.USER_KERNEL else node.primitive.name)
    return f"{name}({', '.join(f'{s.dtype.name}{list(s.shape)}' for s in node.sources)})"


def user_line() -> str:
    """The innermost line that is not this package's: "file:number, in function: code"."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == PACKAGE:
        frame = frame.f_back
    if frame is None:
        return "no line of the user's"
    file, number = frame.f_code.co_filename, frame.f_lineno
    code = linecache.getline(file, number).strip()
    return f"{file}:{number}, in {frame.f_code.co_qualname}" + (f": {code}" if code else "")

