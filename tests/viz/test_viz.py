"""Pictures: written whole, of the right size, showing what they are given; and clear errors."""

import builtins
import itertools
import os

import numpy as np
import pytest

from microtrain import viz
from microtrain.train import History
from microtrain.viz import pictures, style

image_reader = pytest.importorskip("matplotlib.image")

HISTORY = History([1.0, 0.5, 0.3], [1.1, 0.7, 0.6], {"accuracy": [0.5, 0.8, 0.9]}, [0.1] * 3)
RNG = np.random.default_rng(0)
TARGET = RNG.integers(0, 2, 50)
LOGIT = (TARGET - 0.5) * 4 + RNG.normal(0, 2, 50)
VALUES = RNG.normal(100, 20, 50)
PREDICTED = VALUES + RNG.normal(0, 5, 50)

DRAW = {
    "history": lambda path: viz.plot_history(HISTORY, path, title="A run"),
    "classification": lambda path: viz.plot_classification(TARGET, LOGIT, path, history=HISTORY),
    "classification alone": lambda path: viz.plot_classification(TARGET, LOGIT, path),
    "regression": lambda path: viz.plot_regression(VALUES, PREDICTED, path, history=HISTORY),
}


def panel(draw, *given):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw(axes, *given)
    return axes


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW.keys())
def test_pictures_are_written_and_not_blank(tmp_path, draw):
    path = draw(tmp_path / "p.png")
    image = image_reader.imread(path)
    height, width = image.shape[:2]
    assert height >= 600
    assert width >= 2 * 700
    grey = image[..., :3].mean(axis=-1)
    for part in np.array_split(grey, round(width / 750), axis=1):  # each panel has ink in it
        assert (part < 0.9).mean() > 0.005
    assert os.listdir(tmp_path) == ["p.png"]


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_other_formats(tmp_path, suffix, start):
    assert DRAW["history"](tmp_path / f"p{suffix}").read_bytes().startswith(start)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$x_1$ $y$", r"_\frac{a_b^c", "重み\n\x1b[31m$%d {} &<", "w" * 500])
def test_names_are_drawn_as_they_are_written(tmp_path, monkeypatch, name):
    from matplotlib import mathtext
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(mathtext.MathTextParser, "parse", lambda *arguments: pytest.fail("set as a formula"))
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: drawn.append(self) or savefig(self, *a, **k))
    history = History([1.0, 0.01, 0.0001], [1.1, 0.02, 0.0002], {name: [0.1, 0.2, 0.3]}, [0.1] * 3)
    viz.plot_classification(TARGET, LOGIT, tmp_path / "c.png", title=name, class_names=(name, "b"), history=history)
    viz.plot_regression(VALUES, PREDICTED, tmp_path / "r.pdf", title=name, quantity=name, history=history)
    viz.plot_history(history, tmp_path / "h.svg", title=name)
    shown = pictures._name(name)
    assert shown.isprintable() and len(shown) <= pictures.LONGEST
    classes, regression, _ = drawn
    assert shown in classes.axes[1].get_legend().get_texts()[0].get_text()
    assert regression.axes[1].get_xlabel() == f"true {shown}"
    ticks = [label.get_text() for label in classes.axes[0].get_yticklabels()]
    assert {"0.01", "1"} <= set(ticks)


def test_loss_panel_shows_both_losses():
    axes = panel(pictures._loss, HISTORY, "loss (nats)")
    drawn = [(line.get_label(), line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.get_lines()]
    assert drawn == [("training", [1, 2, 3], HISTORY.train_loss), ("held out", [1, 2, 3], HISTORY.val_loss)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss (nats)") and axes.get_legend()
    one = panel(pictures._loss, History([0.5], [0.4], {}, [0.1]), "loss")
    assert all(line.get_marker() == "o" for line in one.get_lines())


def test_score_panel_counts_every_sample():
    axes = panel(pictures._score, TARGET, LOGIT, ("no", "yes"))
    counts = [sum(bar.get_height() for bar in container) for container in axes.containers]
    assert counts == [(TARGET == 0).sum(), (TARGET == 1).sum()]
    assert f"no ({counts[0]:g})" in [t.get_text() for t in axes.get_legend().get_texts()]
    assert 0.0 in {round(bar.get_x(), 9) for bar in axes.containers[0]}  # no bar straddles the threshold


@pytest.mark.parametrize("logit", [np.full(50, 3.0), np.linspace(1, 2, 50), np.linspace(-1e-9, 1e-9, 50)])
def test_score_panel_of_one_sided_scores(logit):
    axes = panel(pictures._score, TARGET, logit, ("no", "yes"))
    assert sum(bar.get_height() for container in axes.containers for bar in container) == 50


def test_roc_panel_holds_the_confusion_counts():
    axes = panel(pictures._roc, TARGET, LOGIT, ("no", "yes"))
    cells = axes.tables[0].get_celld()
    for truth, answer in itertools.product((0, 1), (0, 1)):
        count = ((truth == TARGET) & ((LOGIT > 0) == answer)).sum()
        assert int(cells[truth + 1, answer].get_text().get_text()) == count


def test_regression_panels_show_every_point():
    agreement = panel(pictures._agreement, VALUES, PREDICTED, "mass (kg)")
    assert np.asarray(agreement.collections[0].get_offsets()).tolist() == np.c_[VALUES, PREDICTED].tolist()
    assert agreement.get_xlabel() == "true mass (kg)"
    residual = panel(pictures._residual, VALUES, PREDICTED, "mass (kg)")
    shown = np.asarray(residual.collections[-1].get_offsets())
    assert np.array_equal(shown, np.c_[PREDICTED, VALUES - PREDICTED])


def test_scores_are_in_the_titles(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(pictures, "write_panels", lambda path, title, panels: titles.append(title))
    viz.plot_classification(np.array([0, 1, 1, 0]), np.array([-1.0, 1.0, -1.0, -2.0]), tmp_path / "a.png", title="T")
    viz.plot_regression(np.array([0.0, 2.0, 4.0]), np.array([0.0, 2.0, 2.0]), tmp_path / "b.png", title="T")
    assert titles == ["T: accuracy 0.750 (1 of 4 wrong)", "T: R² 0.500, root mean squared error 1.15"]


@pytest.mark.parametrize(("error", "said", "draw"), [
    (ValueError, r"a picture ends in \.png, \.pdf, \.svg", lambda folder: DRAW["history"](folder / "p.bmp")),
    (FileNotFoundError, "there is no folder", lambda folder: DRAW["history"](folder / "no" / "p.png")),
    (ValueError, "the history is empty", lambda folder: viz.plot_history(History(), folder / "p.png")),
    (ValueError, "needs both classes", lambda folder: viz.plot_classification(TARGET * 0, LOGIT, folder / "p.png")),
])
def test_errors_leave_nothing(tmp_path, error, said, draw):
    with pytest.raises(error, match=said):
        draw(tmp_path)
    assert os.listdir(tmp_path) == []


def test_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'microtrain\[plot\]'"):
        style.check_plot_path(tmp_path / "p.png")
