"""Planted changes: does the suite catch a changed operator, bound, sign or number, a negated test, a removed statement?

    python tests/mutate.py --seed 1 --count 60 --jobs 2 microtrain/ops microtrain/engine

picks changes at random (the same for the same seed and tree) in the given files and folders, makes one at a time in a
clone of the last commit, and runs what `make test` runs until something fails: of all changes first the tests that are
near them. It prints each change with what caught it and after each round those that are left, and ends with 1 if more
than one in twenty survived. Those are for a person to judge: one may change nothing.
With `--entered PATH`, which `tests.support.entered` has written, the tests that enter the changed function come first.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//",
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in", ast.And: "or", ast.Or: "and"}
"""What stands in place of an operator."""

FEW = 200
"""So many of the tests that enter a changed function are run at first."""

SECONDS = 1500
"""A run that takes longer hangs, which is noticed."""

NEAR = {"ops": ("operators", "autograd"), "nn": ("nn", "operators"), "bench": ("bench", "house")}
"""The rooms of tests that are run first for a room of the package, its own by default: they catch most changes."""

WIDE = ("house/test_layers", "autograd/test_autograd", "compiler/test_fusion", "engine/test_donation", "fuzz/test_fuzz")
"""The tests that are run next: they go through the most of the package in the shortest time."""


@dataclass(frozen=True)
class Change:
    """The text of a file from `start` to `end` (bytes) becomes `text`."""

    path: Path
    kind: str
    line: int
    start: int
    end: int
    text: str

    def __str__(self) -> str:
        before = (ROOT / self.path).read_bytes()[self.start:self.end].decode()
        return f"{self.path}:{self.line} {self.kind}: {' '.join(before.split())[:70]} -> {self.text[:70]}"


def unevaluated(tree: ast.Module) -> set[ast.AST]:
    """What says nothing at run time: annotations, docstrings, what stands for type checkers, words of an error."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
        if isinstance(node, ast.FunctionDef):
            parts.append(node.returns)
        if isinstance(node, ast.Raise | ast.Assert):
            parts.append(node)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            parts.append(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.append(node)
        for part in parts:
            found |= set(ast.walk(part)) if part is not None else set()
    return found


def changes(path: Path) -> Iterator[Change]:
    """Every change that could be made to a file; the path is the repository's."""
    source = (ROOT / path).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def change(kind: str, node: ast.expr | ast.stmt, text: str) -> Change:
        return Change(path, kind, node.lineno, *place(node), text)

    def between(kind: str, left: ast.expr, right: ast.expr, text: str) -> Iterator[Change]:
        """The operator between two operands, if nothing else is there."""
        start, end = place(left)[1], place(right)[0]
        if b"(" not in source[start:end] and b")" not in source[start:end] and b"#" not in source[start:end]:
            yield Change(path, kind, left.lineno, start, end, f" {text} ")

    tree = ast.parse(source)
    silent = unevaluated(tree)
    for node in ast.walk(tree):
        if node in silent:
            continue
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not isinstance(node.left, ast.JoinedStr):
            yield from between("operator", node.left, node.right, OPERATORS[type(node.op)])
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield from between("bound", node.left, node.comparators[0], OPERATORS[type(node.ops[0])])
        elif isinstance(node, ast.BoolOp):
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from between("junction", left, right, OPERATORS[type(node.op)])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            yield change("sign", node, ast.unparse(node.operand))
        elif isinstance(node, ast.If | ast.IfExp):
            yield change("test", node.test, f"(not ({ast.unparse(node.test)}))")
        elif isinstance(node, ast.Constant) and type(node.value) in (bool, int):
            yield change("number", node, str(not node.value if node.value in (True, False) and type(node.value) is bool
                                             else node.value + 1))
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
                isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)):
            yield change("statement", node, "pass")


def chosen(paths: list[Path], count: int, seed: int) -> list[Change]:
    """Changes at random, of each kind as often as of any other, none of a file that would not be Python any more."""
    by_kind: dict[str, list[Change]] = {}
    for path in paths:
        for change in changes(path):
            by_kind.setdefault(change.kind, []).append(change)
    draw = random.Random(seed)
    found: list[Change] = []
    while len(found) < count:
        change = draw.choice(by_kind[draw.choice(sorted(by_kind))])
        try:
            ast.parse(changed(change))
        except SyntaxError:
            continue
        if change not in found:
            found.append(change)
    return found


def changed(change: Change) -> bytes:
    """The file with the change made."""
    source = (ROOT / change.path).read_bytes()
    return source[:change.start] + change.text.encode() + source[change.end:]


