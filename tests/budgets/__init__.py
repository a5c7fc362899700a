"""Budgets of kernels: named cases and a sample of generated ones, compiled for every target and held against a table.

`sample(200)` are the kernels, `judged(specimen, "sm_90")` says what is wrong with one.
"""

from microtrain.testing.specimen_cases import CASES, Case, of_case
from microtrain.testing.specimens import Specimen

from .judge import Verdict, judge, judged
from .sample import sample
from .table import BUDGETS, EXCUSES, Budget, Excuse

__all__ = ["BUDGETS", "CASES", "EXCUSES", "Budget", "Case", "Excuse", "Specimen", "Verdict", "judge", "judged",
           "of_case", "sample"]
