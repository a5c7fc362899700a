"""An element of a value at hand is read where it lies: no program is made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.engine import run
from tests.conftest import DEVICE

READS = {"of a vector": lambda x: x.reshape(-1)[-1], "of a matrix": lambda x: x[1, 2], "of a row": lambda x: x[1][0],
         "of a part": lambda x: x[1:, ::2][0, 1], "of its shape": lambda x: x.reshape(3, 2)[2, 0],
         "of one": lambda x: x[:1, 1:2], "of every second": lambda x: x.view(-1)[1::2][2]}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_an_element_is_read_where_it_lies(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    programs: list[Any] = []
    monkeypatch.setattr(run, "listeners", [lambda kernels, program: programs.append(program)])
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = mt.tensor(values)
    want = read(torch.from_numpy(values.copy())).item()
    assert read(x).item() == want
    assert len(programs) == (0 if DEVICE == "cpu" else 1)
    part = read(x)
    x.mul_(2)
    assert part.item() == 2 * want and read(x).item() == 2 * want
    part.add_(1)
    assert read(x).item() == part.item() == 2 * want + 1
    assert read(x + 1).item() == 2 * want + 2           # what waits to be computed is computed


def test_an_element_on_the_tape_has_its_gradient() -> None:
    x = mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    part = x[1]
    assert part.item() == 2
    (part * part).backward()
    assert x.grad is not None and x.grad.tolist() == [0, 4, 0]


def test_an_element_is_no_value_while_a_step_is_recorded() -> None:
    x = mt.tensor([1.0, 2.0])
    with pytest.raises(mt.CompileError):
        mt.compile(lambda x: x[0] * x[1].item())(x)
