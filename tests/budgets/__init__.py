"""Budgets of kernels: named cases and a sample of generated ones, compiled for every target and held against a table.

`sample(200)` are the kernels, `judged(specimen, "sm_90")` says what is wrong with one.
"""

from microtrain.testing.specimens import CASES, Case, Specimen, of_case

from .judge import Verdict, judge, judged, kind_of
from .sample import sample
from .table import BUDGETS, EXCUSES, Budget, Excuse

__all__ = ["BUDGETS", "CASES", "EXCUSES", "Budget", "Case", "Excuse", "Specimen", "Verdict", "judge", "judged",
           "kind_of", "of_case", "sample"]
