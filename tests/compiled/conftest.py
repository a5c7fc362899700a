"""On the cpu device what is run for the third time is machine code here, not only what is run for hours."""

from __future__ import annotations

import pytest

from microtrain.compiled import running
from microtrain.compiler.cpu import loop_numpy


@pytest.fixture(autouse=True)
def machine_code_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer runs are many."""
    monkeypatch.setattr(running, "MANY", 3)
    monkeypatch.setattr(loop_numpy, "OFTEN", 3)
    monkeypatch.setattr(loop_numpy, "MANY", 3)
