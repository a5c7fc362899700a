"""Which functions of the package each test enters: `pytest -p tests.support.entered`, with MICROTRAIN_ENTERED=path.

On Python 3.12 and later. The file is one JSON object a line, of a test on its own: `test`, `seconds`, and `entered`,
the functions as path:qualified.name, the path as the repository has it. A function counts once a test (`sys.monitoring`
is told to forget it until the next one), so the suite takes hardly longer.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

ROOT = str(Path(__file__).resolve().parents[2]) + os.sep
ROOMS = tuple(f"{ROOT}{room}{os.sep}" for room in ("microtrain", "kernels"))

entered: set[str] = set()


def started(code: CodeType, offset: int) -> Any:
    path = os.path.realpath(code.co_filename)
    if path.startswith(ROOMS):
        entered.add(f"{path.removeprefix(ROOT)}:{code.co_qualname.replace('.<locals>', '')}")
    return sys.monitoring.DISABLE


def pytest_configure(config: pytest.Config) -> None:
    sys.monitoring.use_tool_id(sys.monitoring.COVERAGE_ID, "entered")
    sys.monitoring.register_callback(sys.monitoring.COVERAGE_ID, sys.monitoring.events.PY_START, started)
    sys.monitoring.set_events(sys.monitoring.COVERAGE_ID, sys.monitoring.events.PY_START)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    entered.clear()
    sys.monitoring.restart_events()
    start = time.perf_counter()
    yield
    line = {"test": item.nodeid, "seconds": time.perf_counter() - start, "entered": sorted(entered)}
    with open(os.environ["MICROTRAIN_ENTERED"], "a") as file:
        file.write(json.dumps(line) + "\n")


def pytest_unconfigure() -> None:
    sys.monitoring.free_tool_id(sys.monitoring.COVERAGE_ID)
