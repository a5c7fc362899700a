"""The package's switches: each is an environment variable, read when first used, and a context manager.

>>> with settings.fuse(False):
...     y.numpy()
"""

from __future__ import annotations

import os as _os
from collections.abc import Callable, Iterator
from contextlib import contextmanager as _contextmanager
from typing import Any

from .arguments import tidy as _tidy


class Flag:
    """One switch. `flag.value` reads it; `with flag(new):` changes it for a block; `flag.set(new)` for good."""

    def __init__(self, variable: str, default: Any, parse: Callable[[str], Any], doc: str) -> None:
        self.variable, self.default, self.parse, self.__doc__ = variable, default, parse, doc
        self._value: Any = None

    @property
    def value(self) -> Any:
        """The value in force. Raises ValueError, naming the variable, when the environment holds nonsense."""
        if self._value is None:
            text = _os.environ.get(self.variable)
            try:
                self._value = self.default if not text else self.parse(text)
            except ValueError as error:
                raise ValueError(f"{self.variable}={text!r}: {error}") from None
        return self._value

    def set(self, value: Any) -> None:
        """Change the value until it is changed again. Raises TypeError or ValueError for one that it cannot have."""
        self._value = self._checked(value)

    def _checked(self, value: Any) -> Any:
        if not isinstance(value, str | int):
            raise TypeError(f"{self.variable} is a switch: True, False, a number or text, not {type(value).__name__}")
        try:
            return self.parse(str(value)) if value != "" else self.default
        except ValueError as error:
            raise ValueError(f"{self.variable}: {error}, not {value!r}") from None

    @_contextmanager
    def __call__(self, value: Any) -> Iterator[None]:
        before, self._value = self.value, self._checked(value)
        try:
            yield
        finally:
            self._value = before


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

_tidy(globals())
