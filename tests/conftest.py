"""One device a process: MICROTRAIN_DEVICE (cpu unless set), as for the package itself.

A process either interprets Triton kernels or compiles them, decided when the first kernel is decorated; so the variable
that decides is set here, before anything can import Triton.
"""

import hashlib
import os
import signal
from pathlib import Path

DEVICES = ("cpu", "interpret", "cuda")
DEVICE = os.environ.setdefault("MICROTRAIN_DEVICE", "cpu")
if DEVICE == "interpret":
    os.environ["TRITON_INTERPRET"] = "1"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

import microtrain as mt  # noqa: E402
from microtrain.engine import run  # noqa: E402
from microtrain.engine.session import current, pending  # noqa: E402
from microtrain.runtime import virtual  # noqa: E402
from tests.support.progress import Progress  # noqa: E402

if DEVICE == "interpret":
    from tests.support.interpreter import patch_once
    patch_once()

CUDA = virtual.gpu().torch.cuda if DEVICE == "cuda" and virtual.wanted() else torch.cuda
"""What answers for the GPU: PyTorch, or what stands in for it where that is a virtual one."""

try:
    from hypothesis import settings
except ImportError:         # a machine lent with its packages may lack it: what needs it says so
    pass
else:
    # A failure is the change's doing, never the day's: the same examples every run, however slow the machine.
    settings.register_profile("suite", derandomize=True, deadline=None, database=None)
    settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    if DEVICE not in DEVICES:
        raise pytest.UsageError(f"MICROTRAIN_DEVICE={DEVICE!r}: the suite runs on one of {', '.join(DEVICES)}")
    if DEVICE == "cuda" and not CUDA.is_available():
        raise pytest.UsageError("MICROTRAIN_DEVICE=cuda, but PyTorch sees no GPU here")
    # A shell has what it runs in the background ignore SIGINT, and so do the processes that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "gpu: needs a GPU and kernels that are compiled, not interpreted")
    if DEVICE == "cuda" or DONE:
        synchronize = CUDA.synchronize if DEVICE == "cuda" else lambda: None
        config.pluginmanager.register(Progress(Path(DONE).absolute() if DONE else None, synchronize), PROGRESS)


def pytest_report_header() -> str:
    where = f"{DEVICE}, virtual ({os.environ['MICROTRAIN_VIRTUAL_GPU']})" if virtual.wanted() else DEVICE
    return f"microtrain device: {where}, torch {torch.__version__}, numpy {np.__version__}"


SHARD = os.environ.get("MICROTRAIN_SHARD", "")
"""i/n: this process runs every n-th test from the i-th on; n of them at once share a machine with many cores."""

FIRST = os.environ.get("MICROTRAIN_FIRST", "")
"""A file of tests, one a line, that a shard runs first: those whose kernels are compiled already, say."""


def spread(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests in an order that is a sample of all wherever the time is up, those of FIRST before the others."""
    early = set(Path(FIRST).read_text().splitlines()) if FIRST else set()
    return sorted(items, key=lambda item: (item.nodeid not in early, hashlib.sha256(item.nodeid.encode()).digest()))


DONE = os.environ.get("MICROTRAIN_DONE", "")
"""A file of the tests that have finished, which are not run again (`progress`)."""

PROGRESS = "microtrain-progress"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mine = [*items]
    if SHARD:
        first, count = map(int, SHARD.split("/"))
        mine = spread([item for item in items if not item.get_closest_marker("whole")])[first::count]
    if progress := config.pluginmanager.get_plugin(PROGRESS):
        mine = progress.left(mine)
    if mine != items:
        kept = set(mine)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = mine
    if not CUDA.is_available():
        reason = "needs a GPU; PyTorch sees none here"
    elif os.environ.get("TRITON_INTERPRET") == "1":
        reason = "needs compiled kernels; TRITON_INTERPRET=1 interprets them"
    else:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def device() -> str:
    """The device on which the suite runs, and on which tensors are made unless told otherwise."""
    return DEVICE


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test starts from the same random state, whichever ran before."""
    np.random.seed(0)
    torch.default_generator.manual_seed(0)      # of the CPU alone: the others' look through the stack first
    mt.manual_seed(0)


@pytest.fixture
def nothing_pending() -> None:
    """End what earlier tests left (tensors in the frames of an exception, a step whose parameters are gone: the next
    operation would begin another), for tests that count kernels."""
    for device in {node.device for node in pending()} | current().updated:
        run.flush(device)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240512)
