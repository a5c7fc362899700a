"""Steps that a replay could not do again."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import microtrain as mt

COUNT = 0
LOG: list[Any] = []

REFUSED: dict[str, Callable[..., Any]] = {}
"""Steps, each called with a step of training, its world and its arguments, and with an object of its own; the line that
is refused is marked."""


def refused(function: Callable[..., Any]) -> Callable[..., Any]:
    REFUSED[function.__name__] = function
    return function


# ------------------------------------------------- values


@refused
def value_of_a_weight_before(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    scale = w.model.bias[0].item()  # refused
    return train(x * scale, y)


@refused
def as_list(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    x.tolist()  # refused
    return train(x, y)


@refused
def as_array_of_an_argument(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    x = mt.tensor(np.asarray(x.cpu()) * 2)  # refused
    return train(x, y)


@refused
def compared(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    if mt.allclose(x, y[:, :1]):  # refused
        x = x * 2
    return train(x, y)


@refused
def chosen_by_an_argument(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    if not x.isfinite().all():  # refused
        return None
    return train(x, y)


@refused
def index_of_a_list(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    scale = [1.0, 2.0][x.argmax() % 2]  # refused
    return train(x * scale, y)


# ------------------------------------------------- the world


@refused
def file_opened(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    with open(os.devnull) as file:  # refused
        file.read()
    return train(x, y)


@refused
def input_asked_for(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x, y) if input() else None  # refused


@refused
def pause(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    time.sleep(0)  # refused
    return train(x, y)


@refused
def random_number(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * random.random(), y)  # refused


# ------------------------------------------------- Python's values; any of the function's lines may be told


