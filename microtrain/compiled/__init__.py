"""Whole steps and whole loops: a function that trains, recorded once and replayed."""

from .function import Compiled as Compiled
from .function import compile as compile
