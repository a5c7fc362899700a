"""Compiled kernels, run by the virtual GPU's emulator: every operation, every kind of product, the generated kernels of
the budgets, and two models trained. `make virtual` runs these for sm_80 and for sm_90.

The emulator looks at every access, so a kernel that gives the right values and touches what it must not fails too."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import settings
from microtrain.cli import main
from microtrain.compiler.templates.template import encoded
from microtrain.compiler.validate import compare, largest
from microtrain.graph.node import SCALAR, Node
from microtrain.runtime import kernel_backend
from microtrain.testing.running import LAYOUTS
from tests.budgets import Specimen, sample
from tests.emulator.test_emulator_corpus import meant
from tests.op_table import OPS, Op
from tests.operators.test_parity import check, samples
from tests.runtime.test_virtual_train import scores

ARCH = settings.virtual_gpu.value

pytestmark = [pytest.mark.emulated, pytest.mark.skipif(
    ARCH not in ("sm_80", "sm_90") or os.environ["MICROTRAIN_DEVICE"] != "cuda",
    reason="needs the emulator: MICROTRAIN_DEVICE=cuda MICROTRAIN_VIRTUAL_GPU=sm_90 (or sm_80)")]

FLOATS = ("float32", "bfloat16", "float32", "float16", "float32", "float64")
"""Of which the operations take turns."""


def dtype_of(number: int, op: Op) -> str:
    return next(one for one in (*FLOATS[number % len(FLOATS):], *FLOATS, *op.dtypes) if one in op.dtypes)


@pytest.mark.parametrize("number", range(len(OPS)), ids=[f"{op.name}-{dtype_of(k, op)}" for k, op in enumerate(OPS)])
def test_operation(number: int) -> None:
    """Value, gradient and second gradient (of half precisions only the former two) against PyTorch."""
    op, dtype = OPS[number], dtype_of(number, OPS[number])
    order = min(op.order, 1) if dtype in ("float16", "bfloat16") else op.order
    problems = check(op, samples(op)[0], dtype, order, LAYOUTS[number % 4], seed=number)
    assert not problems, "\n".join(problems)


PRODUCTS = {"ieee": 1e-6, "tf32": 2e-3, "bfloat16": 2e-2, "float16": 2e-3, "float64": 1e-14, "int32": 0.0}
"""The kinds of products, and the error of a sum over K relative to the sum of magnitudes."""


@pytest.mark.parametrize("m, k, n", [(5, 7, 3), (130, 96, 70), (64, 1000, 64)])
@pytest.mark.parametrize("kind", PRODUCTS)
def test_product(kind: str, m: int, k: int, n: int, rng: np.random.Generator) -> None:
    dtype = "float32" if kind in ("ieee", "tf32") else kind
    half = kind == "bfloat16"
    a, b, c = (torch.tensor(rng.integers(-8, 8, shape) if kind == "int32" else rng.standard_normal(shape))
               .to(getattr(torch, dtype)) for shape in ((m, k), (k, n), (m, n)))
    ours = [mt.tensor(one.float().numpy() if half else one.numpy(), dtype=getattr(mt, dtype),
                      requires_grad=kind != "int32") for one in (a, b)]
    with settings.matmul_precision("high" if kind == "tf32" else "highest"):
        made = [ours[0] @ ours[1]]
        if kind != "int32":
            made[0].backward(mt.tensor(c.float().numpy() if half else c.numpy(), dtype=getattr(mt, dtype)))
            made += [one.grad for one in ours]
        got = [one.detach().double().cpu().numpy() for one in made]
    wide = [one.double().numpy() for one in (a, b, c)]
    factors = [(wide[0], wide[1]), (wide[2], wide[1].T), (wide[0].T, wide[2])]
    for mine, (left, right) in zip(got, factors, strict=False):
        assert np.max(np.abs(mine - left @ right) / (np.abs(left) @ np.abs(right))) <= PRODUCTS[kind]
    assert kind != "tf32" or k < 32 or np.max(np.abs(got[0] - wide[0] @ wide[1])) > 1e-5   # it was TF32


@cache
def generated() -> list[Specimen]:
    return sample(200)


@pytest.mark.parametrize("number", range(200))
def test_generated_kernel(number: int) -> None:
    """Against NumPy, as MICROTRAIN_VALIDATE does."""
    kernel, device = generated()[number].kernel, kernel_backend("cuda")
    group = kernel.group
    given, expected = meant(group)
    memory: dict[Node, Any] = {node: device.from_numpy(value) for node, value in given.items()
                               if node.primitive is not SCALAR}
    memory |= {node: device.empty(node.spec) for node in kernel.pointers if node not in memory}
    pointers = device.pointers([memory[node] for node in kernel.pointers], None, ())
    device.launch(kernel.launch(device.arch), tuple(pointers),
                  tuple([encoded(given[node].item(), node.dtype) for node in kernel.scalars]))
    scale = largest([value for node, value in given.items() if node.primitive is not SCALAR])
    for node, value in zip(group.stores, expected, strict=True):
        compare(group, node, device.to_numpy(memory[node]), value, scale)


@pytest.mark.parametrize("task", ["perceptron", "linear-regression"])
def test_a_model_trains(task: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "picture.png"
    assert main(["train", task, "--plot", str(picture)]) == 0
    score, = scores(capsys.readouterr().out)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert score == pytest.approx({"perceptron": 0.9735, "linear-regression": 0.5245}[task], abs=0.01)
