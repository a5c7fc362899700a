"""Training loops for numba as they are written by hand. See `numpy_loops`, whose names and arguments they have.

Raises ImportError where numba is not installed; its `dot` wants SciPy as well.
"""

from __future__ import annotations

from math import exp, log, log1p

import numba
import numpy as np

from ..workloads.steps import EPSILON, LINEAR_LR, MLP_LR, MOMENTUM, PERCEPTRON_LR


@numba.njit
def perceptron(steps, x, y, w, b):  # type: ignore[no-untyped-def]
    """On scalars alone."""
    losses = np.empty(steps, w.dtype)
    one, low, high = np.float32(1), np.float32(EPSILON), np.float32(1 - EPSILON)
    lr = np.float32(PERCEPTRON_LR)
    x_, y_, w_, b_ = x[()], y[()], w[()], b[()]
    for k in range(steps):
        s = one / (one + exp(-(w_ * x_ + b_)))
        p = min(max(s, low), high)
        losses[k] = -(y_ * log(p) + (one - y_) * log(one - p))
        if s == p:
            slope = lr * ((one - y_) / (one - p) - y_ / p) * s * (one - s)
            w_ -= slope * x_
            b_ -= slope
    w[()] = w_
    b[()] = b_
    return losses


@numba.njit(fastmath={"reassoc", "contract"})
def logistic(steps, x, y, w, b):  # type: ignore[no-untyped-def]
    """A row at a time: it is read once for its logit and, from the cache, for its share of the gradient."""
    losses = np.empty(steps, w.dtype)
    rows, features = x.shape
    weight, bias, zero, one = w[0], b[0], np.float32(0), np.float32(1)
    grad = np.empty(features, w.dtype)
    for k in range(steps):
        grad[:] = 0
        slopes = loss = 0.0
        for i in range(rows):
            row, label = x[i], y[i, 0]
            z = zero
            for j in range(features):
                z += row[j] * weight[j]
            z += bias
            e = exp(-abs(z))
            loss += log1p(e) + max(z, zero) - label * z
            slope = (e if z < 0 else one) / (one + e) - label
            slopes += slope
            for j in range(features):
                grad[j] += slope * row[j]
        losses[k] = loss / rows
        for j in range(features):
            weight[j] -= np.float32(LINEAR_LR / rows) * grad[j]
        bias -= np.float32(LINEAR_LR * slopes / rows)
    b[0] = bias
    return losses


@numba.njit
def _update(parameter, velocity, grad):  # type: ignore[no-untyped-def]
    lr, momentum = np.float32(MLP_LR), np.float32(MOMENTUM)
    if velocity is None:
        for i in range(parameter.size):
            parameter[i] -= lr * grad[i]
    else:
        for i in range(parameter.size):
            velocity[i] = momentum * velocity[i] + grad[i]
            parameter[i] -= lr * velocity[i]


@numba.njit
def mlp(steps, x, y, w1, b1, w2, b2, vw1=None, vb1=None, vw2=None, vb2=None):  # type: ignore[no-untyped-def]
    """Two layers: products by the BLAS, everything between by loops."""
    losses = np.empty(steps, w1.dtype)
    rows, zero = x.shape[0], np.float32(0)
    h, dh = np.empty((rows, w1.shape[0]), x.dtype), np.empty((rows, w1.shape[0]), x.dtype)
    p = np.empty((rows, w2.shape[0]), x.dtype)
    dw1, db1, dw2, db2 = np.empty_like(w1), np.empty_like(b1), np.empty_like(w2), np.empty_like(b2)
    for k in range(steps):
        np.dot(x, w1.T, h)
        for i in range(rows):
            for j in range(h.shape[1]):
                h[i, j] = max(h[i, j] + b1[j], zero)
        np.dot(h, w2.T, p)
        db1[:] = 0
        db2[:] = 0
        loss = 0.0
        for i in range(rows):
            top, total = np.float32(-np.inf), zero
            for j in range(p.shape[1]):
                p[i, j] += b2[j]
                top = max(top, p[i, j])
            loss += top - p[i, y[i]]
            for j in range(p.shape[1]):
                p[i, j] = exp(p[i, j] - top)
                total += p[i, j]
            loss += log(total)
            for j in range(p.shape[1]):
                p[i, j] = (p[i, j] / total - (j == y[i])) / np.float32(rows)
                db2[j] += p[i, j]
        losses[k] = loss / rows
        np.dot(p, w2, dh)
        for i in range(rows):
            for j in range(dh.shape[1]):
                if h[i, j] == 0:
                    dh[i, j] = 0
                db1[j] += dh[i, j]
        np.dot(p.T, h, dw2)
        np.dot(dh.T, x, dw1)
        _update(w2.ravel(), None if vw2 is None else vw2.ravel(), dw2.ravel())
        _update(b2, vb2, db2)
        _update(w1.ravel(), None if vw1 is None else vw1.ravel(), dw1.ravel())
        _update(b1, vb1, db1)
    return losses
