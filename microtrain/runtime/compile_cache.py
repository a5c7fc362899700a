"""Triton's cache of compiled kernels on disk, with a seal on each: a damaged file is compiled anew, never run.

Triton writes every file under another name and renames it, the list of a kernel's files last, so neither a killed
process nor another one that compiles the same shows anybody half a file. But it believes what it finds: a byte that
changed on disk is run, and a file that is missing, cut short or unreadable is an error in every process from then on.
The seal is a hash of a kernel's files, beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock

from .ptxas import careful


class Shared:
    """A block that several threads may be in at once. Triton's settings are the process's: the first sets them, the
    last puts them back, where each by itself would put back what another had set."""

    def __init__(self, block: Callable[[], AbstractContextManager[None]]) -> None:
        self.block, self.lock, self.inside = block, Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.held = self.block()
                self.held.__enter__()
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.held.__exit__(None, None, None)


@Shared
@contextmanager
def sealed() -> Iterator[None]:
    """What Triton compiles inside the block is sealed, and found in its cache only where the seal holds; and it is kept
    clear of what the assembler gets wrong (`ptxas`)."""
    from triton import knobs
    from triton.runtime.cache import FileCacheManager

    with careful(), knobs.cache.scope():
        knobs.cache.manager_class = manager(knobs.cache.manager_class or FileCacheManager)
        yield


@contextmanager
def anew() -> Iterator[None]:
    """What Triton compiles inside the block is compiled whatever its cache has, and all stages of it are kept."""
    from triton import knobs

    with knobs.compilation.scope():
        knobs.compilation.always_compile, knobs.compilation.store_binary_only = True, False
        yield


@cache
def manager(base: type) -> type:
    """The class of Triton's that finds and stores a kernel's files, sealing them. A "group" is a kernel's files."""
    class Sealing(base):
        def get_group(self, filename: str) -> dict[str, str] | None:
            with suppress(Exception):       # whatever a damaged entry makes Triton raise
                group: dict[str, str] = super().get_group(filename) or {}
                path = self.get_file(seal_of(filename))
                if group and path and Path(path).read_text() == digest(group):
                    return group
            return None

        def put_group(self, filename: str, group: dict[str, str]) -> object:
            # The seal first: whoever finds the list finds its seal.
            self.put(digest(group), seal_of(filename), binary=False)
            return super().put_group(filename, group)

    return Sealing


def seal_of(filename: str) -> str:
    """The name of the seal of a kernel whose list of files has this name."""
    return f"{filename}.sha256"


def digest(group: dict[str, str]) -> str:
    """A hash of a kernel's files, given their paths by name."""
    whole = hashlib.sha256()
    for name, path in sorted(group.items()):
        data = Path(path).read_bytes()
        whole.update(f"{name} {len(data)}\n".encode())
        whole.update(data)
    return whole.hexdigest()
