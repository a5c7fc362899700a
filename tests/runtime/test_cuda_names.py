"""microtrain.cuda: how a GPU is named, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import microtrain as mt
from microtrain.runtime import cuda
from microtrain.runtime.kinds import KINDS
from tests.support.stub_gpu import FakeGpu, stubbed


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return stubbed(monkeypatch)


class TorchCuda:
    """`torch.cuda` with two GPUs."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.current = 1

    def current_device(self) -> int:
        return self.current

    def device_count(self) -> int:
        return 2

    def set_device(self, index: int) -> None:
        self.current = index

    def get_device_capability(self, index: int) -> tuple[int, int]:
        return 9, index

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return 10 + index, 20

    def synchronize(self, index: int) -> None:
        self.asked.append(("synchronize", index))

    def __getattr__(self, name: str) -> Any:
        return lambda *index: self.asked.append((name, *index)) or 7


@pytest.fixture
def driver(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> TorchCuda:
    made = TorchCuda()
    fake = gpu.torch()
    fake.cuda = made
    monkeypatch.setattr(cuda, "import_torch", lambda: fake)
    monkeypatch.setattr(mt.cuda, "has_cuda", lambda: True)
    monkeypatch.setattr(KINDS["cuda"], "loaded", {})
    return made


DEVICES = {"none": (None, 1), "index": (0, 0), "current": ("cuda", 1), "string": ("cuda:0", 0),
           "device": (mt.device("cuda:0"), 0), "current device": (mt.device("cuda"), 1)}


@pytest.mark.parametrize("given, index", DEVICES.values(), ids=DEVICES)
def test_a_device_is_named_as_in_torch_cuda(given: Any, index: int, driver: TorchCuda) -> None:
    mt.cuda.synchronize(given)
    assert driver.asked == [("synchronize", index)]
    driver.asked.clear()
    numbers = ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved")
    assert [getattr(mt.cuda, name)(given) for name in numbers] == [7] * 4
    mt.cuda.reset_peak_memory_stats(given)
    assert mt.cuda.get_device_name(given) == "7" and mt.cuda.get_device_properties(given) == 7
    assert driver.asked == [(name, index) for name in (*numbers, "reset_peak_memory_stats", "get_device_name",
                                                       "get_device_properties")]
    assert mt.cuda.get_device_capability(given) == (9, index) and mt.cuda.mem_get_info(given) == (10 + index, 20)


def test_the_current_gpu_is_pytorchs(driver: TorchCuda) -> None:
    assert mt.cuda.is_available() and mt.cuda.device_count() == 2 and mt.cuda.current_device() == 1
    mt.cuda.set_device("cuda:0")
    assert driver.current == mt.cuda.current_device() == 0
    mt.cuda.empty_cache()
    assert driver.asked == [("empty_cache",)]


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "another kind": ("cpu", ValueError, "Expected a cuda device, but got: cpu"),
    "another device": (mt.device("cpu"), ValueError, "Expected a cuda device, but got: cpu"),
    "no device": ("gpu", RuntimeError, "Expected one of"),
    "a number": (1.0, TypeError, "a CUDA device is an index"),
    "a truth": (True, TypeError, "a CUDA device is an index"),
    "too many": (2, RuntimeError, "invalid device ordinal"),
}


@pytest.mark.parametrize("given, error, text", WRONG.values(), ids=WRONG)
def test_what_is_no_gpu_is_refused(given: Any, error: type[Exception], text: str, driver: TorchCuda) -> None:
    with pytest.raises(error, match=text):
        mt.cuda.synchronize(given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU; this one has one")
def test_without_a_gpu_there_are_none() -> None:
    said = subprocess.run([sys.executable, "-c", "import microtrain as mt; print(mt.cuda.is_available(), "
                           "mt.cuda.device_count()); mt.cuda.synchronize()"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
                               "TRITON_INTERPRET": "0", "MICROTRAIN_DEVICE": "cpu", "MICROTRAIN_VIRTUAL_GPU": ""})
    assert said.stdout == "False 0\n" and "RuntimeError: no CUDA device: " in said.stderr


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match=r"module 'microtrain\.cuda' has no attribute 'amp'; convert with"):
        mt.cuda.amp  # noqa: B018
