"""Which inputs' memory a program may write its results over, found when it is planned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler import memory
from microtrain.compiler.executable import Executable
from microtrain.compiler.index import ZERO, combine
from microtrain.compiler.schedule import schedule
from microtrain.compiler.templates.matmul import Matmul
from microtrain.compiler.templates.rows import Slab
from microtrain.compiler.templates.template import Kernel
from microtrain.compiler.templates.user_kernel import UserKernel
from microtrain.graph.node import BUFFER
from microtrain.kernels import tiles
from tests.conftest import DEVICE
from tests.support.programs import blank, program, tensor


@pytest.fixture(autouse=True)
def small_programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that reads what another has written over is noticed."""
    monkeypatch.setattr(tiles, "INTERPRET_ELEMENTS", 16)
    yield


def data(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((8, 8)).astype(np.float32)


def updates(w: Any, c: Any, a: Any, b: Any) -> dict[str, tuple[list[Any], bool]]:
    """Programs from w (8, 8) and others alike, and whether w's memory may be used for an output."""
    half = g.slice(w, (0, 0), (4, 8), (1, 1))
    return {
        "map": ([g.sub(w, g.mul(c, 0.25))], True),
        "two results": ([g.sub(w, c), g.mul(g.add(w, c), 0.25)], True),
        "transposed": ([g.sub(c, g.permute(w, (1, 0)))], False),
        "both ways": ([g.sub(w, g.permute(w, (1, 0)))], False),
        "flipped": ([g.add(g.flip(w, (0,)), c)], False),
        "another row": ([g.add(w, g.slice(w, (0, 0), (1, 8), (1, 1)))], False),
        "halves swapped": ([g.cat((g.slice(w, (4, 0), (4, 8), (1, 1)), half), 0)], False),
        "rows": ([g.softmax(w, 1)], True),
        "columns": ([g.softmax(w, 0)], True),
        "rows and columns": ([g.softmax(w, 1), g.softmax(w, 0)], False),
        "minus its sum": ([g.sub(w, g.sum(w, (0, 1)))], True),
        "epilogue": ([g.sub(w, g.matmul(a, b))], True),
        "operand": ([g.matmul(w, b)], False),
        "operand and epilogue": ([g.sub(w, g.matmul(w, b))], False),
        "epilogue transposed": ([g.sub(g.permute(w, (1, 0)), g.matmul(a, b))], False),
        "read by a later product": ([g.sub(w, g.mul(c, 0.25)), g.matmul(w, b)], False),
        "a number": ([g.add(g.sum(w, (0, 1)), 0.37), g.mul(w, 0.37)], True),
        "one that is an output": ([g.identity(w), g.sub(w, g.sum(c, (0, 1)))], False),
    }


NAMES = list(updates(*[blank(8, 8)] * 4))


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_given_only_to_what_no_longer_needs_it(name: str) -> None:
    outputs, expected = updates(*(blank(8, 8) for _ in range(4)))[name]
    scheduled = schedule(program(*outputs)[0])
    found = memory.heirs([Kernel(group, scheduled) for group in scheduled], scheduled.program)
    first = next(node for node in scheduled.program.inputs if node.shape)       # in the order in which they were made
    assert all(donor.primitive is BUFFER for donors in found.values() for donor in donors)
    assert any(first in donors for donors in found.values()) is expected


def disturbed(names: Iterable[str]) -> set[str]:
    """The programs above that compute something else when they are given all the memory they would take."""
    found = set()
    for name in names:
        outputs, _ = updates(*(tensor(data(i), DEVICE) for i in range(4)))[name]
        made, values = program(*outputs)
        executable = Executable(made)
        to_numpy = executable.backend.to_numpy
        expected = [to_numpy(buffer).copy() for buffer in executable.run([*values])]
        given = [to_numpy(buffer) for buffer in executable.run([*values], executable.donatable)]
        if not all(np.array_equal(a, b) for a, b in zip(expected, given, strict=True)):
            found.add(name)
    return found


@pytest.mark.skipif(DEVICE == "cpu", reason="on the cpu device no memory is given away")
def test_given_memory_changes_no_result() -> None:
    assert not disturbed(NAMES)


@pytest.mark.skipif(DEVICE != "interpret", reason="a GPU may happen to read everything before it writes anything")
def test_memory_given_to_what_still_needs_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "elementwise", lambda *_: True)
    wrong = {"transposed", "both ways", "flipped", "another row", "halves swapped", "rows and columns"}
    assert disturbed(wrong) == wrong


def test_a_value_that_many_programs_read_is_not_written_by_one_of_them() -> None:
    """Beside a product of (32, 8) and (8, 16), programs of several rows would all read what stands at n."""
    product, slabs = Matmul(1, 32, 16, 8), Slab(64, 8, 4)
    assert product.in_one_program(combine([(product.m, 16), (product.n, 1)]))
    assert not product.in_one_program(product.n) and not product.in_one_program(product.m)
    assert slabs.in_one_program(slabs.r) and not slabs.in_one_program(slabs.c)
    assert Slab(16, 8, 1).in_one_program(Slab(16, 8, 1).c)
    assert not UserKernel(None).in_one_program(ZERO), "a template that says nothing of its programs"


def test_a_kernel_of_several_results_has_a_barrier_before_it_stores_over_what_it_reads() -> None:
    w, c = blank(8, 8), blank(8, 8)
    for outputs, fenced in (([g.sub(w, c)], False), ([g.sub(w, c), g.mul(w, c)], True), ([g.sum(w, (1,))], False)):
        scheduled = schedule(program(*outputs)[0])
        sources = [f.source for group in scheduled for f in Kernel(group, scheduled).emitted]
        assert any("debug_barrier()" in source for source in sources) is fenced
        for source in sources:
            assert "tl.load" not in source.partition("debug_barrier")[2] and source.count("debug_barrier") <= 1
