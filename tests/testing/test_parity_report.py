"""The report of comparisons, as text, JSON and HTML, and the command that makes one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from microtrain.cli import main
from microtrain.testing.database.operators import FURTHER, NAMES
from microtrain.testing.page import heat
from microtrain.testing.report import ERRORS, GRADIENT, SECOND, VALUE, ParityReport, Tally, ulps_text

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "input", "br"}


def report() -> ParityReport:
    found = ParityReport({"device": "cpu", "torch": "<2>"}, {"svd": "not here; use numpy.linalg"})
    found.add(Tally("sin", "cpu", "float32", VALUE, tried=2, passed=2, worst_ulps=0.55))
    found.add(Tally("sin", "cpu", "float64", VALUE, tried=3, passed=1, refused=1, worst_ulps=math.inf,
                    failures=["(float64[2]): <nan>"], uncounted=4))
    found.add(Tally("sin", "cpu", "float64", GRADIENT, tried=3, passed=3, worst_ulps=7.0))
    found.add(Tally("add", "cuda", "float32", SECOND, tried=1, passed=1))
    found.add(Tally("add", "cpu", "", ERRORS, tried=2, passed=2))
    return found


def test_equal_keys_add_up() -> None:
    found, part = ParityReport(), Tally("sin", "cpu", "float32", VALUE, tried=1, failures=["a"], worst_ulps=3.0)
    found.add(part)
    found.add(Tally("sin", "cpu", "float32", VALUE, tried=1, passed=1, worst_ulps=1.0, uncounted=1))
    (tally,) = found.of()
    assert (tally.tried, tally.passed, tally.failed, tally.worst_ulps, tally.uncounted) == (2, 1, 1, 3.0, 1)
    assert part.tried == 1 and part.failures == ["a"]       # what was added is not changed
    other = report()
    other.merge(found)
    assert other.total("sin", "cpu", VALUE).tried == 7 and other.absent
    assert other.failures == ["sin value float32 cpu: a", "sin value float64 cpu: (float64[2]): <nan>"]


def test_text() -> None:
    table, failures, sums = report().text().split("\n\n")
    assert table.splitlines() == [
        "operation  cpu value  ulps  cpu gradient  ulps  cpu errors  cuda second gradient  ulps",
        "add                                                    2/2                   1/1     0",
        "sin           3+1r/5     -           3/3     7",
        "svd: not there; not here; use numpy.linalg",
    ]
    assert failures == "sin value float64 cpu: (float64[2]): <nan>"
    assert sums.splitlines()[0] == "cpu value: 3 of 5 passed, 1 refused (20.0%), 1 failed; 4 not counted"
    assert ParityReport().text() == "operation"


def test_json_holds_everything_and_is_strict() -> None:
    document = json.loads(report().json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["schema"] == 1 and document["absent"] == {"svd": "not here; use numpy.linalg"}
    value = next(tally for tally in document["tallies"] if (tally["dtype"], tally["order"]) == ("float64", "value"))
    assert value == {"operation": "sin", "device": "cpu", "dtype": "float64", "order": "value", "tried": 3, "passed": 1,
                     "refused": 1, "worst_ulps": "inf", "failures": ["(float64[2]): <nan>"], "uncounted": 4}


class Page(HTMLParser):
    """Reads a page, checking that every element is closed and every link leads somewhere on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        assert not {"src", "onclick"} & set(found) and found.get("id") not in self.ids
        self.ids |= {str(found["id"])} if "id" in found else set()
        self.links |= {str(found["href"])} if "href" in found else set()
        self.open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_is_one_well_formed_page() -> None:
    text = report().html()
    page = Page(text)
    assert page.links == {"#op-sin", "#op-add"} and {link[1:] for link in page.links} <= page.ids
    assert "http" not in text and "<nan>" not in text and "&lt;nan&gt;" in text
    assert any("(float64[2]): <nan>" in word for word in page.words)
    assert text == report().html()
    Page(ParityReport().html())
    assert "cannot compute" in text and "svd" in text and "prefers-color-scheme: dark" in text


def test_figures() -> None:
    assert [ulps_text(x) for x in (0, 0.514, 7.44, 310.4, 4e5, math.inf)] == ["0", "0.51", "7.4", "310", "4e+05", "-"]
    assert [heat(x) for x in (0, 1e-9, 1, 4, 5, 1e9, math.inf)] == [0, 1, 1, 2, 3, 5, 5]


# ------------------------------------------------------------------------------------------------------- the command

needs_the_database = pytest.mark.skipif(find_spec("expecttest") is None, reason="the database needs expecttest")


@needs_the_database
def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page, figures = tmp_path / "p.html", tmp_path / "p.json"
    status = main(["parity", "softmax", "matm*", "--device", "cpu", "--dtype", "float32", "--order", "1", "--most", "3",
                   "--errors", "--html", str(page), "--json", str(figures)])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    heads, *rows = out.splitlines()
    assert heads.split("  ")[0] == "operation" and "second" not in out
    assert [row.split()[:2] for row in rows[:2]] == [["matmul", "3/3"], ["softmax", "3/3"]]
    assert "matmul" in "".join(Page(page.read_text()).words)
    document = json.loads(figures.read_text())
    assert {tally["dtype"] for tally in document["tallies"]} <= {"float32", ""}
    assert document["about"]["device"] == "cpu" and document["about"]["torch"]
    assert out.endswith(f"written  {figures}\nwritten  {page}\n")


@needs_the_database
def test_a_failure_is_told_by_the_exit_code(capsys: pytest.CaptureFixture[str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtrain.testing.database.judge.find", lambda _: lambda x, **kw: x.exp() * 1.001)
    assert main(["parity", "exp", "--device", "cpu", "--most", "1"]) == 1
    assert "exp value float32 cpu: (float32[" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [
    (("softmx",), "no operator is called 'softmx'; near it: softmax"),
    (("relu_", "abs"), "no operator is called 'relu_'; near it: nn.functional.relu"),
    (("--most", "0"), "should be a whole number of at least 1"),
    (("--html", "no/such/folder.html"), "there is no folder"),
    (("--device", "tpu"), "invalid choice: 'tpu'"),
])
def test_mistakes_are_one_line(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


def test_without_the_database_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = ("import sys; sys.modules['expecttest'] = None\n"
            "from microtrain.cli import main; sys.exit(main(['parity', 'abs', '--device', 'cpu']))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pip install" in done.stderr and "'expecttest'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_names_are_sorted_and_single() -> None:
    assert list(NAMES) == sorted(set(NAMES)) and list(FURTHER) == sorted(set(FURTHER) - set(NAMES))
