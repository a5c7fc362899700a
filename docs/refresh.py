"""Puts into architecture.md what its example really prints: `python docs/refresh.py`, after a change of the compiler.

The page's first Python block is run on the cpu device and in Triton's interpreter; what they say replaces the fenced
block after each `<!-- printed: ... -->` mark.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("architecture.md")
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
        pattern = re.compile(rf"(<!-- printed: {mark} -->\n```\w*\n).*?(```)", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no block marked {mark!r}")
        page = pattern.sub(lambda found, text=text: f"{found[1]}{text.rstrip()}\n{found[2]}", page)
    return page


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text()))
