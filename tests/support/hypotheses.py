"""hypothesis, or what lets a file of tests be read without it: the tests that draw from it are skipped, saying so."""

from __future__ import annotations

from typing import Any

import pytest

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ImportError:
    class Anything:
        """Whatever is made of it, called or not, is itself."""

        def __call__(self, *_: Any, **__: Any) -> Any:
            return self

        def __getattr__(self, name: str) -> Any:
            return self

    st: Any = Anything()

    def given(*_: Any, **__: Any) -> Any:
        """Skip the test."""
        return pytest.mark.skip(reason="draws random cases with hypothesis: pip install hypothesis")

    def settings(*_: Any, **__: Any) -> Any:
        """Leave the test as it is."""
        return lambda test: test

__all__ = ["given", "settings", "st"]
