"""PyTorch itself, also in a program that has put microtrain in its place (`sys.modules["torch"] = microtrain`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def real_torch() -> Iterator[None]:
    """Inside the block `import torch` means PyTorch, whatever goes by that name outside.

    Triton's driver asks for PyTorch by name too, when it is started: start it inside.
    """
    have = sys.modules.get("torch")
    if have is None or hasattr(have, "_C"):
        yield
        return
    impostors = {name: sys.modules.pop(name) for name in list(sys.modules)
                 if name == "torch" or name.startswith("torch.")}
    try:
        yield
    finally:
        sys.modules.update(impostors)
