"""Two ready-made runs, from a table of raw numbers to a held-out score: a perceptron and a linear regression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import DataError, DataLoader, Standardiser, Table, TensorDataset, train_test_split
from ..data.split import ROUNDING
from ..errors import shown
from ..nn import BCEWithLogitsLoss, Linear, Module, MSELoss
from ..optim import SGD
from ..tensor import manual_seed, tensor
from ..train.loop import History, fit, predict
from ..train.metrics import Metric, binary_accuracy, r2_score
from ..train.progress import Progress

SMALLEST = 1e-30
"""Between this and its inverse the products of a column and its weight are float32 numbers of full precision."""

RESOLUTION = 2**-17
"""Of a column's largest number: a spread below it has fewer than 64 steps in float32."""


@dataclass(frozen=True)
class Task:
    """A linear model with a loss: what it is called, what it is judged by, and options that suit it.

    `data` is the data set it is run on by default, `classification` says whether the target is a class, 0 or 1; the
    held-out part is judged by `score`.
    """

    name: str
    data: str
    classification: bool
    loss: type[Module]
    score_name: str
    score: Metric
    epochs: int
    batch_size: int
    lr: float
    momentum: float


PERCEPTRON = Task(name="perceptron", data="breast_cancer", classification=True, loss=BCEWithLogitsLoss,
                  score_name="accuracy", score=binary_accuracy, epochs=30, batch_size=32, lr=0.005, momentum=0.9)
# 128 rows a batch: with fewer, gradient noise times this step moves R² by more than the 0.01 it ends from the optimum.
LINEAR_REGRESSION = Task(name="linear-regression", data="diabetes", classification=False, loss=MSELoss, score_name="R²",
                         score=r2_score, epochs=100, batch_size=128, lr=0.01, momentum=0.9)
TASKS = {task.name: task for task in (PERCEPTRON, LINEAR_REGRESSION)}


@dataclass(frozen=True)
class Outcome:
    """A finished run: a model of features in the table's units, and what it gives for the held-out rows.

    Losses of the `history` are of the standardised target; `prediction` are logits, or in the target's units;
    `least_squares_score` is that of the closed-form fit to the same rows (regression only).
    """

    model: Linear
    history: History
    train_rows: int
    target: np.ndarray
    prediction: np.ndarray
    score: float
    least_squares_score: float | None


def run_task(task: Task, table: Table, *, device: Any = None, seed: int = 0, test_fraction: float = 0.2,
             batch_size: int | None = None, progress: bool | Progress = True, **options: Any) -> Outcome:
    """Splits, standardises, trains and scores.

    Args:
        task, table: what is trained, and on which data.
        device: where to train; the default device if None.
        seed: of the split, the weights and the order of the batches.
        test_fraction: the share of the rows held out.
        batch_size: the task's own if None, or all rows where there are fewer.
        progress: as that of `fit`.
        options: epochs, lr and momentum; `None` stands for the task's own.

    Raises:
        DataError: a target that does not suit the task; numbers that are not finite, or that float32 cannot tell
            apart or hold; too few rows for the split or the batch size.
        DivergedError: the loss became NaN or infinite.
    """
    task = replace(task, **{name: value for name, value in options.items() if value is not None})
    _check_numbers(task, table)
    _check_target(task, table)
    x_train, x_test, y_train, y_test = train_test_split(table.features, table.target, test_fraction=test_fraction,
                                                        seed=seed,
                                                        stratify=table.target if task.classification else None)
    if not task.classification and np.ptp(y_test) == 0:
        raise DataError(f"the {len(y_test)} held-out targets are all equal: R² is not defined; hold out more rows")
    if batch_size is None:
        batch_size = min(task.batch_size, len(x_train))
    if batch_size > len(x_train):
        raise DataError(f"batch size {batch_size} is larger than the {len(x_train)} rows to train on")
    x_scale = Standardiser.fit(x_train)
    y_scale = None if task.classification else Standardiser.fit(y_train)

    def dataset(features: np.ndarray, target: np.ndarray) -> TensorDataset:
        scaled = target if y_scale is None else y_scale.transform(target)
        columns = (x_scale.transform(features), scaled[:, None])
        return TensorDataset(*(tensor(a.astype(np.float32), device=device) for a in columns))

    train, test = dataset(x_train, y_train), dataset(x_test, y_test)
    manual_seed(seed)
    model = Linear(x_train.shape[1], 1, device=device)
    optimizer = SGD(model.parameters(), lr=task.lr, momentum=task.momentum)
    history = fit(model, task.loss(), optimizer, DataLoader(train, batch_size, shuffle=True, generator=seed),
                  DataLoader(test, len(test)), epochs=task.epochs, metrics={task.score_name: task.score},
                  progress=progress)
    prediction = predict(model, test.tensors[0])[:, 0].astype(np.float64)
    if y_scale is not None:
        prediction = y_scale.inverse(prediction)
    exact = None if task.classification else task.score(least_squares(x_train, y_train, x_test), y_test)
    return Outcome(in_units(model, x_scale, y_scale), history, len(x_train), y_test, prediction,
                   task.score(prediction, y_test), exact)


