"""The architecture, enforced: imports run downward, torch and Triton stay where they belong, loads are masked well.

Read from the syntax tree of every module, so that imports inside functions and for type checkers count.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From the bottom up; packages in one row may use each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("settings", "errors", "arguments", "files", "scopes", "command"),
    ("emulator",),
    ("kernels",),
    ("runtime",),
    ("graph",),
    ("ops",),
    ("compiler",),
    ("engine",),
    ("autograd",),
    ("tensor",),
    ("nn", "optim", "data", "train", "special", "linalg", "random"),
    ("cli", "bench", "testing", "viz", "__main__", ""),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
TORCH_ALLOWED = (
    "microtrain.runtime.cuda", "microtrain.runtime.interpret", "microtrain.runtime.virtual", "microtrain.testing",
)  # fmt: skip
TRITON_ALLOWED = (
    "microtrain.kernels", "microtrain.runtime", "microtrain.compiler", "microtrain.testing",
)  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; `kernels/` is the package's `microtrain.kernels`."""
    found = {}
    for top, package in ((ROOT / "microtrain", "microtrain"), (ROOT / "kernels", "microtrain.kernels")):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            if package == "microtrain" and parts[0] == "kernels":
                continue
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def layer(module: str) -> str:
    """The part of the package that a dotted name under `microtrain` belongs to; "" for the package itself."""
    return [*module.split("."), ""][1]


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, bool, str]]:
    """Line, whether it is inside a function, and dotted name of all that a module imports: of ours, the file's."""
    tree = ast.parse(source)
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, node in inside, argument.value


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with a module's imports, one line each."""
    own = layer(module)
    if own not in RANK:
        return [f"{module}: belongs to no layer; the layers are {LAYERS}"]
    found = []
    for line, _, name in imports(source, module, is_package):
        top = name.split(".")[0]
        if top == "kernels":
            found.append(f"{module}:{line} imports kernels by a name that is not ours; it is microtrain.kernels")
        if top == "microtrain":
            target = layer(name)
            if target not in RANK:
                found.append(f"{module}:{line} imports {name}, which belongs to no layer")
            elif RANK[target] > RANK[own]:
                found.append(f"{module}:{line} imports {name}, upward from {own}")
        if top == "torch" and not within(module, TORCH_ALLOWED):
            found.append(f"{module}:{line} imports torch")
        if top == "triton" and not within(module, TRITON_ALLOWED):
            found.append(f"{module}:{line} imports triton")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward(module: str) -> None:
    path = MODULES[module]
    found = violations(path.read_text(), module, path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_no_file_is_too_long_to_read_at_one_sitting() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: lines for module, lines in lengths.items() if lines > 400} == {}


def test_no_test_file_is_longer_than_a_reader_holds_at_once() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert len(lengths) > 100 and {str(path): lines for path, lines in lengths.items() if lines > 400} == {}


def test_every_layer_was_read() -> None:
    read = {layer(module) for module in MODULES}
    assert {"settings", "kernels", "runtime", "graph", "compiler", "autograd", "tensor", "nn", "optim", "data"} <= read


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("microtrain.graph.node", "import microtrain.tensor", "upward from graph"),
        ("microtrain.graph.node", "def f():\n    from microtrain.autograd import grad", "upward from graph"),
        ("microtrain.graph.node", "def f():\n    from ..engine import run", "upward from graph"),
        ("microtrain.tensor.core", "from .. import nn", "upward from tensor"),
        ("microtrain.kernels.map", "from microtrain import runtime", "upward from kernels"),
        ("microtrain.nn.linear", "import importlib\nimportlib.import_module('microtrain.viz')", "upward from nn"),
        ("microtrain.tensor.core", "import microtrain as mt", "upward from tensor"),
        ("microtrain.tensor.core", "import torch", "imports torch"),
        ("microtrain.compiler.emit", "try:\n    import torch.cuda\nexcept ImportError:\n    pass", "imports torch"),
        ("microtrain.tensor.core", "import triton.language as tl", "imports triton"),
        ("microtrain.runtime.cuda", "import kernels.map", "microtrain.kernels"),
        ("microtrain.extras", "import os", "belongs to no layer"),
        ("microtrain.graph.node", "from microtrain.extras import f", "belongs to no layer"),
        ("microtrain.runtime.cuda", "import torch\nimport triton\nfrom microtrain.kernels import map", None),
        ("microtrain.tensor.core", "from ..graph import node\nfrom microtrain.settings import debug", None),
        ("microtrain.graph.node", "if TYPE_CHECKING:\n    from microtrain.tensor import Tensor", "upward"),
        ("microtrain.graph.node", "if TYPE_CHECKING:\n    pass\nelse:\n    import microtrain.tensor", "upward"),
    ],
)
def test_a_planted_import_is_caught(module: str, source: str, complaint: str | None) -> None:
    found = violations(source, module)
    assert (found == []) if complaint is None else (len(found) == 1 and complaint in found[0]), found


def test_imports_of_a_package_resolve_from_the_package_itself() -> None:
    assert list(imports("from .node import Node", "microtrain.graph", True)) == [(1, False, "microtrain.graph.node")]
    assert list(imports("from .node import Node", "microtrain.graph.tape")) == [(1, False, "microtrain.graph.node")]
    assert list(imports("from ..runtime import cpu", "microtrain.graph.tape")) == [(1, False, "microtrain.runtime.cpu")]


