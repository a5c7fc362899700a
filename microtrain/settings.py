"""The package's switches: each is an environment variable, read when first used, and a context manager.

>>> with settings.fuse(False):
...     y.numpy()
"""

from __future__ import annotations

import os as _os
import sys as _sys
import threading as _threading
from collections.abc import Callable
from functools import cached_property as _cached_property
from typing import Any

from . import command as _command
from .arguments import tidy as _tidy
from .scopes import decorated as _decorated

changes = 0
"""How often a switch, or what else decides how operations are recorded, was set: who depends on any of them compares
this number first."""


def changed() -> None:
    """Count a change."""
    global changes
    changes += 1


class Flag:
    """One switch. `flag.value` reads it; `with flag(new):` changes it for a block; `flag.set(new)` for good."""

    def __init__(self, variable: str, default: Any, parse: Callable[[str], Any], doc: str) -> None:
        self.variable, self.default, self.parse, self.__doc__ = variable, default, parse, doc
        self.blocks: list[list[Any]] = []       # those that are open, in whatever thread: what each has to give back

    @_cached_property
    def value(self) -> Any:
        """The value in force. Raises ValueError, naming the variable, when the environment holds nonsense."""
        return self.read(_os.environ.get(self.variable, ""))

    def read(self, value: Any) -> Any:
        """A value, or the text of one, checked; the default for no text. Raises ValueError naming the variable."""
        text = str(value)
        try:
            return self.parse(text) if text else self.default
        except ValueError as error:
            raise ValueError(f"{self.variable}={text!r}: {error}") from None

    def set(self, value: Any) -> None:
        """Change the value until it is changed again. Raises ValueError for one that it cannot have."""
        self.value = self.read(value)
        changed()

    def __call__(self, value: Any) -> Setting:
        """The value for a block, or for a decorated function. Raises ValueError for one that it cannot have."""
        return Setting(self, value)


_lock = _threading.RLock()
_os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Setting:
    """A switch's value for a block, or for a function, generator or coroutine that is decorated with it."""

    def __init__(self, flag: Flag, value: Any) -> None:
        self.flag, self.wanted = flag, flag.read(value)
        self.entered: list[list[Any]] = []

    def __enter__(self) -> None:
        with _lock:
            self.entered.append([self.flag.value])
            self.flag.blocks.append(self.entered[-1])
            self.flag.set(self.wanted)

    def __exit__(self, *error: object) -> None:
        """Give back what was before; to a block that another thread began since, and that is still open, where there is
        one."""
        with _lock:
            blocks, own = self.flag.blocks, self.entered.pop()
            k = [block is own for block in blocks].index(True)
            if own is blocks[-1]:
                self.flag.set(own[0])
            else:
                blocks[k + 1][0] = own[0]
            del blocks[k]

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _decorated(function, lambda: Setting(self.flag, self.wanted))


def _switch(text: str) -> bool:
    if text.lower() in ("1", "true", "on", "yes"):
        return True
    if text.lower() in ("0", "false", "off", "no"):
        return False
    raise ValueError("expected 0 or 1")


def _precision(text: str) -> str:
    if text not in ("highest", "high", "medium"):
        raise ValueError("expected highest, high or medium")
    return text


def _level(text: str) -> int:
    if text not in ("0", "1", "2", "3", "4"):
        raise ValueError("expected a level from 0 to 4")
    return int(text)


def _virtual(text: str) -> str:
    arch, _, mode = text.replace(":", "=").partition("=")
    if arch not in ("", "sm_80", "sm_90") or mode not in ("", "reference"):
        raise ValueError("expected sm_80 or sm_90, and then =reference for NumPy in place of the emulator")
    return f"{arch or 'sm_90'}{mode and '=' + mode}"


device = Flag("MICROTRAIN_DEVICE", "", str, "Default device: cpu, cuda, interpret or null[:target]; "
              "unset, cuda where there is one, else cpu.")
debug = Flag("MICROTRAIN_DEBUG", 0, _level, "1 prints each graph that is computed, 2 its kernels, 3 their source, "
             "4 the time each took.")
fuse = Flag("MICROTRAIN_FUSE", True, _switch, "0 gives every operation a kernel of its own.")
poison = Flag("MICROTRAIN_POISON", False, _switch, "1 fills fresh memory with NaN before a kernel writes to it.")
validate = Flag("MICROTRAIN_VALIDATE", False, _switch, "1 computes every kernel with NumPy too and compares.")
cache = Flag("MICROTRAIN_CACHE", True, _switch, "0 plans and compiles every graph anew.")
matmul_precision = Flag("MICROTRAIN_MATMUL_PRECISION", "highest", _precision, "highest multiplies float32 matrices in "
                        "IEEE arithmetic, high and medium in TF32 on tensor cores.")
tune = Flag("MICROTRAIN_TUNE", False, _switch, "1 measures up to 8 tiles for each new kernel on cuda, once, and keeps "
            "the fastest in the user's cache folder.")
virtual_gpu = Flag("MICROTRAIN_VIRTUAL_GPU", "", _virtual, "sm_80 or sm_90: a cuda device without a GPU, "
                   "whose compiled kernels an emulator runs; sm_90=reference: NumPy computes what each kernel means.")

FLAGS = {"device": device, "debug": debug, "fuse": fuse, "poison": poison, "validate": validate, "cache": cache,
         "matmul_precision": matmul_precision, "tune": tune, "virtual_gpu": virtual_gpu}


def check() -> None:
    """Raises ValueError where the environment gives a switch a value that it cannot have; ends a command with a line.
    Nothing is remembered: a variable that is set later, before it is first used, counts."""
    try:
        for flag in FLAGS.values():
            flag.read(_os.environ.get(flag.variable, ""))
    except ValueError as error:
        if not _command.started():
            raise
        print(f"microtrain: error: {error}", file=_sys.stderr)
        _sys.exit(2)
_tidy(globals())