def _check_numbers(task: Task, table: Table) -> None:
    """Raises DataError, naming column and row, for numbers that the model cannot be given as float32."""
    values = np.column_stack([table.features, table.target])
    names = [*table.feature_names, table.target_name]

    def column(place: int) -> str:
        return f"column '{shown(names[place])}' of {shown(table.name)}"

    for row, place in np.argwhere(~np.isfinite(values))[:1]:
        raise DataError(f"{column(place)} holds {values[row, place]:g} in row {row + 1}: leave the row out, or fill in "
                        "a number")
    largest = np.abs(values).max(axis=0, initial=0)
    for place in np.flatnonzero((largest > 1 / SMALLEST) | ((largest < SMALLEST) & (largest > 0)))[:1]:
        row = np.abs(values[:, place]).argmax()
        raise DataError(f"{column(place)} holds {values[row, place]:g} in row {row + 1}: the model works in float32, "
                        f"which needs a column's largest number between {SMALLEST:g} and {1 / SMALLEST:g}; give it in "
                        "another unit")
    spread = np.ptp(values, axis=0) if len(values) else largest
    near = (spread > ROUNDING * largest) & (spread < RESOLUTION * largest)
    near[-1] = 0 < spread[-1] < RESOLUTION * largest[-1]
    for place in np.flatnonzero(near)[:1]:
        raise DataError(f"{column(place)} is nearly constant: it varies by {spread[place]:g} about "
                        f"{values[:, place].mean():g}, which float32 cannot tell apart; subtract a constant from it, "
                        "or leave it out")


def _check_target(task: Task, table: Table) -> None:
    values = np.unique(table.target)
    if task.classification and list(values) != [0, 1]:
        some = ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if len(values) > 5 else "")
        raise DataError(f"the {task.name} needs a target of 0 and 1; column '{shown(table.target_name)}' of "
                        f"{shown(table.name)} holds {some}")
    if not task.classification and len(values) < 2:
        raise DataError(f"column '{shown(table.target_name)}' of {shown(table.name)} is constant: there is nothing to "
                        "learn")


def least_squares(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Predictions, (test rows,), of the least-squares fit with intercept, by QR or SVD in float64.

    Columns are standardised first, for the conditioning; the fit itself does not depend on it.
    """
    scale = Standardiser.fit(x_train)
    a_train, a_test = (np.c_[scale.transform(x), np.ones(len(x))] for x in (x_train, x_test))
    solution = np.linalg.lstsq(a_train, y_train, rcond=None)[0]
    prediction: np.ndarray = a_test @ solution
    return prediction


def in_units(model: Linear, x_scale: Standardiser, y_scale: Standardiser | None) -> Linear:
    """The same linear map for raw numbers: takes features, and gives the target, in the data's own units.

    With x' = (x - m) / s and y = a y' + b:  y = x · (a w / s) + a (bias - w · m / s) + b. `y_scale` is None for a
    target that was not scaled; the result is on the CPU.
    """
    if model.bias is None:
        raise ValueError("a model without bias cannot take up the features' mean")
    a, b = (1.0, 0.0) if y_scale is None else (y_scale.std, y_scale.mean)
    weight = model.weight.detach().cpu().numpy().astype(np.float64) / x_scale.std
    bias = model.bias.detach().cpu().numpy().astype(np.float64) - weight @ x_scale.mean
    folded = Linear(model.in_features, 1, device="cpu")
    values = {"weight": a * weight, "bias": a * bias + b}
    folded.load_state_dict({name: tensor(value.astype(np.float32), device="cpu") for name, value in values.items()})
    return folded
