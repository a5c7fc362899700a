"""Wherever the output leads: full, gone, ascii; and what ends a command."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import microtrain as mt
from microtrain import settings
from microtrain.cli import main
from microtrain.train import checkpoint
from tests.cli.test_cli import ROOT, check_one_line, cli

# -- wherever the output leads --------------------------------------------------------------------------------------


@contextmanager
def stream(kind):
    """A standard stream that cannot be written to, or not everything."""
    read, write = os.pipe()
    os.close(read)
    with (open("/dev/full", "w", encoding="utf-8") if kind == "full" else
          os.fdopen(write, "w", encoding="utf-8", closefd=False) if kind == "gone" else
          io.TextIOWrapper(io.BytesIO(), "ascii")) as opened:
        yield opened        # it is flushed at the end, as Python does when it ends
    os.close(write)


TRAIN = ("train", "linear-regression", "--epochs", "2", "--save", "m.npz", "--plot", "p.png")
FULL = "microtrain: error: standard output: No space left on device\n"
ENDS = {"full": (2, FULL), "gone": (141, ""), "ascii": (0, "")}


@pytest.mark.parametrize(("kind", "end"), ENDS.items())
def test_the_model_is_there_whatever_becomes_of_the_output(tmp_path, monkeypatch, kind, end):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("microtrain.cli.info._unusable", lambda device: None)
    for arguments in (TRAIN, ("info",), ("--help",)):
        with stream(kind) as out, io.StringIO() as err:
            monkeypatch.setattr(sys, "stdout", out)
            monkeypatch.setattr(sys, "stderr", err)
            try:
                status = main(arguments)
            except SystemExit as error:
                status = error.code
            assert (status, err.getvalue()) == end
    assert sorted(os.listdir(tmp_path)) == ["m.npz", "p.png"]
    assert set(checkpoint.load("m.npz")) == {"weight", "bias"}


@pytest.mark.parametrize("kind", ENDS)
def test_an_error_that_cannot_be_told_keeps_its_status(monkeypatch, kind):
    for other in ENDS:
        with stream(other) as out, stream(kind) as err:
            monkeypatch.setattr(sys, "stdout", out)
            monkeypatch.setattr(sys, "stderr", err)
            assert main(["train", "perceptron", "--data", "größe"]) == 2


def test_processes(tmp_path, request):
    """What only a process shows: closed streams, a reader that leaves, no home, signals; all at once."""
    python = f"{sys.executable} -m microtrain"
    lines = {
        "closed": (f"{python} train perceptron --epochs 1 --save closed.npz >&- 2>&- <&-", 0, 0),
        "head": (f"{python} train perceptron --epochs 9 --save head.npz | head -1; exit ${{PIPESTATUS[0]}}", 141, 0),
        "home": (f"env -u HOME XDG_CACHE_HOME= MPLCONFIGDIR=/proc/no {python} train perceptron --epochs 1 "
                 "--plot p.png", 0, 0),
        "language": ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 COLUMNS=1 TERM=dumb "
                     f"{python} train linear-regression --epochs 1", 0, 0),
        "switch": (f"MICROTRAIN_FUSE=abc {python} train perceptron", 2, 1),
        "import": (f"MICROTRAIN_DEBUG=x {sys.executable} -c 'import microtrain'", 1, None),
        "TERM": (f"exec {python} train perceptron --epochs 1000000 --save term.npz", 143, 1),
        "INT": (f"exec {python} train perceptron --epochs 1000000 --save int.npz", 130, 1),
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("MICROTRAIN_")}
    env |= {"MICROTRAIN_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}
    started = {name: subprocess.Popen(["bash", "-c", line], cwd=tmp_path, env=env,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for name, (line, _, _) in lines.items()}
    for process in started.values():
        request.addfinalizer(process.kill)
    for name in ("TERM", "INT"):
        assert "epoch" in started[name].stdout.readline()
        started[name].send_signal(getattr(signal, f"SIG{name}"))
    for name, (_, status, told) in lines.items():
        out, err = started[name].communicate(timeout=120)
        assert started[name].returncode == status, (name, err)
        assert told is None or len(err.splitlines()) == told, (name, err)
        assert ("Traceback" in err) == (name == "import")
        if name == "import":
            assert err.splitlines()[-1] == "ValueError: MICROTRAIN_DEBUG='x': expected a level from 0 to 4"
        if name == "language":
            assert "R\\xb2" in out
    assert sorted(os.listdir(tmp_path)) == ["closed.npz", "head.npz", "p.png"]


EARLY = "import os, signal, sys; sys.argv = [{0!r}]; import microtrain; os.kill(os.getpid(), signal.{1})"


def test_what_ends_a_command_before_its_command_line_is_there():
    ends = {("/usr/bin/microtrain", "SIGINT"): (130, "microtrain: interrupted\n"),
            ("/usr/bin/microtrain", "SIGTERM"): (143, "microtrain: terminated\n"),
            ("mine.py", "SIGTERM"): (-signal.SIGTERM, "")}
    started = {key: subprocess.Popen([sys.executable, "-c", EARLY.format(*key)], stderr=subprocess.PIPE, text=True,
                                     env={**os.environ, "PYTHONPATH": str(ROOT)}) for key in ends}
    assert {key: (process.communicate(timeout=60)[1], process.returncode)[::-1] for key, process in started.items()
            } == ends


def test_what_a_command_is(monkeypatch):
    for argv, original, is_one in (
            (["-m"], ["python", "-m", "microtrain", "info"], True), (["-m"], ["python", "-um", "microtrain"], True),
            (["-m"], ["python", "-m", "microtrain.cli"], True),
            (["-m"], ["python", "-m", "microtrainer"], False),
            (["/bin/microtrain", "info"], ["python", "/bin/microtrain", "info"], True), ([], [], False),
            (["-m"], ["python", "-m", "mine"], False), (["mine.py"], ["python", "mine.py", "-m", "microtrain"], False),
            (["-c"], ["python", "-c", "import microtrain"], False)):
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(sys, "orig_argv", original)
        assert mt.command.started() is is_one


SWITCHES = {"DEVICE": ["foo", "cuda:x", "CPU", "cpu:1", " "], "FUSE": ["abc", "2", "1 "], "DEBUG": ["x", "-1", "5"],
            "MATMUL_PRECISION": ["zzz", "High"], "POISON": ["?"], "VALIDATE": ["\x1b[2J"], "CACHE": ["none"],
            "TUNE": ["é"], "VIRTUAL_GPU": ["a100", "sm_90=fast"]}


def test_wrong_values_of_switches(monkeypatch, capsys):
    assert {f"MICROTRAIN_{name}" for name in SWITCHES} == {flag.variable for flag in settings.FLAGS.values()}
    for name, values in SWITCHES.items():
        for value in values:
            with monkeypatch.context() as patch:
                patch.setenv(f"MICROTRAIN_{name}", value)
                with pytest.raises(ValueError, match=re.escape(f"MICROTRAIN_{name}={value!r}: expected")):
                    settings.check()
                patch.setattr(sys, "argv", ["/usr/bin/microtrain", "info"])
                with pytest.raises(SystemExit) as info:
                    settings.check()
            assert info.value.code == 2
            check_one_line(capsys.readouterr().err, f"MICROTRAIN_{name}={value!r}: expected ")
            flag = settings.FLAGS[name.lower()]
            before = flag.value
            with pytest.raises(ValueError, match="expected"), flag(value):
                pytest.fail("taken")
            with pytest.raises(ValueError, match="expected"):
                flag.set(value)
            assert flag.value == before


def test_an_interruption_is_not_a_traceback_and_a_defect_is_not_hidden(capsys, monkeypatch):
    """Only errors meant for the user become a line; a bug keeps its traceback."""
    def raised(*args, **kwargs):
        raise errors.pop()

    errors = [ZeroDivisionError("defect"), KeyboardInterrupt]
    monkeypatch.setattr("microtrain.cli.train.run_task", raised)
    assert cli(capsys, "train", "perceptron", "--quiet") == (130, "", "microtrain: interrupted\n")
    with pytest.raises(ZeroDivisionError):
        main(["train", "perceptron", "--quiet"])


class Leaving:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def as_it_draws(_: Any) -> int:
    """matplotlib, drawing in C, says "Invalid bounding box" where a signal's handler raised."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException:
        raise ValueError("Invalid bounding box") from None
    return 0


def as_something_goes_away(_: Any) -> int:
    """Python drops what is raised there, and says so."""
    Leaving()
    time.sleep(10)
    return 0


@pytest.mark.parametrize("run", [as_it_draws, as_something_goes_away])
def test_a_signal_whose_error_is_lost_ends_the_command(run: Any, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    parser = SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=run))
    monkeypatch.setitem(main.__globals__, "build_parser", lambda _: parser)
    assert main(["train"]) == 143 and capsys.readouterr().err == "microtrain: terminated\n"
