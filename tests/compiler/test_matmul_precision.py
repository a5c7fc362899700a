"""`set_float32_matmul_precision`: PyTorch's words, and no plan used under another precision than it was made for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import ops as g
from microtrain import settings
from microtrain.engine import run
from microtrain.engine.plans import plans
from microtrain.graph import dtypes
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import backend


@pytest.fixture(autouse=True)
def default() -> Iterator[None]:
    with settings.matmul_precision("highest"):
        yield


def test_the_words_and_the_default_are_those_of_pytorch() -> None:
    assert mt.get_float32_matmul_precision() == "highest" == torch.get_float32_matmul_precision()
    for word in ("high", "medium", "highest"):
        mt.set_float32_matmul_precision(word)
        assert mt.get_float32_matmul_precision() == word
    with pytest.raises(ValueError, match=r"expected 'highest', 'high' or 'medium', not 'tf32'"):
        mt.set_float32_matmul_precision("tf32")
    assert mt.get_float32_matmul_precision() == "highest"


def test_the_environment_sets_it_and_nonsense_there_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = settings.matmul_precision
    monkeypatch.delitem(vars(flag), "value", raising=False)
    monkeypatch.setenv("MICROTRAIN_MATMUL_PRECISION", "high")
    assert mt.get_float32_matmul_precision() == "high"
    monkeypatch.delitem(vars(flag), "value")
    monkeypatch.setenv("MICROTRAIN_MATMUL_PRECISION", "tf32")
    with pytest.raises(ValueError, match=r"MICROTRAIN_MATMUL_PRECISION='tf32': expected highest, high or medium"):
        mt.get_float32_matmul_precision()


def test_what_was_recorded_before_is_computed_as_it_was_meant() -> None:
    product = mt.rand(8, 8) @ mt.rand(8, 8)
    assert product.node.buffer is None
    mt.set_float32_matmul_precision("high")
    assert product.node.buffer is not None


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="compiles kernels; this process interprets them")
def test_a_plan_made_under_one_precision_is_not_used_under_another() -> None:
    device = Device("null:sm_90")

    def product(dtype: dtypes.DType) -> str:
        of = spec((64, 64), dtype, device)
        x = leaf(backend("null", "sm_90").empty(of), of)
        before = set(plans.known)
        run.compute([g.matmul(x, x)], device)
        made, = set(plans.known) - before
        return str(plans.known[made].executable.launches[0].constexprs["PRECISION"])

    assert product(dtypes.float32) == "ieee"
    with settings.matmul_precision("high"):
        assert product(dtypes.float32) == "tf32"
        assert product(dtypes.float64) == "ieee"
    with settings.matmul_precision("medium"):
        assert product(dtypes.float32) == "tf32"


def test_where_there_is_no_tf32_products_stay_ieee(device: str, rng: np.random.Generator) -> None:
    if device == "cuda":
        pytest.skip("cuda has TF32")
    a, b = (mt.tensor(rng.standard_normal((17, 19)).astype(np.float32)) for _ in range(2))
    whole = (a @ b.T).cpu().numpy()
    mt.set_float32_matmul_precision("high")
    assert np.array_equal((a @ b.T).cpu().numpy(), whole)
    with settings.validate(True), settings.cache(False):
        assert np.array_equal((a @ b.T).cpu().numpy(), whole)
