"""How many kernels a program becomes, and which: a fusion that is lost fails here, on a machine without a GPU."""

from functools import reduce

import numpy as np
import pytest

from microtrain import ops as g
from microtrain import settings
from microtrain.compiler.horizontal import BUNDLE_POINTERS
from microtrain.compiler.lower import COLUMNS_MAX, MAX_BATCH, chunked, lower
from microtrain.compiler.program import Program
from microtrain.compiler.schedule import CHEAP_OPS, GROUP_OPS, MAX_OPS, schedule
from microtrain.compiler.templates.template import Kernel
from microtrain.graph.dtypes import from_name
from microtrain.graph.node import Kind, Node
from microtrain.kernels.tiles import ROW_MAX
from tests.support.programs import blank, groups, program, templates


def bce(p: Node, y: Node) -> Node:
    """The hand-written loss, clamp and log, from prediction to mean."""
    p = g.clamp(p, 1e-8, 1 - 1e-8)
    every = g.add(g.mul(y, g.log(p)), g.mul(g.sub(1, y), g.log(g.sub(1, p))))
    return g.neg(g.mean(every, tuple(range(len(every.shape)))))


def test_broadcasts_and_views_cost_no_kernel() -> None:
    x, row, column = blank(8, 6), blank(6), blank(8, 1)
    y = g.mul(g.add(x, row), column)
    y = g.add(g.reshape(y, (48,)), g.reshape(g.transpose(blank(6, 8)), (48,)))
    assert templates(g.flip(g.permute(g.reshape(y, (8, 6)), (1, 0)), (0,))) == ["map"]


def test_a_small_logistic_regression_step_is_one_kernel_that_reads_its_data_once() -> None:
    x, y, w, b = blank(256, 64), blank(256, 1), blank(64, 1), blank(1)
    s = g.sigmoid(g.add(g.matmul(x, w), b))
    loss = bce(s, y)
    dz = g.mul(g.sub(s, y), 1 / 256)
    dw, db = g.matmul(g.transpose(x), dz), g.sum(dz, (0,))
    made = groups(loss, dw, db, g.sub(w, g.mul(dw, 0.1)), g.sub(b, g.mul(db, 0.1)))
    assert [group.template.name for group in made] == ["slab"]
    assert max(node.spec.numel for group in made for node in group.stores) <= 256      # no product is stored


def test_a_large_logistic_regression_step_is_three_kernels_and_stores_no_product() -> None:
    x, y, w, b = blank(4096, 64), blank(4096, 1), blank(64, 1), blank(1)
    s = g.sigmoid(g.add(g.matmul(x, w), b))
    loss, dz = bce(s, y), g.mul(g.sub(s, y), 1 / 4096)
    dw, db = g.matmul(g.transpose(x), dz), g.sum(dz, (0,))
    made = groups(loss, dw, db, g.sub(w, g.mul(dw, 0.1)), g.sub(b, g.mul(db, 0.1)))
    assert [group.template.name for group in made] == ["row", "row", "row"]
    assert max(node.spec.numel for group in made for node in group.stores) <= 4096


@pytest.mark.parametrize("weight", [(256, 1), (1, 256)], ids=["x @ w", "nn.Linear"])
def test_a_large_logistic_regression_reads_its_data_once(weight: tuple[int, int]) -> None:
    """Slabs of rows leave partial gradients and losses; the rest is sums of those, with the updates."""
    rows = 262_144
    x, y, w, b = blank(rows, 256), blank(rows, 1), blank(*weight), blank(1)
    s = g.sigmoid(g.add(g.matmul(x, w if weight[1] == 1 else g.transpose(w)), b))
    loss, dz = bce(s, y), g.mul(g.sub(s, y), 1 / rows)
    dw = g.matmul(g.transpose(x), dz) if weight[1] == 1 else g.matmul(g.transpose(dz), x)
    db = g.sum(dz, (0,))
    made = groups(loss, g.sub(w, g.mul(dw, 0.1)), g.sub(b, g.mul(db, 0.1)))
    assert made[0].template.name == "slab" and len(made) <= 4
    readers = [group for group in made if any(node.spec.numel == rows * 256 for node in group.reads)]
    assert readers == made[:1]
    assert sum(node.spec.numel for node in made[0].stores) <= rows * 256 / 30        # partial sums, and no value a row