def named_templates() -> tuple[set[str], set[str]]:
    """The classes of kernel templates, and the names that they give themselves."""
    classes, names = {"Template"}, set()
    found = [node for name, path in MODULES.items() if name.startswith("microtrain.compiler.templates")
             for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    while new := [node for node in found if node.name not in classes
                  and any(ast.unparse(base).split("[")[0] in classes for base in node.bases)]:
        classes |= {node.name for node in new}
        names |= {line.value.value for node in new for line in node.body if isinstance(line, ast.Assign)
                  and ast.unparse(line.targets[0]) == "name" and isinstance(line.value, ast.Constant)}
    return classes, names


TEMPLATES, NAMES = named_templates()


def told_apart(source: str) -> list[int]:
    """Lines where code asks which template it has, in place of asking the template."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            named = {part.attr if isinstance(part, ast.Attribute) else part.id
                     for part in ast.walk(node.args[1]) if isinstance(part, (ast.Attribute, ast.Name))}
            lines += [node.lineno] if named & TEMPLATES else []
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = any(ast.unparse(side).endswith(("template.name", "domain.name")) for side in sides)
            named = {part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)}
            lines += [node.lineno] if asked and named & NAMES else []
    return lines


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("microtrain.compiler.templates")])
def test_templates_are_asked_and_not_told_apart(module: str) -> None:
    assert told_apart(MODULES[module].read_text()) == []


def test_every_template_was_found() -> None:
    assert {"Template", "Map", "Maps", "Row", "Slab", "Reduce", "Matmul", "UserKernel"} <= TEMPLATES
    assert {"map", "maps", "row", "slab", "reduce", "matmul", "user kernel"} <= NAMES


def test_a_template_told_apart_is_caught() -> None:
    source = ("a = isinstance(g.template, (Row, matmul.Matmul))\nb = group.template.name == 'map'\n"
              "c = isinstance(x, dict)\nd = kind in ('map',)\ne = g.template.name not in ('row', 'slab')")
    assert told_apart(source) == [1, 2, 5]


def bare_loads(source: str) -> list[int]:
    """Lines of masked `tl.load` calls that leave the masked lanes to chance."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tl.load", "triton.language.load"):
            keywords = {keyword.arg for keyword in node.keywords}
            masked = "mask" in keywords or len(node.args) > 1
            filled = "other" in keywords or len(node.args) > 2
            if masked and not filled:
                lines.append(node.lineno)
    return lines


def bare_load_texts(source: str) -> list[int]:
    """Lines of string constants from which a masked load without `other` would be emitted."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if "tl.load(" in text and "mask" in text and "other" not in text:
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name) in ("kernels", "compiler")])
def test_every_masked_load_says_what_the_other_lanes_hold(module: str) -> None:
    source = MODULES[module].read_text()
    assert bare_loads(source) == []
    assert layer(module) == "kernels" or bare_load_texts(source) == []


def test_a_planted_masked_load_is_caught() -> None:
    assert bare_loads("x = tl.load(p + i, mask=m)\ny = tl.load(p, m)\nz = tl.load(p)") == [1, 2]
    assert bare_loads("x = tl.load(p + i, mask=m, other=0.0)\ny = tl.load(p, m, 0)") == []
    assert bare_load_texts('a = f"v{n} = tl.load(p{n} + i, mask=mask)"\nb = "tl.load(p, mask=m, other=0)"') == [1]


KIND_NAMES = {"cpu", "cuda", "interpret", "null"}
MAY_COMPARE_KINDS = {
    "microtrain": "what MICROTRAIN_DEVICE says, before anything is imported",
    "microtrain.cli": "what was typed behind --device",
    "microtrain.bench": "what was typed behind --device, and JAX's own names",
    "microtrain.testing": "what was typed behind --device",
}


def compared_kinds(source: str) -> list[int]:
    """Lines that compare something with the name of a kind of device, or look it up among such names."""
    def names_kind(node: ast.expr) -> bool:
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return bool(node.elts) and all(map(names_kind, node.elts))
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in KIND_NAMES

    found = set()
    for node in ast.walk(ast.parse(source)):
        operands: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            operands = [*node.keys]
        elif isinstance(node, ast.MatchValue):
            operands = [node.value]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set) and len(node.elts) > 1:
            operands = [node]
        found |= {operand.lineno for operand in operands if operand is not None and names_kind(operand)}
    return sorted(found)


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name) not in ("runtime", "emulator")])
def test_devices_are_asked_and_not_told_apart_by_name(module: str) -> None:
    named = module if module in MAY_COMPARE_KINDS else ".".join(module.split(".")[:2])
    assert named in MAY_COMPARE_KINDS or compared_kinds(MODULES[module].read_text()) == []


def test_a_planted_comparison_of_kinds_is_caught() -> None:
    assert compared_kinds('a = d.type == "cpu"\nb = d.type in ("cuda", "null")\nH = ("cpu", "null")') == [1, 2, 3]
    assert compared_kinds('a = {"cuda": f}[d.type]\nmatch d.type:\n    case "null":\n        pass') == [1, 3]
    assert compared_kinds('a = d.kind.native\nb = Device("cpu")\nc = "cuda"') == []


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_importing_the_package_loads_no_framework_and_nothing_slow() -> None:
    heavy = {"torch", "triton", "matplotlib", "tqdm", "pandas", "scipy", "subprocess", "tempfile", "argparse"}
    loaded = run_python("import microtrain, sys; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert "numpy" in loaded
    assert not heavy & set(loaded)


def test_kernels_refuse_to_be_imported_under_a_name_that_is_not_theirs() -> None:
    said = run_python("try:\n    import kernels\nexcept ImportError as error:\n    print(error)")
    assert "microtrain.kernels" in said
