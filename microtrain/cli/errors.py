"""Which errors are the user's to mend, and how they are told."""

from __future__ import annotations

import errno

from ..data import DataError
from ..errors import shown
from ..train import DivergedError


class UsageError(Exception):
    """The command line asks for something that cannot be done; the message says what and what would work."""


# Each of these carries a message written for the user. Anything else is a defect and keeps its traceback.
USER_ERRORS = (UsageError, DataError, DivergedError, OSError)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def one_line(error: BaseException) -> str:
    """The message on a single line, with nothing in it that a terminal would obey."""
    if isinstance(error, OSError) and error.strerror:
        # What is written to a file is told of with its name.
        where = error.filename or ("standard output" if error.errno in NO_ROOM else None)
        return shown(f"{where}: {error.strerror}" if where else error.strerror)
    return shown(" ".join(str(error).split()))
