"""Checkpoints: every dtype, shape and name; damaged and foreign files; how files are written; runs that go on."""

import collections
import importlib.util
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import microtrain as mt
from microtrain import nn
from microtrain.train import checkpoint

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = checkpoint.SUFFIXES
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


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


@pytest.mark.skipif(importlib.util.find_spec("safetensors") is None, reason="safetensors is not installed")
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
        assert file["layer.0/w"].tolist() == [[1.0] * 3] * 2 and file["b"] == 2
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


@pytest.mark.parametrize(("state", "name", "kind", "words"), [
    ({}, "m.pt", ValueError, r"a checkpoint ends in \.safetensors or \.npz; a pickle may run any code"),
    ({"a": {"b": [1, object()]}}, "m.npz", TypeError, r"state dict entry 'a.b.1' is a object, not a Tensor, a number"),
    ({"f": len}, "m.npz", TypeError, "entry 'f' is a builtin_function"),
    ({(1, 2): mt.ones(1)}, "m.npz", TypeError, "has a key of type tuple"),
    (nn.Linear(1, 1), "m.npz", TypeError, r"a dict of Tensors such as model\.state_dict\(\), but got Linear"),
    ({"__metadata__": mt.ones(1)}, "m.safetensors", ValueError, "be called .__metadata__. in a .safetensors file"),
    ({"\ud800": mt.ones(1)}, "m.npz", ValueError, r"'\\ud800' is no name for a tensor")])
def test_what_cannot_be_saved(tmp_path, state, name, kind, words):
    with pytest.raises(kind, match=words):
        checkpoint.save(state, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_name_without_suffix_is_the_same_file_for_both(tmp_path):
    assert checkpoint.save({"a": mt.ones(1)}, tmp_path / "model").name == "model.safetensors"
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
        with pytest.raises(kind, match=message):
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
