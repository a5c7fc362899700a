"""The first NaN or infinity is caught where it is made, forward or backward, and the user's line is named."""

import math

import pytest

import microtrain as mt
import microtrain.nn.functional as F
from microtrain import settings, testing
from microtrain.autograd import AnomalyError
from tests.conftest import DEVICE

pytestmark = pytest.mark.usefixtures("nothing_pending")


def line_of(marker: str) -> int:
    with open(__file__) as file:
        return next(number for number, text in enumerate(file, 1) if text.rstrip().endswith(f"# {marker}"))


def test_forward_names_the_operation_the_shapes_the_place_and_the_line():
    x = mt.tensor([1.0, 2.0, 100.0])
    with testing.detect_anomaly(), pytest.raises(AnomalyError) as caught:
        y = x * 2
        y = y.exp()  # overflow
        y.sum()
    error = caught.value
    assert str(error).startswith("exp made infinity (forward): exp(float32[3]) -> float32[3] has inf at [2], from "
                                 "200.0 (1 of 3 elements)")
    assert f"{__file__}:{line_of('overflow')}, in test_forward" in error.line and "y = y.exp()" in error.line
    assert (error.operation, error.backward, error.index, error.value) == ("exp", False, (2,), math.inf)


def test_backward_names_the_line_that_recorded_the_operation():
    x = mt.tensor([4.0, 0.0], requires_grad=True)
    with testing.detect_anomaly():
        root = x.sqrt()  # root
        loss = (root * 3).sum()
        with pytest.raises(AnomalyError) as caught:
            loss.backward()
    error = caught.value
    assert error.backward and error.index == (1,) and "in the derivative of SqrtBackward0" in str(error)
    assert f":{line_of('root')}," in error.line and "root = x.sqrt()" in error.line


MADE = {
    "a difference of infinities": (lambda: mt.tensor([math.inf, 1.0]) - mt.tensor([math.inf, 0.0]),
                                   r"sub made NaN .* nan at \[0\], from inf and inf"),
    "NaN in the data": (lambda: mt.tensor([1.0, math.nan]) * 2, "mul was given NaN"),
    "poisoned memory": (lambda: settings.poison(True)(lambda: mt.empty(3).exp())(), "exp was given NaN"),
}


@pytest.mark.parametrize("case", MADE)
def test_found_where_it_is_made_or_first_read(case: str):
    compute, words = MADE[case]
    with testing.detect_anomaly(), pytest.raises(AnomalyError, match=words):
        compute()


def test_an_infinity_put_in_by_hand_passes():
    x = mt.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with testing.detect_anomaly():
        masked = x.masked_fill(mt.tensor([[False, True], [False, False]]), -math.inf)
        weights = masked.softmax(1)
        weights.square().sum().backward()
    assert weights.tolist()[0] == [1.0, 0.0]
    assert mt.isfinite(x.grad).all().item()


def test_memory_poisoned_on_purpose_is_not_what_an_operation_made():
    with settings.poison(True), testing.detect_anomaly():
        x = mt.empty(3)
        x.fill_(2.0)
        assert x.exp().isfinite().all().item()


def test_inside_a_composite_and_in_a_second_derivative():
    p = mt.tensor([0.0, 0.5], requires_grad=True)
    with testing.detect_anomaly():
        first, = mt.autograd.grad((p ** 1.5).sum(), p, create_graph=True)
        with pytest.raises(AnomalyError) as caught:
            mt.autograd.grad(first.sum(), p)  # second
    assert caught.value.backward and caught.value.value == math.inf


def test_in_place_and_library_code_name_the_users_line():
    w = mt.tensor([1e38], requires_grad=True)
    with testing.detect_anomaly(), mt.no_grad(), pytest.raises(AnomalyError) as caught:
        w *= 1e10  # in place
    assert f":{line_of('in place')}," in caught.value.line
    layer = mt.nn.Linear(2, 2)
    with mt.no_grad():
        layer.weight.fill_(3e38)
    with testing.detect_anomaly(), pytest.raises(AnomalyError, match=r"recorded at .*test_anomaly\.py"):
        F.relu(layer(mt.tensor([[10.0, 10.0]])))


