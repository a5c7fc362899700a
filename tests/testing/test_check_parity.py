"""`check_parity` itself: what it takes, what it tries, what it counts, what it says; shrinking, layouts, samplers."""

import re
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import settings
from microtrain.testing import OracleError, ParityError, Sample, Tolerance, cases, check_parity, checking
from microtrain.testing.cases import samples_of, special_values
from microtrain.testing.closeness import EPSILON, TINY, difference, worst
from microtrain.testing.report import GRADIENT, SECOND, VALUE
from microtrain.testing.running import LAYOUTS, Library, Trial, fitting, laid_out, quantised, run
from microtrain.testing.shrink import TRIES, shrink

QUICK: dict[str, Any] = {"dtypes": ("float32",)}
ONCE: dict[str, Any] = {"order": 0, "layouts": ("contiguous",), **QUICK}


# -------------------------------------------------------------------------------------------- what it takes and counts

def test_every_sample_is_tried_in_every_dtype_and_layout() -> None:
    report = check_parity(mt.tanh, torch.tanh, cases.unary(shapes=((3, 5), ())), dtypes=("float32", "float16"))
    assert report.operations == ["tanh"]
    for order in (VALUE, GRADIENT, SECOND):
        total = report.total(order=order)
        assert (total.tried, total.passed) == (2 * 2 * 4, 2 * 2 * 4)
        assert 0 < total.worst_ulps < 100
    assert checking.SESSION.total().tried == report.total().tried
    assert "tanh" in report.text() and "16/16" in report.text()


@pytest.mark.parametrize("inputs", [
    [np.array([0.5, 1.0])], (np.array([0.5, 1.0]),), np.array([0.5, 1.0]), Sample((np.array([0.5, 1.0]),)),
    [Sample((np.array([0.5, 1.0]),))], lambda rng: [Sample((rng.uniform(size=2),))],
    lambda rng: iter([Sample((rng.uniform(size=2),))])],
    ids=["list", "tuple", "array", "sample", "samples", "sampler", "generator"])
def test_inputs_may_be_given_in_many_ways(inputs: Any) -> None:
    report = check_parity(mt.exp, torch.exp, inputs, order=1, layouts=("contiguous",), **QUICK)
    assert report.total(order=GRADIENT).tried == 1


@pytest.mark.parametrize(("error", "said", "fn", "inputs", "order"), [
    (TypeError, r"inputs must be NumPy arrays, Samples or a sampler .* not str", "exp", ["x"], 2),
    (ValueError, "inputs gave no sample", "exp", [], 2),
    (ValueError, "order must be 0, 1 or 2, not 3", "exp", np.ones(2), 3),
    (OracleError, r"the oracle itself raised RuntimeError for shapes \(\(2,\), \(3,\)\)", "add",
     [np.ones(2), np.ones(3)], 2)])
def test_what_cannot_be_tried_is_refused(error: Any, said: str, fn: str, inputs: Any, order: int) -> None:
    with pytest.raises(error, match=said):
        check_parity(getattr(mt, fn), getattr(torch, fn), inputs, order)


def test_indices_masks_and_constants_are_passed_on() -> None:
    x, mask, index = np.arange(6.0).reshape(2, 3), np.array([True, False, True]), np.array([1, 0, 1])

    def ours(T: Any) -> Any:
        def chosen(x: Any, mask: Any, index: Any, weight: Any, *, factor: float) -> Any:
            assert not mask.requires_grad and not weight.requires_grad
            return T.where(mask, x[index] * factor, weight)[..., :2]
        return chosen

    sample = Sample((x, mask, index, np.ones(3)), {"factor": 3.0}, constant=(3,))
    report = check_parity(ours(mt), ours(torch), sample, layouts=("contiguous", "transposed"), **QUICK)
    assert report.total().failed == 0


def both(T: Any) -> Any:
    return lambda x: (*T.max(x, 1), x.sum())


