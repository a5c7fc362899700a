"""Triton's cache of compiled kernels on disk, with a seal on each: a damaged file is compiled anew, never run.

Triton writes every file under another name and renames it, the list of a kernel's files last, so neither a killed
process nor another one that compiles the same shows anybody half a file. But it believes what it finds: a byte that
changed on disk is run, and a file that is missing, cut short or unreadable is an error in every process from then on.
The seal is a hash of a kernel's files, written after them.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration)
"""What reading a damaged entry may raise; Triton's own errors about a kernel are none of these."""


def checked(compile_it: Callable[[], Any]) -> Any:
    """The CompiledKernel that a call of Triton's compiler gives, found in its cache only where the seal holds."""
    with listening() as found:
        try:
            kernel = compile_it()
        except UNREADABLE:
            kernel = None
    if kernel is None or (True in found and not sealed(kernel)):
        with finding_nothing():
            kernel = compile_it()
        seal(kernel)
    elif True not in found:
        seal(kernel)
    return kernel


@contextmanager
def listening() -> Iterator[list[bool]]:
    """For each kernel that Triton compiles inside the block, whether it was found in the cache."""
    from triton import knobs
    found: list[bool] = []
    before = knobs.compilation.listener

    def listener(**told: Any) -> None:
        found.append(told["cache_hit"])
        if before is not None:
            before(**told)

    knobs.compilation.listener = listener
    try:
        yield found
    finally:
        knobs.compilation.listener = before


@contextmanager
def finding_nothing() -> Iterator[None]:
    """Triton's cache finds no kernel inside the block, and stores as ever.

    Its switch to compile always does not do: it reads the list of a kernel's files all the same.
    """
    from triton import knobs
    from triton.runtime.cache import FileCacheManager

    class Storing(knobs.cache.manager_class or FileCacheManager):       # type: ignore[misc]
        def get_group(self, filename: str) -> None:
            return None

    with knobs.cache.scope():
        knobs.cache.manager_class = Storing
        yield


def metadata_file(kernel: Any) -> Path:
    """The file that lists what a compiled kernel needs of its GPU; its other files lie beside it."""
    return next(Path(path) for name, path in kernel.metadata_group.items() if name.endswith(".json"))


def digest(kernel: Any) -> str:
    """A hash of a compiled kernel's files, as they were read."""
    whole = hashlib.sha256(metadata_file(kernel).read_bytes())
    for stage, text in sorted(kernel.asm.items()):
        data = text if isinstance(text, bytes) else text.encode()
        whole.update(f"{stage} {len(data)} ".encode())
        whole.update(data)
    return whole.hexdigest()


def sealed(kernel: Any) -> bool:
    """Whether the files of a compiled kernel are those that its seal was made of."""
    try:
        return metadata_file(kernel).with_suffix(".sha256").read_text() == digest(kernel)
    except UNREADABLE:
        return False


def seal(kernel: Any) -> None:
    """Seal the files of a kernel that was just compiled. Where that cannot be written, others compile it again."""
    path = metadata_file(kernel).with_suffix(".sha256")
    temporary = path.with_name(f"tmp.{os.getpid()}.{uuid.uuid4()}.sha256")
    with suppress(OSError):
        temporary.write_text(digest(kernel))
        temporary.replace(path)
