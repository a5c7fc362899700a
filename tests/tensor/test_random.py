"""Random numbers at the edges of their ranges, what none can be drawn from, and the state of the generator."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain.graph.dtypes import below, from_name
from microtrain.runtime.philox import philox_bits
from tests.conftest import DEVICE
from tests.tensor.test_edges import check

MANY = 50_000 if DEVICE == "cpu" else 4_000
FLOATS = ("float16", "bfloat16", "float32", "float64")
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24}


def found(tensor: mt.Tensor) -> np.ndarray:
    return np.asarray(tensor.double().cpu().numpy())


@pytest.mark.parametrize("dtype", DIGITS)
def test_uniform_numbers_have_as_many_bits_as_their_dtype(dtype: str) -> None:
    """So the same on every device, and none is rounded up to 1."""
    mt.manual_seed(3)
    drawn = found(mt.rand(MANY, dtype=getattr(mt, dtype)))
    bits = philox_bits(3, 1, MANY) >> (32 - DIGITS[dtype])
    np.testing.assert_array_equal(drawn, bits * 2.0 ** -DIGITS[dtype])
    assert drawn.max() < 1
    counts = np.bincount((drawn * 64).astype(int), minlength=64)
    assert np.sum((counts - MANY / 64) ** 2 / (MANY / 64)) < 63 + 5 * np.sqrt(2 * 63)   # chi-squared, 5 sigma


def test_numbers_of_two_words() -> None:
    """A float64 has 27 bits of the first word and 26 of the second; Box and Muller take 24 of each."""
    mt.manual_seed(3)
    drawn = found(mt.rand(100, dtype=mt.float64)), found(mt.randn(100)), found(mt.randn(100, dtype=mt.float64))
    words = [[philox_bits(3, stream, 100, word).astype(np.int64) for word in (0, 1)] for stream in (1, 2, 3)]
    np.testing.assert_array_equal(drawn[0], ((words[0][0] >> 5) * 2**26 + (words[0][1] >> 6)) * 2.0**-53)
    for got, (first, second), rtol in zip(drawn[1:], words[1:], (2e-5, 1e-12), strict=True):
        radius = np.sqrt(-2 * np.log(((first >> 8) + 1) * 2.0**-24))
        np.testing.assert_allclose(got, radius * np.cos(2 * np.pi * (second >> 8) * 2.0**-24), rtol, 1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("low", "high"), [(2, 3), (-1, 1), (0.0, 1e-3), (1000, 1001), (-3e4, 3e4), (0.1, 0.1), (5, 5)])
def test_uniform_numbers_stay_below_their_bound(dtype: str, low: float, high: float) -> None:
    for fill in (mt.Tensor.uniform_, mt.nn.init.uniform_):
        drawn = found(fill(mt.empty(MANY, dtype=getattr(mt, dtype)), low, high))
        held = found(mt.tensor([low, high], dtype=getattr(mt, dtype)))
        step = abs(held - [low, high]).max() + high - below(from_name(dtype), high)
        assert drawn.min() >= held[0] and (drawn.max() < high or (low == high and drawn.max() == held[1]))
        assert low == high or abs(drawn.mean() - (low + high) / 2) < 0.02 * (high - low) + step


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_numbers_are_finite(dtype: str) -> None:
    drawn = found(mt.empty(MANY, dtype=getattr(mt, dtype)).normal_(1, 2))
    assert 6 < np.abs(drawn).max() < 15 and abs(drawn.mean() - 1) < 0.2 and abs(drawn.std() - 2) < 0.2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("low", "high"), [(0, 10_000), (-9_999, 3), (0, 5), (-60_001, 60_001)])
def test_integers_of_a_floating_dtype_stay_between_their_bounds(dtype: str, low: int, high: int) -> None:
    drawn = found(mt.randint(low, high, (MANY,), dtype=getattr(mt, dtype)))
    assert low <= drawn.min() < low + (high - low) / 4 and high - (high - low) / 4 - 1 <= drawn.max() < high
    assert (drawn == np.round(drawn)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("p", [0.0, 0.001, 0.3, 0.999, 1.0])
def test_dropout_in_every_precision(dtype: str, p: float) -> None:
    """0.999 is 1 in bfloat16, and yet one of a thousand is kept; the gradient is that of a product with the mask."""
    x = mt.ones(MANY, dtype=getattr(mt, dtype), requires_grad=True)
    y = mt.nn.functional.dropout(x, p)
    (y * 3).sum().backward()
    assert x.grad is not None
    kept = found(y.detach()) != 0
    assert abs(kept.mean() - (1 - p)) <= 5 * (p * (1 - p) / MANY) ** 0.5
    np.testing.assert_allclose(found(y.detach())[kept], 1 / (1 - p) if p < 1 else 0, rtol=5e-3)
    np.testing.assert_allclose(found(x.grad), found(y.detach()) * 3, rtol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_probabilities_are_not_rounded(dtype: str) -> None:
    p = mt.tensor([0.001, 0.999], dtype=getattr(mt, dtype))
    for drawn in (mt.bernoulli(p.expand(MANY, 2)), mt.empty(MANY, 2, dtype=p.dtype).bernoulli_(p)):
        assert (abs(found(drawn).mean(0) - [0.001, 0.999]) < 5 * (0.001 / MANY) ** 0.5).all()


@pytest.mark.parametrize("expression", """
f.uniform_(2, 1)|f.uniform_(nan, 1)|f.uniform_(0, inf)|h.uniform_(0, 1e6)|h.uniform_(-60000, 60000)|l.uniform_()
f.normal_(0, -1)|f.normal_(0, nan)|f.normal_(0, 0)|l.normal_()|f.bernoulli_(1.5)|f.bernoulli_(-0.1)|f.bernoulli_(nan)
f.bernoulli_(1.0)|f.bernoulli_(0.0)|f.bernoulli_(T.tensor([0.0, 1.0, 1.0]))|f.bernoulli_(T.tensor([0.0, 1.0, 2.0]))
l.bernoulli_(1.0)|T.bernoulli(T.tensor([0.0, 1.0]))|T.bernoulli(T.tensor([nan]))|T.bernoulli(T.tensor([1.5, 0.0]))
T.bernoulli(T.tensor([-0.5]))|T.bernoulli(T.tensor([-0.0]))|T.bernoulli(T.tensor([1.0000001]))
T.bernoulli(T.tensor([]))|T.bernoulli(f, 1.0)|T.bernoulli(f, 2.0)|T.bernoulli(T.tensor([1]))|T.rand(-1)|T.randn(2, -1)
T.randint(-1, (2,))|T.randint(0, (2,))|T.randint(3, 3, (2,))|T.randint(3, 2, (2,))|T.randint(0, 1, (2,))
T.randint(0, 1, (-2,))|T.randint(0, 300, (2,), dtype=T.uint8)|T.randint(0.0, 3, (2,))
T.randint(-1, 3, (2,), dtype=T.uint8)|T.randint(0, 129, (2,), dtype=T.int8)|T.randint(0, 100000, (2,), dtype=T.float16)
T.randint(0, 3, (2,), dtype=T.bool)|T.randint(high=1, size=(2,))|T.randint(3, 2)|T.randperm(-1)|T.randperm(0)
T.randperm(1)|T.randperm(1.0)|T.randperm("a")|T.randperm(300, dtype=T.uint8)|T.randperm(np.int64(1))
T.randperm(2050, dtype=T.float16)|T.randperm(2049, dtype=T.float16).sort()[0]
T.randperm(257, dtype=T.bfloat16).sort()[0]|T.arange(end=3)|T.arange(0, 5, 1.5, dtype=T.int32)
T.arange(0, -5, -1.5, dtype=T.int64)|T.arange(0.5, 5, 1.5, dtype=T.int16)|T.arange(0.9, 5.9, 1, dtype=T.int64)
T.arange(0, 2, 0.5, dtype=T.int64)|T.arange(0, 5, 1.5, dtype=T.float16)|T.arange(1, end=3)
T.eye(T.tensor(2), T.tensor(1))
T.randperm(T.tensor(1))|T.randperm(T.tensor(1.0))|T.tril_indices(T.tensor(2), 2)
F.one_hot(T.tensor([1]), T.tensor(3))|T.ones(3).topk(T.tensor(1))[0]|T.eye(T.tensor([2, 2]))
T.rand(2, dtype=T.int64)|T.arange(0, 3, 0)|T.arange(0, inf)|T.arange(nan)|T.arange(0, 3, nan)|T.arange(3, 0)
T.arange(-1)|T.arange(1e30)|T.arange(2**63)|T.arange(1, 2, 1e-20)|T.arange(T.tensor(3))|T.arange(np.int64(3))
T.arange(np.float32(3))|T.arange(0, 3, -1)|T.arange(0, 1, 0.3)|T.linspace(0, 1, -1)|T.linspace(0, 1, 0)
T.linspace(0, 1, 2.5)|T.linspace(0, 300, 3, dtype=T.uint8)|T.linspace(0, 9, T.tensor(3))|T.eye(-1)|T.eye(2, -1)
T.ones(2, -3)|T.full((2, -1), 1)|f.new_zeros(-1)|T.zeros(T.tensor(2))|F.one_hot(T.tensor([0, 3]), 2)
F.one_hot(T.tensor([-1]), 2)|F.one_hot(T.tensor([0]), -2)|F.dropout(f, -0.1)|F.dropout(f, 1.1)|nn.Dropout(-1)
nn.Dropout(2)|T.manual_seed(-1).initial_seed()|T.manual_seed(2**64).initial_seed()|T.manual_seed(2**63).initial_seed()
T.manual_seed(-(2**63)).initial_seed()|T.manual_seed(-(2**63) - 1).initial_seed()
T.manual_seed(np.int64(3)).initial_seed()|T.manual_seed(T.tensor(3)).initial_seed()|T.set_rng_state(1)
T.set_rng_state(f)|T.get_rng_state().dtype == T.uint8|T.Generator().manual_seed(-1).initial_seed()
T.random.manual_seed(3).initial_seed()
""".replace("\n", "|").strip("|").split("|"))
def test_what_cannot_be_drawn_or_made(expression: str) -> None:
    try:
        check(expression)
    finally:
        mt.manual_seed(0)
        torch.manual_seed(0)


@pytest.mark.skipif(DEVICE == "cuda", reason="on a GPU indices are not looked at")
@pytest.mark.parametrize("expression", ["F.embedding(T.tensor([5]), T.ones(3, 2))", "nn.Embedding(3, 2)(T.tensor([3]))",
                                        "F.embedding(T.tensor([-1]), T.ones(3, 2))"])
def test_rows_that_an_embedding_has_not(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize("p", [float("nan"), -0.1, 1.5])
def test_a_dropout_of_no_probability(p: float) -> None:
    for drop in (lambda: mt.nn.Dropout(p), lambda: mt.nn.functional.dropout(mt.ones(2), p)):
        with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1, but got"):
            drop()


def test_a_large_seed_is_not_a_small_one() -> None:
    drawn = {tuple(mt.rand(4, generator=mt.Generator().manual_seed(seed)).tolist())
             for seed in (0, 1, -1, 2**63, 2**63 - 1, -(2**63) + 1, 2**64 - 2, 2**32)}
    assert len(drawn) == 8


def test_the_state_goes_into_a_checkpoint_and_back(tmp_path: Any) -> None:
    mt.rand(5)
    mt.train.checkpoint.save({"state": mt.get_rng_state()}, tmp_path / "x.npz")
    expected = [mt.rand(3).tolist(), mt.randn(2).tolist(), mt.randperm(7).tolist()]
    mt.set_rng_state(mt.train.checkpoint.load(tmp_path / "x.npz")["state"])
    assert [mt.rand(3).tolist(), mt.randn(2).tolist(), mt.randperm(7).tolist()] == expected


@pytest.mark.parametrize("state", [lambda: (mt.get_rng_state, mt.set_rng_state), lambda: (
    mt.random.get_rng_state, mt.random.set_rng_state), lambda: (mt.cuda.get_rng_state, mt.cuda.set_rng_state)])
def test_the_state_is_saved_and_restored(state: Any) -> None:
    get, put = state()
    mt.manual_seed(-7)
    mt.rand(5)
    saved = get()
    expected = mt.rand(4).tolist()
    assert mt.rand(4).tolist() != expected
    put(saved)
    assert mt.rand(4).tolist() == expected and mt.initial_seed() == 2**64 - 7


def test_the_states_of_all_devices() -> None:
    saved = mt.cuda.get_rng_state_all()
    assert len(saved) == mt.cuda.device_count()
    expected = mt.rand(4).tolist()
    mt.cuda.set_rng_state_all(saved)
    assert (mt.rand(4).tolist() == expected) == (mt.cuda.device_count() > 0)


def test_a_fork_leaves_the_generator_as_it_was() -> None:
    saved = mt.get_rng_state()
    expected = mt.rand(4).tolist()
    mt.set_rng_state(saved)
    with pytest.raises(KeyError), mt.random.fork_rng():
        mt.manual_seed(99)
        mt.rand(2)
        raise KeyError
    assert mt.rand(4).tolist() == expected
    with mt.random.fork_rng(enabled=False):
        mt.set_rng_state(saved)
    assert mt.rand(4).tolist() == expected


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, mt.Generator.clone_state,
                                    lambda g: pickle.loads(pickle.dumps(g)),
                                    lambda g: mt.Generator().set_state(g.get_state())])
def test_generators_are_copied(copied: Any) -> None:
    generator = mt.Generator().manual_seed(2**64 - 3)
    mt.rand(2, generator=generator)
    other = copied(generator)
    assert mt.rand(3, generator=other).tolist() == mt.rand(3, generator=generator).tolist()
    mt.rand(1, generator=other)
    assert other.initial_seed() == generator.initial_seed()
    assert mt.rand(3, generator=other).tolist() != mt.rand(3, generator=generator).tolist()