def first(T: Any) -> Any:
    return lambda x, y: x * 2 if T is mt else x * 2 + y * 0


@pytest.mark.parametrize(("of", "inputs"), [(both, cases.rows(((3, 5),))), (first, cases.alike(2, shapes=((3,),)))],
                         ids=["several results, some of them integers", "a missing gradient is a zero one"])
def test_results_and_gradients_may_be_of_any_kind(of: Any, inputs: Any) -> None:
    assert check_parity(of(mt), of(torch), inputs, **QUICK).total().failed == 0


def test_tolerances_tell_reductions_from_elements() -> None:
    """A small element beside a large one, with an error that only its own scale shows."""
    def nudged(x: Any) -> Any:
        return mt.where(x < 1, x * (1 + 1e-4), x)
    sample = Sample((np.array([1e-3, 100.0]),))
    check_parity(nudged, lambda x: x * 1, sample, **ONCE)
    with pytest.raises(ParityError):
        check_parity(nudged, lambda x: x * 1, sample, tolerance=Tolerance.ELEMENTWISE, **ONCE)
    with pytest.raises(ParityError, match=r"-0\.0"):
        check_parity(lambda x: x * 0.0, lambda x: x.abs() * 0.0, np.array([-1.0, 2.0]), tolerance=Tolerance.EXACT,
                     **ONCE)


def raises(x: Any) -> Any:
    raise KeyError("planted")


@pytest.mark.parametrize(("wrong", "right", "order", "said"), [
    (lambda x: x.to(mt.float64), lambda x: x, 0, r"the value: is float64\[\], the oracle's float32\[\]"),
    (lambda x: x.sum(), lambda x: x.sum(0, keepdim=True), 0, r"the value: is float32\[\], the oracle's float32\[1\]"),
    (lambda x: x, lambda x: (x, x), 0, "the value: 1 results, the oracle has 2"),
    (lambda x: x.detach(), lambda x: x * 1, 1, r"of the results \[\] require grad, of the oracle's \[0\]"),
    (raises, torch.exp, 2, "raises: the value: raised KeyError: 'planted'")])
def test_wrong_dtypes_shapes_and_numbers_of_results_are_found(wrong: Any, right: Any, order: int, said: str) -> None:
    with pytest.raises(ParityError, match=said):
        check_parity(wrong, right, np.ones(3), order, layouts=("contiguous",), **QUICK)


def test_fresh_memory_is_poisoned_meanwhile() -> None:
    seen = []

    def watched(x: Any) -> Any:
        seen.append(settings.poison.value)
        return x + 1
    check_parity(watched, lambda x: x + 1, np.ones(2), order=0, **QUICK)
    assert seen and all(seen)


# -------------------------------------------------------------------------------------------------------- what it says

def test_a_failure_says_all_there_is_to_know() -> None:
    def wrong(x: Any, *, scale: float) -> Any:
        return mt.where(x > 1.5, x * scale * 1.5, x * scale)

    with pytest.raises(ParityError) as caught:
        check_parity(wrong, lambda x, scale: x * scale, cases.unary(shapes=((7, 13),), scale=2.0), order=0, **QUICK)
    error = caught.value
    said = str(error)
    assert said.startswith("wrong: the value: at []: ")
    assert re.search(r"at \[\]: ([\d.]+), expected ([\d.]+), float64 .* \+- .* ulps; 1 of 1 elements differ\)", said)
    where = mt.default_device()
    assert f"in float32 on {where}, contiguous, of []" in said
    assert re.search(r"input 0: float32\[\] [\d.]+", said) and "called with scale=2.0" in said
    assert re.search(rf"shrunk in \d+ steps from float32 on {where}, contiguous, of \[7, 13\]", said)
    assert "and 3 more:" in said and "the value, float32 on" in said
    assert len(error.failures) == 4 and error.smallest.sample.shapes == ((),)
    assert error.report.total().failed == 4 and len(error.report.failures) == 4


