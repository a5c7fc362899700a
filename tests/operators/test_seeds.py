"""The seed notebooks, replayed with `torch` bound to microtrain: each cell prints what it printed there."""

import ast
import builtins
import contextlib
import io
import re
from typing import Any

import pytest
import torch

import microtrain as mt
import microtrain.autograd
from tests.operators.seed_cells import NOTEBOOKS, Cell, Expected, Raises

PACKAGES = {"microtrain": {"torch": mt, "torch.autograd": microtrain.autograd},
            "torch": {"torch": torch, "torch.autograd": torch.autograd}}


def masked(text: str, device: str) -> str:
    """Without addresses, nor the device that PyTorch too names when tensors are not on the CPU."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x0", text).rstrip("\n")
    return re.sub(r", device='cuda:0'", "", text) if device == "cuda" else text


def notebook_repr(value: Any) -> str:
    """What IPython shows of a cell's last value: a plain object without the word `object`."""
    return re.sub(r"^<(\w+) object at ", r"<\1 at ", repr(value))


def scope_with(modules: dict[str, Any]) -> dict[str, Any]:
    """A namespace whose own import statements, and nobody else's, find these modules."""

    def find(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        return modules[name] if name in modules else __import__(name, globals, locals, fromlist, level)

    return {"__builtins__": {**vars(builtins), "__import__": find}}


def replay(code: str, scope: dict[str, Any]) -> str:
    """Run a cell; what it printed, and its last expression's value unless that is None."""
    out = io.StringIO()
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(out):
        exec(compile(tree, "<cell>", "exec"), scope)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), scope)
            if value is not None:
                print(notebook_repr(value))
    return out.getvalue()


def agrees(output: str, expected: Expected) -> bool:
    if isinstance(expected, re.Pattern):
        return expected.fullmatch(output) is not None
    return not isinstance(expected, Raises) and output == (expected or "")


def differences(cells: list[Cell], modules: dict[str, Any], device: str) -> list[str]:
    scope = scope_with(modules)
    found = []
    for number, (code, expected) in enumerate(cells):
        try:
            output = masked(replay(code, scope), device)
            good = agrees(output, expected)
        except Exception as error:
            output = f"{type(error).__name__}: {error}"
            good = (isinstance(expected, Raises) and type(error).__name__ == expected.type
                    and expected.text in str(error))
        if not good:
            found.append(f"cell {number}:\n{code}\n--- printed\n{output}\n--- expected\n{expected}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook(notebook: str, package: str, device: str) -> None:
    """On microtrain, and on PyTorch itself, which shows that the transcript is faithful."""
    found = differences(NOTEBOOKS[notebook], PACKAGES[package], device)
    assert not found, "\n\n".join(found)


def test_a_wrong_output_is_noticed() -> None:
    cells = [Cell("1 + 1", "3"), Cell("1 / 0", "0"), Cell("print('x')"), Cell("7", re.compile("[0-6]")), Cell("1", "1")]
    assert len(differences(cells, {}, "cpu")) == 4
    raising = [Cell("1 / 0", Raises("ZeroDivisionError", "by zero")), Cell("1 / 0", Raises("ValueError", "by zero"))]
    assert len(differences([*raising, Cell("2", Raises("ValueError", ""))], {}, "cpu")) == 2
