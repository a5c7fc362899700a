"""What a caller hands in: wrong calls end at the door, text is never run, arrays are told from Tensors."""

import contextlib
import enum
import importlib
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import arguments
from microtrain.arguments import guarded
from microtrain.graph.dtypes import plain
from tests.calls import planted, wrong_calls

ROOT = Path(__file__).resolve().parents[2]


def trained() -> list[Any]:
    """What a small model comes to, to see whether training works as it did."""
    mt.manual_seed(0)
    model = mt.nn.Sequential(mt.nn.Linear(3, 4), mt.nn.ReLU(), mt.nn.Linear(4, 1)).to("cpu")
    optimizer = mt.optim.Adam(model.parameters(), lr=0.1)
    x = mt.arange(6.0, device="cpu").reshape(2, 3)
    for _ in range(3):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
    return [loss.item(), *[p.tolist() for p in model.parameters()]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with contextlib.chdir(tmp_path):
        wrong_calls.prepared(Path())
        yield tmp_path


@pytest.mark.skipif(mt.default_device().type != "cpu", reason="compares with PyTorch on the CPU")
def test_wrong_calls_end_at_the_door(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, pending = trained(), mt.ones(3) * 2
    verdicts = list(wrong_calls.verdicts(every=23))
    bad = [str(verdict) for verdict in verdicts if verdict.kind not in ("fine", "unknown")]
    unknown = [str(verdict) for verdict in verdicts if verdict.kind == "unknown"]
    with capsys.disabled():
        print(f"\n{len(verdicts)} wrong calls, {len(bad)} not refused as they should be")
    assert len(verdicts) > 2000 and not bad, "\n".join(bad)
    assert len(unknown) < 10, "\n".join(unknown)        # new ones, until public_calls.py knows their arguments
    assert mt.is_grad_enabled() and mt.get_default_dtype() is mt.float32
    assert pending.tolist() == [2.0] * 3 and trained() == before


@pytest.mark.skipif(mt.default_device().type != "cpu", reason="run in a process of its own for the other devices")
def test_nothing_planted_is_run(folder: Path) -> None:
    count, found = planted.hunt(every=9)
    assert count > 2000 and not found, "\n".join(found)


@pytest.mark.parametrize("device", [
    {"MICROTRAIN_DEVICE": "interpret"},
    {"MICROTRAIN_DEVICE": "cuda", "MICROTRAIN_VIRTUAL_GPU": "sm_90=reference"}], ids=["interpret", "virtual"])
def test_nothing_planted_reaches_a_kernel(device: dict[str, str]) -> None:
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "tests.calls.planted", "--every", "149"]
    done = subprocess.run(command, env={**os.environ, **device, "PYTHONPATH": "."}, cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 ran it" in done.stdout


def test_the_hunt_finds_what_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def reckless(self: Any, descending: Any) -> None:
        exec(f"reversed = {descending}", {})
    monkeypatch.setattr(planted, "calls", lambda every, only: iter(
        [(f"sort({seed!s:.9})", lambda s=seed: reckless(None, s)) for seed in planted.SEEDS]))
    count, found = planted.hunt(only="sort")
    assert count == len(planted.SEEDS)
    # Text that is a call, alone or in a tuple; a list, a dict and an array have it quoted, bytes too.
    assert len(found) == sum(str(seed).startswith(("planted", "(planted")) for seed in planted.SEEDS) == 6


@pytest.mark.parametrize(("call", "words"), [
    (lambda: mt.nn.CrossEntropyLoss(ignore_index="planted()"), "argument 'ignore_index' must be int, not str"),
    (lambda: mt.nn.functional.cross_entropy(mt.ones(2, 3), mt.tensor([0, 1]), ignore_index="planted()"),
     "argument 'ignore_index' must be int, not str"),
    (lambda: mt.ones(3).sort(descending="planted()"), r"sort\(\): argument 'descending' must be bool, not str"),
    (lambda: mt.ones(3).topk(2, largest="planted()"), r"topk\(\): argument 'largest' must be bool, not str"),
    (lambda: mt.nn.Linear(2, 1)(np.ones((3, 2), np.float32)), "'input'.* must be Tensor, not ndarray"),
    (lambda: mt.nn.Linear(2, 1)([[1.0, 2.0]]), "'input'.* must be Tensor, not list"),
    (lambda: mt.ones(2, 2) @ np.ones((2, 2), np.float32), r"must be Tensor, not ndarray: write microtrain.tensor\("),
    (lambda: mt.nn.BatchNorm1d(2)(np.ones((3, 2), np.float32)), "'input'.* must be Tensor, not ndarray"),
    (lambda: mt.nn.Dropout(0.0)(np.ones(3)), "'input'.* must be Tensor, not ndarray"),
    (lambda: mt.nn.MSELoss()(mt.ones(2), np.ones(2, np.float32)), "'target'.* must be Tensor, not ndarray"),
    (lambda: mt.nn.MSELoss()(np.ones(2), np.ones(2)), "'input'.* must be Tensor, not ndarray"),
    (lambda: mt.nn.CrossEntropyLoss()(mt.ones(2, 3), [0, 1]), "'target'.* must be Tensor, not list"),
    (lambda: mt.nn.BCEWithLogitsLoss()(mt.ones(2), None), "'target'.* must be Tensor, not NoneType"),
    (lambda: mt.train.predict(mt.nn.Linear(2, 1), np.ones((3, 2))), "must be Tensor, not ndarray"),
    (lambda: mt.train.evaluate(len, mt.nn.MSELoss(), []), "argument 'model'.* must be Module"),
    (lambda: mt.train.evaluate(mt.nn.Linear(2, 1), mt.nn.MSELoss(), [np.ones(3)]),
     "pairs of input and target, not ndarray"),
    (lambda: mt.data.TensorDataset(np.ones(3)), "argument 'tensors'.* must be Tensor, not ndarray"),
    (lambda: mt.optim.SGD([np.ones(3)], lr=0.1), "one of the params is ndarray"),
    (lambda: mt.optim.SGD([mt.nn.Parameter(mt.ones(1))], lr="0.1"), "argument 'lr' must be float or Tensor, not str"),
    (lambda: mt.optim.lr_scheduler.StepLR(None, 2), "NoneType is not an Optimizer"),
    (lambda: mt.zeros(b"ab"), "must be ints, got bytes"),
    (lambda: mt.ones(3)["a"], "an index is made of ints"),
    (lambda: mt.ones(3)[0.5:2], "integer"),
    (lambda: mt.set_grad_enabled("no"), "argument 'enabled'.* must be bool, not str"),
    (lambda: mt.ones(3).sum(0, keepdim=1), r"sum\(\): argument 'keepdim' must be bool, not int"),
    (lambda: mt.ones(3).eq("x"), "expected a Tensor or a number, not str"),
])
def test_wrong_types_are_named(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


ARRAYS = {"array": np.ones(2, np.float32), "float64": np.ones(2), "bool": np.ones(2, bool), "0-d": np.array(2.0),
          "torch": torch.ones(2)}


@pytest.mark.parametrize("other", ARRAYS.values(), ids=ARRAYS.keys())
@pytest.mark.parametrize("operation", ["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "@"])
def test_arrays_beside_tensors_are_refused_in_words(operation: str, other: Any) -> None:
    names = {"x": mt.ones(2), "y": other}
    for text in (f"x {operation} y", f"y {operation} x"):
        with pytest.raises(TypeError, match="Tensor"):
            eval(text, names)


@pytest.mark.parametrize("operation", ["+=", "-=", "*=", "/=", "//=", "%=", "**="])
def test_arrays_in_place(operation: str) -> None:
    x = mt.ones(2)
    for text, words in ((f"x {operation} y", r"write microtrain\.tensor\(array\)"), (f"y {operation} x", "Tensor")):
        with pytest.raises(TypeError, match=words):
            exec(text, {"x": x, "y": np.ones(2, np.float32)})
    assert x.tolist() == [1.0, 1.0]


class Half(enum.IntEnum):
    TWO = 2


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("number", [np.float32(2), np.float64(2.5), np.int64(2), np.float16(2), Half.TWO],
                         ids=lambda n: type(n).__name__)
def test_numbers_of_other_types_count_as_in_pytorch(number: Any, dtype: str) -> None:
    for operation in ("x * y", "y * x", "x + y", "x == y", "y < x", "x / y"):
        mine, its = (eval(operation, {"x": T.ones(2, dtype=getattr(T, dtype)), "y": number}) for T in (mt, torch))
        assert str(mine.dtype) == str(its.dtype), operation
        assert mine.tolist() == its.tolist(), operation


def test_tensors_beside_what_is_no_number() -> None:
    x = mt.ones(2)
    assert (x == "x") is False and (x != "x") is True and (x == None) is False      # noqa: E711
    assert x in [x] and 1 in x
    with pytest.raises(RuntimeError, match="only supports Tensor or scalar"):
        "x" in x                                    # noqa: B015
    for wrong in ("x", None, [1, 2], {}, 1j):
        with pytest.raises(TypeError):
            x + wrong
        with pytest.raises(TypeError):
            x < wrong                               # noqa: B015
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"):
        bool(x)
    with pytest.raises(RuntimeError, match=r"Use tensor\.detach\(\)\.numpy\(\) instead"):
        np.asarray(mt.ones(2, requires_grad=True))


def test_attributes_of_an_operation_are_numbers() -> None:
    one, half = planted.Number(1), planted.Real(0.5)
    for given, kept in ((one, 1), (half, 0.5), ((1, one), (1, 1)), (np.int64(3), 3), (mt.Size([2, 3]), (2, 3))):
        made = plain(given, "sort")
        assert repr(made) == repr(kept)
    for wrong in ("planted()", planted.Text("mean"), planted.Anything(), [1], 1j, np.array([1])):
        with pytest.raises(TypeError, match="sort: a number is needed"):
            plain((0, wrong), "sort")
    x = mt.tensor([3.0, 1.0, 2.0])
    assert x.sort(planted.Number(0))[0].tolist() == [1.0, 2.0, 3.0]
    assert x.roll(planted.Number(1)).tolist() == [2.0, 3.0, 1.0]


def test_a_guard_converts_and_refuses() -> None:
    def f(n: int, *rest: int, scale: float = 1.0, flag: bool = False, sizes: "tuple[int, ...] | None" = None) -> Any:
        return n, rest, scale, flag, sizes
    door = guarded(f)
    assert door(1, 2, scale=2) == (1, (2,), 2, False, None)
    made = door(np.int64(1), sizes=[np.int64(2), planted.Number(3)], flag=np.True_, scale=np.float32(0.5))
    assert repr(made) == "(1, (), 0.5, True, [2, 3])"
    must_be = r"f\(\): argument '\w+' must be"
    for words, *args, wrong in ((must_be, {"n": True}), (must_be, {"n": "1"}), (must_be, 1, {"flag": 1}),
                                (must_be, 1, {"scale": "1"}), (must_be, 1, {"sizes": ["a"]}),
                                (r"f\(\): argument 'rest' \(position 2\) must be int, not str", 1, "a", {}),
                                ("unexpected keyword", 1, {"more": 2})):
        with pytest.raises(TypeError, match=words):
            door(*args, **wrong)


PUBLIC = ("", ".nn", ".nn.functional", ".nn.init", ".optim", ".optim.lr_scheduler", ".data", ".train", ".viz",
          ".testing", ".settings", ".kernels", ".tensor.cuda", ".special", ".linalg", ".autograd", ".bench")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_namespaces_hold_what_is_theirs(name: str) -> None:
    module = importlib.import_module("microtrain" + name)
    foreign = []
    for key, value in vars(module).items():
        home = getattr(value, "__module__", None) or ""
        imported = isinstance(value, types.ModuleType) and not value.__name__.startswith("microtrain")
        if key[0] not in "_@" and (imported or key == "annotations" or home.startswith(("typing", "collections"))):
            foreign.append(key)
    assert not foreign


@pytest.mark.parametrize("make", [lambda p: mt.optim.SGD(p, lr=0.1, momentum=0.9), mt.optim.Adam, mt.optim.AdamW])
def test_a_training_step_meets_no_guard(make: Any) -> None:
    """A guard costs half a microsecond a call: what a step calls looks at its arguments itself."""
    model = mt.nn.Sequential(mt.nn.Linear(4, 8), mt.nn.ReLU(), mt.nn.Linear(8, 3))
    optimizer = make(model.parameters())
    x, y, met = mt.ones(5, 4), mt.tensor([0, 1, 2, 0, 1]), []

    def look(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename == arguments.__file__:
            met.append(frame.f_locals.get("function", frame.f_code.co_name))
    for step in range(3):
        sys.setprofile(look if step else None)          # the first one makes the state
        try:
            optimizer.zero_grad()
            mt.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        finally:
            sys.setprofile(None)
    assert not met
