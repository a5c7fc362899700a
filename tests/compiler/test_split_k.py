"""Products with a small result and a long K: as a batch of chunks and a sum, with the values of the whole product."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import microtrain as mt
from microtrain import ops as g
from microtrain.compiler import lower as lowering
from microtrain.compiler.executable import Executable
from microtrain.compiler.templates.matmul import Matmul, operand_type
from microtrain.graph import dtypes
from microtrain.runtime import backend
from microtrain.testing import count_kernels
from tests.support.programs import blank, groups, program, tensor

pytestmark = pytest.mark.usefixtures("nothing_pending")

interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="runs in Triton's interpreter: MICROTRAIN_DEVICE=interpret")


def products(*outputs: Any) -> list[Matmul]:
    return [group.template for group in groups(*outputs) if isinstance(group.template, Matmul)]


@pytest.mark.parametrize(("m", "n", "k", "chunks"), [
    (64, 64, 262_144, 128), (128, 128, 65_536, 32), (256, 256, 16_384, 8), (128, 10, 60_000, 50), (17, 33, 9_001, 8),
    (64, 64, 8_191, 1), (128, 10, 784, 1), (784, 128, 60_000, 1), (1024, 1024, 65_536, 1)])
def test_a_product_is_split_where_its_result_employs_few_processors(m: int, n: int, k: int, chunks: int) -> None:
    domain, = products(g.matmul(blank(m, k), blank(k, n)))
    assert (domain.batch, domain.size_m, domain.size_n) == (chunks, m, n)
    assert k <= domain.batch * domain.size_k < k + domain.size_k
    assert chunks == 1 or domain.size_k >= lowering.SPLIT_LENGTH


def test_a_batch_counts_as_programs() -> None:
    assert products(g.matmul(blank(2, 64, 16_384), blank(2, 16_384, 64)))[0].batch == 32
    assert products(g.matmul(blank(32, 64, 16_384), blank(32, 16_384, 64)))[0].batch == 32
    assert products(g.matmul(blank(3, 2, 64, 16_384), blank(16_384, 64)))[0].batch == 6 * 16


def test_no_matrices_are_no_kernels() -> None:
    assert not groups(g.matmul(blank(0, 64, 16_384), blank(16_384, 64)))


def test_integers_are_not_split() -> None:
    whole = [blank(64, 65_536, dtype=dtypes.int64), blank(65_536, 64, dtype=dtypes.int64)]
    assert products(g.matmul(*whole))[0].batch == 1


def test_a_split_product_is_two_kernels_and_what_follows_joins_the_second() -> None:
    x, ct, w = blank(65_536, 64), blank(65_536, 32), blank(64, 32)
    made = groups(g.sub(w, g.mul(g.matmul(g.transpose(x), ct), 0.1)))
    assert [group.template.name for group in made] == ["matmul", "row"]


@pytest.mark.parametrize("batch", [32, 128])
def test_the_mlp_of_small_batches_is_not_split(batch: int) -> None:
    net = mt.nn.Sequential(mt.nn.Linear(784, 128), mt.nn.ReLU(), mt.nn.Linear(128, 10))
    x, y = mt.rand(batch, 784), mt.randint(0, 10, (batch,))
    with count_kernels(at_most=7):
        loss = mt.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        mt.optim.SGD(net.parameters(), lr=0.1, momentum=0.9).step()
        loss.item()


@pytest.mark.parametrize("dtype", [dtypes.bfloat16, dtypes.float16, dtypes.float32])
def test_chunks_of_half_precisions_are_multiplied_as_such_and_added_up_in_float32(dtype: Any) -> None:
    made = groups(g.matmul(blank(64, 16_384, dtype=dtype), blank(16_384, 64, dtype=dtype)))
    product = made[0].root
    assert product.dtype is dtypes.float32 and operand_type(product) == f"tl.{dtype.name}"
    wide, narrow = blank(8, 8), blank(8, 8, dtype=dtypes.bfloat16)
    assert operand_type(g.matmul(g.cast(narrow, dtypes.float32), wide)) == "tl.float32"
    assert operand_type(g.matmul(g.cast(wide, dtypes.bfloat16), g.cast(wide, dtypes.bfloat16))) == "tl.bfloat16"


@interpreted
@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("k", [64, 67])
def test_a_split_product_has_the_values_of_the_whole(name: str, k: int, rng: np.random.Generator,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "SPLIT_LENGTH", 16)
    monkeypatch.setattr(lowering, "SPLIT_CHUNKS", 4)
    dtype = dtypes.from_name(name).numpy
    cases = [((3, k), (k, 5)), ((2, 3, k), (k, 5)), ((3, k), (2, k, 5))]
    arrays = [tuple(rng.standard_normal(shape).astype(dtype) for shape in pair) for pair in cases]
    outputs = [g.relu(g.matmul(*[tensor(a, "interpret") for a in pair])) for pair in arrays]
    made, values = program(*outputs)
    executable = Executable(made)
    split = [s.template for s in executable.groups if isinstance(s.template, Matmul)]
    assert all(domain.size_k < k for domain in split)
    results = [backend("interpret").to_numpy(buffer) for buffer in executable.run(values)]
    for have, (a, b) in zip(results, arrays, strict=True):
        want = np.maximum(a.astype(np.float64) @ b.astype(np.float64), 0)
        eps = {"bfloat16": 2.0 ** -8, "float32": 2.0 ** -24, "float64": 2.0 ** -53}[name]
        bound = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
        slack = eps * np.abs(want) + (2.0 ** -53 if name == "float64" else 2.0 ** -24) * (k + 2) * bound
        assert np.all(np.abs(have.astype(np.float64) - want) <= slack)
    again = [backend("interpret").to_numpy(buffer) for buffer in executable.run(values)]
    assert all(map(np.array_equal, results, again)), "the order of the additions is fixed"
