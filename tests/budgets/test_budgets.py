"""Kernels within their budgets, and the judge of that: what is planted must be caught, by its name.

A slice of the sample is compiled here; `make budgets` compiles all of it for every target.
"""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from typing import Any

import pytest

from microtrain import settings
from microtrain.compiler import emit_value
from microtrain.compiler.access import Guard
from microtrain.compiler.emit_value import Touch
from microtrain.compiler.index import Index, Var, combine, constant, floordiv, linear, modulo, split, text, variable
from microtrain.compiler.templates import matmul
from microtrain.compiler.templates.template import Launch
from microtrain.graph import dtypes
from microtrain.kernels import tiles
from microtrain.kernels.matmul_tiles import MatmulTile
from microtrain.kernels.tiles import ARCHITECTURES, MapTile, RowTile
from microtrain.runtime import resources
from microtrain.runtime.resources import compile_launch
from tests import budgets
from tests.budgets import training, widths
from tests.budgets.sample import content, kernels

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("compiles kernels, which are interpreted in this process", allow_module_level=True)

CASES = {case.name: case for case in budgets.CASES}
SLICE = 36


@pytest.fixture(scope="module")
def sampled() -> list[budgets.Specimen]:
    return budgets.sample(SLICE)


def kernel(case: str) -> budgets.Specimen:
    specimen, = budgets.of_case(CASES[case])
    return specimen


def launched(specimen: budgets.Specimen, tile: Any, target: str = "sm_90") -> Launch:
    """A kernel's launch with a tile that its template would not choose."""
    choosers: dict[type, tuple[Any, str]] = {MapTile: (tiles, "map_tiles"), RowTile: (tiles, "row_tiles"),
                                             MatmulTile: (matmul, "matmul_tiles")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*choosers[type(tile)], lambda *of, **options: [tile])
        return specimen.kernel.launch(target)


def problems(specimen: budgets.Specimen, tile: Any = None, target: str = "sm_90") -> list[str]:
    """What is wrong with a kernel, of another tile than its own if one is given."""
    launch = None if tile is None else launched(specimen, tile, target)
    return list(budgets.judged(specimen, target, launch).problems)


# --------------------------------------------------------------------------------------------------------- the sample


@pytest.mark.parametrize("target", resources.TARGETS)
def test_a_slice_of_the_sample_is_within_its_budgets(target: str, sampled: list[budgets.Specimen]) -> None:
    """Every kernel of the slice for one target, in turn."""
    mine = sampled[list(resources.TARGETS).index(target)::len(resources.TARGETS)]
    verdicts = [budgets.judged(specimen, target) for specimen in mine]
    assert len(verdicts) == SLICE // len(resources.TARGETS)
    assert not [verdict.report() for verdict in verdicts if verdict.problems]


