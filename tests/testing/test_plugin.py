"""The pytest plugin, in sessions of its own: processes that know nothing of this suite."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import DEVICE

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "testing.md"


def session(folder: Path, source: str, *options: str, device: str = "cpu") -> str:
    """What pytest prints of a file of tests."""
    (folder / "test_users.py").write_text(source)
    # Where microtrain is installed pytest would load the plugin by itself, and a second time by name.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROTRAIN_DEVICE": device,
                   "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("TRITON_INTERPRET", None)
    if device == "interpret":
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "pytest_microtrain", "-p", "no:cacheprovider", "--strict-markers",
               *options, "test_users.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout


EVERYWHERE = """
import microtrain as mt
import pytest
import torch
from microtrain.testing import cases, check_parity

@pytest.mark.every_device
def test_on_every_device(microtrain_device):
    assert str(mt.ones(2).device) == microtrain_device

@pytest.mark.every_device
def test_without_naming_the_fixture():
    mt.ones(2).sum().item()

def test_on_the_default_device(microtrain_device):
    assert str(mt.ones(2).device) == microtrain_device

@pytest.mark.every_device
@pytest.mark.parametrize("fn", ["tanh", "WRONG"])
def test_parity(fn):
    ours = mt.tanh if fn == "tanh" else lambda x: mt.tanh(x) * 2
    check_parity(ours, torch.tanh, cases.unary(shapes=((3,),)), dtypes=["float32"], order=1, name=fn)
"""


pytestmark = pytest.mark.skipif(DEVICE == "cuda", reason="the devices of these sessions are cpu and interpret")


DEVICES = ["cpu", "interpret"] if DEVICE == "interpret" else ["cpu"]


def test_a_test_runs_on_every_device_at_hand_and_the_session_ends_in_a_report(tmp_path: Path) -> None:
    said = session(tmp_path, EVERYWHERE, "-v", device=DEVICE)
    for device in DEVICES:
        assert f"test_on_every_device[{device}] PASSED" in said
        assert f"test_without_naming_the_fixture[{device}] PASSED" in said
        assert re.search(rf"test_parity\[({device}-tanh|tanh-{device})\] PASSED", said)
        assert re.search(rf"test_parity\[({device}-WRONG|WRONG-{device})\] FAILED", said)
    assert "test_on_the_default_device PASSED" in said
    report = said[said.index("microtrain parity"):]
    assert re.search(r"tanh +4/4 +[\d.]+ +4/4 +[\d.]+", report)
    assert re.search(r"WRONG +0/4 .* +0/4", report)
    assert "WRONG value float32 cpu: the value: at [0]: " in report
    assert "is 2 times the oracle's everywhere" in said


def test_unused_it_costs_nothing(tmp_path: Path) -> None:
    """In a session that does not use it neither PyTorch nor Triton is loaded, nor NumPy, nor microtrain."""
    said = session(tmp_path, "import sys\ndef test_nothing():\n"
                             "    loaded = {'torch', 'triton', 'numpy', 'microtrain'} & set(sys.modules)\n"
                             "    assert not loaded, loaded\n")
    assert "1 passed" in said and "microtrain parity" not in said


def test_the_package_announces_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"microtrain": "pytest_microtrain"}
    assert project["tool"]["setuptools"]["py-modules"] == ["pytest_microtrain"]


def test_the_page_for_users_runs(tmp_path: Path) -> None:
    """Every block, in order, as one file of tests; those of kernels where kernels are interpreted."""
    blocks = re.findall(r"^```python ?(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    words = [word for word, _ in blocks]
    assert words.count("") >= 6 and words.count("interpret") == 3
    sources = [source for word, source in blocks if word == "" or (word, DEVICE) == ("interpret", "interpret")]
    said = session(tmp_path, "\n".join(sources), device=DEVICE)
    assert f"{2 * len(DEVICES)} passed" in said and "microtrain parity" in said, said
