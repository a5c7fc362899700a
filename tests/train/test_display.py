"""How a run is shown, on terminals that come and go, and its scores."""

import importlib.util
import io
import sys

import numpy as np
import pytest

from microtrain.train import fit, metrics, progress
from tests.train.test_train import Recorder, setup

# -- display --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(out, epochs, values):
    """What a display writes of some epochs."""
    display = progress.make_progress(epochs[-1], out)
    for epoch, one in zip(epochs, values, strict=True):
        display.update(epoch, one)
    display.close()
    return out.getvalue()


def test_display_is_told_every_epoch():
    model, loss, optimizer, loader = setup()
    told = Recorder()
    history = fit(model, loss, optimizer, loader, epochs=3, progress=told)
    assert told.closed and told.epochs == [(i + 1, {"train loss": history.train_loss[i]}) for i in range(3)]


def test_lines_have_no_control_characters():
    assert shown(io.StringIO(), (1, 10), [{"train loss": 0.25, "R²": 0.5}] * 2) == (
        "epoch  1/10  train loss 0.25  R² 0.5\nepoch 10/10  train loss 0.25  R² 0.5\n")


def test_default_display_of_a_log_is_stdout(capsys):
    model, loss, optimizer, loader = setup()
    fit(model, loss, optimizer, loader, epochs=2)
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.splitlines()] == ["1/2", "2/2", "looped"] and err == ""


class Gone(io.StringIO):
    encoding = "ascii"

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    def write(self, text):
        text.encode("ascii")
        raise BrokenPipeError


@pytest.mark.parametrize("terminal", [False, True])
def test_a_display_that_cannot_be_shown_costs_nothing(terminal):
    assert shown(Gone(terminal), (1, 2), [{"R²\x1b[2J": 0.5}] * 2) == ""


def test_what_an_encoding_lacks_and_a_terminal_obeys_is_escaped(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    progress.make_progress(1, out).update(1, {"R²\x1b[2J": 0.5})
    assert out.buffer.getvalue() == b"epoch 1/1  R\\xb2\\x1b[2J 0.5\n"
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress.make_progress(1, Terminal()), progress.Lines)
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("sys.stdout", None)
    assert isinstance(progress.make_progress(1), progress.Silent)


def test_own_bar_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert shown(Terminal(), (1, 2), [{"train loss": 0.123456}, {"train loss": 0.1}]) == (
        "\r[############............] epoch 1/2  train loss 0.1235"
        "\r[########################] epoch 2/2  train loss 0.1   \n")


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is not installed")
def test_tqdm_on_a_terminal():
    text = shown(Terminal(), (1, 2), [{"train loss": 0.5}, {"train loss": 0.25}])
    assert "2/2" in text and "train loss 0.25" in text


# -- scores ---------------------------------------------------------------------------------------------------------


def test_scores():
    assert metrics.binary_accuracy(np.array([1.0, -1.0, 2.0, 0.0]), np.array([1, 0, 0, 0])) == 0.75
    assert metrics.accuracy(np.array([[1, 2], [3, 0]]), np.array([1, 1])) == 0.5
    y = np.array([1.0, 2.0, 3.0])
    assert metrics.r2_score(y, y) == 1.0
    assert metrics.r2_score(np.full(3, 2.0), y) == 0.0
    assert metrics.r2_score(np.array([1.0, 2.0, 4.0]), y) == pytest.approx(0.5)
    assert metrics.root_mean_squared_error(y + 2, y) == 2.0


def test_scores_refuse():
    with pytest.raises(ValueError, match=r"prediction has shape \(3, 1\) but target has \(3,\)"):
        metrics.r2_score(np.zeros((3, 1)), np.zeros(3))
    for constant in (np.zeros(3), np.full(10, 0.1), np.zeros(0)):
        with pytest.raises(ValueError, match="constant target"):
            metrics.r2_score(constant, constant)
    with pytest.raises(ValueError, match=r"expected \(N, C\) and \(N,\)"):
        metrics.accuracy(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="both classes"):
        metrics.roc_curve(np.zeros(3), np.ones(3))


def test_roc_area_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    score, target = rng.integers(0, 8, 60).astype(float), rng.integers(0, 2, 60)
    false_rate, true_rate, area = metrics.roc_curve(score, target)
    above = score[target == 1][:, None] - score[target == 0][None, :]
    assert area == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean())
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert (np.diff(false_rate) >= 0).all()
