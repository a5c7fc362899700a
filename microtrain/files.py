"""Files written whole or not at all: everything that the package writes goes through `replacing`.

A file is written under another name beside its own, brought to the disk (fsync), and renamed; then the folder's list of
names is brought to the disk too. Whenever a process or the machine stops, the name leads to the old file or to the new
one, and once `replacing` has returned, to the new one. What a killed process left lying is swept by the next that
writes into the folder.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

A_DAY = 24 * 60 * 60
"""Seconds."""

TEMPORARY = re.compile(r"\.microtrain-([0-9a-f]{8})-(\d+)-[0-9a-f]{16}\.tmp")
"""The names of temporaries: the machine, the process, and a random number."""


def check_destination(path: str | Path) -> Path:
    """Checks, before any work is done, that a file can be written at `path`; by making one beside it, too.

    Raises:
        OSError: its folder does not exist or cannot be written to; `path` is a folder, a device or a pipe, is not
            writable, or is a symbolic link that leads nowhere but to itself.
    """
    path = Path(path)
    with _temporary(path, _checked(path), 0o600):
        return path


def _checked(path: Path) -> Path:
    """The file that a path leads to. Raises what `check_destination` does, as far as a look tells."""
    real = _real(path)
    folder = real.parent
    if not folder.is_dir():
        missing = folder if path.is_symlink() else path.parent
        raise FileNotFoundError(f"cannot write {path}: there is no folder {missing}")
    if real.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if real.exists():
        if not real.is_file():
            raise OSError(f"cannot write {path}: it is a device or a pipe, not a file")
        if not os.access(real, os.W_OK):
            raise PermissionError(f"cannot write {path}: it is not writable")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path}: the folder {folder} is not writable")
    return real


def _real(path: Path) -> Path:
    """The file that a path leads to, symbolic links followed: they stay, and what they lead to is replaced."""
    try:
        real = Path(os.path.realpath(path))
    except OSError as error:        # the current folder is gone
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields an empty temporary file beside `path`, which takes its place when the block ends without an error.

    A file that is replaced hands on its permissions; a new one has what a plain `open` would give. A symbolic link
    stays one: the file that it leads to is replaced. Of a file with several (hard) links this one name gets the new
    content; the others keep the old.

    Raises:
        OSError: as `check_destination`; or what went wrong in writing, naming `path`. Nothing is left behind
            then, and the old file is as it was.
    """
    path = Path(path)
    real = _checked(path)
    mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else None
    _sweep(real.parent)
    # Never open to more than the old file was, not for a moment.
    with _temporary(path, real, 0o666 if mode is None else 0o600) as temporary:
        yield temporary
        _to_disk(temporary, mode)
        os.replace(temporary, real)
        with suppress(OSError):     # some file systems do not take it for a folder
            _to_disk(real.parent)


@contextmanager
def _temporary(path: Path, real: Path, mode: int) -> Iterator[Path]:
    """A file beside `real`, gone at the end if it has not got another name. What goes wrong is said of `path`."""
    temporary = real.with_name(f".microtrain-{_machine()}-{os.getpid()}-{os.urandom(8).hex()}.tmp")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path, mode: int | None = None) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        if mode is not None:
            with suppress(PermissionError):     # a file system without permissions
                os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)


def _machine() -> str:
    """Eight digits that tell this machine's or container's processes from another's in a folder that both write to."""
    name = os.uname().nodename
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(name.encode()):08x}"


def _sweep(folder: Path) -> None:
    """Removes the temporaries of processes that are no more; those of another machine once they are a day old."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            ours = TEMPORARY.fullmatch(entry.name)
            if ours is None:
                continue
            with suppress(OSError):
                dead = ours[1] == _machine() and not _alive(int(ours[2]))
                if dead or time.time() - entry.stat().st_mtime > A_DAY:
                    os.unlink(entry.path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:     # somebody else's
        return True
    return True


def cache_folder() -> Path:
    """`microtrain` in the user's cache folder: XDG_CACHE_HOME, else ~/.cache. It need not exist.

    Raises:
        OSError: the user has no home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microtrain"
    except RuntimeError as error:
        raise OSError(f"there is no cache folder: {error} (set XDG_CACHE_HOME)") from error