# ------------------------------------------------------------------------------------------- shrinking and its samples

def test_shrinking_finds_the_smallest() -> None:
    """A function that fails from five columns on, if an element is larger than 2."""
    values = np.random.default_rng(0).uniform(-3, 3, (7, 4, 13))
    steps = []

    def fails(trial: Trial) -> bool:
        steps.append(trial)
        x, = trial.sample.arrays
        return x.ndim > 0 and x.shape[-1] >= 5 and bool((x > 2).any())

    smallest, count = shrink(Trial(Sample((values,)), inputs="sliced", cotangents="expanded"), fails)
    assert smallest.sample.shapes == ((5,),)
    assert (smallest.inputs, smallest.cotangents) == ("contiguous", "contiguous")
    assert 0 < count < len(steps) <= TRIES


def test_shrinking_keeps_common_lengths_together() -> None:
    left, right = np.ones((17, 33)), np.ones((33, 15))

    def fails(trial: Trial) -> bool:
        x, y = trial.sample.arrays
        return x.ndim == y.ndim == 2 and x.shape[1] == y.shape[0] and x.shape[1] >= 3

    smallest, _ = shrink(Trial(Sample((left, right))), fails)
    assert smallest.sample.shapes == ((1, 3), (3, 1))


def test_shrinking_ends_though_everything_fails() -> None:
    sample = Sample((np.random.default_rng(0).standard_normal((4, 5)), np.arange(3)))
    smallest, _ = shrink(Trial(sample), lambda trial: True)
    assert smallest.sample.shapes == ((), ()) and sum(a.size for a in smallest.sample.arrays) == 2
    assert shrink(Trial(sample), lambda trial: True, tries=0)[1] == 0


# --------------------------------------------------------------------------------------- layouts, samples, derivatives

@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0, 3), (3, 0), (1, 1)])
@pytest.mark.parametrize("T", [mt, torch], ids=["microtrain", "torch"])
def test_a_layout_changes_strides_and_nothing_else(T: Any, shape: tuple[int, ...], layout: str) -> None:
    values = fitting(np.random.default_rng(0).standard_normal(shape), layout)
    base, view = laid_out(Library(T), values, layout, "float64", requires_grad=True)
    np.testing.assert_array_equal(view.detach().cpu().numpy(), values)
    assert base.is_leaf and tuple(view.shape) == shape
    if layout != "contiguous" and len(shape) > 1 and min(shape) > 1:
        assert not view.is_contiguous()
    with pytest.raises(ValueError, match=r"unknown layout 'strided'; there are contiguous, "):
        laid_out(Library(T), values, "strided", "float64")


@pytest.mark.parametrize("dtype", EPSILON)
def test_special_values_are_what_they_are_called(dtype: str) -> None:
    values = special_values(dtype)
    np.testing.assert_array_equal(quantised(values, dtype), values)
    assert values.shape == (19,) and np.isnan(values).sum() == 1 and np.isinf(values).sum() == 2
    assert (np.signbit(values) & (values == 0)).any() and TINY[dtype] in values
    largest, infinity = torch.tensor([values[7], np.inf], dtype=getattr(torch, dtype))
    assert torch.isinf(torch.nextafter(largest, infinity))


@pytest.mark.parametrize("sampler", [cases.unary(), cases.binary(), cases.alike(3), cases.rows(), cases.matrices(),
                                     cases.special(2), cases.given(Sample(()), cases.unary())])
def test_samplers_give_the_same_again(sampler: Any) -> None:
    first, second = (samples_of(sampler, np.random.default_rng(3)) for _ in range(2))
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.arrays, other.arrays, strict=True):
            assert isinstance(a, np.ndarray)
            np.testing.assert_array_equal(a, b)


def test_shapes_catch() -> None:
    sizes = {int(np.prod(shape)) for shape in cases.SHAPES}
    assert {0, 1, 127, 128, 129, 1023, 1025, 7 * 13} <= sizes and () in cases.SHAPES
    assert np.prod(cases.HUGE, dtype=np.int64) > 2 ** 31