def test_the_sample_is_of_the_same_programs_every_time_of_distinct_kernels_and_all_templates(
        sampled: list[budgets.Specimen]) -> None:
    again = budgets.sample(SLICE // 2)
    assert [(one.origin, one.template) for one in again] == [(one.origin, one.template) for one in sampled[:len(again)]]
    assert len({content(one) for one in sampled}) == len(sampled)
    assert {one.template for one in sampled} >= {"map", "maps", "row", "slab", "reduce", "matmul"}
    assert len({one.origin for one in sampled}) >= SLICE // 2


def test_the_table_has_a_budget_for_each_target_that_the_target_has() -> None:
    for kind, of in budgets.BUDGETS.items():
        assert set(of) == set(resources.TARGETS), kind
        for target, budget in of.items():
            assert budget.registers <= (512 if target == "gfx942" else 255)
            assert budget.shared_bytes <= ARCHITECTURES[target].shared_bytes
    for excuse in budgets.EXCUSES:
        assert set(excuse.kinds) <= set(budgets.BUDGETS) and set(excuse.targets) <= set(resources.TARGETS)
        assert len(excuse.reason) > 40


def logistic_step(arch: str = "sm_90") -> Launch:
    """A whole step of a logistic regression on 256 rows of 64, in one kernel."""
    def run() -> None:
        training.step("logistic regression 256 x 64", "SGD", "float32")
    with settings.device("cpu"), settings.fuse(True):
        *_, specimen = kernels("a logistic step", run)
    assert specimen.template == "slab"
    return specimen.kernel.launch(arch)


def test_a_logistic_step_computes_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in every thread that holds some of it: some 610 instructions where there would be 1,190."""
    made = compile_launch("sm_90", logistic_step())
    assert not made.spills and made.registers <= 80
    assert 400 < made.instructions <= 650
    monkeypatch.setattr(tiles, "flat_pays", lambda *of, **told: False)
    assert compile_launch("sm_90", logistic_step()).instructions > 1.8 * made.instructions


def test_instructions_of_amd_are_counted_too() -> None:
    few, many = (compile_launch("gfx942", kernel(case).kernel.launch("gfx942")).instructions
                 for case in ("elementwise, bfloat16", "normal random numbers"))
    assert 20 < few < many < 3000


# ------------------------------------------------------------------------------------------------------ what is planted


def test_a_planted_spill_is_caught() -> None:
    assert not problems(kernel("softmax backward"))
    assert any(p.startswith("spills ") for p in problems(kernel("softmax backward"), RowTile(8, 1024, 1)))


def test_a_kernel_over_its_registers_or_its_shared_memory_is_caught() -> None:
    found, = problems(kernel("elementwise, float64"), MapTile(1024, 1))
    assert found.endswith("registers, budget 96")
    found, = [p for p in problems(kernel("linear + relu, bfloat16"), MatmulTile(128, 128, 64, 8, 7)) if "bytes" in p]
    assert "bytes of shared memory, budget" in found


@pytest.mark.parametrize("target", resources.TARGETS)
@pytest.mark.parametrize("case", ["elementwise, bfloat16", "softmax backward"])
def test_an_index_that_the_compiler_cannot_see_through_is_caught(
        case: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same addresses, written in a way that hides that they are neighbours: scalar loads and stores."""
    monkeypatch.setattr(emit_value, "text", lambda index, name: f"({text(index, name)}) * 2 // 2")
    found = problems(kernel(case), target=target)
    assert any(p.startswith("a load of") for p in found) and any(p.startswith("a store of") for p in found)


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_addresses_not_known_to_be_aligned_are_caught(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "divisible_by_16", lambda signature, names=(): {})
    found = problems(kernel("linear + relu"), target=target)
    assert any(p.startswith("a load of 32 bits where 128 are possible: v0 = tl.load(") for p in found)


def test_one_scalar_load_among_wide_ones_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widest access of a kernel says nothing of the others."""
    whole = emit_value.Body.load

    def load(self: emit_value.Body, node: Any, index: Index, guards: Any) -> str:
        name = whole(self, node, index, guards)
        if len(self.loads) == 2:
            self.lines[-1] = self.lines[-1].replace(" + i,", " + (i * 3) // 3,")
            self.touches[-1] = (self.lines[-1], self.touches[-1][1])
        return name

    monkeypatch.setattr(emit_value.Body, "load", load)
    specimen = kernel("elementwise")
    launch = specimen.kernel.launch("sm_90")
    assert max(compile_launch("sm_90", launch).loads) == 128
    found, = problems(specimen)
    assert found.startswith("a load of 32 bits where 128 are possible: v") and "(i * 3) // 3" in found


def test_a_load_that_the_emitter_does_not_note_is_caught() -> None:
    specimen = kernel("elementwise")
    specimen.kernel.touches.popitem()
    assert [p for p in problems(specimen) if "that the emitter did not note" in p]


def test_what_is_strided_by_its_nature_is_not_asked_to_be_wide() -> None:
    narrow = [budgets.judged(s, "sm_90") for s in budgets.of_case(CASES["slice + transpose"])]
    assert not any(v.problems for v in narrow) and any(min(v.resources.loads) == 32 for v in narrow)


def test_an_excuse_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    specimen = kernel("softmax")
    launch = specimen.kernel.launch("sm_90")
    resources = compile_launch("sm_90", launch)
    excuse = budgets.Excuse(("sm_90",), ("row",), "planted", spills=8)
    monkeypatch.setattr(sys.modules[budgets.Verdict.__module__], "EXCUSES", (excuse,))
    assert budgets.judge(specimen, launch, replace(resources, spills=8)).excuses == (excuse,)
    assert budgets.judge(specimen, launch, replace(resources, spills=9)).problems == ("spills 9",)
    assert budgets.judge(specimen, launch, replace(resources, target="sm_80", spills=8)).problems == ("spills 8",)


def test_a_report_has_the_source_and_says_where_the_kernel_is_from(sampled: list[budgets.Specimen]) -> None:
    specimen = next(one for one in sampled if one.origin.startswith("fuzz.program("))
    launch = specimen.kernel.launch("sm_80")
    resources = compile_launch("sm_80", launch)
    report = budgets.judge(specimen, launch, replace(resources, spills=999)).report()
    assert report.startswith(f"sm_80: {specimen.origin} ({budgets.kind_of(specimen)}): spills 999\n    @triton.jit\n")


# ---------------------------------------------------------------------------------------------- what structure allows


def chains(seed: int) -> Index:
    """A random index of two symbols: splits, slices, transpositions and their like."""
    r = random.Random(seed)
    i, j = variable("i", r.choice([16, 24, 32, 48])), variable("j", r.choice([3, 4, 8]))
    index = combine([(i, r.choice([1, 1, 1, 2, 3])), (j, r.choice([1, 4, 16, 20, 48]))], r.choice([0, 0, 2, 4, 8]))
    for _ in range(r.randint(0, 3)):
        d = r.choice([2, 3, 4, 8, 12, 16])
        step = r.choice(["div", "mod", "split", "add"])
        if step == "div":
            index = combine([(floordiv(index, d), r.choice([1, 1, 2]))])
        elif step == "mod":
            index = modulo(index, d)
        elif step == "split":
            outer, inner = floordiv(index, d), modulo(index, d)
            sizes = r.choice([(outer.high + 1, inner.high + 1), (inner.high + 1, outer.high + 1)])
            index = linear(r.choice([(outer, inner), (inner, outer)]), sizes)
        else:
            index = combine([(index, 1)], r.choice([1, 4, 8]))
    return index


@pytest.mark.parametrize("width", [2, 4, 8])
def test_what_is_said_of_an_index_is_true_of_every_block_and_little_is_left_unsaid(width: int) -> None:
    """Against every value of it: what the structure promises holds, and of what holds most is promised."""
    promised = found = 0
    for seed in range(500):
        index = chains(seed)
        slope, multiple = widths.along(index, "i", width)
        code = compile(text(index, lambda base: base.name), "<index>", "eval")
        blocks = [[eval(code, {"i": begin + k, "j": j}) for k in range(width)]
                  for j in range(3) for begin in range(0, 16, width)]
        if slope is not None:
            assert all(block == [block[0] + slope * k for k in range(width)] for block in blocks), index
            assert all(block[0] % multiple == 0 if multiple else block[0] == 0 for block in blocks), index
        holds = all(block == [block[0] + k for k in range(width)] and block[0] % width == 0 for block in blocks)
        found += holds
        promised += slope == 1 and multiple % width == 0
    assert found > 15 and promised > 0.9 * found


def wide(index: Index, launch: Launch, guards: tuple[Guard, ...] = (), dtype: Any = dtypes.float32) -> int:
    """Elements of an access of a map's load at an index."""
    node: Any = type("Node", (), {"dtype": dtype})
    sizes = {"i": next(digit.base.size for digit in index.terms if isinstance(digit.base, Var))}
    return widths.elements(Touch(node, index, guards, sizes), launch, resources.TARGETS["sm_90"])


def test_what_divides_what_and_what_cuts() -> None:
    """Against what is known of each: `launch` is of 1024 elements a program and 8 a thread."""
    specimen = kernel("elementwise")
    launch = launched(specimen, MapTile(1024, 4))
    i = variable("i", 4096)
    rows = split(i, (64, 64))
    inside, across = (Guard(rows[1], low, low + 32) for low in (4, 5))
    for index, elements, *guards in (
            (i, 4), (combine([(i, 1)], 2), 2),                                      # starts 8 bytes into 16
            (combine([(i, 1)], 3), 1), (combine([(i, 2)]), 1),
            (combine([(i, -1)], 4095), 1),                                          # flipped
            (linear(rows[::-1], (64, 64)), 1),                                      # transposed
            (linear((rows[0], combine([(rows[1], 1)], 4)), (64, 128)), 4),
            (variable("i", 4100), 1),                                               # told at launch, no multiple of 16
            (linear(split(variable("i", 4032), (64, 63)), (64, 65)), 1),            # rows of 63
            (i, 4, inside), (i, 1, across), (i, 4, Guard(rows[0], 5, 9)),           # whole rows
            (combine([(floordiv(i, 4), 1)]), 1)):
        assert wide(index, launch, tuple(guards)) == elements, index
    assert wide(i, launch, dtype=dtypes.bfloat16) == wide(i, launch, dtype=dtypes.uint8) == 8
    assert not constant(3).terms
