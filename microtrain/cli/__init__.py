"""The command line: one module a sub-command."""

from microtrain.cli.main import main

__all__ = ["main"]