def test_derivatives_are_those_of_an_inner_product() -> None:
    """x^3: the gradient is 3 x^2 ct; the second one, of w . 3 x^2 ct, is 6 x ct w for x and 3 x^2 w for ct."""
    x = np.array([0.5, -1.25])
    found = run(Library(mt, "cpu"), lambda x: x * x * x, Trial(Sample((x,)), "float64"))
    (gradient,), (by_x, by_ct) = found.parts[GRADIENT], found.parts[SECOND]
    ct = gradient / (3 * x * x)
    weight = by_ct / (3 * x * x)
    np.testing.assert_allclose(by_x, 6 * x * ct * weight, rtol=1e-12)
    assert (np.abs(ct) >= 0.25).all() and (np.abs(weight) >= 0.25).all()


def test_values_are_rounded_once_for_all() -> None:
    trial = Trial(Sample((np.array([0.1]),)), "bfloat16", order=0)
    for library, dtype in product((Library(mt, "cpu"), Library(torch)), (None, "float64")):
        tensor, = trial.arguments(library, dtype).args
        assert library.array(tensor).astype(np.float64).tolist() == [0.10009765625]


@pytest.mark.parametrize(("got", "oracle", "truth", "right"), [
    (np.inf, np.nan, np.inf, True),             # the oracle's vector code at an infinity, as some processors have it
    (np.nan, np.nan, np.inf, False),            # ... is no excuse
    (np.inf, 3.0, np.inf, True),
    (-np.inf, np.inf, np.inf, False),
    (np.nan, np.inf, np.nan, True),
    (np.inf, np.inf, 3e38, True),               # both overflowed on the way
    (np.float32(3e38), np.inf, 3e38, True),     # only the oracle did
    (np.nan, np.inf, 3e38, False),
    (np.inf, 3.0, 3.0, False),
    (np.nan, 3.0, 3.0, False),
    (3.5, 3.0, 3.0, False)])
def test_the_truth_decides_at_infinities_and_not_the_oracles_vector_code(got: float, oracle: float, truth: float,
                                                                         right: bool) -> None:
    a, b = (np.array([value], np.float32) for value in (got, oracle))
    allowed = np.full(1, 4 * 2.0**-23 * 3.4e38 if truth == 3e38 else 1e-6)
    found = difference(a, b, np.array([truth]), allowed, "float32")
    assert (found is None) is right
    units = worst(a, b, np.array([truth]), Tolerance.ELEMENTWISE, np.zeros(1))
    assert bool(np.isfinite(units)) is (right or got == 3.5)


def test_a_neighbour_has_inputs_and_cotangents_of_its_own() -> None:
    """Else an oracle whose sum of cotangents is right by luck is taken for exact: a gradient of twelve that cancel."""
    trial = Trial(Sample((np.ones((3, 4)), np.array(2.0))))
    drawn = [one.cotangent(Library(torch), np.random.default_rng(1), torch.ones(3, 4), False)[1].numpy()
             for one in (trial, trial.neighbour(0), trial.neighbour(1))]
    inputs = [one.arguments(Library(torch)).args[0].detach().numpy() for one in (trial, trial.neighbour(0))]
    for first, other in (*combinations(drawn, 2), inputs):
        assert 0 < abs(first - other).max() <= 0.01 * abs(first).max() + 1e-6


def test_a_second_gradient_is_known_as_well_as_the_oracle_rounds_its_terms() -> None:
    def tried(noise: float) -> None:
        check_parity(lambda x: x * 3, lambda x: x * 3 + noise * x * x, Sample((np.array([0.005, 0.01]),)),
                     dtypes=("float64",), layouts=("contiguous",))

    tried(1e-18)
    with pytest.raises(ParityError, match="second gradient"):
        tried(1e-14)
