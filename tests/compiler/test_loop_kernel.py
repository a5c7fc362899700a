"""Whole loops in one launch, and a step's launches many times, against the same steps run one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from microtrain.compiler.executable import Executable
from microtrain.compiler.loop import Loop, batched
from microtrain.compiler.loop_kernel import KernelLoop
from microtrain.graph.node import SCALAR
from microtrain.runtime import kernel_backend, virtual
from tests.conftest import DEVICE
from tests.support.recorded_steps import MODELS, Recorded, recorded

needs_kernels = pytest.mark.skipif(DEVICE == "cpu", reason="the cpu device runs no Triton kernels")
in_one_launch = pytest.mark.skipif(DEVICE == "cpu" or virtual.wanted(),
                                   reason="on a virtual GPU tests/emulator/test_emulated.py runs these")
STEPS = 5


def schedules(made: Recorded, steps: int = STEPS) -> list[np.ndarray]:
    """For each number of a program other values in each step."""
    change = 1 - np.arange(steps) / 64
    return [np.asarray(value.item() * change, given.dtype.numpy)
            for value, given in zip(made.values, made.program.inputs, strict=True) if given.primitive is SCALAR]


def one_by_one(made: Recorded, columns: list[np.ndarray], steps: int = STEPS) -> list[np.ndarray]:
    """What a loop gives, by so many runs."""
    executable, roles, values = Executable(made.program), made.roles, list(made.values)
    given = [place for place, value in enumerate(made.program.inputs) if value.primitive is SCALAR]
    to_numpy = executable.backend.to_numpy
    history: dict[int, list[np.ndarray]] = {place: [] for place in roles.history}
    for k in range(steps):
        for place, column in zip(given, columns, strict=True):
            values[place] = column[k]
        for place in roles.rows:
            values[place] = executable.backend.from_numpy(to_numpy(made.values[place])[k])
        out = executable.run([*values])
        for place in roles.history:
            history[place].append(to_numpy(out[place]).copy())
        for place, becomes in roles.carried.items():
            values[place] = out[becomes]
    return [np.stack(history[k]) if k in history else to_numpy(buffer) for k, buffer in enumerate(out)]


def looped(loop: Loop, made: Recorded, columns: list[np.ndarray], steps: int = STEPS) -> tuple[list[np.ndarray], int]:
    to_numpy = kernel_backend(made.program.device.type, made.program.device.index).to_numpy
    before = [to_numpy(value).copy() for value, given in zip(made.values, made.program.inputs, strict=True)
              if given.primitive is not SCALAR]
    out, count = loop.run([*made.values], columns, steps)
    after = [to_numpy(value) for value, given in zip(made.values, made.program.inputs, strict=True)
             if given.primitive is not SCALAR]
    assert all(map(np.array_equal, before, after)), "what is handed in is not written over"
    return [to_numpy(value) for value in out], count


def same(loop: Loop, made: Recorded, steps: int = STEPS) -> None:
    """Bit for bit, in the interpreter; a GPU's loop has other tiles, so sums are added up in another order."""
    columns = schedules(made, steps)
    found, count = looped(loop, made, columns, steps)
    assert count == steps
    for got, want in zip(found, one_by_one(made, columns, steps), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if DEVICE == "interpret":
            assert got.tobytes() == want.tobytes()
        else:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def minibatches(made: Recorded, rng: np.random.Generator) -> Recorded:
    """The same step on rows that an index picks from thrice as many."""
    to_numpy, from_numpy = (getattr(kernel_backend(DEVICE), name) for name in ("to_numpy", "from_numpy"))
    size = made.program.inputs[made.data[0]].shape[0]
    whole, place = batched(made.program, dict.fromkeys(made.data, 3 * size))
    values = [*made.values, from_numpy(rng.integers(0, 3 * size, (STEPS, size)))]
    for k in made.data:
        part = to_numpy(made.values[k])
        values[k] = from_numpy(np.concatenate([part, part[::-1], np.roll(part, 1, 0)]))
    return Recorded(whole, replace(made.roles, rows=frozenset({place})), values, made.data)


@in_one_launch
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gathered", [False, True], ids=["whole", "minibatches"])
def test_five_steps_in_one_launch_are_five_steps(name: str, gathered: bool, rng: np.random.Generator) -> None:
    five_steps(name, gathered, rng)


def five_steps(name: str, gathered: bool, rng: np.random.Generator) -> None:
    made = recorded(MODELS[name](rng, DEVICE))
    if gathered:
        kernels = Executable(made.program).kernels
        made = minibatches(made, rng)
        assert Executable(made.program).kernels == kernels, "rows are picked as they are loaded"
    same(KernelLoop(made.program, made.roles), made)
