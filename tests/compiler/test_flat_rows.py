"""Values of a slab's rows as vectors: the same numbers, where there is enough to compute of them, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain.compiler.templates.template import Kernel
from microtrain.graph import dtypes
from microtrain.graph.node import Node
from microtrain.kernels import tiles
from microtrain.kernels.tiles import RowTile, slab_tile
from tests.support.programs import blank, groups, tensor

interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs Triton's interpreter")


def logistic(x: Node, w: Node, y: Node) -> list[Node]:
    """The loss and the update of a step."""
    z = g.matmul(x, w)
    p = g.clamp(g.sigmoid(z), 1e-7, 1 - 1e-7)
    loss = g.mean(g.add(g.mul(y, g.log(p)), g.mul(g.sub(1, y), g.log(g.sub(1, p)))), (0, 1))
    return [loss, g.sub(w, g.mul(g.matmul(g.transpose(x), g.sub(p, y)), 0.1))]


def source(*outputs: Node) -> str:
    made = groups(*outputs)
    assert [group.template.name for group in made] == ["slab"]
    return Kernel(made[0], made).emitted[0].source


def test_a_logistic_step_hands_its_rows_over_and_back_once_each() -> None:
    text = source(*logistic(blank(256, 64), blank(64, 1), blank(256, 1)))
    assert text.count("= flat(") == text.count("= spread(") == 1
    assert "tl.load(ptrs[2] + flat_r, mask=flat_mask, other=0)" in text


@pytest.mark.parametrize("rows, cols", [(64, 8), (16, 16)])
def test_a_lone_warp_does_not(rows: int, cols: int) -> None:
    assert "flat" not in source(*logistic(blank(rows, cols), blank(cols, 1), blank(rows, 1)))


def test_rows_with_nothing_to_compute_stay_as_they_are() -> None:
    x = blank(256, 64)
    assert "flat" not in source(g.softmax(g.softmax(x, 1), 0))
    assert "flat" not in source(g.sub(x, g.keep(g.amax(x, (1,)), x.shape, (1,))), g.amax(x, (0,)))


def test_it_pays_by_operations_times_the_threads_that_hold_a_row() -> None:
    tile = slab_tile(256, 64)
    assert tile == RowTile(256, 64, 16)                     # 8 rows a thread, of which 16 hold each
    assert tiles.flat_pays(tile, 64, 4, 4, 2) and not tiles.flat_pays(tile, 64, 4, 3, 2)
    assert tiles.flat_pays(tile, 64, 2, 6, 2) and not tiles.flat_pays(tile, 64, 2, 5, 2)    # 4 rows
    assert tiles.flat_pays(tile, 63, 4, 3, 2) and not tiles.flat_pays(tile, 63, 4, 2, 2)    # 32, one by one
    assert not tiles.flat_pays(slab_tile(2048, 4), 4, 4, 50, 1)     # a thread holds whole rows of its own
    for along_rows in (False, True):                        # 8 rows, of which 16 threads hold each; or 4, held by 8
        assert tiles.flat_pays(tile, 64, 4, 6, 2, along_rows=along_rows)
    assert not tiles.flat_pays(tile, 64, 4, 5, 2, along_rows=True)


def features(x: Node, y: Node, w: Node, dtype: Any) -> dict[str, list[Node]]:
    """Outputs that meet each way in which rows are used: x [60, 20], y [60, 1], w [20, 1]."""
    z = g.matmul(x, w)
    top, wide = g.amax(x, (1,)), (60, 20)
    low = g.sub(g.exp(g.neg(g.abs(z))), y)
    near = g.gt(low, 0.25)
    column = g.reshape(low, (60,))
    place = g.cast(g.add(g.mul(g.sigmoid(top), 50), 3), dtypes.int64)       # a row for each row
    folds = [fold(column, (0,)) for fold in (g.sum, g.prod, g.amax, g.amin)]
    return {
        "folds of vectors": [*folds, g.sum(g.mul(low, x), (0,)), g.sum(g.cast(near, dtypes.int64), (0, 1))],
        "conditions": [g.where(g.expand(near, wide), x, g.expand(low, wide)), g.amax(near, (0, 1)), g.sum(x, (0,))],
        "one value in both forms": [g.sub(x, g.keep(top, wide, (1,))), g.exp(g.mul(g.sub(top, 1), 0.5)), g.sum(x, (0,)),
                                    g.mul(x, g.keep(g.sin(top), wide, (1,)))],
        "rows at computed places": [g.take(x, place), g.exp(g.take(g.reshape(y, (60,)), place)), g.sum(x, (0,))],
        "guards": [g.pad(g.exp(top), (2,), (64,), (1,)), g.mul(g.cat((g.slice(z, (0, 0), (30, 1), (1, 1)),
                   g.slice(low, (30, 0), (30, 1), (1, 1))), 0), x), g.sum(x, (0,))],
        "of rows and columns alike": [g.sum(g.expand(low, wide), (1,)), g.sum(g.expand(low, wide), (0,)),
                                      g.sum(g.expand(low, wide), (0, 1)), g.sum(g.mul(x, low), (0,))],
        "a step": logistic(x, w, g.cast(g.gt(y, 0.5), x.dtype)),
    }


every_feature = pytest.mark.parametrize("feature", [
    "folds of vectors", "conditions", "one value in both forms", "guards", "rows at computed places",
    "of rows and columns alike", "a step"])


@interpreted
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
@every_feature
def test_vectors_give_the_same_bits(feature: str, name: str, rng: np.random.Generator,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """And those are NumPy's, as far as `check` asks."""
    from tests.compiler.test_emit import check, computed
    dtype = dtypes.from_name(name).numpy
    x, y, w = (tensor(np.asarray(array, dtype), "interpret") for array in (
        rng.standard_normal((60, 20)), rng.random((60, 1)), rng.standard_normal((20, 1)) / 4))
    outputs = features(x, y, w, dtype)[feature]
    found = {}
    for flat in (False, True):
        monkeypatch.setattr(tiles, "flat_pays", lambda *of, flat=flat, **told: flat)
        executable, results, _ = computed(*outputs)
        assert any("flat(" in function.source for launch in executable.launches
                   for function in launch.kernel.emitted) is flat
        found[flat] = [result.tobytes() for result in results]
    assert found[True] == found[False]
    check(*outputs)


@interpreted
@pytest.mark.parametrize("first", [True, False])
@every_feature
def test_a_tile_in_parts_gives_the_same_numbers(feature: str, first: bool, rng: np.random.Generator,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """As NumPy, with the parts before the rows and behind them."""
    import triton.language as tl

    from microtrain.kernels import reductions, row
    from tests.compiler.test_emit import check
    x, y, w = (tensor(np.asarray(array, np.float32), "interpret") for array in (
        rng.standard_normal((60, 20)), rng.random((60, 1)), rng.standard_normal((20, 1)) / 4))
    monkeypatch.setattr(tiles, "slab_tile", lambda *size: replace(slab_tile(*size), parts=2))
    monkeypatch.setattr(tiles, "flat_pays", lambda *of, **told: True)
    for module in (reductions, row):
        monkeypatch.setattr(module, "PARTS_FIRST", tl.constexpr(first))
    executable = check(*features(x, y, w, np.float32)[feature])
    assert 2 in [launch.constexprs.get("PARTS") for launch in executable.launches]
