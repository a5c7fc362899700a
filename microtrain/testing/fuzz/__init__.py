"""Random programs, run here and in PyTorch, compared, and made small where they differ."""

from .growth import program
from .judge import MODES, Failure, Oracle, check, outcome
from .program import Program, Step
from .shrink import shrink

__all__ = ["MODES", "Failure", "Oracle", "Program", "Step", "check", "outcome", "program", "shrink"]
