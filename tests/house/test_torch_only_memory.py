"""PyTorch lends memory and nothing else: a dispatch mode watches a training run for any other operation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import microtrain as mt

MEMORY = {"empty", "new_empty", "empty_strided", "copy_", "_to_copy", "set_", "detach", "view", "as_strided", "alias",
          "resize_", "lift_fresh", "record_stream"}
"""Operations that allocate, copy or look at memory in another way; none computes an element."""


class Watch(TorchDispatchMode):
    """Counts PyTorch operations by name; those that are more than memory are `computing`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.computing = Counter[str](), Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[-1]
        (self.seen if name in MEMORY else self.computing)[name] += 1
        return func(*args, **(kwargs or {}))


def train() -> float:
    """A small training run through layers, losses, an optimizer with momentum and every way of reading a value."""
    mt.manual_seed(0)
    x, y = mt.randn(32, 4), (mt.rand(32, 1) > 0.5).float()
    model = mt.nn.Sequential(mt.nn.Linear(4, 8), mt.nn.ReLU(), mt.nn.Linear(8, 1))
    optimizer = mt.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        loss = mt.nn.functional.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        optimizer.step()
    np.asarray(model(x).detach().cpu())
    x[:2].tolist()
    return loss.item()


def test_training_touches_pytorch_for_memory_alone() -> None:
    with Watch() as watch:
        assert np.isfinite(train())
    assert not watch.computing
    if mt.default_device().type != "cpu":
        assert watch.seen["empty"] > 0, "the watch saw nothing: it would not see a computation either"


def test_a_planted_operation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    item = mt.Tensor.item

    def planted(self: Any) -> Any:
        return torch.tensor([item(self)]).mul(1).item()
    monkeypatch.setattr(mt.Tensor, "item", planted)
    with Watch() as watch:
        train()
    assert watch.computing.get("mul") == 1


@pytest.mark.skipif(os.environ.get("MICROTRAIN_DEVICE", "cpu") != "cpu",
                    reason="the cpu device's process starts this one")
def test_the_same_run_interpreted() -> None:
    environment = {**os.environ, "MICROTRAIN_DEVICE": "interpret", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "memory_alone"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
