"""What limits a workload, and what is asked of it: bytes, operations and launches of a machine, shares and speeds."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ceilings import SuiteHostCeilings
from benchmarks.limits import Excess, Limit, Share, Speed, least
from benchmarks.suite import MICROTRAIN
from benchmarks.workload import by_hand, results
from microtrain.bench import Bound, Comparison
from tests.bench.shared import TINY, Fixed, inputs_of, timed

pytestmark = pytest.mark.usefixtures("nothing_pending")


@pytest.mark.parametrize("limit, format, expected", [
    (Limit(bytes=5000), "float32", Bound("bytes", 5)),
    (Limit(bytes=5000, products=((1, 1, 1),)), "float32", Bound("operations", 7)),
    (Limit(products=((1, 1, 1), (2, 2, 2)), operations=4000), "float32", Bound("operations", 16)),
    (Limit(bytes=5000, launches=2), "float32", Bound("launches", 6)),
    (Limit(bytes=5000, products=((1, 1, 1),)), "tf32", Bound("bytes", 5)),
    (Limit(arithmetic=10**9), "float32", None),
])  # fmt: skip
def test_a_limit_is_the_largest_of_its_times(limit, format, expected):
    assert least(limit, format, Fixed()) == expected


def compared(ours, peer):
    return Comparison((timed(MICROTRAIN, ours), timed("torch", peer, ours / peer)), Bound("bytes", 9.0))


@pytest.mark.parametrize("target, ours, found, met", [
    (Share(0.9), 10.0, 0.9, True), (Share(0.9), 10.1, 9 / 10.1, False),
    (Speed("torch", 2.0), 10.0, 2.0, True), (Speed("torch", 2.0), 10.1, 20 / 10.1, False),
    (Excess("torch", 1.0), 21.0, 1.0, True), (Excess("torch", 1.0), 21.5, 1.5, False),
    (Speed("JAX", 1.0), 10.0, None, None), (Excess("JAX", 1.0), 10.0, None, None),
])  # fmt: skip
def test_a_target_is_met_or_missed(target, ours, found, met):
    comparison = compared(ours, 20.0)
    verdict = target.judge(comparison, comparison.least)
    assert verdict.found == (None if found is None else pytest.approx(found)) and verdict.met is met
    assert replace(verdict, met=None) == replace(target.judge(replace(comparison, least=None), comparison.least),
                                                 met=None)


def test_limits_count_what_the_workloads_read_and_write():
    """Bytes by the inputs and results themselves, and operations of a product by its shape."""
    for workload in TINY:
        values = inputs_of(workload)
        if workload.family in ("step", "update"):
            continue
        out = results(by_hand(workload, np, values), 1)
        inputs = dict(values)
        if workload.name.startswith("map of a[:, 1:-1]"):
            inputs["a"] = inputs["a"][:, 1:-1]
        size = 2 if workload.format == "bfloat16" else 4
        wanted = sum(value.nbytes for value in inputs.values()) + size * sum(np.size(value) for value in out.values())
        # The one number that is a loss, and what is not counted of a reduction to one, are a few bytes.
        assert abs(workload.limit.bytes - wanted) <= 8, workload.name
    layer = next(one for one in TINY if one.name == "layer 16x32x16 float32")
    assert layer.limit.products == ((16, 32, 16),) and layer.limit.work == 2 * 16 * 32 * 16 + 2 * 16 * 16


def test_an_update_reads_and_writes_20_or_28_bytes_a_parameter():
    for name, each in (("SGD", 20), ("Adam", 28)):
        one = next(one for one in TINY if one.name.startswith(name))
        assert one.limit.bytes == each * 21 and one.limit.launches == 1


def test_the_hosts_ceilings_are_measured_once():
    ceilings = SuiteHostCeilings(1 << 16, (32, 32, 32))
    first = ceilings.bandwidth()
    assert first > 0 and ceilings.bandwidth() == first
    time = ceilings.product("float32", (32, 32, 32))
    assert ceilings.rate("float32") == pytest.approx(2 * 32**3 / time)
    assert ceilings.rate("bfloat16") is None and ceilings.launch() is None
    assert ceilings.document()["products"] == [{"format": "float32", "shape": [32, 32, 32], "us": round(time, 4)}]
