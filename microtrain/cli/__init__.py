"""The command line: one module a sub-command."""

from microtrain.cli.main import main, program

__all__ = ["main", "program"]