def test_a_large_layer_norm_backward_reads_its_rows_once() -> None:
    x, ct, w = blank(8192, 1024), blank(8192, 1024), blank(1024)
    inner = g.mul(ct, w)
    centred = g.sub(x, g.keep(g.mean(x, (1,)), x.shape, (1,)))
    normal = g.mul(centred, g.rsqrt(g.add(g.mean(g.mul(centred, centred), (1,), keepdim=True), 1e-5)))
    dx = g.sub(inner, g.mul(normal, g.mean(g.mul(inner, normal), (1,), keepdim=True)))
    dw, db = g.sum(g.mul(ct, normal), (0,)), g.sum(ct, (0,))
    for outputs in ((dx, dw, db), (normal, db, dw, dx)):
        made = groups(*outputs)
        assert [group.template.name for group in made] == ["slab", "row"]
        assert sum(any(node.spec.numel == 8192 * 1024 for node in group.reads) for group in made) == 1


def test_a_large_bias_gradient_comes_along_too_and_is_not_cut() -> None:
    x, ct = blank(8192, 4096), blank(8192, 2048)
    assert templates(g.matmul(g.transpose(ct), x), g.sum(ct, (0,))) == ["matmul"]
    assert templates(g.matmul(g.transpose(x), ct), g.sum(ct, (0,))) == ["matmul"]
    assert templates(g.sum(ct, (0,))) == ["slab", "row"]


@pytest.mark.parametrize("first", ["sum", "product"])
def test_a_bias_gradient_comes_with_the_weight_gradient(first: str) -> None:
    """The sum of what the product reads as an operand, in whichever order the two are recorded."""
    x, ct = blank(4096, 784), blank(4096, 128)
    if first == "sum":
        db = g.sum(ct, (0,))
        dw = g.matmul(g.transpose(ct), x)
    else:
        dw = g.matmul(g.transpose(ct), x)
        db = g.sum(ct, (0,))
    made = groups(g.sub(blank(128, 784), dw), g.sub(blank(128), g.mul(db, 0.1)))
    assert [group.template.name for group in made] == ["matmul"]
    assert [node.shape for node in made[0].stores] == [(128, 784), (128,)]
    assert templates(g.matmul(g.transpose(ct), x), g.sum(g.mul(ct, ct), (0,))) == ["matmul", "row"]
    assert templates(g.matmul(g.transpose(ct), x), g.amax(ct, (0,))) == ["matmul", "row"]


def test_rows_are_held_whole_where_they_fit_and_no_further() -> None:
    def centred_maximum(rows: int, cols: int) -> list[str]:
        x = blank(rows, cols)
        return templates(g.amax(g.sub(x, g.sum(x, (1,), keepdim=True)), (0, 1)))

    assert centred_maximum(128, 128) == ["slab"]
    assert len(centred_maximum(128, 129)) > 1


def test_independent_maps_share_a_launch_but_not_across_what_they_depend_on() -> None:
    a, b, c = blank(1000), blank(64, 64), blank(7)
    assert templates(g.exp(a), g.exp(b), g.exp(c)) == ["maps"]
    s = g.sum(b, (1,))
    late = g.mul(g.reshape(g.sum(blank(512, 512), (1,)), (512, 1)), blank(1, 256))       # reads what a row kernel wrote
    made = groups(g.exp(a), late, g.exp(s))
    assert [group.template.name for group in made].count("maps") + [g.template.name for g in made].count("map") == 1
    for position, group in enumerate(made):
        for node in group.reads:
            assert node not in made.place or made.place[node].index < position
    x = blank(300)
    chain = g.exp(g.flip(g.sin(g.flip(x, (0,))), (0,)))
    assert len(templates(chain, g.exp(a))) == len(templates(chain)) == 1


