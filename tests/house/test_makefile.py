"""`make gpu`: neither the suite nor the benchmarks stop the other, and what failed is in the status."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
case "$*" in
    *"-m pytest"*) echo suite >>"$NOTES"; exit $SUITE ;;
    *"-m benchmarks"*) echo bench >>"$NOTES"; exit $BENCH ;;
esac
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize("suite, bench", [(0, 0), (1, 0), (0, 1)])
def test_a_failure_of_one_leaves_the_other_its_turn(suite: int, bench: int, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    python, notes = tmp_path / "python", tmp_path / "notes"
    python.write_text(PYTHON)
    python.chmod(0o755)
    done = subprocess.run(["make", "gpu", "DEVICE=interpret", "TINY=1", "SHARDS=2", f"PYTHON={python}"], cwd=tmp_path,
                          env={"PATH": "/usr/bin:/bin", "NOTES": str(notes), "SUITE": str(suite), "BENCH": str(bench)},
                          capture_output=True, text=True, timeout=60)
    assert notes.read_text().split() == ["suite", "suite", "bench"], done.stdout + done.stderr
    assert (done.returncode == 0) is (suite == bench == 0)
