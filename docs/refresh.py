"""Puts into the pages what their examples really print: `python docs/refresh.py`, after a change of the compiler.

The list of files in architecture.md has the first sentence of each. The first Python block of step.md is run on the
cpu device and in Triton's interpreter; what they say replaces the fenced block after each `<!-- printed: ... -->`
mark. Every Python block of fusion.md ends with an explanation: its kernels replace the block after the next `<!--
kernels: NAME -->` mark, and Graphviz draws fusion/NAME.svg. The Python block of compile.md is run on the cpu device.
"""

import ast
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

OVERVIEW = Path(__file__).with_name("architecture.md")
PAGE = Path(__file__).with_name("step.md")
FUSION = Path(__file__).with_name("fusion.md")
COMPILE = Path(__file__).with_name("compile.md")
PICTURES = FUSION.with_suffix("")
ROOT = PAGE.parent.parent


def example(page: str) -> str:
    """The page's first Python block."""
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    if found is None:
        raise ValueError("the page has no Python block")
    return found[1]


def printed(code: str, device: str) -> tuple[str, str]:
    """What a program prints to stdout and, at debug level 3, to stderr on a device."""
    clean = {name: value for name, value in os.environ.items()
             if name != "TRITON_INTERPRET" and not name.startswith("MICROTRAIN_")}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                         env={**clean, "MICROTRAIN_DEVICE": device, "MICROTRAIN_DEBUG": "3"})
    return run.stdout, run.stderr


def blocks(code: str) -> dict[str, str]:
    """The text for each mark."""
    said, debug = printed(code, "cpu")
    _, kernels = printed(code, "interpret")
    graph, kernel_list = said.split("kernels on a GPU:")
    plan = debug[debug.index("def plan"):]
    first = kernels[kernels.index("    @triton.jit"):].split("\n\n")[0]
    return {"graph": graph, "kernels": "kernels on a GPU:" + kernel_list, "numpy": plan,
            "triton": re.sub(r"^    ", "", first, flags=re.MULTILINE)}


def refreshed(page: str) -> str:
    """The page with its printed blocks brought up to date. Raises ValueError for a mark without a block."""
    for mark, text in blocks(example(page)).items():
        page = replaced(page, f"printed: {mark}", text)
    return page


def replaced(page: str, mark: str, text: str) -> str:
    """The page with another text in the block after a mark. Raises ValueError where there is none."""
    pattern = re.compile(rf"(<!-- {mark} -->\n```\w*\n).*?(```)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no block marked {mark!r}")
    return pattern.sub(lambda found: f"{found[1]}{text.rstrip()}\n{found[2]}", page)


ROOMS = ("microtrain/compiled", "microtrain/tensor", "microtrain/autograd", "microtrain/engine", "microtrain/compiler",
         "microtrain/compiler/cpu", "microtrain/compiler/templates", "microtrain/ops", "microtrain/graph",
         "microtrain/runtime", "kernels")
"""The folders at the core, from the user down."""


def files() -> str:
    """A table for each of the rooms: its files, each with the first sentence that it says of itself."""
    lines = []
    for room in ROOMS:
        lines += [f"**{room.removeprefix('microtrain/')}**", "", "| file | |", "|---|---|"]
        for path in sorted((ROOT / room).glob("*.py")):
            if path.name != "__init__.py":
                said = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
                lines.append(f"| `{path.name}` | {said.split('. ')[0].rstrip('.').replace('|', '/')} |")
        lines.append("")
    return "\n".join(lines)


def listed(page: str) -> str:
    """The page with its list of files brought up to date."""
    before, mark, rest = page.partition("<!-- files -->\n")
    return before + mark + files() + rest[rest.index("<!-- end of files -->"):]


def explanations(page: str) -> dict[str, tuple[str, str]]:
    """For each mark of fusion.md the list of kernels, and the picture as DOT text, of the code above it.

    Each is run by a process of its own: what a value is called depends on what was recorded before it.
    """
    found = {}
    for code, name in re.findall(r"```python\n(.*?)```\n\n<!-- kernels: ([\w-]+) -->", page, re.DOTALL):
        said, _ = printed(code + "print(explanation.dot())\n", "cpu")
        _, _, rest = said.rpartition("kernels on a GPU:")
        kernels, _, dot = rest.partition("digraph")
        found[name] = "kernels on a GPU:" + kernels, "digraph" + dot
    return found


def explained(page: str) -> str:
    """What the example of compile.md prints on the cpu device."""
    return printed(example(page), "cpu")[0]


def stamp(dot: str) -> str:
    """The comment by which a picture is known to be of this DOT text."""
    return f"<!-- of {hashlib.sha256(dot.encode()).hexdigest()} -->\n"


def drawn(dot: str) -> str:
    """The picture as SVG, without what depends on Graphviz's version."""
    svg = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True).stdout
    return stamp(dot) + svg[svg.index("<svg"):]


def main() -> None:
    """Refresh the pages and the pictures."""
    OVERVIEW.write_text(listed(OVERVIEW.read_text()))
    PAGE.write_text(refreshed(PAGE.read_text()))
    page = FUSION.read_text()
    PICTURES.mkdir(exist_ok=True)
    for name, (kernels, dot) in explanations(page).items():
        page = replaced(page, f"kernels: {name}", kernels)
        picture = PICTURES / f"{name}.svg"
        if not picture.exists() or not picture.read_text().startswith(stamp(dot)):
            picture.write_text(drawn(dot))
    FUSION.write_text(page)
    COMPILE.write_text(replaced(COMPILE.read_text(), "printed: explain", explained(COMPILE.read_text())))


if __name__ == "__main__":
    main()
