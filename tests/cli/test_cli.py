"""The command line: what it prints and writes, and that every error of a user is one line and exit code 2."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import microtrain as mt
from microtrain import data, nn, settings
from microtrain.cli import main
from microtrain.cli.main import COMMANDS
from microtrain.train import checkpoint, predict

ROOT = Path(__file__).resolve().parents[2]


def cli(capsys, *arguments):
    status = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return status, out, err


def test_perceptron(capsys, tmp_path):
    status, out, err = cli(capsys, "train", "perceptron", "--plot", tmp_path / "p.png", "--save", tmp_path / "m.npz")
    assert (status, err) == (0, "")
    assert re.findall(r"^epoch +(\d+)/30  train loss ", out, re.M) == [str(i) for i in range(1, 31)]
    assert "perceptron on breast_cancer: 456 rows trained on, 113 held out, 30 epochs" in out
    assert float(re.search(r"held-out accuracy: (\S+)", out)[1]) >= 0.95
    assert sorted(os.listdir(tmp_path)) == ["m.npz", "p.png"]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_regression_prints_both_scores(capsys):
    status, out, err = cli(capsys, "train", "linear-regression", "--quiet", "--seed", 3)
    assert (status, err) == (0, "")
    ours = float(re.search(r"^held-out R²: (\S+)$", out, re.M)[1])
    exact = float(re.search(r"^least squares, closed form, same split: R² (\S+)$", out, re.M)[1])
    assert abs(ours - exact) <= 0.02
    assert "epoch " not in out  # quiet


def test_a_file_of_ones_own(capsys, tmp_path):
    path = tmp_path / "mine.csv"
    rows = np.random.default_rng(0).normal(size=(40, 2)).tolist()
    path.write_text("a,label,b\n" + "".join(f"{a!r},{int(a > 0)},{b!r}\n" for a, b in rows))
    status, out, err = cli(capsys, "train", "perceptron", "--data", path, "--target", "label", "--quiet", "--epochs",
                           60, "--batch-size", 8, "--lr", 0.5, "--momentum", 0, "--test-fraction", 0.25, "--save",
                           tmp_path / "m.npz", "--device", os.environ.get("MICROTRAIN_DEVICE") or "cpu")
    assert (status, err) == (0, "")
    assert "perceptron on mine: 30 rows trained on, 10 held out, 60 epochs" in out
    model = nn.Linear(2, 1, device="cpu")
    model.load_state_dict(checkpoint.load(tmp_path / "m.npz"))
    table = data.read_csv(path, "label")
    logit = predict(model, mt.tensor(table.features.astype(np.float32), device="cpu"))[:, 0]
    assert ((logit > 0) == table.target).mean() >= 0.9


def test_the_same_seed_prints_the_same(capsys):
    def scores(seed):
        out = cli(capsys, "train", "perceptron", "--epochs", 2, "--seed", seed)[1]
        return re.sub(r"in \S+ s", "", out)

    assert scores(1) == scores(1)
    assert scores(1) != scores(2)


BROKEN_FILES = {
    "nan.csv": "a,b\n1,2\nnan,3\n",
    "text.csv": "a,b\n1,two\n",
    "ragged.csv": "a,b\n1,2\n3\n",
    "empty.csv": "",
    "tiny.csv": "a,b\n1,0\n2,1\n",
    "huge.csv": "a,b\n" + "".join(f"{i},{1 - i % 2}e300\n" for i in range(30)),
    "three.csv": "a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(30)),
}

ERRORS = {
    "no command": ([], "the following arguments are required: COMMAND"),
    "unknown command": (["fly"], "invalid choice: 'fly'"),
    "no model": (["train"], "the following arguments are required: model"),
    "unknown model": (["train", "forest"], "invalid choice: 'forest'"),
    "unknown option": (["train", "perceptron", "--speed", "9"], "unrecognized arguments: --speed 9"),
    "unknown data": (["train", "perceptron", "--data", "iris"],
                     "unknown data set 'iris'; give breast_cancer, diabetes or a CSV file"),
    "missing file": (["train", "perceptron", "--data", "none.csv"], "no such file: none.csv"),
    "folder": (["train", "perceptron", "--data", "."], ". is not a file"),
    "missing column": (["train", "perceptron", "--data", "tiny.csv", "--target", "z"],
                       "no column 'z'; the columns are a, b"),
    "built-in target": (["train", "perceptron", "--target", "z"], "has the target 'malignant'"),
    "nan": (["train", "perceptron", "--data", "nan.csv"], "line 3, column 'a': 'nan' is not a finite number"),
    "text": (["train", "perceptron", "--data", "text.csv"], "line 2, column 'b': 'two' is not a number"),
    "ragged": (["train", "linear-regression", "--data", "ragged.csv"], "line 3: 1 cells"),
    "empty": (["train", "perceptron", "--data", "empty.csv"], "the file is empty"),
    "too few rows": (["train", "perceptron", "--data", "tiny.csv"], "cannot be split with test fraction 0.2"),
    "three classes": (["train", "perceptron", "--data", "three.csv"], "needs a target of 0 and 1"),
    "regression target": (["train", "perceptron", "--data", "diabetes"], "needs a target of 0 and 1"),
    "lr": (["train", "perceptron", "--lr", "-1"], "argument --lr: should be a number above 0, got '-1'"),
    "lr nan": (["train", "perceptron", "--lr", "nan"], "argument --lr: should be a number above 0"),
    "epochs": (["train", "perceptron", "--epochs", "0"],
               "argument --epochs: should be a whole number of at least 1, got '0'"),
    "epochs underscore": (["train", "perceptron", "--epochs", "1_0"], "got '1_0'"),
    "epochs of another width": (["train", "perceptron", "--epochs", "１"], "should be a whole number of at least 1"),
    "lr underscore": (["train", "perceptron", "--lr", "1_0"], "argument --lr: should be a number above 0"),
    "control characters": (["train", "perceptron", "--data", "\x1b[2J\u202e.csv"], r"no such file: \x1b[2J\u202e.csv"),
    "kernels target": (["kernels", "--target", "sm_1"], "unknown target 'sm_1'; known: sm_80"),
    "parity name": (["parity", "nosuch"], "no operator is called 'nosuch'"),
    "parity page": (["parity", "relu", "--html", "no/x.html"], "cannot write no/x.html: there is no folder no"),
    "name too long": (["train", "perceptron", "--save", "n" * 300 + ".npz"], "File name too long"),
    "huge target": (["train", "linear-regression", "--data", "huge.csv"], "column 'b' of huge holds 1e+300 in row 1"),
    "epochs text": (["train", "perceptron", "--epochs", "many"], "argument --epochs: should be a whole number"),
    "batch size": (["train", "perceptron", "--batch-size", "-3"], "argument --batch-size: should be a whole number"),
    "batch beyond data": (["train", "perceptron", "--batch-size", "9999"],
                          "batch size 9999 is larger than the 456 rows to train on"),
    "momentum": (["train", "perceptron", "--momentum", "1"], "argument --momentum: should be at least 0 and below 1"),
    "seed": (["train", "perceptron", "--seed", "-1"], "argument --seed: should be a whole number from 0 to"),
    "seed of 65 bits": (["train", "perceptron", "--seed", str(2**64)], "argument --seed: should be a whole number"),
    "test fraction": (["train", "perceptron", "--test-fraction", "1"], "should be between 0 and 1, got '1'"),
    "device": (["train", "perceptron", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    "save folder": (["train", "perceptron", "--save", "no/m.npz"], "cannot write no/m.npz: there is no folder no"),
    "save suffix": (["train", "perceptron", "--save", "m.pt"], "a checkpoint ends in .safetensors or .npz"),
    "plot folder": (["train", "perceptron", "--plot", "no/p.png"], "cannot write no/p.png: there is no folder no"),
    "plot suffix": (["train", "perceptron", "--plot", "p.bmp"], "a picture ends in .png, .pdf, .svg"),
    "plot is a folder": (["train", "perceptron", "--plot", "dir.png"], "cannot write dir.png: it is a folder"),
    "diverging": (["train", "linear-regression", "--lr", "1e30", "--quiet", "--save", "m.npz", "--plot", "p.png"],
                  "training diverged; try a learning rate below 1e+30"),
}


def check_one_line(err, message):
    assert err.startswith("microtrain: error: ") and message in err
    assert err.endswith("\n") and err.count("\n") == 1


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_of_the_user(capsys, tmp_path, monkeypatch, arguments, message):
    for name, text in BROKEN_FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "dir.png").mkdir()
    before = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path)
    status, out, err = cli(capsys, *arguments)
    assert status == 2
    check_one_line(err, message)
    assert "held-out" not in out
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(("option", "environment", "said"), [
    (("--lr", "1e38"), {}, "training diverged"),
    (("--device", "cuda"), {"CUDA_VISIBLE_DEVICES": "", "MICROTRAIN_VIRTUAL_GPU": ""}, "'cuda' cannot be used here: ")])
def test_a_process_says_one_line(tmp_path, option, environment, said):
    """In a process of its own, where NumPy's warnings would show as well."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **environment}
    result = subprocess.run([sys.executable, "-m", "microtrain", "train", "perceptron", *option, "--save", "m.npz"],
                            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    check_one_line(result.stderr, said)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_command_has_its_help(capsys, name):
    with pytest.raises(SystemExit) as info:
        main([*name.split(), "--help"])
    out = capsys.readouterr().out
    assert info.value.code == 0 and f"usage: microtrain {name}" in out
    assert list(COMMANDS) == ["train", "kernels", "parity", "info"]
    for command, said in ({} if name else COMMANDS).items():
        assert re.search(rf"^ +{command} +{re.escape(said.split()[0])}", out, re.M)


def test_info(capsys, monkeypatch):
    monkeypatch.setattr("microtrain.cli.info._unusable", lambda device: None if device == "cpu" else "not\x1b[2J")
    with settings.fuse(False), settings.debug("2"), settings.matmul_precision("high"), settings.device("cpu"):
        status, out, err = cli(capsys, "info")
    assert (status, err) == (0, "")
    found = dict(re.findall(r"^MICROTRAIN_(\w+) +(\S+) ", out, re.M))
    assert found == {"DEVICE": "cpu", "DEBUG": "2", "FUSE": "0", "POISON": str(int(settings.poison.value)),
                     "VALIDATE": "0", "CACHE": "1", "MATMUL_PRECISION": "high", "TUNE": "0",
                     "VIRTUAL_GPU": settings.virtual_gpu.value or "-"}
    assert re.search(rf"^numpy +{re.escape(np.__version__)}$", out, re.M)
    assert re.search(r"^cpu +at hand$", out, re.M)
    assert "MICROTRAIN_DEVICE" in out
