"""Checkpoints: every dtype, shape and name; damaged and foreign files; how files are written; runs that go on."""

import collections
import importlib.util
import json
import os
import pickle
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import microtrain as mt
from microtrain import data, files, nn, optim
from microtrain.train import History, checkpoint, fit

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = checkpoint.SUFFIXES
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]

needs_safetensors = pytest.mark.skipif(
    importlib.util.find_spec("safetensors") is None, reason="safetensors is not installed"
)


def same(a, b):
    """Equal in type, shape and bits, however nested."""
    if isinstance(a, mt.Tensor):
        return isinstance(b, mt.Tensor) and a.dtype is b.dtype and a.shape == b.shape and (
            a.cpu().detach().numpy().tobytes() == b.cpu().detach().numpy().tobytes())
    if isinstance(a, dict):
        return isinstance(b, dict) and [(type(k), k) for k in a] == [(type(k), k) for k in b] and all(
            same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and (a == b or a != a)


def run(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
                          timeout=120, check=False)


# -- what is held ---------------------------------------------------------------------------------------------------

NAMES = ("file", "allow_pickle", "a", "a.npy", "a.npy.npy", "", " ", ".", "..", "../x", "/x", "a/b", "a//b", "a\\b",
         "-0", "-0.npy", "microtrain.json", "microtrain.sha256", "Größe", "重み", "😀", "nul\0", "line\n", "\x1b[31m",
         "\u202ex", "x" * 300, "y" * 70_000, "{}", '"', "'")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_dtype_shape_and_name_comes_back(tmp_path, suffix):
    base = mt.tensor([[0, 1, 3], [1, 0, 2], [5, 4, 0]])
    state = {}
    for name in DTYPES:
        values = base.to(getattr(mt, name))
        state |= {f"{name}.whole": values, f"{name}.transposed": values.t(), f"{name}.sliced": values[::2, 1:],
                  f"{name}.expanded": values[:1].expand(4, 3), f"{name}.flipped": values.flip(0),
                  f"{name}.scalar": values[0, 1], f"{name}.empty": values[:0], f"{name}.void": values[:, :0].t()}
    state["edges"] = mt.tensor([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308], dtype=mt.float64)
    state["a leaf"] = mt.ones(2, requires_grad=True)
    state |= {name: mt.full((1,), float(i)) for i, name in enumerate(NAMES)}
    if suffix == ".npz":
        state["__metadata__"] = mt.ones(1)
    path = checkpoint.save(state, tmp_path / f"s{suffix}")
    loaded = checkpoint.load(path)
    assert list(loaded) == list(state)
    assert [name for name in state if not same(state[name], loaded[name])] == []
    assert not any(value.requires_grad for value in loaded.values())
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_nested_comes_back_with_its_types(tmp_path, suffix):
    state = {
        "model": {"w": mt.ones(2, 2), "b.c": mt.zeros(1)}, "model.w": mt.full((1,), 3.0), 3: "three", None: [],
        "plain": [1, 2.5, -0.0, float("nan"), float("inf"), 2**200, "text\n\0", None, (), (1, (2, [mt.tensor(3)]))],
        "arrays": {"u": np.arange(3, dtype=np.uint64) + 2**63, "m": np.eye(2), "n": np.float32(0.1)},
        True: {"e": np.ones((0, 2)), "t": True},
        "generator": np.random.default_rng(3).bit_generator.state,
    }
    assert same(checkpoint.load(checkpoint.save(state, tmp_path / f"s{suffix}")), state)
    assert checkpoint.load(checkpoint.save({}, tmp_path / f"e{suffix}")) == {}


FRESH = """
import sys
import microtrain as mt
for path in sys.argv[1:]:
    loaded = mt.train.checkpoint.load(path)["a"]
    print(loaded.dtype, loaded.tolist())
"""


def test_bfloat16_in_a_process_that_has_not_met_it(tmp_path):
    values = mt.tensor([1.5, -2.0, 3e38]).to(mt.bfloat16)
    paths = [checkpoint.save({"a": values}, tmp_path / f"b{suffix}") for suffix in SUFFIXES]
    done = run(FRESH, *paths)
    assert done.stdout.splitlines() == [f"torch.bfloat16 {values.tolist()}"] * 2, done.stderr
    done = run("import sys; sys.modules['ml_dtypes'] = None\n" + FRESH, paths[0])
    assert f"ImportError: {paths[0]}: bfloat16 needs ml_dtypes: pip install" in done.stderr


@needs_safetensors
def test_the_safetensors_package_reads_it_and_the_other_way_round(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    state = {name: mt.tensor([[1, 0, 3]]).to(getattr(mt, name)) for name in DTYPES if name != "bfloat16"}
    state |= {"": mt.tensor(2.0), "Größe\n": mt.zeros(0, 3)}
    path = checkpoint.save(state | {"half": mt.ones(3).to(mt.bfloat16)}, tmp_path / "ours.safetensors")
    with safe_open(path, "np") as file:
        assert file.metadata()["format"] == "pt"
        assert set(file.keys()) == {*state, "half"}
        for name, value in state.items():
            found = file.get_tensor(name)
            assert (found.dtype, found.tolist()) == (value.cpu().numpy().dtype, value.tolist())
    theirs = {name: value.cpu().numpy() for name, value in state.items()}
    save_file(theirs, tmp_path / "theirs.safetensors")
    loaded = checkpoint.load(tmp_path / "theirs.safetensors")
    assert set(loaded) == set(state)
    assert all(same(loaded[name], state[name]) for name in state)
    save_file({"a": np.ones(2, np.uint32)}, tmp_path / "u.safetensors")
    with pytest.raises(ValueError, match=r"u\.safetensors is not .*'a' is of type U32; known are BOOL, U8"):
        checkpoint.load(tmp_path / "u.safetensors")
    # What a program wrote that took our notes along with other values.
    with safe_open(path, "np") as file:
        notes = file.metadata()
    save_file({"a": np.ones(2)}, tmp_path / "kept.safetensors", metadata=notes)
    with pytest.raises(ValueError, match="checksum does not hold"):
        checkpoint.load(tmp_path / "kept.safetensors")
    assert set(load_file(tmp_path / "kept.safetensors")) == {"a"}


def test_numpy_reads_it_and_the_other_way_round(tmp_path):
    path = checkpoint.save({"layer.0/w": mt.ones(2, 3), "b": mt.tensor(2)}, tmp_path / "ours.npz")
    with np.load(path) as file:
        assert file["layer.0/w"].tolist() == [[1.0] * 3] * 2
        assert file["b"] == 2
    arrays = {"f": np.arange(6.0).reshape(3, 2).T, "big": np.arange(3, dtype=">i4"), "s": np.float32(2)}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "theirs.npz", **arrays)
        loaded = checkpoint.load(tmp_path / "theirs.npz")
        assert {name: value.tolist() for name, value in loaded.items()} == {
            name: array.tolist() for name, array in arrays.items()}
        assert (loaded["big"].dtype, loaded["s"].dtype) == (mt.int32, mt.float32)
    ran = []
    for array in (np.array([print, ran], dtype=object), np.array(["text"]), np.ones(2, complex), np.ones(2, np.uint32)):
        np.savez(tmp_path / "odd.npz", x=array)
        with pytest.raises(ValueError, match=r"odd\.npz is not a readable .*(Object arrays|'x': unsupported)"):
            checkpoint.load(tmp_path / "odd.npz")


def test_what_cannot_be_saved(tmp_path):
    save, at = checkpoint.save, tmp_path / "m.npz"
    with pytest.raises(ValueError, match=r"a checkpoint ends in \.safetensors or \.npz; a pickle may run any code"):
        save({}, tmp_path / "m.pt")
    with pytest.raises(TypeError, match=r"state dict entry 'a.b.1' is a object, not a Tensor, a number"):
        save({"a": {"b": [1, object()]}}, at)
    with pytest.raises(TypeError, match="entry 'f' is a function"):
        save({"f": lambda: 0}, at)
    with pytest.raises(TypeError, match=r"has a key of type tuple"):
        save({(1, 2): mt.ones(1)}, at)
    with pytest.raises(TypeError, match=r"a dict of Tensors such as model\.state_dict\(\), but got Linear"):
        save(nn.Linear(1, 1), at)
    with pytest.raises(ValueError, match=r"cannot be called '__metadata__' in a \.safetensors file"):
        save({"__metadata__": mt.ones(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=r"'\\ud800' is no name for a tensor"):
        save({"\ud800": mt.ones(1)}, at)
    assert os.listdir(tmp_path) == []


def test_a_name_without_suffix_is_the_same_file_for_both(tmp_path):
    path = checkpoint.save({"a": mt.ones(1)}, tmp_path / "model")
    assert path.name == "model.safetensors"
    assert checkpoint.load(tmp_path / "model")["a"].tolist() == [1.0]


# -- files that are not what they should be ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_flipped_bit_and_no_cut_changes_a_value(tmp_path, suffix):
    flat = {"weight": mt.tensor([1.5, 2]), "h": mt.ones(2).to(mt.bfloat16), "t": mt.tensor([True])}
    stride = 5 if suffix == ".npz" else 2
    for kept in ({"m": flat, "n": (1, 2.5)}, flat):
        whole = checkpoint.save(kept, tmp_path / f"w{suffix}").read_bytes()
        path = tmp_path / f"x{suffix}"
        outcomes = collections.Counter()
        damaged = [(f"byte {at}", whole[:at] + bytes([whole[at] ^ 1 << 7 * at % 8]) + whole[at + 1:])
                   for at in range(0, len(whole), stride)]
        damaged += [(f"cut at {at}", whole[:at]) for at in range(0, len(whole), 19)] + [("longer", whole + b"\0")]
        for what, content in damaged:
            path.write_bytes(content)
            try:
                loaded = checkpoint.load(path)
            except ValueError as error:
                assert str(error).startswith(f"{path} is not a readable {suffix} checkpoint: "), what
                outcomes["refused"] += 1
            else:
                assert same(loaded, kept), what
                assert suffix == ".npz", what      # dates and versions that a zip file has of its members
                outcomes["the same"] += 1
        assert outcomes["refused"] > (0.7 if suffix == ".npz" else 0.99) * len(damaged)


def torch_zip():
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    return file.getvalue()


CONTENTS = {
    "empty": (b"", "it is empty"),
    "one byte": (b"x", "(File is not a zip file|it has no header)"),
    "text": (b"hello, this is a text file\n" * 9, "(File is not a zip file|it has no header)"),
    "pickle": (pickle.dumps({"a": 1}), "it is a pickle: a pickle may run any code and is never loaded"),
    "pickle of PyTorch": (torch_zip(), "it is a pickle of PyTorch's"),
    "single array": (b"\x93NUMPY\x01\x00v\x00{'descr': ", "it is one array"),
    "zeros": (bytes(4096), "(File is not a zip file|Expecting value)"),
    "deep": ((2000).to_bytes(8, "little") + b"[" * 2000, "(File is not a zip file|.*recursion|Expecting value)"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_another_kind_are_named(tmp_path, suffix):
    path = tmp_path / f"f{suffix}"
    for name, (content, message) in CONTENTS.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is not a readable .* checkpoint: {message}"):
            checkpoint.load(path)
            pytest.fail(name)
    other = next(one for one in SUFFIXES if one != suffix)
    checkpoint.save({"a": mt.ones(1)}, tmp_path / f"o{other}").rename(path)
    with pytest.raises(ValueError, match=r"it is a (safetensors|zip) file"):
        checkpoint.load(path)
    path.unlink()
    for make, kind, message in ((lambda: None, FileNotFoundError, "no such file"),
                                (path.mkdir, IsADirectoryError, "it is a folder"),
                                (lambda: (path.rmdir(), os.mkfifo(path)), FileNotFoundError, "is not a file")):
        make()
        with pytest.raises(kind, match=f"{message}.*" if "is not" not in message else message):
            checkpoint.load(path)
    with pytest.raises(ValueError, match="a checkpoint ends in"):
        checkpoint.load(tmp_path / "m.pt")


HEADERS = {
    "no object": b"[]", "no list": b"[1,2]", "number": b"3", "nothing": b"null",
    "no entry": b'{"a":3}', "no shape": b'{"a":{"dtype":"U8","data_offsets":[0,1]}}',
    "negative": b'{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}',
    "too long": b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}',
    "hole": b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    "overlap": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
               b'"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    "huge": b'{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,2]}}',
    "twice": b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
             b'"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    "notes": b'{"__metadata__":{"a":1}}', "words": b'{"a":{"dtype":"U8","shape":["x"],"data_offsets":[0,1]}}',
    "left": b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', "no truth": b'{"a":{"dtype":"BOOL","shape":[2],'
    b'"data_offsets":[0,2]}}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_lie_are_refused(tmp_path, header):
    path = tmp_path / "h.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x02\x01")
    with pytest.raises(ValueError, match=r"h\.safetensors is not a readable .* checkpoint: (it|its|a|'[ab]',?) "):
        checkpoint.load(path)


# -- how a file is written ------------------------------------------------------------------------------------------


def mode(path):
    return oct(path.stat().st_mode & 0o7777)


def test_mode_and_links_of_what_is_saved_over(tmp_path):
    real, link, hard = (tmp_path / f"{name}.npz" for name in ("real", "latest", "hard"))
    old = os.umask(0o027)
    try:
        checkpoint.save({"a": mt.zeros(1)}, real)
    finally:
        os.umask(old)
    assert mode(real) == "0o640"        # as open() makes one
    for wanted in (0o600, 0o444 if os.geteuid() == 0 else 0o644, 0o640):
        real.chmod(wanted)
        link.unlink(missing_ok=True)
        link.symlink_to("real.npz")
        hard.unlink(missing_ok=True)
        hard.hardlink_to(real)
        checkpoint.save({"a": mt.full((1,), float(wanted))}, link)
        assert (link.is_symlink(), os.readlink(link), mode(real)) == (True, "real.npz", oct(wanted))
        assert checkpoint.load(real)["a"].item() == wanted != checkpoint.load(hard)["a"].item()
    link.unlink()
    link.symlink_to("not/yet.npz")      # a link may come before its file, but not before its folder
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*not"):
        checkpoint.save({}, link)
    (tmp_path / "not").mkdir()
    checkpoint.save({}, link)
    assert (tmp_path / "not" / "yet.npz").is_file()
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(OSError, match="symbolic links"):
        checkpoint.save({}, link)
    assert link.is_symlink()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f.txt"]
    with files.replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    for wrong, kind, message in ((tmp_path / "no" / "f", FileNotFoundError, "there is no folder"),
                                 (tmp_path, IsADirectoryError, "it is a folder"),
                                 (path / "x", FileNotFoundError, "there is no folder"),
                                 ("/dev/full", OSError, "a device or a pipe"),
                                 (tmp_path / ("n" * 256), OSError, "too long")):
        with pytest.raises(kind, match=message), files.replacing(wrong):
            pytest.fail("written")


def test_a_full_disk_is_said_with_the_name_and_loses_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    paths = [checkpoint.save({"a": mt.ones(1)}, tmp_path / f"m{suffix}") for suffix in SUFFIXES]
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        for path in paths:
            with pytest.raises(OSError, match=f"File too large: '{path}'"):
                checkpoint.save({"a": mt.ones(100, 100)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in paths)
    assert [checkpoint.load(path)["a"].tolist() for path in paths] == [[1.0]] * 2


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
                        or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append(("rename", str(b))) or replace(a, b))
    path = checkpoint.save({"a": mt.ones(1)}, tmp_path / "m.npz")
    (first, temporary), second, third = done
    assert (first, second, third) == ("fsync", ("rename", str(path)), ("fsync", str(tmp_path)))
    assert re.fullmatch(r"\.microtrain-[0-9a-f]{8}-\d+-[0-9a-f]{16}\.tmp", Path(temporary).name)


def test_what_dead_processes_left_is_swept_and_nothing_else(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    machine = files._machine()
    name = ".microtrain-{}-{}-0123456789abcdef.tmp".format
    kept = [name(machine, os.getpid()), name(machine, 1), name("00000000", dead.pid), ".microtrain-notes.tmp",
            f"microtrain-{machine}-{dead.pid}.tmp"]
    swept = [name(machine, dead.pid), name("00000001", 1), name(machine, 10**30)]
    for one in (*kept, *swept):
        (tmp_path / one).write_text("")
    os.utime(tmp_path / swept[1], (time.time() - 2 * files.A_DAY,) * 2)
    History([1.0]).save(tmp_path / "h.json")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "h.json"])


def test_everything_that_is_written_is_written_whole():
    """No module of the package opens a file to write, or renames one, but `files`; those that do say why here."""
    allowed = {
        "files.py": "the one place",
        "train/checkpoint.py": "to a temporary of `replacing`", "train/history.py": "to a temporary of `replacing`",
        "cli/parity.py": "to a temporary of `replacing`",
        "viz/style.py": "to a temporary of `replacing`", "engine/explain.py": "to a temporary of `replacing`",
        "compiler/tune.py": "to a temporary of `replacing`",
        "runtime/resources.py": "in a temporary folder, for a tool",
        "cli/process.py": "to nowhere, for a stream that is closed", "train/npz.py": "into a file that it is given",
        "runtime/virtual/libcuda.py": "to a temporary of `replacing`",
    }
    writes = re.compile(r"""\.write_(text|bytes)\(|\bopen\([^)]*["'][wax+]b?["']|mkstemp|os\.(replace|rename)\(|"""
                        r"""savefig\(|shutil\.(copy|move)|np\.save""")
    found = {str(path.relative_to(ROOT / "microtrain")) for path in (ROOT / "microtrain").rglob("*.py")
             if writes.search(path.read_text())}
    assert found == set(allowed)
    for name in found - {"files.py", "runtime/resources.py", "train/npz.py", "cli/process.py"}:
        assert "with replacing(" in (ROOT / "microtrain" / name).read_text() or "replacing(folder" in (
            ROOT / "microtrain" / name).read_text()


# -- runs that go on ------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
}


ORDERS = {"of its own": lambda: 3, "of a generator of ours": lambda: mt.Generator().manual_seed(3),
          "of the default generator": lambda: None}


def parts(optimizer="Adam", own_order="of its own"):
    mt.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    steps = OPTIMIZERS[optimizer](model.parameters())
    x = mt.tensor(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    loader = data.DataLoader(data.TensorDataset(x, x.sum(1, keepdim=True)), 16, shuffle=True,
                             generator=ORDERS[own_order]())
    return model, steps, optim.lr_scheduler.CosineAnnealingLR(steps, 8), loader


def trained(epochs, path=None, optimizer="Adam", own_order="of its own", **options):
    model, steps, scheduler, loader = parts(optimizer, own_order)
    history = fit(model, nn.MSELoss(), steps, loader, loader, epochs=epochs, scheduler=scheduler, progress=False,
                  checkpoint=path, **options)
    return [value.cpu().numpy().tobytes() for value in model.state_dict().values()], history.train_loss, (
        history.val_loss, steps.param_groups[0]["lr"])


@pytest.mark.parametrize("own_order", ORDERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_goes_on_bit_for_bit(tmp_path, optimizer, own_order):
    whole = trained(6, None, optimizer, own_order)
    path = tmp_path / "run.npz"
    for epochs in (2, 3, 6):
        again = trained(epochs, path, optimizer, own_order)
    assert again == whole
    assert trained(6, path, optimizer, own_order) == whole      # nothing is left to do


def test_a_run_that_ended_early_stays_ended(tmp_path):
    path = tmp_path / "run.safetensors"
    stop = [lambda epoch, history: epoch == 3]
    whole = trained(9, callbacks=stop, patience=9)
    assert trained(9, path, callbacks=stop, patience=9) == whole
    assert trained(9, path, patience=9) == whole
    assert len(whole[1]) == 3


def test_by_hand(tmp_path):
    def steps(model, optimizer, scheduler, loader, epochs):
        for _ in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
            scheduler.step()

    model, optimizer, scheduler, loader = parts()
    steps(model, optimizer, scheduler, loader, 2)
    path = checkpoint.save_training(tmp_path / "run", model, optimizer, scheduler=scheduler, loaders=[loader], epoch=2,
                                    note={"lr": (0.1, "first")})
    steps(model, optimizer, scheduler, loader, 2)
    wanted = [value.cpu().numpy().tobytes() for value in model.state_dict().values()]
    model, optimizer, scheduler, loader = parts()
    more = checkpoint.load_training(path, model, optimizer, scheduler=scheduler, loaders=[loader])
    assert more == {"epoch": 2, "note": {"lr": (0.1, "first")}}
    steps(model, optimizer, scheduler, loader, 2)
    assert [value.cpu().numpy().tobytes() for value in model.state_dict().values()] == wanted


class Counting(nn.Module):
    """Has a state beside its tensors."""

    def __init__(self):
        super().__init__()
        self.layer, self.counts = nn.Linear(3, 1), {"calls": 0, "shapes": []}

    def forward(self, x):
        self.counts["calls"] += 1
        return self.layer(x)

    def get_extra_state(self):
        return self.counts

    def set_extra_state(self, state):
        self.counts = state


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_module_keeps_beside_its_tensors(tmp_path, suffix):
    mt.manual_seed(0)
    x = mt.ones(4, 3)
    for epochs in (1, 3):
        model = Counting()
        fit(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), [(x, mt.ones(4, 1))], [(x, mt.ones(4, 1))],
            epochs=epochs, patience=5, progress=False, checkpoint=tmp_path / f"run{suffix}")
    assert model.counts == {"calls": 6, "shapes": []}
    again = Counting()
    again.load_state_dict(checkpoint.load(checkpoint.save(model.state_dict(), tmp_path / f"m{suffix}")))
    assert again.counts == model.counts


def test_wrong_parts_are_refused_at_the_door(tmp_path):
    model, steps, scheduler, loader = parts()
    path = checkpoint.save_training(tmp_path / "run", model, steps, scheduler=scheduler, loaders=[loader])
    for wrong, options, message in (
            ((None, steps), {}, "argument 'model' .* must be Module, not NoneType"),
            ((model, model), {}, "argument 'optimizer' .* must be Optimizer, not Sequential"),
            ((model, steps), {"scheduler": steps}, "argument 'scheduler' must be LRScheduler, not Adam"),
            ((model, steps), {"loaders": loader}, "argument 'loaders' must be .*, not DataLoader")):
        for function in (checkpoint.save_training, checkpoint.load_training):
            with pytest.raises(TypeError, match=message):
                function(path, *wrong, **options)


def test_a_schedule_of_functions_goes_on(tmp_path):
    def make():
        mt.manual_seed(2)
        model = nn.Linear(2, 1)
        steps = optim.SGD(model.parameters(), lr=1.0)
        return model, steps, optim.lr_scheduler.LambdaLR(steps, lambda epoch: 0.5 ** epoch)

    model, steps, scheduler = make()
    steps.step()
    scheduler.step()
    path = checkpoint.save_training(tmp_path / "run.npz", model, steps, scheduler=scheduler)
    model, steps, again = make()
    checkpoint.load_training(path, model, steps, scheduler=again)
    assert (again.last_epoch, again.get_last_lr(), steps.param_groups[0]["lr"]) == (1, [0.5], 0.5)
    steps.step()
    again.step()
    assert steps.param_groups[0]["lr"] == 0.25


def test_fit_refuses_the_checkpoint_of_another_run(tmp_path):
    path = tmp_path / "run.npz"
    trained(1, path)
    model, steps, scheduler, loader = parts()

    def refused(message, **options):
        with pytest.raises(ValueError, match=message):
            fit(model, nn.MSELoss(), steps, loader, loader, epochs=2, progress=False, checkpoint=path, **options)

    refused("holds a scheduler, and none is given")
    refused("a run with the metrics none, not m", scheduler=scheduler, metrics={"m": lambda prediction, target: 0.0})
    checkpoint.save_training(path, model, steps, scheduler=scheduler, loaders=[loader, loader], epoch=1)
    refused("a run that fit did not save", scheduler=scheduler)
    for loader.generator in (None, mt.Generator()):
        refused("a loader has a generator of its own", scheduler=scheduler)


def test_a_run_of_other_parts_changes_nothing(tmp_path):
    model, optimizer, scheduler, loader = parts()
    path = checkpoint.save_training(tmp_path / "run", model, optimizer, scheduler=scheduler, loaders=[loader])
    checkpoint.save(model.state_dict(), tmp_path / "model")

    def refused(kind, message, path, model, optimizer, scheduler=None, loaders=()):
        with pytest.raises(kind, match=message):
            checkpoint.load_training(path, model, optimizer, scheduler=scheduler, loaders=loaders)

    refused(ValueError, "holds no run", tmp_path / "model", model, optimizer)
    refused(ValueError, "holds a scheduler, and none is given", path, model, optimizer)
    refused(ValueError, "holds 1 loaders, and 0 are given", path, model, optimizer, scheduler)
    mt.manual_seed(5)
    other = nn.Sequential(*(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)))
    before = [value.clone() for value in other.state_dict().values()]
    wrong = optim.Adam([other[0].weight], lr=0.3)
    refused(ValueError, "doesn't match the size", path, other, wrong, scheduler, [loader])
    assert all(map(same, before, other.state_dict().values()))
    assert wrong.param_groups[0]["lr"] == 0.3


def test_kills_lose_nothing():
    command = [sys.executable, "-m", "tests.stress.files", "--saving=8", "--training=8", "--signals=2"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["kills while saving"], report["kills while training"]) == (8, 8)
    assert report["runs ended, bit for bit"] >= 1
