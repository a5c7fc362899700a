"""The packed cache of compiled kernels: what it gives a process that has nothing else, and what it leaves out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu_cache
from microtrain.runtime import virtual

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted here"),
    pytest.mark.skipif(not virtual.wanted() and torch.cuda.is_available(),
                       reason="fills the cache on a virtual GPU, which there is not where a real one's driver answers"),
]

STEP = """
import json, subprocess, sys
commands, popen = [], subprocess.Popen.__init__

def noted(self, command, *rest, **named):
    commands.append(command if isinstance(command, str) else " ".join(map(str, command)))
    popen(self, command, *rest, **named)
subprocess.Popen.__init__ = noted

from benchmarks import gpu_cache
import microtrain as mt
gpu_cache.compile_too()
with gpu_cache.counted() as counts:
    x = mt.arange(48.0, device="cuda").reshape(6, 8).requires_grad_()
    loss = (x.softmax(1) @ mt.ones(8, 4, device="cuda") - x.sigmoid().sum()).square().mean()
    loss.backward()
    value = [loss.item(), x.grad.sum().item()]
    if sys.argv[1:]:
        held = mt.ones(48, device=sys.argv[1]) * 3
        mt.engine.run.flush(mt.device(sys.argv[1]))
tools = [line for line in commands if ("ptxas" in line or "launcher" in line) and "--version" not in line]
print(json.dumps({**counts, "value": value, "tools": tools, "where": mt.__file__}))
"""


def step(root: Path, cache: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    """A training step on the virtual GPU in a process whose package lies in `root`."""
    environment = {**os.environ, "PYTHONPATH": str(root), "MICROTRAIN_DEVICE": "cuda",
                   "MICROTRAIN_VIRTUAL_GPU": "sm_90=reference", "TRITON_CACHE_DIR": str(cache), **variables}
    done = subprocess.run([sys.executable, "-c", STEP, *arguments], env=environment, cwd=root, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_process_elsewhere_finds_all_in_a_pack_and_compiles_nothing(tmp_path: Path) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    user = {"XDG_CACHE_HOME": str(tmp_path / "user")}       # has the stand-in for the driver's library
    first = step(ROOT, cache, "null:sm_80", **user)
    told = gpu_cache.pack(cache, tmp_path / "carried" / "cache.tar.xz")
    assert first["compiled"] > told["kernels"] > 2, "what is another GPU's is left out"
    shutil.rmtree(cache)
    subprocess.run(["tar", "-xJf", tmp_path / "carried" / "cache.tar.xz", "-C", "/"], check=True)

    def used() -> int:
        return int(gpu_cache.pack(cache, tmp_path / "used.tar.xz", since=1.0)["kernels"])

    assert used() == 0, "unpacked files are of 1970"
    assert {path.suffix for path in cache.rglob("*.*")} <= {".cubin", ".json", ".sha256", ".so"}
    for folder in ("microtrain", "kernels", "benchmarks"):
        shutil.copytree(ROOT / folder, elsewhere / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    second = step(elsewhere, cache, HOME=str(tmp_path), CC="/bin/false", PYTHONHASHSEED="7", **user)
    assert second["where"].startswith(str(elsewhere)) and second["value"] == first["value"]
    assert (second["found"], second["compiled"], second["tools"]) == (told["kernels"], 0, [])
    assert used() == told["kernels"]
    cubin = next(cache.rglob("*.cubin"))
    cubin.write_bytes(cubin.read_bytes()[:-1])
    assert gpu_cache.pack(cache, tmp_path / "again.tar.xz")["kernels"] == told["kernels"] - 1, "nor is a damaged one"
