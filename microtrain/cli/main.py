"""The command line: `python -m microtrain COMMAND`, or `microtrain COMMAND`."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from ..data import DataError
from ..errors import shown
from ..train import DivergedError
from .parse import Parser, UsageError
from .process import BROKEN_PIPE, Terminated, ended, signals, standard_streams

COMMANDS = {
    "train": "train a perceptron or a linear regression on real data",
    "kernels": "compile the kernels for a GPU, without one, and report resources",
    "parity": "compare operators with PyTorch: values, gradients, second gradients",
    "info": "print versions, devices at hand and flags",
}
"""A line of help by name; a module of that name has `configure(parser)` and `run(args) -> int`."""

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


def build_parser(chosen: str | None) -> Parser:
    """The parser; only the chosen command's module is imported, so that none pays for another's."""
    parser = Parser(prog="microtrain", description="Trains small models on a GPU at the speed the GPU allows.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, said in COMMANDS.items():
        sub = commands.add_parser(name, help=said, description=f"microtrain {name}: {said}.")
        if name == chosen:
            module = importlib.import_module(f"microtrain.cli.{name}")
            module.configure(sub)
            sub.set_defaults(run=module.run)
    return parser


def answered(command: Callable[[], int]) -> int:
    """Runs a command, within standard streams and signals that end it tidily.

    Returns:
        Its status when it did what was asked; 2 after an error of the user's, told in one line on stderr; 130 when
        interrupted, 143 when terminated, each with a line; 141 when the reader of what it prints has gone, without one.
    """
    with standard_streams(), signals() as came:
        try:
            try:
                return ended(command(), None)
            except Exception as error:
                if came:
                    raise came[-1] from error
                raise
        except BrokenPipeError:
            return ended(BROKEN_PIPE, None)
        except USER_ERRORS as error:
            return ended(2, f"error: {one_line(error)}")
        except KeyboardInterrupt:
            return ended(130, "interrupted")
        except Terminated as error:
            return ended(error.status, "terminated")
        except SystemExit as error:     # --help
            raise SystemExit(ended(int(error.code or 0), None)) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; see `answered` for what it returns."""
    arguments = list(sys.argv[1:] if argv is None else argv)

    def command() -> int:
        args = build_parser(arguments[0] if arguments else None).parse_args(arguments)
        return int(args.run(args))

    return answered(command)


def program() -> NoReturn:
    """Runs the command of this process and ends it. Where a signal ended the command nothing is taken down: a library
    in C that the signal came into may abort in that."""
    status = main()
    if status > 128:
        os._exit(status)
    sys.exit(status)