def test_a_bundle_has_limits() -> None:
    pairs = [(blank(10 + i), blank(10 + i)) for i in range(300)]
    made = groups(*[g.sub(w, g.mul(d, 0.1)) for w, d in pairs])
    assert [group.template.name for group in made] == ["maps"] * 3
    for group in made:
        assert len(group.reads) + len(group.stores) <= BUNDLE_POINTERS


def test_the_result_of_a_product_is_not_stored_beside_its_epilogue() -> None:
    x, w, b, ct = blank(64, 32), blank(32, 48), blank(48), blank(64, 48)
    h = g.relu(g.add(g.matmul(x, w), b))
    made = groups(g.sum(h, (0,)), g.mul(h, ct))
    assert [group.template.name for group in made] == ["matmul", "row"]
    assert len(made[0].stores) == 2 and all(node.primitive.name != "matmul" for node in made[0].stores)


def test_a_transposed_epilogue_joins_its_product() -> None:
    product = g.matmul(blank(64, 32), blank(32, 48))
    assert templates(g.sub(blank(48, 64), g.mul(g.transpose(product), 0.1))) == ["matmul"]


def test_a_product_with_a_vector_joins_kernels_of_rows() -> None:
    x, w = blank(128, 64), blank(64, 1)
    assert templates(g.softmax(g.mul(x, g.reshape(w, (64,))), 1), g.matmul(x, w)) == ["row"]
    assert templates(g.matmul(blank(64, 1), blank(1, 32))) == ["map"]


def test_values_read_elsewhere_than_they_are_computed_need_another_kernel() -> None:
    x = blank(256, 256)
    s = g.softmax(x, 1)
    assert templates(g.add(s, g.transpose(s))) == ["row", "map"]
    assert templates(g.softmax(s, 0)) == ["row", "row"]
    assert templates(g.softmax(g.softmax(blank(32, 32), 1), 0)) == ["slab"]     # one program has it all


def test_a_cheap_value_is_computed_again_rather_than_stored() -> None:
    x = blank(32, 32)
    y = g.exp(x)
    assert templates(y, g.add(g.transpose(y), 1)) == ["map"]
    dear = x
    for _ in range(CHEAP_OPS + 1):
        dear = g.sin(dear)
    assert templates(dear, g.add(g.transpose(dear), 1)) == ["map", "map"]


def test_a_reduction_takes_along_the_maps_that_it_reads() -> None:
    x = blank(64, 128)
    dear = x
    for _ in range(CHEAP_OPS + 1):
        dear = g.sin(dear)
    made = groups(g.sum(dear, (1,)), g.sum(g.mul(dear, dear), (1,)), dear)
    assert [group.template.name for group in made] == ["row"]
    assert templates(g.sum(dear, (0,)), dear) == ["row"]


def test_long_rows() -> None:
    assert templates(g.sum(blank(256, ROW_MAX), (1,))) == ["row"]
    assert templates(g.sum(blank(256, ROW_MAX + 1), (1,))) == ["reduce"]
    assert templates(g.mul(g.sum(blank(256, ROW_MAX + 1), (1,)), 0.5)) == ["reduce"]
    assert templates(g.amax(blank(1 << 22), (0,))) == ["row", "row"]
    assert templates(g.sum(blank(COLUMNS_MAX + 1, 200), (0,))) == ["row", "row"]
    assert templates(g.sum(blank(8192, 512), (0,))) == ["slab", "row"]


@pytest.mark.parametrize("cols", [ROW_MAX + 1, 100_003, 1 << 20, 99_999, 20 * ROW_MAX])
def test_chunks_cover_a_long_row(cols: int) -> None:
    chunks, length = chunked(cols, ROW_MAX)
    assert (chunks - 1) * length < cols <= chunks * length
    assert length <= ROW_MAX
    if cols % 1024 == 0:
        assert chunks * length == cols


def test_what_has_no_elements_needs_no_kernel() -> None:
    x = blank(0, 5)
    assert templates(g.add(x, 1)) == []
    assert templates(g.sum(x, (0,))) == ["map"]
    assert templates(g.matmul(blank(3, 0), blank(0, 4))) == ["map"]


