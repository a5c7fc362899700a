"""Runs that go on from a checkpoint bit for bit, and what is refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import microtrain as mt
from microtrain import data, nn, optim
from microtrain.train import checkpoint, fit
from tests.train.test_checkpoint import ROOT, SUFFIXES, same

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
}
ORDERS = {"of its own": lambda: 3, "of a generator of ours": lambda: mt.Generator().manual_seed(3),
          "of the default generator": lambda: None}


def parts(optimizer="Adam", own_order="of its own"):
    mt.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    steps = OPTIMIZERS[optimizer](model.parameters())
    x = mt.tensor(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    loader = data.DataLoader(data.TensorDataset(x, x.sum(1, keepdim=True)), 16, shuffle=True,
                             generator=ORDERS[own_order]())
    return model, steps, optim.lr_scheduler.CosineAnnealingLR(steps, 8), loader


def bits(model):
    return [value.cpu().numpy().tobytes() for value in model.state_dict().values()]


def trained(epochs, path=None, optimizer="Adam", own_order="of its own", **options):
    model, steps, scheduler, loader = parts(optimizer, own_order)
    history = fit(model, nn.MSELoss(), steps, loader, loader, epochs=epochs, scheduler=scheduler, progress=False,
                  checkpoint=path, **options)
    return bits(model), history.train_loss, history.val_loss, steps.param_groups[0]["lr"]


@pytest.mark.parametrize("own_order", ORDERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_goes_on_bit_for_bit(tmp_path, optimizer, own_order):
    whole = trained(6, None, optimizer, own_order)
    path = tmp_path / "run.npz"
    for epochs in (2, 3, 6):
        again = trained(epochs, path, optimizer, own_order)
    assert again == whole
    assert trained(6, path, optimizer, own_order) == whole      # nothing is left to do


def test_a_run_that_ended_early_stays_ended(tmp_path):
    path = tmp_path / "run.safetensors"
    stop = [lambda epoch, history: epoch == 3]
    whole = trained(9, callbacks=stop, patience=9)
    assert trained(9, path, callbacks=stop, patience=9) == whole
    assert trained(9, path, patience=9) == whole
    assert len(whole[1]) == 3


def test_by_hand(tmp_path):
    def steps(model, optimizer, scheduler, loader, epochs):
        for _ in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
            scheduler.step()

    model, optimizer, scheduler, loader = parts()
    steps(model, optimizer, scheduler, loader, 2)
    path = checkpoint.save_training(tmp_path / "run", model, optimizer, scheduler=scheduler, loaders=[loader], epoch=2,
                                    note={"lr": (0.1, "first")})
    steps(model, optimizer, scheduler, loader, 2)
    wanted = bits(model)
    model, optimizer, scheduler, loader = parts()
    more = checkpoint.load_training(path, model, optimizer, scheduler=scheduler, loaders=[loader])
    assert more == {"epoch": 2, "note": {"lr": (0.1, "first")}}
    steps(model, optimizer, scheduler, loader, 2)
    assert bits(model) == wanted


class Counting(nn.Module):
    """Has a state beside its tensors."""

    def __init__(self):
        super().__init__()
        self.layer, self.counts = nn.Linear(3, 1), {"calls": 0, "shapes": []}

    def forward(self, x):
        self.counts["calls"] += 1
        return self.layer(x)

    def get_extra_state(self):
        return self.counts

    def set_extra_state(self, state):
        self.counts = state


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_module_keeps_beside_its_tensors(tmp_path, suffix):
    mt.manual_seed(0)
    x = mt.ones(4, 3)
    for epochs in (1, 3):
        model = Counting()
        fit(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), [(x, mt.ones(4, 1))], [(x, mt.ones(4, 1))],
            epochs=epochs, patience=5, progress=False, checkpoint=tmp_path / f"run{suffix}")
    assert model.counts == {"calls": 6, "shapes": []}
    again = Counting()
    again.load_state_dict(checkpoint.load(checkpoint.save(model.state_dict(), tmp_path / f"m{suffix}")))
    assert again.counts == model.counts


def test_wrong_parts_are_refused_at_the_door(tmp_path):
    model, steps, scheduler, loader = parts()
    path = checkpoint.save_training(tmp_path / "run", model, steps, scheduler=scheduler, loaders=[loader])
    for wrong, options, message in (
            ((None, steps), {}, "argument 'model' .* must be Module, not NoneType"),
            ((model, model), {}, "argument 'optimizer' .* must be Optimizer, not Sequential"),
            ((model, steps), {"scheduler": steps}, "argument 'scheduler' must be LRScheduler, not Adam"),
            ((model, steps), {"loaders": loader}, "argument 'loaders' must be .*, not DataLoader")):
        for function in (checkpoint.save_training, checkpoint.load_training):
            with pytest.raises(TypeError, match=message):
                function(path, *wrong, **options)


def test_a_schedule_of_functions_goes_on(tmp_path):
    def make():
        model = nn.Linear(2, 1)
        steps = optim.SGD(model.parameters(), lr=1.0)
        return model, steps, optim.lr_scheduler.LambdaLR(steps, lambda epoch: 0.5 ** epoch)

    model, steps, scheduler = make()
    steps.step()
    scheduler.step()
    path = checkpoint.save_training(tmp_path / "run.npz", model, steps, scheduler=scheduler)
    model, steps, again = make()
    checkpoint.load_training(path, model, steps, scheduler=again)
    assert (again.last_epoch, again.get_last_lr(), steps.param_groups[0]["lr"]) == (1, [0.5], 0.5)
    steps.step()
    again.step()
    assert steps.param_groups[0]["lr"] == 0.25


def test_fit_refuses_the_checkpoint_of_another_run(tmp_path):
    path = tmp_path / "run.npz"
    trained(1, path)
    model, steps, scheduler, loader = parts()

    def refused(message, **options):
        with pytest.raises(ValueError, match=message):
            fit(model, nn.MSELoss(), steps, loader, loader, epochs=2, progress=False, checkpoint=path, **options)

    refused("holds a scheduler, and none is given")
    refused("a run with the metrics none, not m", scheduler=scheduler, metrics={"m": lambda prediction, target: 0.0})
    checkpoint.save_training(path, model, steps, scheduler=scheduler, loaders=[loader, loader], epoch=1)
    refused("a run that fit did not save", scheduler=scheduler)
    for loader.generator in (None, mt.Generator()):
        refused("a loader has a generator of its own", scheduler=scheduler)


def test_a_run_of_other_parts_changes_nothing(tmp_path):
    model, optimizer, scheduler, loader = parts()
    path = checkpoint.save_training(tmp_path / "run", model, optimizer, scheduler=scheduler, loaders=[loader])
    checkpoint.save(model.state_dict(), tmp_path / "model")

    def refused(kind, message, path, model, optimizer, scheduler=None, loaders=()):
        with pytest.raises(kind, match=message):
            checkpoint.load_training(path, model, optimizer, scheduler=scheduler, loaders=loaders)

    refused(ValueError, "holds no run", tmp_path / "model", model, optimizer)
    refused(ValueError, "holds a scheduler, and none is given", path, model, optimizer)
    refused(ValueError, "holds 1 loaders, and 0 are given", path, model, optimizer, scheduler)
    mt.manual_seed(5)
    other = nn.Sequential(*(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)))
    before = [value.clone() for value in other.state_dict().values()]
    wrong = optim.Adam([other[0].weight], lr=0.3)
    refused(ValueError, "doesn't match the size", path, other, wrong, scheduler, [loader])
    assert all(map(same, before, other.state_dict().values()))
    assert wrong.param_groups[0]["lr"] == 0.3


def test_kills_lose_nothing():
    command = [sys.executable, "-m", "tests.stress.files", "--saving=8", "--training=8", "--signals=2"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["kills while saving"], report["kills while training"]) == (8, 8)
    assert report["runs ended, bit for bit"] >= 1
