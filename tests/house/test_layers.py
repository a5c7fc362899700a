"""The architecture, enforced: imports run downward and in no circle, torch and Triton stay where they belong, templates
and devices are asked and not told apart, masked loads say what the other lanes hold.

Read from the syntax tree of every module, so that imports inside functions and for type checkers count.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From the bottom up; packages in one row may use each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("settings", "errors", "arguments", "files", "scopes", "command"), ("emulator",), ("kernels",), ("runtime",),
    ("graph",), ("ops",), ("compiler",), ("engine",), ("autograd",), ("tensor",),
    ("nn", "optim", "data", "special", "linalg", "random"), ("compiled",), ("train",),
    ("cli", "bench", "testing", "viz", "__main__", ""))
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
ALLOWED = {
    "torch": ("microtrain.runtime.cuda", "microtrain.runtime.interpret", "microtrain.runtime.virtual",
              "microtrain.testing"),
    "triton": ("microtrain.kernels", "microtrain.runtime", "microtrain.compiler", "microtrain.testing")}
"""Who may import what not everybody has."""

OPTIONAL = frozenset({"torch", "triton", "ml_dtypes", "matplotlib", "tqdm", "safetensors", "graphviz", "expecttest",
                      "cuda", "jax", "pandas", "numba"})
LATE = frozenset({"microtrain.runtime.interpret", "microtrain.runtime.null"})
"""A device's backend, which is loaded once it is asked for."""

SLOW = frozenset({"argparse", "signal", "subprocess", "tempfile", "ctypes", "importlib", "inspect", "urllib", "shutil",
                  "pytest"})
"""Of Python's own: what would be a noticeable part of the time in which `import microtrain` is done."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; `kernels/` is the package's `microtrain.kernels`."""
    found = {}
    for top, package in ((ROOT / "microtrain", "microtrain"), (ROOT / "kernels", "microtrain.kernels")):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            if package != "microtrain" or parts[0] != "kernels":
                found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()
TREES = {module: ast.parse(path.read_text()) for module, path in MODULES.items()}


def layer(module: str) -> str:
    """The part of the package that a dotted name under `microtrain` belongs to; "" for the package itself."""
    return [*module.split("."), ""][1]


def imports(module: str, tree: ast.Module, is_package: bool = False) -> Iterator[tuple[int, bool, str]]:
    """Line, whether it is inside a function, and dotted name of all that a module imports: of ours, the file's."""
    inside = {node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef | ast.Lambda)
              for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, node in inside, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield node.lineno, node in inside, whole if whole in MODULES else base
        elif isinstance(node, ast.Call) and name_of(node.func) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, node in inside, argument.value


def name_of(node: ast.expr) -> str:
    """The last part of a name; "" of what is none."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


IMPORTS = {module: [*imports(module, tree, MODULES[module].name == "__init__.py")] for module, tree in TREES.items()}


def heavy() -> set[str]:
    """The modules that import at their top what not everybody has, or another such module; a package's are its all."""
    found: set[str] = set()
    while more := {name for name, edges in IMPORTS.items() if name not in found and any(
            not inside and (target in found or target.split(".")[0] in OPTIONAL) for _, inside, target in edges)}:
        found |= more
    return found


HEAVY = heavy()


# ------------------------------------------------- rules: lines of a module, and what is wrong there, if it is open
Rule = Callable[[str, ast.Module], Iterator[tuple[int, str]]]