def test_off_it_costs_and_says_nothing_and_training_is_the_same():
    def train() -> list[float]:
        mt.manual_seed(1)
        model = mt.nn.Linear(3, 1)
        optimizer = mt.optim.SGD(model.parameters(), lr=0.1)
        x = mt.randn(8, 3)
        for _ in range(3):
            loss = F.mse_loss(model(x), x[:, :1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [float(v) for p in model.parameters() for v in p.reshape(-1).tolist()]

    plain = train()
    assert not mt.autograd.is_anomaly_enabled()
    with testing.detect_anomaly():
        assert mt.autograd.is_anomaly_enabled()
        watched = train()
    assert plain == pytest.approx(watched, rel=1e-6)
    assert train() == plain
    (mt.zeros(2) / 0).tolist()


def test_check_nan_false_only_separates_the_operations():
    with testing.detect_anomaly(check_nan=False), testing.count_kernels() as counted:
        (mt.zeros(3, requires_grad=True).log() * 2 + 1).tolist()
    assert counted.kernels >= 3 and DEVICE


def breaking(backward, name: str = "Broken"):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2
    return type(name, (mt.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


BROKEN = {
    "computed": lambda ctx, g: g * (ctx.saved_tensors[0] - ctx.saved_tensors[0]).log() * 0,
    "given": lambda ctx, g: mt.tensor([math.nan, 1.0]),
    "filled": lambda ctx, g: mt.full((2,), math.nan),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("around", ["nothing", "operations", "a function"])
def test_a_users_function_is_named_in_backward_itself(case: str, around: str):
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    with testing.detect_anomaly():
        h = {"nothing": lambda: x, "operations": lambda: x.exp(),
             "a function": lambda: breaking(lambda ctx, g: g * 2, "Sound").apply(x)}[around]()
        y = breaking(BROKEN[case]).apply(h)  # applied
        loss = (y * 3).sum()
        with pytest.raises(AnomalyError, match="in the derivative of BrokenBackward") as caught:
            loss.backward()
    error = caught.value
    assert error.backward and f":{line_of('applied')}," in error.line
    if case == "computed":
        assert "in the backward at" in str(error) and "in <lambda>:" in str(error)
    else:
        assert "Function 'BrokenBackward' returned nan values in its 0th output." in str(error)
    assert x.grad is None and mt.is_grad_enabled()


def test_a_forward_is_named_by_its_function_and_line():
    class Divides(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x / 0  # divided
    with testing.detect_anomaly(), pytest.raises(AnomalyError) as caught:
        Divides.apply(mt.ones(2, requires_grad=True))
    assert f":{line_of('divided')}," in caught.value.line and "Divides.forward" in caught.value.line
    assert not caught.value.backward


def test_a_hook_is_named():
    x = mt.ones(2, requires_grad=True)

    def dividing(g):
        return g / 0  # hooked

    def lost(g):
        return mt.tensor([math.nan, 1.0])
    with testing.detect_anomaly():
        y = x * 3
        handle = y.register_hook(dividing)
        with pytest.raises(AnomalyError, match=rf"backward at .*:{line_of('hooked')}, in .*dividing") as caught:
            y.sum().backward(retain_graph=True)
        assert caught.value.backward
        handle.remove()
        y.register_hook(lost)
        with pytest.raises(AnomalyError, match="hook 'lost' made NaN"):
            y.sum().backward()


def test_what_was_recorded_before_is_said_to_be():
    x = mt.ones(2, requires_grad=True)
    y = breaking(BROKEN["given"]).apply(x)
    with testing.detect_anomaly(), pytest.raises(AnomalyError, match=r"BrokenBackward[^$]*run before detect_anomaly"):
        y.sum().backward()


def test_the_mode_ends_with_its_block_whatever_happens():
    x = mt.ones(2, requires_grad=True)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), testing.detect_anomaly(), testing.detect_anomaly(check_nan=False):
            breaking(lambda ctx, g: 1 / 0).apply(x).sum().backward()
        assert not mt.autograd.is_anomaly_enabled() and mt.is_grad_enabled()
    with mt.autograd.set_detect_anomaly(True):
        with mt.autograd.set_detect_anomaly(False):
            assert not mt.autograd.is_anomaly_enabled()
        assert mt.autograd.is_anomaly_enabled()
    assert not mt.autograd.is_anomaly_enabled()
    assert mt.zeros(2).log().tolist() == [-math.inf] * 2
