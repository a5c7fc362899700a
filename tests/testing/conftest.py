"""What the tests of the testers share."""

import pytest

from microtrain.testing import ParityReport, checking


@pytest.fixture(autouse=True)
def report_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared here, wrong on purpose, is no part of the suite's own parity report."""
    monkeypatch.setattr(checking, "SESSION", ParityReport())