def imports_run_downward(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    own = layer(module)
    if own not in RANK:
        yield 0, f"belongs to no layer; the layers are {LAYERS}"
        return
    edges = IMPORTS[module] if TREES.get(module) is tree else imports(module, tree)
    for line, inside, name in edges:
        top = name.split(".")[0]
        if top == "kernels":
            yield line, "imports kernels by a name that is not ours; it is microtrain.kernels"
        if top == "microtrain" and layer(name) not in RANK:
            yield line, f"imports {name}, which belongs to no layer"
        elif top == "microtrain" and RANK[layer(name)] > RANK[own]:
            yield line, f"imports {name}, upward from {own}"
        if top in ALLOWED and not any(f"{module}.".startswith(f"{allowed}.") for allowed in ALLOWED[top]):
            yield line, f"imports {top}"
        if inside and name != module and name not in HEAVY | LATE and top not in OPTIONAL | SLOW:
            yield line, f"imports {name} inside a function, which is for what not everybody has or wants to wait for"


def named_templates() -> tuple[set[str], set[str]]:
    """The classes of kernel templates, and the names that they give themselves."""
    classes, names = {"Template"}, set()
    found = [node for name, tree in TREES.items() if name.startswith("microtrain.compiler.templates")
             for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while new := [node for node in found if node.name not in classes
                  and any(ast.unparse(base).split("[")[0] in classes for base in node.bases)]:
        classes |= {node.name for node in new}
        names |= {line.value.value for node in new for line in node.body if isinstance(line, ast.Assign)
                  and name_of(line.targets[0]) == "name" and isinstance(line.value, ast.Constant)}
    return classes, names


TEMPLATES, NAMES = named_templates()


def templates_are_asked(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Code asks a template, not which template it has."""
    if module.startswith("microtrain.compiler.templates"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in ("isinstance", "issubclass"):
            if {name_of(part) for part in ast.walk(node.args[1]) if isinstance(part, ast.expr)} & TEMPLATES:
                yield node.lineno, ""
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = any(ast.unparse(side).endswith(("template.name", "domain.name")) for side in sides)
            if asked and {part.value for side in sides for part in ast.walk(side)
                          if isinstance(part, ast.Constant)} & NAMES:
                yield node.lineno, ""


def masked_loads_say_what_the_other_lanes_hold(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls in kernels, and text from which calls are emitted."""
    if layer(module) not in ("kernels", "compiler"):
        return
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tl.load", "triton.language.load"):
            keywords = {keyword.arg for keyword in node.keywords}
            if ("mask" in keywords or len(node.args) > 1) and not ("other" in keywords or len(node.args) > 2):
                yield node.lineno, ""
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        if layer(module) == "compiler" and "tl.load(" in text and "mask" in text and "other" not in text:
            yield node.lineno, ""


KIND_NAMES = {"cpu", "cuda", "interpret", "null"}
MAY_COMPARE_KINDS = {
    "microtrain": "what MICROTRAIN_DEVICE says, before anything is imported",
    "microtrain.cli": "what was typed behind --device", "microtrain.testing": "what was typed behind --device",
    "microtrain.bench": "what was typed behind --device, and JAX's own names"}


def devices_are_asked(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Nothing is compared with the name of a kind of device, or looked up among such names."""
    def names_kind(node: ast.expr | None) -> bool:
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return bool(node.elts) and all(map(names_kind, node.elts))
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in KIND_NAMES

    named = module if module in MAY_COMPARE_KINDS else ".".join(module.split(".")[:2])
    if layer(module) in ("runtime", "emulator") or named in MAY_COMPARE_KINDS:
        return
    for node in ast.walk(tree):
        operands: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            operands = [*node.keys]
        elif isinstance(node, ast.MatchValue):
            operands = [node.value]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set) and len(node.elts) > 1:
            operands = [node]
        for operand in operands:
            if operand is not None and names_kind(operand):
                yield operand.lineno, ""


RULES = (imports_run_downward, templates_are_asked, masked_loads_say_what_the_other_lanes_hold, devices_are_asked)


@pytest.mark.parametrize("rule", RULES)
def test_no_file_breaks(rule: Rule) -> None:
    assert [f"{module}:{line} {text}" for module, tree in TREES.items() for line, text in rule(module, tree)] == []


DOWN, LOADS = imports_run_downward, masked_loads_say_what_the_other_lanes_hold
PLANTED: tuple[tuple[Rule, str, str, list[int] | str], ...] = (
    (DOWN, "graph.node", "import microtrain.tensor", "upward from graph"),
    (DOWN, "graph.node", "def f():\n    from microtrain.autograd import grad", "upward from graph"),
    (DOWN, "graph.node", "def f():\n    from ..engine import run", "upward from graph"),
    (DOWN, "graph.node", "def f():\n    from .. import errors", "inside a function"),
    (DOWN, "graph.node", "def f():\n    import argparse, ml_dtypes\nf = lambda: __import__('jax')", []),
    (DOWN, "tensor.core", "from .. import nn", "upward from tensor"),
    (DOWN, "kernels.map", "from microtrain import runtime", "upward from kernels"),
    (DOWN, "nn.linear", "import importlib\nimportlib.import_module('microtrain.viz')", "upward from nn"),
    (DOWN, "tensor.core", "import microtrain as mt", "upward from tensor"),
    (DOWN, "tensor.core", "import torch", "imports torch"),
    (DOWN, "compiler.emit", "try:\n    import torch.cuda\nexcept ImportError:\n    pass", "imports torch"),
    (DOWN, "tensor.core", "import triton.language as tl", "imports triton"),
    (DOWN, "runtime.cuda", "import kernels.map", "microtrain.kernels"),
    (DOWN, "extras", "import os", "belongs to no layer"),
    (DOWN, "graph.node", "from microtrain.extras import f", "belongs to no layer"),
    (DOWN, "runtime.cuda", "import torch\nimport triton\nfrom microtrain.kernels import map", []),
    (DOWN, "tensor.core", "from ..graph import node\nfrom microtrain.settings import debug", []),
    (DOWN, "graph.node", "if TYPE_CHECKING:\n    from microtrain.tensor import Tensor", "upward"),
    (DOWN, "graph.node", "if TYPE_CHECKING:\n    pass\nelse:\n    import microtrain.tensor", "upward"),
    (templates_are_asked, "engine.run", "a = isinstance(g.template, (Row, matmul.Matmul))\nc = isinstance(x, dict)\n"
     "b = group.template.name == 'map'\nd = kind in ('map',)\ne = g.template.name not in ('row', 'slab')", [1, 3, 5]),
    (LOADS, "kernels.map", "x = tl.load(p + i, mask=m)\ny = tl.load(p, m)\nz = tl.load(p)\n"
     "x = tl.load(p + i, mask=m, other=0.0)\ny = tl.load(p, m, 0)", [1, 2]),
    (LOADS, "compiler.emit", 'a = f"v{n} = tl.load(p{n} + i, mask=mask)"\nb = "tl.load(p, mask=m, other=0)"', [1]),
    (devices_are_asked, "tensor.core", 'a = d.type == "cpu"\nb = d.type in ("cuda", "null")\nH = ("cpu", "null")\n'
     'a = {"cuda": f}[d.type]\nmatch d.type:\n    case "null":\n        pass', [1, 2, 3, 4, 6]),
    (devices_are_asked, "tensor.core", 'a = d.kind.native\nb = Device("cpu")\nc = "cuda"', []),
)


@pytest.mark.parametrize(("rule", "module", "source", "wanted"), PLANTED)
def test_what_is_planted_is_caught(rule: Rule, module: str, source: str, wanted: list[int] | str) -> None:
    found = [*rule(f"microtrain.{module}", ast.parse(source))]
    if isinstance(wanted, str):
        assert len(found) == 1 and wanted in found[0][1], found
    else:
        assert wanted == sorted({line for line, _ in found}), found


def test_imports_of_a_package_resolve_from_the_package_itself() -> None:
    for source, module, *is_package in (("from .node import Node", "microtrain.graph", True),
                                        ("from .node import Node", "microtrain.graph.tape"),
                                        ("from ..graph.node import Node", "microtrain.ops.core")):
        assert [*imports(module, ast.parse(source), *is_package)] == [(1, False, "microtrain.graph.node")]


def circle(edges: dict[str, set[str]]) -> set[str]:
    """The files of a circle, if there is one."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return set(error.args[1])
    return set()


def test_no_file_needs_itself() -> None:
    """Imports among files have no circle, those inside functions and for type checkers included."""
    assert circle({name: {target for *_, target in edges} - {name} for name, edges in IMPORTS.items()}) == set()
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b", "c"}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"a", "os"}}) == {"a", "b", "c", "d"}
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": {"os"}}) == set()


def test_no_file_is_longer_than_a_reader_holds_at_once() -> None:
    files = [*MODULES.values(), *(ROOT / "tests").rglob("*.py")]
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    assert len(lengths) > 250 and {str(path): lines for path, lines in lengths.items() if lines > 400} == {}


def test_all_was_read() -> None:
    read = {layer(module) for module in MODULES}
    assert {"settings", "kernels", "runtime", "graph", "compiler", "autograd", "tensor", "nn", "optim", "data"} <= read
    assert {"Template", "Map", "Maps", "Row", "Slab", "Reduce", "Matmul", "UserKernel"} <= TEMPLATES
    assert {"map", "maps", "row", "slab", "reduce", "matmul", "user kernel"} <= NAMES


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_importing_the_package_loads_no_framework_and_nothing_slow() -> None:
    heavy = {"torch", "triton", "matplotlib", "tqdm", "pandas", "scipy", "subprocess", "tempfile", "argparse"}
    loaded = run_python("import microtrain, sys; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert "numpy" in loaded and not heavy & set(loaded)


def test_kernels_refuse_to_be_imported_under_a_name_that_is_not_theirs() -> None:
    said = run_python("try:\n    import kernels\nexcept ImportError as error:\n    print(error)")
    assert "microtrain.kernels" in said