def function(change: Change) -> str:
    """The innermost function that a change is in, as `tests.support.entered` names it."""
    def inside(body: ast.AST, name: str) -> str:
        for node in ast.iter_child_nodes(body):
            if isinstance(node, ast.expr | ast.stmt) and node.lineno <= change.line <= (node.end_lineno or 0):
                named = isinstance(node, ast.FunctionDef | ast.ClassDef)
                return inside(node, f"{name}.{node.name}".lstrip(".") if named else name)
        return name
    return f"{change.path}:{inside(ast.parse((ROOT / change.path).read_bytes()), '')}"


@cache
def recorded(record: Path) -> list[dict[str, Any]]:
    """What `tests.support.entered` wrote, of the tests that there still are."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "--collect-only", "tests"], cwd=ROOT, text=True,
                          capture_output=True, env=os.environ | {"PYTHONPATH": ".", "MICROTRAIN_DEVICE": "cpu"})
    known = set(done.stdout.splitlines())
    return [test for line in record.read_text().splitlines() if (test := json.loads(line))["test"] in known]


def entering(change: Change, record: Path) -> list[str]:
    """The tests that enter a change's function, quick ones first, a few of each file before more of one."""
    name = function(change)
    found = sorted((test for test in recorded(record) if name in test["entered"]), key=lambda test: test["seconds"])
    by_file: dict[str, list[str]] = {}
    for test in found:
        by_file.setdefault(test["test"].partition("::")[0], []).append(test["test"])
    return [test for row in zip_longest(*by_file.values()) for test in row if test][:FEW]


def runs(change: Change, tree: Path, record: Path | None) -> list[tuple[str, list[str]]]:
    """Devices and tests, the quickest to notice a change first; together what `make test` runs."""
    interpreted = subprocess.run(["make", "-s", "interpret-tests"], cwd=tree, capture_output=True, text=True,
                                 check=True).stdout.split()
    room = change.path.parts[-2] if change.path.parts[0] == "kernels" else change.path.parts[1]
    near = [f"tests/{name}" for name in NEAR.get(room, (room,)) if (ROOT / "tests" / name).is_dir()]
    wide = [str(path) for name in WIDE for path in Path("tests").glob(f"{name}*.py")]
    suite = ["-m", "not budgets and not emulated"]
    first = ("interpret", ["tests/kernels"]) if room == "kernels" else \
        ("cpu", entering(change, record) if record else [])
    return [first, ("cpu", [*suite, *near] if near else []), ("cpu", [*suite, *wide]), ("cpu", suite),
            ("interpret", interpreted), ("mypy", [])]


def caught(change: Change, tree: Path, device: str, arguments: list[str]) -> str:
    """What fails of a run once the change is made in a clone; "" where nothing does."""
    if not arguments and device != "mypy":
        return ""
    target = tree / change.path
    before = target.read_bytes()
    target.write_bytes(changed(change))
    command = ["mypy"] if device == "mypy" else ["pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run([sys.executable, "-m", *command, *arguments], cwd=tree, capture_output=True, text=True,
                              timeout=SECONDS, env=os.environ | {"PYTHONPATH": ".", "MICROTRAIN_DEVICE": device})
    except subprocess.TimeoutExpired:
        return f"{device} a run that does not end"
    finally:
        target.write_bytes(before)
    if done.returncode in (4, 5):           # pytest's for a command line that is wrong, and for no test found
        raise RuntimeError(done.stdout + done.stderr)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR")) or device == "mypy"]
    return f"{device} {lines[0] if lines else (done.stdout + done.stderr)[-200:]}" if done.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--entered", type=Path, help="which tests enter which functions")
    parser.add_argument("--list", action="store_true", help="print the changes, make none")
    args = parser.parse_args()
    files = [path for room in args.rooms for path in ([room] if room.suffix else sorted(room.rglob("*.py")))]
    planted = chosen(files, args.count, args.seed)
    if args.list:
        print(*planted, sep="\n")
        return 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        trees = [Path(folder) / str(k) for k in range(args.jobs)]
        for tree in trees:
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True)
        free = trees.copy()

        def judged(change: Change, device: str, arguments: list[str]) -> str:
            tree = free.pop()
            try:
                return caught(change, tree, device, arguments)
            finally:
                free.append(tree)

        left = {change: runs(change, trees[0], args.entered) for change in planted}
        while any(left.values()):                       # each change's first run, then the next of those not caught
            running = {pool.submit(judged, change, *runs.pop(0)): change for change, runs in left.items() if runs}
            for done in as_completed(running):
                if by := done.result():
                    del left[running[done]]
                    print(f"caught   {running[done]}\n         {by}", flush=True)
            print(f"{len(left)} of {len(planted)} left", *left, sep="\n    ", flush=True)
    return int(len(left) * 20 > len(planted))


if __name__ == "__main__":
    sys.exit(main())
