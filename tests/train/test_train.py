"""The training loop, its history and display, scores, checkpoints and the two ready-made tasks."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest

import microtrain as mt
from microtrain import data, nn, optim
from microtrain.cli import tasks
from microtrain.train import DivergedError, History, evaluate, fit, metrics, predict


def regression(n=40, noise=0.0, seed=0):
    """y = x w + 1 with three features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 1 + noise * rng.normal(size=(n, 1)).astype(np.float32)
    return data.TensorDataset(mt.tensor(x), mt.tensor(y))


def setup(lr=0.1, seed=0, **loader_options):
    mt.manual_seed(seed)
    model = nn.Linear(3, 1)
    loader = data.DataLoader(regression(), batch_size=16, shuffle=True, generator=seed, **loader_options)
    return model, nn.MSELoss(), optim.SGD(model.parameters(), lr=lr), loader


class Recorder:
    def __init__(self):
        self.epochs = []
        self.closed = False

    def update(self, epoch, values):
        self.epochs.append((epoch, dict(values)))

    def close(self):
        self.closed = True


def array(t):
    return np.asarray(t.detach().cpu().numpy())


# -- fit ------------------------------------------------------------------------------------------------------------


def test_fit_learns_and_keeps_a_history():
    model, loss, optimizer, loader = setup()
    val = data.DataLoader(regression(20, seed=1), batch_size=7)
    history = fit(model, loss, optimizer, loader, val, epochs=40, metrics={"R²": metrics.r2_score}, progress=False)
    assert len(history) == 40 == len(history.val_loss) == len(history.seconds) == len(history.metrics["R²"])
    assert history.train_loss[-1] < 1e-4 < history.train_loss[0]
    assert history.metrics["R²"][-1] > 0.9999
    assert array(model.weight) == pytest.approx(np.array([[1.0, -2.0, 0.5]]), abs=0.01)
    assert history.last() == {"train loss": history.train_loss[-1], "val loss": history.val_loss[-1],
                              "R²": history.metrics["R²"][-1]}
    assert all(s > 0 for s in history.seconds)


def test_fit_is_the_loop_written_out():
    model, loss, optimizer, loader = setup()
    history = fit(model, loss, optimizer, loader, epochs=2, progress=False)
    other, loss, optimizer, loader = setup()
    means = []
    for _ in range(2):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            value = loss(other(x), y)
            value.backward()
            optimizer.step()
            total += value.item() * len(x)
        means.append(total / 40)
    assert history.train_loss == pytest.approx(means, rel=1e-6)
    assert np.array_equal(array(model.weight), array(other.weight))


