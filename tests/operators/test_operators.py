"""PyTorch's own operator database: every operator by value, gradient and second gradient, on the device under test.

On cpu all samples in both dtypes, but for one operator that has thousands; interpreted, where a kernel takes
milliseconds, and on cuda, where every new shape is compiled, a few small ones of each operator in one dtype, which
reach every primitive and template. All of them on cuda: `python -m microtrain parity --device cuda`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import settings
from microtrain.compiler import lower
from microtrain.compiler import schedule as scheduling
from microtrain.compiler.cpu.reference import evaluated
from microtrain.compiler.program import Program
from microtrain.compiler.templates import rows
from microtrain.engine import run
from microtrain.ops import PRIMITIVES
from microtrain.testing.database import judge as judging
from microtrain.testing.database.exceptions import REFUSALS, UNSPECIFIED
from microtrain.testing.database.operators import DTYPES, FURTHER, NAMES, cases, database, find
from microtrain.testing.database.parity import at_most, parity
from microtrain.testing.report import GRADIENT, SECOND, VALUE, ParityReport, Tally
from tests.conftest import DEVICE

pytest.importorskip("expecttest", reason="PyTorch's operator database needs expecttest: pip install expecttest")

FEW, MOST = 3, 300
"""Samples of each operator where kernels are run, and in a dtype elsewhere: fewer than `max_pool2d` alone has."""

ELSEWHERE = {
    "bitwise_not": "the database's bitwise operators take integers alone", "bitwise_xor": "likewise",
    "slice_update": "assignment to a view: no operator of the database's assigns",
    "index_put": "likewise, by index",
}
"""Primitives that no operator compared here reaches; `test_parity` does. Each with the reason."""

DONE: dict[str, ParityReport] = {}
"""Reports by operator: each is judged once, whichever test asks first."""

SEEN: Counter[str] = Counter()
"""Primitives and templates of everything that was run for them."""


def listen(plan: Any) -> None:
    """Note what a program consists of: as recorded, and as scheduled."""
    SEEN.update(value.primitive.name for value in Program.read(plan.key).values)
    if DEVICE != "cpu":
        for group in scheduling.schedule(plan.program):
            SEEN[f"{group.template.name} template"] += 1
            SEEN.update(node.primitive.name for node in evaluated(group.members, group.reads))


def judged(name: str, monkeypatch: pytest.MonkeyPatch) -> ParityReport:
    """The report on one operator."""
    if name not in DONE:
        monkeypatch.setattr(run, "report", listen)
        monkeypatch.setattr(run, "listeners", [listen])
        if DEVICE == "cpu":
            DONE[name] = parity([name], DEVICE, choose=at_most(MOST))
        else:
            DONE[name] = parity([name], DEVICE, DTYPES[:1], choose=at_most(FEW))
    return DONE[name]


@pytest.mark.parametrize("name", (*NAMES, *FURTHER))
def test_operator(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    report = judged(name, monkeypatch)
    if report.absent:
        assert "; " in report.absent[name], f"{report.absent[name]}: it should say what to use instead"
        return
    assert not report.failures, "\n".join(report.failures)
    assert report.total(order=VALUE).passed > 0 or not any(list(cases(name, dtype)) for dtype in DTYPES)


@pytest.mark.whole
def test_the_sums(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    whole, further = ParityReport(), ParityReport()
    for name in NAMES:
        whole.merge(judged(name, monkeypatch))
    for name in FURTHER:
        further.merge(judged(name, monkeypatch))
    there = len(NAMES) - len(whole.absent)
    with capsys.disabled():
        print(f"\n{there} of {len(NAMES)} operators are there\n{whole.summary()}")
        print(f"{len(FURTHER)} others\n{further.summary()}")
    assert not further.absent and not further.failures
    assert len(NAMES) == len(set(NAMES)) == 210 and all(database()[name] for name in NAMES)
    assert there >= 190
    for order in (VALUE, GRADIENT, SECOND):
        column = whole.total(order=order)
        assert column.failed == 0
        assert column.refused <= 0.03 * column.tried
        assert column.uncounted <= 0.01 * column.tried
    if DEVICE == "cpu":
        assert whole.total(order=VALUE).tried > 5000 and whole.total(order=SECOND).tried > 3500


def test_the_tables_of_exceptions_hold_nothing_that_does_not_occur() -> None:
    found = {name: [case for dtype in DTYPES for case in cases(name, dtype)]
             for name in {row.operation for row in (*REFUSALS, *UNSPECIFIED)}}
    for row in (*REFUSALS, *UNSPECIFIED):
        assert any(row.when(case) for case in found[row.operation]), row
        assert row.reason


@pytest.mark.whole
@pytest.mark.skipif(DEVICE == "cpu", reason="of the few samples that kernels are run on: here all are, without kernels")
def test_the_chosen_samples_reach_every_primitive_and_template(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *FURTHER):
        judged(name, monkeypatch)
    assert set(PRIMITIVES) - set(SEEN) <= set(ELSEWHERE)
    assert set(ELSEWHERE) <= set(PRIMITIVES)
    assert {"map template", "row template", "matmul template"} <= set(SEEN)


REDUCTIONS = ("all", "amax", "any", "argmax", "logsumexp", "mean", "prod", "softmax", "std", "sum", "var")


@pytest.mark.skipif(DEVICE == "cpu", reason="no kernels")
@pytest.mark.parametrize("name", REDUCTIONS)
def test_long_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The database has no row of more than ROW_MAX elements: let three be many, and split no row.
    monkeypatch.setattr(rows, "ROW_MAX", 2)
    monkeypatch.setattr(lower, "SPLIT_ROWS", 0)
    seen: Counter[str] = Counter()
    monkeypatch.setattr(run, "listeners", [lambda kernels, program: seen.update(
        group.template.name for group in scheduling.schedule(program))])
    with settings.cache(False):
        report = parity([name], DEVICE, DTYPES[:1], choose=lambda found: sorted(found, key=lambda case: case.size)[-4:])
    assert not report.failures, "\n".join(report.failures)
    assert seen["reduce"] > 0


# ------------------------------------------------------------------------------------------------ the judge is judged

def of(report: ParityReport, order: int) -> Tally:
    return report.total(order=order)


def planted(name: str, method: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> ParityReport:
    """The report on an operator in whose place something else stands."""
    monkeypatch.setattr(judging, "find", lambda _: method)
    return parity([name], DEVICE, DTYPES[:1], choose=at_most(2))


class WrongDerivative(mt.autograd.Function):
    """A sine with a factor too many in its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, ct: Any) -> Any:
        return ct * ctx.saved_tensors[0].cos() * (1 + 2.0**-12)


