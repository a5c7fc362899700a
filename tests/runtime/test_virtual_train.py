"""make train in a clean clone, and how a virtual GPU is asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from microtrain import settings
from microtrain.cli import main
from tests.runtime import test_virtual_gpu

pytestmark = test_virtual_gpu.pytestmark


@pytest.mark.parametrize("text, value", [("sm_90", "sm_90"), ("sm_80=reference", "sm_80=reference"),
                                         ("sm_80:reference", "sm_80=reference"), ("=reference", "sm_90=reference")])
def test_the_variable_has_several_spellings(text: str, value: str) -> None:
    assert settings.virtual_gpu.parse(text) == value


@pytest.mark.parametrize("text", ["sm_70", "sm_90=numpy", "1"])
def test_another_gpu_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected sm_80 or sm_90"):
        settings.virtual_gpu.parse(text)


PIP = """#!{python}
# pip, but instead of downloading: what is asked for is noted, and this interpreter's packages are lent.
import pathlib, sys
folder = pathlib.Path({folder!r})
(folder / "asked").write_text(" ".join(sys.argv[1:]))
(site,) = (folder / "clone" / ".venv").glob("lib/python*/site-packages")
(site / "lent.pth").write_text("\\n".join([str(folder / "clone"), *{packages!r}]))
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def scores(printed: str) -> list[float]:
    """The held-out scores among what was printed."""
    return [float(found) for found in re.findall(r"^held-out .*: ([\d.]+)$", printed, re.M)]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("gpu_there", [True, False])
def test_make_train_in_a_clean_clone(gpu_there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where `nvidia-smi` answers it installs PyTorch and Triton, and trains on cuda, as well as on the cpu and with no
    word of a device; elsewhere it installs neither."""
    shutil.copytree(test_virtual_gpu.ROOT, tmp_path / "clone", symlinks=True, ignore=shutil.ignore_patterns(
        ".*", "runs", "__pycache__", "*.egg-info", "results", "tests"))
    script(tmp_path / "nvidia-smi", f"#!/bin/sh\nexit {int(not gpu_there)}\n")
    script(tmp_path / "pip", PIP.format(python=sys.executable, folder=str(tmp_path),
                                        packages=[path for path in sys.path if path.endswith("-packages")]))
    # The pip that an environment comes with takes longer to unpack than the models to train.
    script(tmp_path / "python", f"""#!/bin/sh
case "$*" in "-m venv "*) exec {sys.executable} "$@" --without-pip;; *) exec {sys.executable} "$@";; esac
""")
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MICROTRAIN_DEVICE")}
    done = subprocess.run(
        ["make", "train" if gpu_there else ".venv/train.stamp", f"PYTHON={tmp_path / 'python'}",
         f"PIP={tmp_path / 'pip'}"], check=False, cwd=tmp_path / "clone", capture_output=True, text=True,
        env={**kept, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "MICROTRAIN_DEBUG": "1",
             "MICROTRAIN_VIRTUAL_GPU": "sm_90=reference" if gpu_there else ""})
    assert done.returncode == 0, done.stdout + done.stderr
    extras = "plot,progress,gpu" if gpu_there else "plot,progress"
    assert (tmp_path / "asked").read_text() == f"-e .[{extras}]"
    if not gpu_there:
        return
    assert "on cuda" in done.stderr
    tasks = ("perceptron", "linear-regression")
    for name, on_gpu in zip(tasks, scores(done.stdout), strict=True):
        assert main(["train", name, "--device", "cpu", "--quiet"]) == 0
        on_cpu, = scores(capsys.readouterr().out)
        assert on_gpu == pytest.approx(on_cpu, abs=0.01) and on_cpu > 0.4
        assert (tmp_path / "clone" / "runs" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