def test_same_seed_same_bits():
    weights = []
    for seed in (3, 3, 4):
        model, loss, optimizer, loader = setup(seed=seed)
        fit(model, loss, optimizer, loader, epochs=3, progress=False)
        weights.append(array(model.weight).tobytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_is_told_with_its_place():
    model, loss, optimizer, loader = setup(lr=1e12)
    shown = Recorder()
    with pytest.raises(DivergedError, match=r"epoch \d+, batch \d+.*learning rate below 1e\+12") as info:
        fit(model, loss, optimizer, loader, epochs=50, progress=shown)
    assert not math.isfinite(info.value.loss) and shown.closed
    assert info.value.epoch <= 5 and 1 <= info.value.batch <= 3


@pytest.mark.parametrize(("loader", "where", "batches"), [
    ([(mt.ones(4, 3), mt.zeros(4, 1)), (mt.ones(4, 3), mt.tensor([[0.0], [math.nan], [0.0], [0.0]]))],
     r"target\[1, 0\] of batch 2 is nan", [2]),
    (data.DataLoader(data.TensorDataset(mt.tensor([[1.0, 2, 3], [4, 5, math.inf]]), mt.zeros(2, 1)), 1, shuffle=True),
     r"input\[1, 2\] is inf", [1, 2]),
])  # fmt: skip
def test_data_that_is_not_finite_is_called_that(loader, where, batches):
    model, loss, optimizer, _ = setup()
    with pytest.raises(DivergedError, match=f"the data is not finite: {where}") as info:
        fit(model, loss, optimizer, loader, epochs=1, progress=False)
    assert "learning rate" not in str(info.value)
    assert info.value.epoch == 1 and info.value.batch in batches and not math.isfinite(info.value.loss)


def test_patience_puts_the_best_parameters_back():
    model, loss, optimizer, loader = setup(lr=0.05)
    val = data.DataLoader(regression(30, seed=1), batch_size=30)
    seen = []

    def spoil(epoch, history):
        seen.append(array(model.weight).copy())
        if epoch >= 4:  # from here on it can only get worse
            optimizer.param_groups[0]["maximize"] = True

    history = fit(model, loss, optimizer, loader, val, epochs=30, patience=2, callbacks=[spoil], progress=False)
    assert len(history) == 6 and history.best_epoch == 3
    assert np.array_equal(array(model.weight), seen[3]) and not np.array_equal(seen[-1], seen[3])


def test_a_callback_can_stop_the_run():
    model, loss, optimizer, loader = setup()
    calls = []
    history = fit(model, loss, optimizer, loader, epochs=30, progress=False,
                  callbacks=[lambda epoch, h: calls.append(len(h)), lambda epoch, h: epoch == 3])
    assert len(history) == 3 and calls == [1, 2, 3]


@pytest.mark.parametrize(("options", "message"), [
    ({"epochs": 0}, "epochs should be at least 1, got 0"),
    ({"epochs": 1, "patience": 0}, "patience should be at least 1, got 0"),
    ({"epochs": 1, "patience": 2}, "measured on val_loader"),
    ({"epochs": 1, "metrics": {"R²": metrics.r2_score}}, "measured on val_loader")])
def test_fit_refuses(options, message):
    model, loss, optimizer, loader = setup()
    before = array(model.weight).copy()
    with pytest.raises(ValueError, match=message):
        fit(model, loss, optimizer, loader, progress=False, **options)
    assert np.array_equal(array(model.weight), before)


def test_no_batches():
    model, loss, optimizer, _ = setup()
    with pytest.raises(ValueError, match="training loader yields no batches"):
        fit(model, loss, optimizer, [], epochs=1, progress=False)
    with pytest.raises(ValueError, match="validation loader yields no batches"):
        evaluate(model, loss, [])


def test_each_module_keeps_its_mode():
    modes, model = [], nn.Linear(3, 1)
    forward, loader = model.forward, data.DataLoader(regression(4), batch_size=4)
    model.forward = lambda x: (modes.append(model.training), forward(x))[1]
    fit(model.eval(), nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), loader, loader, epochs=1, progress=False)
    assert modes == [True, False] and model.training
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))
    model[0].eval()
    modes = [module.training for module in model.modules()]
    assert modes == [True, False, True, True]
    x = mt.arange(6.0).reshape(2, 3)
    predict(model, x)
    evaluate(model, nn.MSELoss(), [(x, mt.ones(2, 1))])
    for broken in (lambda: predict(model, mt.ones(2)), lambda: evaluate(model, nn.MSELoss(), [])):
        with pytest.raises((ValueError, RuntimeError)):
            broken()
        assert [module.training for module in model.modules()] == modes and mt.is_grad_enabled()
    assert model[0].running_mean.tolist() == [0, 0, 0]


def test_evaluate_weighs_uneven_batches():
    model, loss, _, _ = setup()
    dataset = regression(10)
    whole, scores = evaluate(model, loss, data.DataLoader(dataset, 10), {"R²": metrics.r2_score})
    parts, same = evaluate(model, loss, data.DataLoader(dataset, 4), {"R²": metrics.r2_score})
    assert (parts, same["R²"]) == pytest.approx((whole, scores["R²"]), rel=1e-6)
    assert predict(model, dataset.tensors[0]).dtype == np.float32


# -- history --------------------------------------------------------------------------------------------------------


def test_history_is_saved_whole(tmp_path):
    history = History([1.0, 0.5], [1.1, 1.2], {"accuracy": [0.5, 0.6]}, [0.1, 0.1])
    history.save(tmp_path / "h.json")
    assert json.loads((tmp_path / "h.json").read_text()) == history.to_dict()
    assert history.best_epoch == 0
    assert History([1.0, 0.5]).best_epoch == 1
    with pytest.raises(ValueError, match="the history is empty"):
        History().best_epoch  # noqa: B018


# -- tasks ----------------------------------------------------------------------------------------------------------


# In Triton's interpreter a launch takes milliseconds: one seed and fewer epochs show there what five show elsewhere.
INTERPRETED = os.environ.get("MICROTRAIN_DEVICE") == "interpret"
SEEDS = range(1 if INTERPRETED else 5)


def run(task, **options):
    return tasks.run_task(task, data.load(task.data), progress=False, **options)


