"""`python -m microtrain kernels` and `python -m tests.budgets`: what they print, and that spills are noticed."""

import argparse
import os
import re
from typing import Any

import pytest
import torch

from microtrain.cli import kernels
from microtrain.cli.parse import UsageError
from microtrain.kernels import tiles
from microtrain.runtime import backend
from microtrain.runtime.resources import TARGETS
from tests import budgets
from tests.budgets import __main__ as judging

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("compiles kernels, which are interpreted in this process", allow_module_level=True)


def run(*words: str, command: Any = kernels) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return int(command.run(parser.parse_args(words)))


def test_every_case_is_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sm_90 (")
    rows = [line.split() for line in lines[2:] if line]
    assert {"map", "row", "reduce", "matmul"} <= {word for row in rows for word in row}
    assert len(rows) > len(budgets.CASES)                       # a sum of 4 M elements is two kernels
    assert all(row[-4] == "0" for row in rows)                  # spills
    assert run(command=judging) == 0


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "sm_90"])
def test_other_targets(target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [case for case in budgets.CASES if case.name in ("elementwise", "softmax", "linear + relu, bfloat16")]
    monkeypatch.setattr(kernels, "CASES", chosen)
    assert run("--target", target) == 0
    assert capsys.readouterr().out.startswith(target)


def test_a_sample_is_summed_up(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "CASES", [])
    assert run("--target", "sm_80", "--sample", "3", command=judging) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["kind", "kernels", "registers"]
    kinds = [line for line in lines[2:] if line.startswith(tuple(budgets.BUDGETS))]
    assert sum(int(re.search(r"  (\d+)  ", line)[1]) for line in kinds) == 3      # type: ignore[index]


def test_a_kernel_over_its_budget_is_named_with_its_source(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "row_tile", lambda *shape, **options: tiles.RowTile(8, 1024, 1))
    monkeypatch.setattr(budgets, "CASES", [case for case in budgets.CASES if case.name == "softmax"])
    assert run("--target", "sm_90", command=judging) == 1
    said = capsys.readouterr().out
    assert "sm_90: softmax (row): spills" in said and "    @triton.jit\n    def row_" in said


def test_an_unknown_target_lists_the_known() -> None:
    with pytest.raises(UsageError, match="unknown target 'sm_10'; known: sm_80, sm_90"):
        run("--target", "sm_10")
    with pytest.raises(SystemExit):
        run("--sample", "-1", command=judging)


def test_the_null_device_has_no_values() -> None:
    with pytest.raises(RuntimeError, match="computes nothing"):
        backend("null", "sm_90").to_numpy(None)
    with pytest.raises(ValueError, match="unknown target 'sm_10'; known"):
        backend("null", "sm_10")


@pytest.fixture(autouse=True)
def torch_starts_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling for a GPU needs none: were one asked for here, PyTorch would start it, or say that it is not there."""
    def refused(*arguments: object) -> None:
        raise AssertionError("a GPU was asked for")
    monkeypatch.setattr(torch.cuda, "_lazy_init", refused)
