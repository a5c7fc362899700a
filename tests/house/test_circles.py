"""No file needs itself: imports among files have no circle, those inside functions and for type checkers included.

An import inside a function is for a package that not everybody has or wants to wait for: one of `OPTIONAL` itself, or a
module of ours that needs one of these.
"""

from __future__ import annotations

import pytest

from tests.house.test_layers import MODULES, imports

OPTIONAL = frozenset({"torch", "triton", "ml_dtypes", "matplotlib", "tqdm", "safetensors", "graphviz", "expecttest",
                      "cuda", "jax", "pandas"})

LATE = frozenset({"microtrain.runtime.interpret", "microtrain.runtime.null",
                  "microtrain.runtime.virtual.emulated"})
"""A device's backend, and the emulator, which are loaded once they are asked for."""

SLOW = frozenset({"argparse", "signal", "subprocess", "tempfile", "ctypes", "importlib", "inspect", "urllib", "shutil",
                  "pytest"})
"""Of Python's own: what would be a noticeable part of the time in which `import microtrain` is done."""


IMPORTS = {module: [edge for edge in imports(path.read_text(), module, path.name == "__init__.py") if edge[2] != module]
           for module, path in MODULES.items()}
"""Of each module what it imports: line, whether inside a function, name."""


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The files that lead to themselves, with those on the way: what is left once all that needs nothing is gone."""
    left = {name: targets & edges.keys() for name, targets in edges.items()}
    while bare := {name for name, targets in left.items() if not targets}:
        left = {name: targets - bare for name, targets in left.items() if name not in bare}
    found = []
    while left:
        name = min(left)
        reached, stack = set(), [name]
        while stack:
            for target in left[stack.pop()] - reached:
                reached.add(target)
                stack.append(target)
        circle = sorted(other for other in reached if name in _reached(left, other)) if name in reached else [name]
        if name in reached:
            found.append(circle)
        left = {other: targets - set(circle) for other, targets in left.items() if other not in circle}
    return found


def _reached(edges: dict[str, set[str]], start: str) -> set[str]:
    reached, stack = set(), [start]
    while stack:
        for target in edges[stack.pop()] - reached:
            reached.add(target)
            stack.append(target)
    return reached


def test_no_file_needs_itself() -> None:
    assert circles({name: {target for _, _, target in edges} for name, edges in IMPORTS.items()}) == []


def test_a_planted_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"a", "os"}}) == [["a", "b", "c", "d"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": {"os"}}) == []


def heavy() -> set[str]:
    """The modules that import at their top what not everybody has, or another such module; a package's are its all."""
    found: set[str] = set()
    while True:
        more = {name for name, edges in IMPORTS.items() if any(
            not inside and (target in found or target.split(".")[0] in OPTIONAL) for _, inside, target in edges)}
        if more <= found:
            return found
        found |= more


HEAVY = heavy()


@pytest.mark.parametrize("module", [name for name, edges in IMPORTS.items() if any(inside for _, inside, _ in edges)])
def test_imports_inside_functions_are_of_what_is_optional(module: str) -> None:
    wrong = [f"{module}:{line} imports {target}" for line, inside, target in IMPORTS[module]
             if inside and target not in HEAVY | LATE and target.split(".")[0] not in OPTIONAL | SLOW]
    assert wrong == []
