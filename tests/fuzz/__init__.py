"""Random programs, run here and in PyTorch, compared, and made small where they differ."""

from .campaign import Tally, Verdict, modes, run
from .grower import SMALL, USUAL, WIDE, Scale
from .growth import program
from .judge import MODES, Failure, Oracle, check, outcome
from .program import Program, Step
from .shrink import shrink

__all__ = ["MODES", "SMALL", "USUAL", "WIDE", "Failure", "Oracle", "Program", "Scale", "Step", "Tally", "Verdict",
           "check", "modes", "outcome", "program", "run", "shrink"]
