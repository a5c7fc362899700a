"""The pytest plugin of microtrain: a test on every device at hand, and a parity report at the end of the session.

It is a module of its own, beside the package, since pytest imports it in every session of an environment where
microtrain is installed: it imports nothing until a test asks for it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

FIXTURE = "microtrain_device"

MARKER = "every_device: runs once on each microtrain device at hand in this process (fixture microtrain_device)"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


def devices() -> list[str]:
    """The devices on which tests can run in this process, which either interprets Triton's kernels or compiles them.

    `cpu` is always there; `interpret` where TRITON_INTERPRET=1 or MICROTRAIN_DEVICE=interpret asked for it before
    Triton was imported; else `cuda` where there is one.
    """
    if os.environ.get("TRITON_INTERPRET") == "1" or os.environ.get("MICROTRAIN_DEVICE") == "interpret":
        there = all(importlib.util.find_spec(name) for name in ("torch", "triton"))
        return ["cpu", "interpret"] if there else ["cpu"]
    from microtrain.runtime.detect import has_cuda
    return ["cpu", "cuda"] if has_cuda() else ["cpu"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test marked `every_device` once on each of them, whether it names the fixture or not."""
    if metafunc.definition.get_closest_marker("every_device"):
        if FIXTURE not in metafunc.fixturenames:
            metafunc.fixturenames.insert(0, FIXTURE)
        metafunc.parametrize(FIXTURE, devices(), indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Set the fixture up for a marked test that does not name it, before its other fixtures."""
    names = getattr(item, "fixturenames", None)
    if names is not None and FIXTURE not in names and item.get_closest_marker("every_device"):
        names.insert(0, FIXTURE)


@pytest.fixture
def microtrain_device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a device, which is the default one during the test.

    Without the marker `every_device` it is what is the default anyway.
    """
    from microtrain import settings
    from microtrain.tensor.create import default_device
    device = getattr(request, "param", None) or str(default_device())
    with settings.device(device):
        yield device


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what `check_parity` compared in this session, if anything."""
    checking = sys.modules.get("microtrain.testing.checking")
    if checking is not None and checking.SESSION.tallies:
        terminalreporter.section("microtrain parity")
        terminalreporter.write_line(checking.SESSION.text())
