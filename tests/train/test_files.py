"""How files are written: whole or not at all, through links, and swept when a process died."""

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

import microtrain as mt
from microtrain import files
from microtrain.train import History, checkpoint
from tests.train.test_checkpoint import ROOT, SUFFIXES

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
        "train/checkpoint.py": "to a temporary of `replacing`", "train/loop.py": "to a temporary of `replacing`",
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
