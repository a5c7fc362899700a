"""Whole loops compiled for an H100: none spills, and none takes more registers than these."""

from __future__ import annotations

import os

import numpy as np
import pytest

from microtrain import settings
from microtrain.compiler.loop import batched
from microtrain.compiler.loop_kernel import KernelLoop
from microtrain.runtime.resources import compile_launch
from tests.support.recorded_steps import MODELS, recorded

pytestmark = [pytest.mark.budgets,
              pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels")]

REGISTERS = {"perceptron": (1, 48), "logistic": (8, 192), "mlp": (4, 192), "momentum": (4, 255), "adam": (4, 255)}
"""Warps, and registers a thread."""


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("gathered", [False, True], ids=["whole", "minibatches"])
@pytest.mark.parametrize("name", MODELS)
def test_a_loop_spills_nothing(name: str, gathered: bool, precision: str) -> None:
    if precision == "high" and name in ("perceptron", "logistic"):
        pytest.skip("has no product that precision is about")
    made = recorded(MODELS[name](np.random.default_rng(0), "null:sm_90"))
    program = batched(made.program, dict.fromkeys(made.data, 4096))[0] if gathered else made.program
    with settings.matmul_precision(precision):
        launch = KernelLoop(program, made.roles).launch
        used = compile_launch("sm_90", launch)
    warps, registers = REGISTERS[name]
    assert (used.spills, launch.options["num_warps"]) == (0, warps)
    assert used.registers <= registers
