"""The command `python -m benchmarks`: what it prints and writes, and what it refuses in one line."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import microtrain as mt
from benchmarks import command
from benchmarks.__main__ import main
from benchmarks.catalogue import EAGER, catalogue
from benchmarks.environment import THREAD_VARIABLES
from benchmarks.peers import BY_HAND
from tests.bench.shared import MAP, PLANTED, ROOT

pytestmark = pytest.mark.usefixtures("nothing_pending")

# The command


@pytest.fixture
def here(monkeypatch):
    """As in the process that the command starts for one thread, so that it runs in this one."""
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def bench(capsys, *arguments):
    status = main(["--device", "cpu", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_a_wrong_result_prints_no_figure_and_exits_1(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "catalogue", lambda *arguments, **named: [PLANTED])
    status, out, _ = bench(capsys, "--quick", "--output", tmp_path)
    assert status == 1
    assert re.search(r"^map of 2, 2\^12 +cpu +microtrain +wrong: result is off by [\d.]+, allowed is ", out, re.M)
    assert len([line for line in out.splitlines() if line.startswith("map of 2")]) == 1
    assert out.endswith("failed: map of 2, 2^12\n")
    (name,) = os.listdir(tmp_path)
    contenders = json.loads((tmp_path / name).read_text())["workloads"][0]["contenders"]
    assert {"microtrain", EAGER, BY_HAND} <= {entry["name"] for entry in contenders}, "and JAX, where it is installed"
    assert all((entry["time"], entry["samples"]) == (None, []) for entry in contenders)


def test_a_run_that_is_killed_has_written_what_it_had(here, capsys, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(draw):
        raise Killed

    monkeypatch.setattr(command, "BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(command, "catalogue", lambda *arguments, **named: [MAP, PLANTED, replace(MAP, inputs=dies)])
    with pytest.raises(Killed):
        bench(capsys, "--quick", "--output", tmp_path)
    (path,) = tmp_path.iterdir()
    read = json.loads(path.read_text())
    assert not read["complete"] and [one["passed"] for one in read["workloads"]] == [True, False]


def test_without_pytorch_its_figures_are_left_out(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.torch_peers")
    monkeypatch.delattr("benchmarks.peers.torch_peers")
    status, out, _ = bench(capsys, "--quick", "--workloads", "map,row")
    assert status == 0
    assert re.search(r"^PyTorch cannot be imported \(.*\): its figures are left out$", out, re.M)
    assert re.search(r"^map of 2, 2\^12 +cpu +numpy by hand +[\d.]+ +[\d.]+", out, re.M)
    assert not re.search(r"^map of 2, 2\^12 +cpu +torch", out, re.M)


def test_peers_are_chosen_by_name(here, capsys, monkeypatch):
    status, out, _ = bench(capsys, "--quick", "--workloads", "map", "--peers", "numpy by hand")
    assert status == 0
    assert set(re.findall(r"^map of 2, .* cpu +(.+?) +[\d.]+ +[\d.]+ ", out, re.M)) == {"numpy by hand"}


def test_once_runs_full_sizes_a_single_time(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "catalogue", lambda *arguments, **named: [MAP] if not any(named.values()) else [])
    status, out, _ = bench(capsys, "--once", "--output", tmp_path)
    assert status == 0 and "the times mean nothing" in out
    (path,) = tmp_path.glob("*-once.json")
    (workload,) = json.loads(path.read_text())["workloads"]
    assert workload["passed"] and all(len(entry["samples"]) == 1 for entry in workload["contenders"])


def test_quick_from_end_to_end(tmp_path):
    """In a process of its own, which starts another one for one thread."""
    env = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    env["PYTHONPATH"] = str(ROOT)
    out = tmp_path / "new" / "folder"
    command_line = [sys.executable, "-m", "benchmarks", "--device", "cpu", "--quick",
                    "--workloads", "map,update", "--output", str(out)]
    done = subprocess.run(command_line, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if re.search(r" cpu +(torch|numpy by hand) ", line)]
    assert len(rows) == 2 * len(catalogue("cpu", True, ["map", "update"]))
    assert all(re.search(r" ok \(\d+%\)$", row) for row in rows)
    (file,) = out.glob("*.json")
    assert re.fullmatch(r"cpu-\d{4}-\d\d-\d\d-quick\.json", file.name)
    read = json.loads(file.read_text())
    assert read["device"]["threads"] == 1 and read["effort"] == "quick" and read["complete"]
    assert all(workload["passed"] for workload in read["workloads"])
    assert {path.name for path in out.glob("*.png")} == {f"{file.stem}.png", f"{file.stem}-roofline.png"}


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--workloads", "maps"], "no workload 'maps'; there are step"),
    (["--workloads", ""], "no workload; there are step"),
    (["--device", "tpu"], "invalid choice: 'tpu'"),
    (["--seconds", "0"], "argument --seconds: should be a number above 0"),
    (["--quick", "--tiny"], "not allowed with argument"),
    (["--tiny", "--once"], "not allowed with argument"),
    (["--peers", "numpy"], "no peer 'numpy'; there are torch"),
])  # fmt: skip
def test_a_mistake_is_one_line(here, capsys, arguments, complaint):
    status, out, err = bench(capsys, *arguments)
    assert (status, out) == (2, "")
    assert complaint in err and err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_said_before_anything_is_timed(here, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "run_all", lambda *arguments: pytest.fail("timed"))
    (tmp_path / "file").write_text("")
    status, out, err = bench(capsys, "--output", tmp_path / "file")
    assert (status, out) == (2, "") and err.count("\n") == 1


def test_a_default_device_that_is_not_timed(capsys):
    with mt.settings.device("null:sm_90"):
        status = main([])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and "the default device is 'null'" in err


def test_the_package_is_light_to_import():
    code = "import microtrain.bench, sys; print(*{'torch', 'triton', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


SECOND = """
import sys
from benchmarks.environment import again_on_one_thread
from microtrain.cli.main import answered
from tests.bench.shared import ROOT, MAP, PLANTED, timed

sys.exit(answered(lambda: again_on_one_thread(["--device", "cpu", "--peers", "torch"])))
"""


def test_a_second_process_hears_of_what_ends_the_first():
    """The one whose libraries have one thread. It is told of once."""
    process = subprocess.Popen([sys.executable, "-c", SECOND], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, text=True)
    assert "(cpu)" in process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)      # the pipes are closed: nobody is left who has them
    assert (process.returncode, err) == (143, "microtrain: terminated\n")
