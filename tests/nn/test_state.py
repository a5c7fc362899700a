"""State dicts of modules beside PyTorch: extra state, buffers, loading by copy and assignment, pickled parameters."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import microtrain as mt

BOTH = pytest.mark.parametrize("T", [mt, torch], ids=["microtrain", "torch"])


def counter(T: Any) -> Any:
    """A module with state that is no tensor."""
    class Counter(T.nn.Module):         # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = T.nn.Linear(2, 1)
            self.seen = 0

        def get_extra_state(self) -> dict[str, int]:
            return {"seen": self.seen}

        def set_extra_state(self, state: dict[str, int]) -> None:
            self.seen = state["seen"]
    return Counter()


@BOTH
def test_extra_state_goes_along(T: Any) -> None:
    first, second = (T.nn.Sequential(counter(T), counter(T)) for _ in range(2))
    first[1].seen = 3
    state = first.state_dict()
    assert list(state) == ["0._extra_state", "0.inner.weight", "0.inner.bias",
                           "1._extra_state", "1.inner.weight", "1.inner.bias"]
    assert str(second.load_state_dict(pickle.loads(pickle.dumps(dict(state))))) == "<All keys matched successfully>"
    assert [module.seen for module in second] == [0, 3]
    assert T.equal(second[0].inner.weight, first[0].inner.weight)
    first[0].inner.weight.data.zero_()
    assert second[0].inner.weight.any()


@BOTH
def test_extra_state_that_is_missing_or_unexpected(T: Any) -> None:
    without = {name: value for name, value in counter(T).state_dict().items() if name != "_extra_state"}
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "_extra_state"'):
        counter(T).load_state_dict(without)
    loose = counter(T).load_state_dict({**without, "other": T.ones(1)}, strict=False)
    assert (loose.missing_keys, loose.unexpected_keys) == (["_extra_state"], ["other"])
    plain = T.nn.Linear(2, 1)
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "_extra_state"'):
        plain.load_state_dict({**plain.state_dict(), "_extra_state": 1})
    for call in (plain.get_extra_state, lambda: plain.set_extra_state(1)):
        with pytest.raises(RuntimeError):
            call()


@BOTH
def test_buffers_that_are_kept_and_those_that_are_not(T: Any) -> None:
    def make() -> Any:
        module = T.nn.Module()
        module.register_buffer("kept", T.zeros(2))
        module.register_buffer("dropped", T.zeros(2), persistent=False)
        module.register_buffer("absent", None)
        module.register_parameter("weight", T.nn.Parameter(T.ones(2)))
        module.register_parameter("none", None)
        return module

    module = make()
    assert list(module.state_dict()) == ["weight", "kept"] and module.none is None and module.absent is None
    module.dropped = T.ones(2)
    assert list(module.state_dict()) == ["weight", "kept"]
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"dropped"'):
        make().load_state_dict({**module.state_dict(), "dropped": T.ones(2)})
    del module.dropped
    module.register_buffer("dropped", T.ones(2))
    assert list(module.state_dict()) == ["weight", "kept", "dropped"]


@BOTH
def test_all_that_is_wrong_is_told_at_once_and_nothing_changes(T: Any) -> None:
    model = T.nn.Sequential(T.nn.Linear(2, 2), T.nn.Linear(2, 1))
    before = copy.deepcopy(dict(model.state_dict()))
    with pytest.raises(RuntimeError) as info:
        model.load_state_dict({"0.weight": T.ones(3, 3), "0.bias": T.ones(2), "1.weight": 3, "x": T.ones(1)})
    for words in ("Error(s) in loading state_dict for Sequential:", 'Missing key(s) in state_dict: "1.bias"',
                  'Unexpected key(s) in state_dict: "x"', "size mismatch for 0.weight: copying a param with shape "
                  "torch.Size([3, 3]) from checkpoint, the shape in current model is torch.Size([2, 2]).",
                  'While copying the parameter named "1.weight", expected torch.Tensor or Tensor-like object'):
        assert words in str(info.value)
    if T is mt:                         # PyTorch has copied what fits by then
        assert all(T.equal(value, before[name]) for name, value in model.state_dict().items())


@BOTH
def test_loading_by_assignment(T: Any) -> None:
    model = T.nn.BatchNorm1d(2)
    model.bias.requires_grad_(False)
    old = model.weight
    given = {"weight": T.full((2,), 3.0, dtype=T.float64), "bias": T.nn.Parameter(T.ones(2)),
             "running_mean": T.ones(2), "running_var": T.ones(2), "num_batches_tracked": T.tensor(7)}
    model.load_state_dict(given, assign=True)
    assert model.weight is not old and type(model.weight) is T.nn.Parameter and model.weight.dtype is T.float64
    assert model.weight.requires_grad and model.bias is given["bias"] and not model.bias.requires_grad
    assert model.running_mean is given["running_mean"] and model.num_batches_tracked.item() == 7
    assert [name for name, _ in model.named_parameters()] == ["weight", "bias"]
    model.load_state_dict({**given, "weight": T.full((2,), 5.0)})
    assert model.weight.dtype is T.float64 and model.weight.tolist() == [5, 5]


@BOTH
def test_a_state_dict_is_put_into_another(T: Any) -> None:
    module = T.nn.Module()
    module.register_buffer("a", T.zeros(()))
    module.load_state_dict({"a": T.ones(1)})                # one element fits no axes
    assert module.a.item() == 1 and module.a.shape == ()
    into = {"first": 1}
    model = T.nn.Linear(2, 1)
    assert model.state_dict(destination=into, prefix="l.") is into and list(into) == ["first", "l.weight", "l.bias"]
    assert model.state_dict(keep_vars=True)["weight"] is model.weight
    model.state_dict()["weight"].fill_(7)
    assert model.weight.tolist() == [[7, 7]]


@BOTH
def test_batches_are_counted_and_averaged_alike(T: Any) -> None:
    model = T.nn.BatchNorm1d(2, momentum=None)
    def batch(i: float) -> Any:
        return T.tensor([[i, 2 * i], [i + 1, 2 * i + 2], [i + 2, 2 * i + 4]])

    for i in range(4):
        model(batch(float(i)))
    assert model.num_batches_tracked.dtype is T.int64 and model.num_batches_tracked.item() == 4
    assert model.running_mean.tolist() == [2.5, 5] and model.running_var.tolist() == [1, 4]
    other = T.nn.BatchNorm1d(2, momentum=None)
    other.load_state_dict(model.state_dict())
    for one in (model, other):
        one(batch(4.0))
    assert other.running_mean.tolist() == model.running_mean.tolist() == [3, 6]
    assert model.half().num_batches_tracked.dtype is T.int64
    model.eval()(T.ones(3, 2, dtype=T.float16))
    assert model.num_batches_tracked.item() == 5
    model.reset_running_stats()
    assert model.num_batches_tracked.item() == 0


@pytest.mark.parametrize("statistics", ["float32", "half"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_running_statistics_of_half_precision_are_those_of_float32_rounded_once(dtype: str, statistics: str) -> None:
    found = []
    for T in (mt, torch):
        half, model = getattr(T, dtype), T.nn.BatchNorm1d(1)
        if statistics == "half":
            model.to(half)
        T.nn.functional.batch_norm(T.tensor([[1.0], [2.0], [6.0]], dtype=half), model.running_mean, model.running_var,
                                   model.weight, model.bias, True)
        found.append([model.running_mean.tolist(), model.running_var.tolist()])
    assert found[0] == found[1]


@BOTH
@pytest.mark.parametrize("momentum", [0.5, None])
def test_statistics_that_are_no_longer_tracked(T: Any, momentum: Any) -> None:
    """The flag counts as it is when the module is called: a batch is then normalised by itself and leaves no trace."""
    model = T.nn.BatchNorm1d(1, momentum=momentum)
    x = T.tensor([[1.0], [3.0]])
    model(x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.track_running_stats = False
    assert [round(v, 2) for v in model(x * 9).flatten().tolist()] == [-1, 1]
    assert all(T.equal(value, before[name]) for name, value in model.state_dict().items())
    assert T.equal(model.eval()(x), T.nn.functional.batch_norm(x, before["running_mean"], before["running_var"]))


@BOTH
@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("copied", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_copied_parameter_is_a_parameter(T: Any, requires_grad: bool, copied: Any) -> None:
    parameter = T.nn.Parameter(T.ones(2), requires_grad=requires_grad)
    other = copied(parameter)
    assert type(other) is T.nn.Parameter and other.requires_grad is requires_grad and other.is_leaf
    assert other.grad is None and T.equal(other, parameter)
    if requires_grad:
        (other * 3).sum().backward()
        assert other.grad.tolist() == [3, 3] and parameter.grad is None


@BOTH
def test_a_pickled_module_trains_on(T: Any) -> None:
    model = T.nn.Sequential(T.nn.Linear(2, 3), T.nn.BatchNorm1d(3), T.nn.Linear(3, 3))
    model.append(model[2])
    other = pickle.loads(pickle.dumps(model))
    assert other[2].weight is other[3].weight and len(list(other.parameters())) == len(list(model.parameters())) == 6
    assert all(type(p) is T.nn.Parameter and p.requires_grad for p in other.parameters())
    x = T.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert T.equal(other(x), model(x)) and T.equal(other[1].running_mean, model[1].running_mean)
    other(x).sum().backward()
    assert other[0].bias.grad is not None and model[0].bias.grad is None


@BOTH
def test_a_state_dict_from_before_batches_were_counted(T: Any) -> None:
    model = T.nn.Sequential(T.nn.Linear(2, 2), T.nn.BatchNorm1d(2))
    model(T.tensor([[1.0, 2.0], [3.0, 5.0]]))
    given = model.state_dict()
    old = {name: T.full_like(value, 3.0) for name, value in given.items() if name != "1.num_batches_tracked"}
    assert str(model.load_state_dict(old)) == "<All keys matched successfully>"
    assert model[1].running_var.tolist() == [3, 3] and model[1].num_batches_tracked.item() == 1
    del given["1.num_batches_tracked"]          # it says itself that it is not from before
    for state in (given, pickle.loads(pickle.dumps(given))):
        with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "1.num_batches_tracked"'):
            model.load_state_dict(state)
    del old["1.running_var"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "1.running_var"\.'):
        model.load_state_dict(old)


@BOTH
def test_a_parameter_that_is_another_things_name(T: Any) -> None:
    layer = T.nn.Linear(2, 1, bias=False)
    for value in (T.nn.ReLU(), T.ones(1, 2), np.ones((1, 2))):
        with pytest.raises(TypeError, match=r"cannot assign .* as parameter 'weight'"):
            layer.weight = value
    assert "weight" in dir(layer) and not callable(getattr(T.nn.Linear, "weight", None))
    del layer.weight
    assert not hasattr(layer, "weight") and "weight" not in dir(layer)
    layer.weight = T.ones(1, 2)
    assert "weight" in dir(layer) and layer(T.ones(1, 2)).item() == 2 and not list(layer.parameters())
    assert copy.deepcopy(layer)(T.ones(1, 2)).item() == 2

    class Doubled(T.nn.Linear):                 # type: ignore[name-defined,misc]
        weight = property(lambda self: self.inner * 2)

        def __init__(self) -> None:
            T.nn.Module.__init__(self)
            self.inner, self.bias = T.nn.Parameter(T.ones(1, 2)), None

    assert Doubled()(T.ones(1, 2)).item() == 4


@BOTH
def test_integers_are_not_assigned_to_what_is_trained(T: Any) -> None:
    model = T.nn.Linear(2, 1)
    state = {"weight": T.ones(1, 2) * 5, "bias": T.tensor([3])}
    before = model.weight.tolist()
    with pytest.raises(RuntimeError, match=r'(?s)state_dict for Linear.*named "bias".*[Oo]nly Tensors of floating'):
        model.load_state_dict(state, assign=True)
    if T is mt:             # nothing of it, where PyTorch has the weight
        assert model.weight.tolist() == before
    model.bias.requires_grad_(False)
    model.load_state_dict(state, assign=True)
    assert model.bias.dtype is T.int64 and model.weight.tolist() == [[5, 5]] and model.weight.requires_grad


@pytest.mark.parametrize("arguments", """('cpu')|(T.float64)|('cpu', T.float64)|(T.float64, 'cpu')
('cpu', dtype=T.float64)
(T.ones(1, dtype=T.float64))|(T.ones(1), dtype=T.float64)|(T.ones(1), True)|(T.float64, True)|('cpu', True)|(None)|()
(None, T.float64)|('cpu', T.float64, True)|('cpu', T.float64, True, True, 1)|([])|(None, True)|(dtype=3)|(device=3.5)
('cpu', 'cpu')|(copy=True)|(copy=1)|(non_blocking='a')|(non_blocking=True)|(nonsense=1)|(T.float64, dtype=T.float64)
(T.float64, T.float32)""".replace("\n", "|").split("|"))
def test_what_is_moved_and_how(arguments: str) -> None:
    for form in ("T.arange(3.).to{}.dtype", "T.nn.Linear(1, 1).to{}.weight.dtype"):
        found = []
        for T in (mt, torch):
            try:
                found.append(str(eval(form.format(arguments), {"T": T})))
            except (TypeError, RuntimeError) as error:
                found.append(type(error).__name__)
        assert found[0] == found[1], form


@BOTH
def test_methods_of_a_childs_own_are_called(T: Any) -> None:
    class Frozen(T.nn.BatchNorm1d):     # type: ignore[misc, name-defined]
        def train(self, mode: bool = True) -> Any:
            return super().train(False)

        def state_dict(self, *args: Any, **options: Any) -> Any:
            found = super().state_dict(*args, **options)
            del found[options.get("prefix", "") + "num_batches_tracked"]
            return found

    model = T.nn.Sequential(T.nn.Sequential(Frozen(2)), T.nn.BatchNorm1d(2))
    model.eval().train()
    assert [module.training for module in model.modules()] == [True, True, False, True]
    before = model.state_dict()
    assert [*before] == [*(f"0.0.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
                         *(f"1.{name}" for name in T.nn.BatchNorm1d(2).state_dict())]
    assert [*before._metadata] == ["", "0", "0.0", "1"]
    model.add_module("other", T.nn.ReLU())
    assert "0" not in dir(model) and {"other", "training"} <= {*dir(model)}     # places are no attributes
    del model.other
    model(T.arange(6.0).reshape(3, 2))
    assert model[0][0].running_mean.tolist() == [0, 0] != model[1].running_mean.tolist()


def test_methods_that_are_never_called_are_told_of() -> None:
    for name in ("_save_to_state_dict", "_load_from_state_dict"):
        with pytest.warns(UserWarning, match=f"Own.{name} is never called here: .* by get_extra_state") as told:
            type("Own", (mt.nn.Linear,), {name: lambda self, *args: None})
        assert told[0].filename == __file__
