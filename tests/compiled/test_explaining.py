"""What a compiled step says of itself."""

import pytest

import microtrain as mt
from microtrain import nn, optim
from microtrain.errors import CompileError


def test_structures_and_the_last_loop_are_told():
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5))
    optimizer = optim.Adam(model.parameters())

    @mt.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    assert step.explain() == "not called yet"
    x, y = mt.rand(12, 3), mt.rand(12, 1)
    step(x, y)
    told = step.explain()
    assert told.startswith(f"structure 1: replayed on {x.device}; ") and "last loop" not in told
    for said in ("argument 0", "argument 1", "7 of Adam", "2 of a generator", "changes model.0.weight, model.0.bias"):
        assert said in told
    step.loop((x, y), steps=10, batch_size=4)
    told = step.explain()
    assert "exp_avg" in told and told.count("structure") == 2
    assert told.splitlines()[-1].startswith("last loop: 10 steps, 1 of them one by one, the others by ")


def test_what_is_not_replayed_is_told():
    @mt.compile
    def looks(x):
        return x * 2 if x.sum().item() > 0 else x

    with pytest.raises(CompileError):
        looks(mt.ones(3))
    assert looks.explain().startswith("refused: ") and "looks at a value" in looks.explain()

    w = mt.ones(3, requires_grad=True)
    asked = mt.compile(lambda x: (w * x).sum())
    with pytest.warns(UserWarning, match="run as it is"):
        asked(mt.ones(3))
    assert asked.explain().startswith("structure 1: run as it is, since it gives a tensor whose derivative")
    with pytest.raises(CompileError):
        looks(mt.ones(3))
    assert looks.explain().count("refused") == 1
