"""The command line: one module a sub-command."""

from .main import main, program

__all__ = ["main", "program"]