@pytest.mark.parametrize("seed", SEEDS)
def test_perceptron_reaches_its_accuracy(seed):
    outcome = run(tasks.PERCEPTRON, seed=seed, epochs=10 if INTERPRETED else None)
    assert outcome.score >= 0.95
    assert outcome.train_rows + len(outcome.target) == 569
    assert outcome.least_squares_score is None


@pytest.mark.parametrize("seed", SEEDS)
def test_regression_reaches_the_closed_form(seed):
    outcome = run(tasks.LINEAR_REGRESSION, seed=seed)
    assert abs(outcome.score - outcome.least_squares_score) <= 0.02
    assert outcome.score == pytest.approx(outcome.history.metrics["R²"][-1], abs=1e-5)


@pytest.mark.parametrize("task", tasks.TASKS.values(), ids=tasks.TASKS.keys())
def test_the_saved_model_takes_raw_numbers(task):
    table = data.load(task.data)
    outcome = run(task, epochs=3)
    held_out = data.train_test_split(
        table.features, test_fraction=0.2, seed=0, stratify=table.target if task.classification else None)[1]
    raw = mt.tensor(held_out.astype(np.float32), device="cpu")
    prediction = predict(outcome.model, raw)[:, 0]
    scale = np.abs(outcome.prediction).max()
    # sums of a few thousand in float32: products up to ~1e2 times larger than the result
    assert prediction == pytest.approx(outcome.prediction, abs=1e-4 * scale)


def test_least_squares_is_exact_on_a_line():
    rng = np.random.default_rng(0)
    x = rng.normal(100, 5, (30, 2))
    y = x @ np.array([2.0, -1.0]) + 7
    assert tasks.least_squares(x[:20], y[:20], x[20:]) == pytest.approx(y[20:])


def test_numbers_that_float32_cannot_take_are_refused_by_name():
    table = data.load("diabetes")

    def changed(column, values):
        features = table.features.copy()
        if column is None:
            return replace(table, target=values)
        features[:, column] = values
        return replace(table, features=features)

    def refused(table, message):
        with pytest.raises(data.DataError, match=message):
            tasks.run_task(tasks.LINEAR_REGRESSION, table, progress=False)

    noise = np.random.default_rng(0).normal(size=442)
    with_nan = table.target.copy()
    with_nan[7] = np.nan
    refused(changed(None, with_nan), r"column 'progression' of diabetes holds nan in row 8: leave the row out")
    refused(changed(1, np.where(noise > 2, np.inf, noise)), r"column 'sex' of diabetes holds inf in row \d+")
    refused(changed(None, noise * 1e300), r"column 'progression' of diabetes holds -?\d.*e\+300 in row \d+: .* float32")
    refused(changed(0, noise * 1e-200), r"column 'age' of diabetes holds .*e-200 in row \d+: .* another unit")
    refused(changed(None, 1e9 + noise), r"'progression' of diabetes is nearly constant: it varies by \S+ about 1e\+09")
    refused(changed(2, 1 + noise * 1e-9), r"column 'bmi' of diabetes is nearly constant")
    refused(changed(None, 1 + noise * 1e-15), "nearly constant")
    for column, values in ((0, np.full(442, 0.1)), (0, 0.1 * (1 + 1e-15 * noise)), (0, noise * 1e25),
                           (0, noise * 1e-25), (0, 1000 + noise), (None, noise * 1e20), (None, 1e-20 * table.target)):
        new = changed(column, values)
        outcome = tasks.run_task(tasks.LINEAR_REGRESSION, new, epochs=2, progress=False)
        held_out = data.train_test_split(new.features, test_fraction=0.2, seed=0)[1]
        prediction = predict(outcome.model, mt.tensor(held_out.astype(np.float32), device="cpu"))[:, 0]
        assert prediction == pytest.approx(outcome.prediction, abs=1e-3 * np.ptp(outcome.target))


def test_tasks_refuse_unsuitable_data():
    table = data.load("diabetes")
    with pytest.raises(data.DataError, match="perceptron needs a target of 0 and 1; column 'progression' of diabetes"):
        tasks.run_task(tasks.PERCEPTRON, table, progress=False)
    with pytest.raises(data.DataError, match="'progression' of diabetes is constant"):
        tasks.run_task(tasks.LINEAR_REGRESSION, replace(table, target=np.ones(442)), progress=False)
    with pytest.raises(data.DataError, match="batch size 1000 is larger than the 354 rows to train on"):
        run(tasks.LINEAR_REGRESSION, batch_size=1000)
