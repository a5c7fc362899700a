"""Whole loops compiled for an H100: none spills, and none takes more registers and instructions than these."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from microtrain import settings
from microtrain.compiler.loop import batched
from microtrain.compiler.loop_kernel import KernelLoop
from microtrain.runtime.resources import compile_launch
from tests.support.recorded_steps import MODELS, recorded

pytestmark = [pytest.mark.budgets,
              pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels")]

BUDGETS = {"perceptron": (1, 48, 256), "logistic": (8, 160, 896), "logits": (8, 160, 832), "mlp": (4, 232, 4864),
           "momentum": (4, 255, 3328), "adam": (4, 255, 3328)}
"""Warps, registers a thread, and instructions."""
STEPS = {("logistic", False): 672, ("logistic", True): 700, ("logits", False): 624, ("logits", True): 664}
"""Instructions of one step, by the loss and whether rows are picked."""


@pytest.mark.parametrize("gathered", [False, True], ids=["whole", "minibatches"])
@pytest.mark.parametrize("name, precision", [
    *[(name, "highest") for name in MODELS], *[(name, "high") for name in ("mlp", "momentum", "adam")]])
def test_a_loop_spills_nothing(name: str, gathered: bool, precision: str) -> None:
    made = recorded(MODELS[name](np.random.default_rng(0), "null:sm_90"))
    program = batched(made.program, dict.fromkeys(made.data, 4096))[0] if gathered else made.program
    with settings.matmul_precision(precision):
        launch = KernelLoop(program, made.roles).launch
        used = compile_launch("sm_90", launch)
    warps, registers, instructions = BUDGETS[name]
    assert (used.spills, launch.options["num_warps"]) == (0, warps)
    assert used.registers <= registers
    assert used.instructions <= instructions


@pytest.mark.parametrize("watched", [False, True], ids=["to the end", "while finite"])
@pytest.mark.parametrize("name, gathered", STEPS)
def test_a_logistic_step_is_few_instructions(name: str, gathered: bool, watched: bool) -> None:
    made = recorded(MODELS[name](np.random.default_rng(0), "null:sm_90"))
    program, roles = made.program, made.roles
    if gathered:
        program, index = batched(program, dict.fromkeys(made.data, 4096))
        roles = replace(roles, rows=frozenset({index}))
    if watched:
        roles = replace(roles, watched=min(roles.history))
    used = compile_launch("sm_90", KernelLoop(program, roles).launch)
    assert used.spills == 0
    assert 0 < used.turn <= STEPS[name, gathered]
