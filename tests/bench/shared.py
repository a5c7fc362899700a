"""Tiny workloads, one planted wrong, a machine of fixed ceilings, a clock that stands, and entries that were timed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import microtrain as mt
from benchmarks.bench_device import Effort, place
from benchmarks.catalogue import small, tiny
from microtrain.bench import Quantiles, timing
from microtrain.bench.comparison import Entry

ROOT = Path(__file__).resolve().parents[2]
BRIEF = Effort(rounds=2, seconds=1e-4)
HOST = place("cpu", BRIEF)

TINY = tiny("cpu")
STEPS = [one for one in TINY if one.family == "step" and one.format == "float32"]
SMALL = small()
MAP = SMALL[0]


def swapped(T, tensors, compiled):
    return MAP.build(T, {**tensors, "a": tensors["b"]} if T is mt else tensors, compiled)


PLANTED = replace(MAP, build=swapped)
"""The elementwise workload, which microtrain, and nobody else, is made to compute of the wrong operand."""


def by_name(workload):
    return workload.name


def inputs_of(workload):
    return HOST.memory.inputs(workload)


class Fixed:
    """Ceilings of a machine that copies 1000 bytes a microsecond, multiplies at 2000 operations a microsecond and
    launches in 3."""

    def bandwidth(self):
        return 1000.0

    def product(self, format, product):
        return 7.0 if format == "float32" else None

    def rate(self, format):
        return 2000.0 if format == "float32" else None

    def launch(self):
        return 3.0

    def document(self):
        return {}


def timed(name, time, ratio=1.0):
    spread = Quantiles(time * 0.9, time, time * 1.1)
    return Entry(name, None, "loop", 10, (time,) * 3, spread, Quantiles(ratio, ratio, ratio), 0.12)


class Clock:
    """Time that passes only when a function says so."""

    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter_ns=lambda: self.now))

    def takes(self, nanoseconds, result=1.0):
        def function():
            self.now += nanoseconds
            return result

        return function


def accept(result):
    assert result is not None
