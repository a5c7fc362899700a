"""Which errors are the user's to mend, and how they are told."""

from __future__ import annotations

from microtrain.data import DataError
from microtrain.errors import shown
from microtrain.train import DivergedError


class UsageError(Exception):
    """The command line asks for something that cannot be done; the message says what and what would work."""


# Each of these carries a message written for the user. Anything else is a defect and keeps its traceback.
USER_ERRORS = (UsageError, DataError, DivergedError, OSError)


def one_line(error: BaseException) -> str:
    """The message on a single line, with nothing in it that a terminal would obey."""
    if isinstance(error, OSError) and error.strerror:
        return shown(f"{error.filename or 'standard output'}: {error.strerror}")
    return shown(" ".join(str(error).split()))
