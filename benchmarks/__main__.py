"""``python -m benchmarks``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from microtrain.cli.main import answered
from microtrain.cli.parse import Parser

from .command import configure, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Its status is as `microtrain.cli.main.answered` has it."""
    def command() -> int:
        parser = Parser(prog="benchmarks", description="Times training steps and kernels, and writes the results.")
        configure(parser)
        return run(parser.parse_args(argv))

    return answered(command)


if __name__ == "__main__":
    sys.exit(main())
