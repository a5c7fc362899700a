"""What a benchmark's report says: table, limits and misses, JSON, pictures, and the revision it names."""

import json
import os
import re
import subprocess

import numpy as np
import pytest

import microtrain as mt
from benchmarks import environment
from benchmarks.launch_facts import Launched
from benchmarks.limits import Verdict
from benchmarks.peers import BY_HAND
from benchmarks.picture import draw
from benchmarks.report import document, limits, misses, table, write_json
from benchmarks.roofline import points, roofline
from benchmarks.suite import MICROTRAIN, Result
from microtrain.bench import Bound, Comparison, Failure
from microtrain.bench.comparison import Entry
from microtrain.bench.text import columns, microseconds
from tests.bench.shared import MAP, ROOT, SMALL, STEPS, Fixed, timed

pytestmark = pytest.mark.usefixtures("nothing_pending")


UNABLE = Entry("torch", Failure("cannot run", "OSError: no"))
SOFTMAX, SUM, LOSS = SMALL[2:5]
KERNEL = Launched("row over 128 rows of 128", "exp, sum, div", (128,), {"BLOCK_C": 128}, 4, 3, 65536, 65536, 0.1, 40, 0,
                  512, 128, 128, 0.5)
RESULTS = [
    Result(STEPS[0], Comparison((timed(MICROTRAIN, 7.5), timed("torch", 150, 0.05), timed(BY_HAND, 3, 2.5))), 1.0),
    Result(MAP, Comparison((Entry(MICROTRAIN, Failure("wrong", "result is off by 1")),
                            Entry("torch", Failure("not timed", "no figure"))))),
    Result(SOFTMAX, Comparison((timed(MICROTRAIN, 1234.4), UNABLE), Bound("bytes", 617.2)), 1.5,
           (Verdict(">= 0.88 of the limit", 0.5, False), Verdict(">= 1 x torch", None, None)), (KERNEL,)),
    Result(SUM, Comparison((timed(MICROTRAIN, 20),), Bound("bytes", 19.0)), 1.0,
           (Verdict(">= 0.88 of the limit", 0.95, True),)),
    Result(LOSS, Comparison((Entry(MICROTRAIN, Failure("dropped", "out of time")),))),
]


def test_table():
    assert table(RESULTS, "cpu").splitlines() == [
        "workload              device  peer           microtrain us  peer us  ratio  kernels     check",
        "perceptron            cpu     torch                   7.50      150   0.05        1  ok (12%)",
        "perceptron            cpu     numpy by hand           7.50     3.00   2.50        1  ok (12%)",
        "map of 2, 2^12        cpu     microtrain     wrong: result is off by 1",
        "softmax 128x128       cpu     torch          cannot run: OSError: no",
        "full sum 4096         cpu     -                       20.0        -      -        1  ok (12%)",
        "cross entropy 128x10  cpu     microtrain     dropped: out of time",
    ]


def test_limits_and_misses():
    assert [" ".join(line.split()) for line in limits(RESULTS).splitlines()] == [
        "workload clock microtrain us warm us loop us limit us set by of the limit target found met",
        "softmax 128x128 loop 1234 - - 617 bytes 0.50 >= 0.88 of the limit 0.50 NO",
        "softmax 128x128 loop 1234 - - 617 bytes 0.50 >= 1 x torch - -",
        "full sum 4096 loop 20.0 - - 19.0 bytes 0.95 >= 0.88 of the limit 0.95 yes",
    ]
    assert misses(RESULTS).splitlines() == [
        "softmax 128x128: >= 0.88 of the limit: 0.50; 1.5 launches a call",
        "    row over 128 rows of 128 (exp, sum, div); grid 128; tile BLOCK_C 128; 4 warps, 3 stages; 40 registers, 0 "
        "bytes spilled, 512 bytes shared, accesses of 128 and 128 bits; occupancy 50%; 0.131 MB in 0.1 us (1311 GB/s)",
    ]
    assert limits(RESULTS[:2]) == misses(RESULTS[:2]) == ""


def test_text():
    assert list(map(microseconds, (0.1234, 7.314, 73.14, 731.4, 7314))) == ["0.12", "7.31", "73.1", "731", "7314"]
    assert columns(("a", "b"), [("long", "1"), ("a remark that is long",)]) == "a     b\nlong  1\na remark that is long"


def test_json(tmp_path):
    path = tmp_path / "cpu.json"
    contents = document(RESULTS, environment.environment("cpu"), {"copy_GB_s": 3.0},
                        "2030-01-02T03:04:05+00:00", "quick", True)
    write_json(path, contents)
    read = json.loads(path.read_text())
    assert read == json.loads(json.dumps(contents))
    assert os.listdir(tmp_path) == ["cpu.json"]
    assert read["schema"] == 2 and read["effort"] == "quick" and read["date"].startswith("2030-01-02")
    assert read["device"]["type"] == "cpu" and read["device"]["name"]
    assert read["versions"]["numpy"] == np.__version__ and read["versions"]["microtrain"] == mt.__version__
    assert {"python", "torch", "triton"} < read["versions"].keys()
    assert read["ceilings"] == {"copy_GB_s": 3.0}
    perceptron, wrong, missed = read["workloads"][:3]
    assert missed["share"] == pytest.approx(0.5) and missed["limit"] == {"us": 617.2, "by": "bytes"}
    assert missed["targets"][0] == {"target": ">= 0.88 of the limit", "found": 0.5, "met": False}
    assert missed["launched"][0]["registers"] == 40 and missed["launched"][0]["bandwidth_GB_s"] > 0
    assert missed["costs"]["bytes"] == 8 * 128 * 128
    assert perceptron["passed"] and perceptron["kernels"] == 1
    assert perceptron["contenders"][1] == {
        "name": "torch", "failure": None, "clock": "loop", "calls": 10, "samples": [150, 150, 150],
        "tolerance_used": 0.12, "otherwise": {}, "declined": {},
        "time": {"lower": 135.0, "median": 150, "upper": pytest.approx(165.0)},
        "ratio": {"lower": 0.05, "median": 0.05, "upper": 0.05},
    }  # fmt: skip
    assert not wrong["passed"]
    assert [entry["time"] for entry in wrong["contenders"]] == [None, None]
    assert str(ROOT) not in path.read_text()


def test_a_number_that_json_does_not_know_leaves_the_old_file(tmp_path):
    path = tmp_path / "cpu.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1} and os.listdir(tmp_path) == ["cpu.json"]


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    assert draw(RESULTS, tmp_path / "a.png", "title").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no figures"):
        draw(RESULTS[1:2], tmp_path / "b.png", "title")
    assert roofline(RESULTS, Fixed(), tmp_path / "c.png", "title").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["a.png", "c.png"]


def test_a_point_under_the_roof_is_work_over_bytes_and_over_time():
    row, total = 128 * 128, 1 << 12
    assert points(RESULTS) == [("row", 5 * row / (8 * row), 5 * row / 1234.4), ("row", 2 * total / (4 * (total + 1)),
                                                                               2 * total / 20)]


def test_revision_is_that_of_the_packages_own_repository(tmp_path, monkeypatch):
    """A package installed into somebody else's repository has no revision of its own."""
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(mt, "__file__", str(tmp_path / "__init__.py"))
    git("init")
    git("commit", "--allow-empty", "-m", "empty")
    assert environment.revision() is None
    git("add", "__init__.py")
    git("commit", "-m", "package")
    assert re.fullmatch(r"[0-9a-f]{12}", environment.revision())
    (tmp_path / "__init__.py").write_text("changed")
    assert environment.revision().endswith("-dirty")