class WrongSecondDerivative(WrongDerivative):
    """A sine whose derivative is right and cannot be differentiated as it should."""

    @staticmethod
    def backward(ctx: Any, ct: Any) -> Any:
        return ct * ctx.saved_tensors[0].detach().cos()


def test_the_right_function_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    report = planted("sin", mt.Tensor.sin, monkeypatch)
    assert all(of(report, order).passed == of(report, order).tried > 0 for order in (VALUE, GRADIENT, SECOND))


@pytest.mark.parametrize(("wrong", "order"), [
    (lambda x: x.sin() * (1 + 2.0**-18), VALUE),
    (lambda x: x.sin().double(), VALUE),
    (lambda x: x.sin().reshape((1, *x.shape)), VALUE),
    (lambda x: (x.sin(), x.sin()), VALUE),
    (lambda x: x.sin() + math.nan, VALUE),
    (lambda x: x.sin().detach(), GRADIENT),
    (WrongDerivative.apply, GRADIENT),
    (WrongSecondDerivative.apply, SECOND),
])
def test_planted_faults_are_found(wrong: Callable[..., Any], order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    report = planted("sin", wrong, monkeypatch)
    assert of(report, order).failed == of(report, order).tried > 0 and report.failures
    for right in range(order):
        assert of(report, right).failed == 0


def test_a_gradient_where_pytorch_has_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    report = planted("eq", lambda x, y: (x == y) | (x - y > 0), monkeypatch)
    assert of(report, VALUE).failed > 0
    report = planted("isfinite", lambda x: x, monkeypatch)
    assert of(report, VALUE).failed == of(report, VALUE).tried


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError("the nuclear norm (p='nuc') is not there; use numpy.linalg")


def test_only_what_is_listed_counts_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "find", lambda _: refuse)
    report = parity(["norm"], DEVICE, DTYPES[:1])
    value = of(report, VALUE)
    assert 0 < value.refused < value.failed
    nuclear = ["nuc" in case.args or case.kwargs.get("p") == "nuc" for case in cases("norm", "float32")]
    assert value.refused == sum(nuclear)


def test_samples_are_the_same_every_time() -> None:
    first, second = ([np.asarray(case.args[0].detach()) for case in cases("softmax", "float32")] for _ in range(2))
    assert len(first) > 5 and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_name_is_found_as_the_database_calls_it() -> None:
    condition = mt.tensor([True, False])
    assert find("where")(mt.tensor([1.0, 2.0]), condition, mt.tensor([3.0, 4.0])).tolist() == [1.0, 4.0]
    assert find("__radd__")(mt.tensor([1.0]), 2.0).tolist() == [3.0]
    assert find("contiguous")(mt.tensor([1.0])).tolist() == [1.0]
    assert find("nn.functional.relu")(mt.tensor([-1.0])).tolist() == [0.0]
    assert find("no_such_operator") is None
