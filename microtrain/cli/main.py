"""The command line: `python -m microtrain COMMAND`, or `microtrain COMMAND`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from .errors import USER_ERRORS, UsageError, one_line
from .parse import Parser
from .process import BROKEN_PIPE, Terminated, ended, signals, standard_streams


@dataclass(frozen=True)
class Command:
    """A sub-command: one line of help, and the module with `configure(parser)` and `run(args) -> int`."""

    help: str
    module: str


COMMANDS = {
    "train": Command("train a perceptron or a linear regression on real data", "microtrain.cli.train"),
    "kernels": Command("compile the kernels for a GPU, without one, and report resources", "microtrain.cli.kernels"),
    "parity": Command("compare operators with PyTorch: values, gradients, second gradients", "microtrain.cli.parity"),
    "info": Command("print versions, devices at hand and flags", "microtrain.cli.info"),
}


def build_parser(chosen: str | None) -> Parser:
    """The parser; only the chosen command's module is imported, so that none pays for another's."""
    parser = Parser(prog="microtrain", description="Trains small models on a GPU at the speed the GPU allows.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=f"microtrain {name}: {command.help}.")
        if name == chosen:
            module = importlib.import_module(command.module)
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


__all__ = ["COMMANDS", "Command", "UsageError", "build_parser", "main", "program"]
