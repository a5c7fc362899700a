"""Training loops in NumPy as they are written by hand: derivatives worked out, parameters updated in place.

Each function takes its arrays by the names of `workloads.steps` and the number of steps, changes the parameters, and
returns the losses. Those that change are arrays, also where they are single numbers.
"""

from __future__ import annotations

import numpy as np

from ..workloads.steps import EPSILON, LINEAR_LR, MLP_LR, MOMENTUM, PERCEPTRON_LR


def perceptron(steps: int, x: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """On NumPy's scalars, which cost a third of what arrays of one number do."""
    losses = np.empty(steps, w.dtype)
    number, exp, log = w.dtype.type, np.exp, np.log
    one, low, high, lr = number(1), number(EPSILON), number(1 - EPSILON), number(PERCEPTRON_LR)
    x_, y_, w_, b_ = x[()], y[()], w[()], b[()]
    for k in range(steps):
        s = one / (one + exp(-(w_ * x_ + b_)))
        p = low if s < low else high if s > high else s
        losses[k] = -(y_ * log(p) + (one - y_) * log(one - p))
        if low <= s <= high:
            slope = lr * ((one - y_) / (one - p) - y_ / p) * s * (one - s)
            w_ -= slope * x_
            b_ -= slope
    w[()], b[()] = w_, b_
    return losses


def logistic(steps: int, x: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The loss is log(1 + e) + max(z, 0) - y z, and the sigmoid 1 / (1 + e) or e / (1 + e), with e = exp(-|z|)."""
    losses = np.empty(steps, w.dtype)
    x_t = x.T
    for k in range(steps):
        z = x @ w[0]
        z += b
        e = np.exp(-np.abs(z))
        losses[k] = (np.log1p(e) + np.maximum(z, 0) - y[:, 0] * z).mean()
        slope = np.where(z < 0, e, 1) / (1 + e)
        slope -= y[:, 0]
        slope *= LINEAR_LR / len(x)
        w[0] -= x_t @ slope
        b -= slope.sum()
    return losses


def mlp(steps: int, x: np.ndarray, y: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray,
        vw1: np.ndarray | None = None, vb1: np.ndarray | None = None, vw2: np.ndarray | None = None,
        vb2: np.ndarray | None = None) -> np.ndarray:
    """Two layers; with momentum where there are velocities."""
    losses = np.empty(steps, w1.dtype)
    rows = np.arange(len(x))
    for k in range(steps):
        h = x @ w1.T
        h += b1
        np.maximum(h, 0, out=h)
        z = h @ w2.T
        z += b2
        z -= z.max(1, keepdims=True)
        p = np.exp(z)
        total = p.sum(1, keepdims=True)
        losses[k] = (np.log(total[:, 0]) - z[rows, y]).mean()
        p /= total
        p[rows, y] -= 1
        p /= len(x)
        dh = p @ w2
        dh *= h > 0
        for parameter, velocity, grad in ((w2, vw2, p.T @ h), (b2, vb2, p.sum(0)), (w1, vw1, dh.T @ x),
                                          (b1, vb1, dh.sum(0))):
            if velocity is not None:
                velocity *= MOMENTUM
                velocity += grad
                np.multiply(velocity, MLP_LR, out=grad)
            else:
                grad *= MLP_LR
            parameter -= grad
    return losses