def test_leaves_are_no_kernels() -> None:
    x = blank(4)
    made, _ = program(g.add(x, 1))
    made = Program(made.values, [*made.inputs[:1], *made.outputs])
    assert [group.template.name for group in schedule(made)] == ["map"]


def test_fusion_can_be_turned_off() -> None:
    with settings.fuse(False):
        assert len(templates(g.softmax(blank(8, 8), 1))) == 5       # amax, sub, exp, sum, div


def test_a_long_chain_is_cut_into_kernels_of_bounded_size() -> None:
    x = blank(16)
    y = x
    for _ in range(3000):
        y = g.add(g.sin(y), x)
    made = groups(y)
    assert all(group.ops <= GROUP_OPS for group in made)
    assert len(made) <= 6000 / (GROUP_OPS - MAX_OPS - 1) + 1


def test_repeated_stencils_stay_small() -> None:
    """Reading a value at two places doubles what is below it: the scheduler stores in between."""
    y = blank(64)
    for _ in range(24):
        y = g.add(y, g.flip(g.slice(g.pad(y, (1,), (66,), (1,)), (2,), (64,), (1,)), (0,)))
    assert 1 < len(groups(y)) <= 24


def test_more_matrices_than_a_grid_has_rows_are_no_matrix_products() -> None:
    assert templates(g.matmul(g.expand(blank(1, 2, 3), (MAX_BATCH, 2, 3)), blank(3, 4))) == ["matmul"]
    assert templates(g.matmul(g.expand(blank(1, 2, 3), (MAX_BATCH + 1, 2, 3)), blank(3, 4))) == ["row"]


def test_indices_are_64_bit_where_a_tensor_has_more_than_2_31_elements() -> None:
    for rows, expected in ((60_000, "tl.int64"), (40_000, "tl.int32")):
        made = groups(g.add(blank(rows, 1), blank(1, 50_000)), g.sum(g.add(blank(rows, 1), blank(1, 50_000)), (1,)))
        types = [Kernel(group, made).index_type for group in made if group.template.numel == rows * 50_000]
        assert types == [expected] * 2


def test_composites_kept_for_numpy_are_lowered() -> None:
    made, _ = program(g.argmax(blank(8, 9), 1))
    assert all(node.primitive.kind is not Kind.COMPOSITE for node in lower(made).values)
    assert templates(g.argmax(blank(8, 9), 1)) == ["row"]


def test_groups_run_in_an_order_in_which_everything_is_there() -> None:
    rng = np.random.default_rng(0)
    nodes = [blank(16, 16) for _ in range(3)]
    for _ in range(120):
        x, y = nodes[rng.integers(len(nodes))], nodes[rng.integers(len(nodes))]
        choice = rng.integers(6)
        nodes.append([lambda: g.add(x, y), lambda: g.matmul(x, y), lambda: g.softmax(x, 1), lambda: g.transpose(x),  # noqa: B023
                      lambda: g.sub(x, g.sum(y, (0,))), lambda: g.mul(g.sin(x), y)][choice]())  # noqa: B023
    made = groups(*[node for node in nodes[-20:] if node.buffer is None])
    for group in made:
        for node in group.reads:
            home = made.place.get(node)
            assert home is None or (home.index < group.index and node in home.stores)


@pytest.mark.parametrize("dtype, operands, rows", [("float16", 2, 8), ("float32", 2, 8), ("float32", 4, 4),
                                                   ("float64", 2, 4)])
def test_a_program_takes_as_many_columns_as_its_registers_hold(dtype: str, operands: int, rows: int) -> None:
    factors: list[Node] = [blank(2048, 512, dtype=from_name(dtype)) for _ in range(operands)]
    made = groups(g.sum(reduce(lambda x, y: g.mul(x, y), factors), (0,)))
    launch = next(iter(Kernel(made[0], made).launches("sm_90", 1)))
    assert (launch.constexprs["BLOCK_R"], launch.constexprs["BLOCK_C"]) == (rows, 2048)
