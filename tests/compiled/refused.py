"""Steps that a replay could not do again."""

from __future__ import annotations

import datetime
import logging
import os
import pathlib
import random
import secrets
import sys
import time
import uuid
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
def item(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    loss.item()  # refused
    return loss


@refused
def as_float(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    own.last = float(loss)  # refused
    return loss


@refused
def as_int(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x, y) * int(w.model.bias[0])  # refused


@refused
def value_of_a_weight_before(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    scale = w.model.bias[0].item()  # refused
    return train(x * scale, y)


@refused
def as_list(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    x.tolist()  # refused
    return train(x, y)


@refused
def as_array(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    w.model.weight.detach().cpu().numpy()  # refused
    return loss


@refused
def as_array_of_an_argument(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    x = mt.tensor(np.asarray(x.cpu()) * 2)  # refused
    return train(x, y)


@refused
def printed(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    print(loss)  # refused
    return loss


@refused
def formatted(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    own.text = f"{loss:.3f}"  # refused
    return loss


@refused
def chosen_by_the_loss(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    if loss > 0.1:  # refused
        loss = loss * 2
    return loss


@refused
def repeated_by_a_value(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    while loss < 100:  # refused
        loss = loss * 2
    return loss


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
def largest_of_two(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    return max(loss, loss * 2)  # refused


@refused
def index_of_a_list(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    scale = [1.0, 2.0][x.argmax() % 2]  # refused
    return train(x * scale, y)


@refused
def gradients_clipped_by_a_number(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    norm = sum(float(p.grad.square().sum()) for p in w.model.parameters())  # refused
    return loss * norm


# ------------------------------------------------- the world
@refused
def text_printed(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    print("a step")  # refused
    return loss


@refused
def text_written(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    sys.stderr.write("a step\n")  # refused
    return loss


@refused
def file_opened(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    with open(os.devnull) as file:  # refused
        file.read()
    return train(x, y)


@refused
def file_read(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    scale = len(pathlib.Path(__file__).read_text())  # refused
    return train(x / scale, y)


@refused
def file_asked_for(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    if os.path.exists("a flag"):  # refused
        x = x * 2
    return train(x, y)


@refused
def input_asked_for(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x, y) if input() else None  # refused


@refused
def logged(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    logging.getLogger("a step").warning("a step")  # refused
    return train(x, y)


@refused
def clock(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x, y) * (time.perf_counter() % 1)  # refused


@refused
def date(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x, y) * datetime.datetime.now().second  # refused


@refused
def pause(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    time.sleep(0)  # refused
    return train(x, y)


@refused
def random_number(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * random.random(), y)  # refused


@refused
def random_number_of_python_by_a_method(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * random.gauss(0, 1), y)  # refused


@refused
def random_number_of_numpy(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * float(np.random.rand()), y)  # refused


@refused
def random_array_of_numpy(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * mt.tensor(own.rng.standard_normal(4).astype("f4")), y)  # refused


@refused
def random_rows(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    rows = np.random.permutation(6)[:3]  # refused
    return train(x[mt.tensor(rows)], y[mt.tensor(rows)])


@refused
def secret(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * len(secrets.token_hex(4)), y)  # refused


@refused
def unique_name(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.name = uuid.uuid4()  # refused
    return train(x, y)


# ------------------------------------------------- Python's values; any of the function's lines may be told
@refused
def loss_appended(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    loss = train(x, y)
    own.losses.append(loss.detach())  # changed
    return loss


@refused
def loss_appended_to_a_global(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    LOG.append(train(x, y))  # changed


@refused
def counted_in_an_attribute(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.count += 1  # changed
    return train(x, y)


@refused
def counted_in_a_global(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    global COUNT
    COUNT += 1  # changed
    return train(x, y)


@refused
def counted_in_a_dict(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.entries["steps"] = own.entries.get("steps", 0) + 1  # changed
    return train(x, y)


@refused
def counted_in_an_array(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.array[0] += 1  # changed
    return train(x, y)


@refused
def counted_in_a_class(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.kind.count += 1  # changed
    return train(x, y)


@refused
def added_to_a_set(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    own.members.add(len(own.members))  # changed
    return train(x, y)


@refused
def taken_from_a_list(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * own.rates.pop(), y)  # changed


@refused
def next_of_an_iterator(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * next(own.counting), y)  # changed


@refused
def next_of_a_generator(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    return train(x * next(own.generated), y)  # changed


@refused
def rate_made_smaller(train: Any, w: Any, x: Any, y: Any, own: Any) -> Any:
    w.opt.param_groups[0]["lr"] *= 0.9  # changed
    return train(x, y)
