"""The kernels of the budgets, compiled for two GPUs and run in the emulator against NumPy's meaning of them.

A few programs of each grid are run, the first and the last among them; what they wrote is compared. `make budgets` runs
all cases and the sample of 200, `make test` a slice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("compiles kernels, which are interpreted in this process", allow_module_level=True)

from microtrain import ops as g
from microtrain.compiler import validate
from microtrain.compiler.cpu.reference import reference
from microtrain.compiler.templates.template import Group, encoded
from microtrain.emulator import Memory, launch, parse
from microtrain.graph.node import Node
from microtrain.runtime.resources import compile_launch
from microtrain.testing import specimens as cases
from tests import budgets

TARGETS = ("sm_80", "sm_90")
PROGRAMS = 6
SLICE = 24
LARGE = 1 << 18
"""Elements of elementwise cases, which are 2 ** 24 where only resources are looked at."""


def value(node: Node, rng: np.random.Generator, most: int) -> np.ndarray:
    """What a kernel reads: random numbers; integers, which may be indices, are at most `most`."""
    if node.primitive is g.SCALAR:
        return np.asarray(node.dtype.numpy.type(0.75 if node.dtype.is_floating_point else 3))
    if node.dtype.is_floating_point:
        return np.asarray(rng.standard_normal(node.shape).astype("f4")).astype(node.dtype.numpy)
    return np.asarray(rng.integers(0, most + 1, node.shape)).astype(node.dtype.numpy)


def meant(group: Group) -> tuple[dict[Node, np.ndarray], list[np.ndarray]]:
    """What a kernel is given, and what NumPy makes of it."""
    for most in (1, 0):
        rng = np.random.default_rng(0)
        values = {node: value(node, rng, most) for node in group.reads}
        try:
            return values, [np.asarray(one) for one in reference(group.reads, group.stores).run(list(values.values()))]
        except IndexError:          # an axis of one element has only the index 0
            if most == 0:
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def compared(specimen: budgets.Specimen, target: str, most: int = PROGRAMS) -> int:
    """Run some programs of a kernel; elements that agree with NumPy. Raises where one does not, or for a fault."""
    rng = np.random.default_rng(0)
    kernel, group = specimen.kernel, specimen.kernel.group
    launching = specimen.kernel.launch(target)
    resources = compile_launch(target, launching)
    values, wanted = meant(group)
    memory, names, held = Memory(1 << 34), {}, []
    for i, node in enumerate(kernel.pointers):
        array = values[node] if node in values else np.zeros(node.shape, node.dtype.numpy)
        names[i] = f"{'operand' if node in values else 'result'} {i} {node.spec}"
        address = memory.allocate(array.nbytes, names[i])
        held.append((node, address, array))
        if node in values:
            memory.view(address, array.nbytes)[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            memory.written(address, array.nbytes)
    raw = [address.to_bytes(8, "little") for _, address, _ in held]
    raw += [np.int64(encoded(values[node], node.dtype)).tobytes() for node in kernel.scalars]
    raw += [int(size).to_bytes(8 if kernel.wide else 4, "little") for size in launching.sizes.values()]
    module = parse(resources.assembly)
    entry, = module.entries
    raw += [bytes(8)] * (len(module.functions[entry].parameters) - len(raw))
    total = int(np.prod(launching.grid))
    chosen = sorted({0, total - 1, *rng.integers(0, total, most - 2).tolist()}) if total > most else range(total)
    report = launch(module, entry, launching.grid, (32 * launching.options["num_warps"],), resources.shared_bytes, raw,
                    memory, names, programs=list(chosen))
    assert report.programs == len(chosen)
    agreeing = 0
    scale = validate.largest([array for node, array in values.items() if node.primitive is not g.SCALAR])
    for node, want in zip(group.stores, wanted, strict=True):
        _, address, array = next(one for one in reversed(held) if one[0] is node)
        have = memory.view(address, array.nbytes).view(array.dtype).reshape(array.shape)
        done = memory.is_written(address, array.nbytes).reshape(*array.shape, array.itemsize).all(-1)
        assert done.all() or len(chosen) < total, f"{(~done).sum()} of {done.size} elements were never written"
        validate.compare(group, node, np.where(done, have, want), want, scale)
        agreeing += int(done.sum())
    return agreeing


@cache
def sampled(size: int) -> list[budgets.Specimen]:
    return budgets.sample(size)


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cases, "LARGE", LARGE)
    yield


@pytest.mark.parametrize("target", TARGETS)
def test_a_slice_of_the_sample_computes_what_it_should(target: str) -> None:
    for i, specimen in enumerate(sampled(SLICE)):
        if i % 2 == TARGETS.index(target):
            assert compared(specimen, target, 3) > 0, specimen.template


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["elementwise, bfloat16", "softmax", "linear + relu, bfloat16",
                                  "linear + relu, float64"])
def test_a_case_computes_what_it_should(name: str, target: str, smaller: None) -> None:
    specimen, = budgets.of_case(next(case for case in budgets.CASES if case.name == name))
    assert compared(specimen, target) > 0


@pytest.mark.budgets
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", budgets.CASES, ids=lambda case: case.name)
def test_every_case(case: budgets.Case, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "transpose" not in case.name:
        monkeypatch.setattr(cases, "LARGE", LARGE)
    for specimen in budgets.of_case(case):
        assert compared(specimen, target, 2 if "large" in case.name else PROGRAMS) > 0


@pytest.mark.budgets
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("part", range(10))
def test_the_sample_of_200(part: int, target: str) -> None:
    for specimen in sampled(200)[part::10]:
        assert compared(specimen, target) > 0, specimen.template
