"""What keeps the tests that have finished, and ends a process whose GPU can no longer be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import progress

TESTS = """
import os
import pytest

def test_passes(): pass
def test_fails(): assert 1 == 2, "one is two"
def test_breaks():
    os.environ["BROKEN"] = "CUDA error: an illegal memory access was encountered\\nmore of it"
def test_breaks_and_fails():
    os.environ["BROKEN"] = "CUDA error: an illegal memory access was encountered"
    raise RuntimeError("the first line\\nthe second line")
@pytest.mark.skip(reason="no reason")
def test_is_skipped(): pass
@pytest.mark.xfail(reason="known")
def test_is_expected_to_fail(): raise ValueError("known")
def test_takes_the_process_with_it(): os._exit(139)
def test_needs_what_is_not_there(missing): pass
def test_comes_last(): pass
"""

CONFTEST = """
import os
from pathlib import Path
from tests.support.progress import Progress

def synchronize():
    if "BROKEN" in os.environ:
        raise RuntimeError(os.environ["BROKEN"])

def pytest_configure(config):
    done = os.environ.get("DONE")
    config.pluginmanager.register(Progress(Path(done) if done else None, synchronize), "progress")

def pytest_collection_modifyitems(config, items):
    items[:] = config.pluginmanager.get_plugin("progress").left(items)
"""


def session(folder: Path, done: Path | None, *options: str) -> tuple[int, str]:
    """The status of a session of those tests in a process of its own, and what it prints."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_some.py").write_text(TESTS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]),
                   "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "DONE": "" if done is None else str(done)}
    ran = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".",
                          *options], cwd=folder, env=environment, capture_output=True, text=True)
    return ran.returncode, ran.stdout


def entries(done: Path) -> dict[str, dict[str, Any]]:
    listed = [json.loads(line) for line in done.read_text().splitlines()]
    assert len({entry["test"] for entry in listed}) == len(listed), "a test was run twice"
    return {entry["test"].rpartition("::")[2]: entry for entry in listed}


def test_a_session_goes_on_after_what_it_was_cut_off_by(tmp_path: Path) -> None:
    done = tmp_path / "out" / "done.jsonl"
    statuses = [session(tmp_path, done)[0] for _ in range(5)]
    assert statuses == [progress.BROKEN, progress.BROKEN, 139, 1, 5]        # 5: nothing is left
    found = entries(done)
    outcomes = {"passes": "passed", "fails": "failed", "breaks": "failed", "breaks_and_fails": "failed",
                "is_skipped": "skipped", "is_expected_to_fail": "xfailed", "takes_the_process_with_it": "died",
                "needs_what_is_not_there": "error", "comes_last": "passed"}
    assert {name.removeprefix("test_"): entry["outcome"] for name, entry in found.items()} == outcomes
    assert [name for name, entry in found.items() if entry["broken"]] == ["test_breaks", "test_breaks_and_fails"]
    errors = {name.removeprefix("test_"): entry["error"] for name, entry in found.items()}
    assert errors["breaks"] == "CUDA error: an illegal memory access was encountered"
    assert errors["breaks_and_fails"].startswith("RuntimeError: the first line (")
    assert errors["fails"].startswith("AssertionError: one is two (") and errors["passes"] == ""
    assert errors["is_skipped"].startswith("Skipped: no reason (")
    assert "missing" in errors["needs_what_is_not_there"]
    assert 0 < found["test_fails"]["seconds"] < 10


def test_the_test_that_broke_the_gpu_is_named(tmp_path: Path) -> None:
    status, said = session(tmp_path, None, "-k", "test_breaks_and_fails or comes_last")
    assert status == progress.BROKEN
    assert "the GPU can no longer be used in this process after test_some.py::test_breaks_and_fails: RuntimeErr" in said
    assert "the second line" in said                # the test's own failure is shown
    assert not list(tmp_path.glob("*.running"))


def test_a_line_that_was_cut_off_is_no_test(tmp_path: Path) -> None:
    done = tmp_path / "done.jsonl"
    done.write_text('{"test": "test_some.py::test_passes", "outcome": "passed"}\n{"test": "test_some.py::test_co')
    status, said = session(tmp_path, done, "-k", "passes or comes_last", "-v")
    assert status == 0 and "test_comes_last PASSED" in said and "test_passes" not in said
    assert [json.loads(line)["test"] for line in done.read_text().splitlines() if line.endswith("}")] == [
        "test_some.py::test_passes", "test_some.py::test_comes_last"]


def test_a_file_that_cannot_be_imported_is_kept_too(tmp_path: Path) -> None:
    done = tmp_path / "done.jsonl"
    (tmp_path / "test_other.py").write_text("import nothing_of_this_name\n")
    status, _ = session(tmp_path, done, "--continue-on-collection-errors", "-k", "passes")
    found = entries(done)
    assert status == 1 and found["test_passes"]["outcome"] == "passed"
    assert found["test_other.py"]["outcome"] == "error" and "nothing_of_this_name" in found["test_other.py"]["error"]
