"""Wrong derivatives, put in the place of the right ones for a test."""

from collections.abc import Callable
from typing import Any

import pytest

from microtrain.autograd.replay import replays
from microtrain.ops import PRIMITIVES


def plant(monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., Any], source: int = 0) -> None:
    """Put `wrong(right, ct, out, *sources)` in the place of the rule's function `right` for one source.

    Walks that were made with the right one are forgotten until the test is over, as those with the wrong one are then.
    """
    rule = PRIMITIVES[name].rule
    right, functions = rule.functions[source], list(rule.functions)
    functions[source] = lambda *arguments: wrong(right, *arguments)
    monkeypatch.setattr(rule, "functions", tuple(functions))
    monkeypatch.setattr(replays, "known", {})
    monkeypatch.setattr(replays, "made", {})
