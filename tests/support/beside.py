"""A function of tensors here and in PyTorch: values and gradients as near to float64's as PyTorch's, errors alike."""

import numpy as np
import pytest
import torch

import microtrain as mt
from microtrain import nn

PAIRS = [(mt, nn), (torch, torch.nn)]

REWORDED = {"expected scalar type Long but found Float": "expected target dtype to be Long or Byte, but got Float"}
"""What PyTorch said before 2.13, in today's words."""


def array(t):
    return np.asarray(t.detach().cpu().numpy())


def close(got, single, double, what=""):
    """`got` is as near to the float64 oracle as torch's float32 is: four times its error, and a few ulps."""
    got, single, double = array(got), array(single), array(double)
    assert got.shape == double.shape, (what, got.shape, double.shape)
    error = np.abs(single - double)
    bound = 4 * np.nanmax(error, initial=0.0) + 16 * np.finfo(np.float32).eps * np.maximum(np.abs(double), 1e-6)
    same = (got == double) | (np.isnan(got) & np.isnan(double)) | (np.abs(got - double) <= bound)
    bad = np.argmin(same) if same.size else 0
    assert same.all(), (f"{what}: {got.flat[bad]} is off by more than {np.broadcast_to(bound, got.shape).flat[bad]} "
                        f"from {double.flat[bad]} (torch: {single.flat[bad]})")


def compare(fn, inputs, constants=()):
    """fn(T, F, *tensors): value and gradients (random cotangent) on microtrain and on torch in two precisions."""
    rng, results, cotangent = np.random.default_rng(5), [], None
    for T, n, dtype in ((mt, nn, np.float32), (torch, torch.nn, np.float32), (torch, torch.nn, np.float64)):
        def made(x, T=T, dtype=dtype):
            return T.tensor(x.astype(dtype) if x.dtype.kind == "f" else x)

        leaves = [made(x).requires_grad_() for x in inputs]
        out = fn(T, n.functional, *leaves, *map(made, constants))
        if cotangent is None:
            cotangent = rng.uniform(0.5, 2.0, tuple(out.shape))
        results.append([out, *T.autograd.grad(out, leaves, made(cotangent.astype(np.float32)))])
    for number, found in enumerate(zip(*results, strict=True)):
        close(*found, "value" if number == 0 else f"gradient {number - 1}")


def raises_alike(action):
    """Both packages raise the same type with the same text; `action` takes (T, nn)."""
    caught = []
    for pair in PAIRS:
        with pytest.raises(Exception) as info:
            action(*pair)
        caught.append((info.type, REWORDED.get(str(info.value), str(info.value))))
    assert caught[0] == caught[1]
