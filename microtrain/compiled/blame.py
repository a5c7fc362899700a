"""Which line of the user's is at fault, where a step cannot be replayed."""

from __future__ import annotations

import dis
import re
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .seen import known_by

PACKAGE = str(Path(__file__).resolve().parents[1])


def is_users(frame: types.FrameType) -> bool:
    """Whether a frame runs code of the user's, not of a library."""
    return not known_by(types.SimpleNamespace(__module__=str(frame.f_globals.get("__name__"))))


def users_frame(frame: types.FrameType | None) -> types.FrameType | None:
    """The innermost frame of the user's that led to one."""
    while frame is not None and not is_users(frame):
        frame = frame.f_back
    return frame


def place(frame: types.FrameType | None) -> str:
    """File and line of a frame, as the beginning of a message."""
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}: "


def users_line() -> str:
    """File and line of the user's that led here."""
    return place(users_frame(sys._getframe(1)))


def naming(codes: Sequence[types.CodeType], path: str) -> tuple[int, str]:
    """File and line of the first code that names the last part of a path, or the part before it; and which it is."""
    for name in reversed(re.findall(r"[^\W\d]\w*", path)):
        for number, code in enumerate(codes):
            line = code.co_firstlineno
            for instruction in dis.get_instructions(code):
                line = instruction.starts_line or line if not isinstance(instruction.starts_line, bool) else line
                if instruction.argval == name:
                    return number, f"{code.co_filename}:{line}: "
    return len(codes), f"{codes[0].co_filename}:{codes[0].co_firstlineno}: " if codes else ""


class _Found(BaseException):
    """The line was found; nothing that a step catches."""


def changing(call: Callable[[], Any], changed: Callable[[], Any]) -> str:
    """File and line of the user's after which something has changed, while a function is called again."""
    last: list[tuple[str, int]] = []

    def line(frame: types.FrameType, event: str, argument: Any) -> Any:
        if not is_users(frame):
            return None
        if changed():
            raise _Found
        now = users_frame(frame.f_back) if event == "return" else frame
        if now is not None:
            last[:] = [(now.f_code.co_filename, now.f_lineno)]
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        call()
    except BaseException:
        pass
    finally:
        sys.settrace(before)
    return f"{last[0][0]}:{last[0][1]}: " if last else ""
