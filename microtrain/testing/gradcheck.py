"""Derivatives against central differences, in float64: no oracle needed but the function itself.

Of a function with few elements the whole Jacobian is compared; of one with many, random projections of it: u'Jv for
random u and v, which a wrong entry of the Jacobian changes almost surely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import microtrain

from .running import listed

FULL = 4096
"""Entries up to which a Jacobian is compared as a whole."""

PROJECTIONS = 4


def _results(result: Any) -> list[Any]:
    """The tensors of a function's result. Raises TypeError for what is none."""
    results = listed(result)
    for one in results:
        if not isinstance(one, microtrain.Tensor):
            raise TypeError(f"gradcheck(): func gives Tensors, not {type(one).__name__}")
    return results


class GradcheckError(RuntimeError):
    """An analytical derivative is not what central differences give, or not the same each time."""


def gradcheck(func: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True, nondet_tol: float = 0.0) -> bool:
    """Whether the gradients of `func` are what central differences give, to atol + rtol |numerical|.

    As `torch.autograd.gradcheck`: `func` takes the `inputs` (a Tensor or several) and gives a Tensor or several; those
    that require grad are differentiated, and must be float64. Twice, with one cotangent, they must be the same to
    `nondet_tol`.

    Raises GradcheckError, saying which entry is wrong, unless `raise_exception` is False; ValueError where no input
    requires grad, or one that does is not float64.
    """
    try:
        _gradcheck(func, tuple(listed(inputs)), eps, atol, rtol, "", nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6,
                  atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True,
                  nondet_tol: float = 0.0) -> bool:
    """Whether the second derivatives of `func` agree with central differences of the first.

    The gradients are taken as a function of the inputs and of the cotangents `grad_outputs` (random ones by default),
    and that function is checked. Arguments and errors are those of `gradcheck`.
    """
    tensors = tuple(listed(inputs))
    places = _differentiated(tensors)
    results = [y for y in _results(func(*tensors)) if y.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(7)
        cotangents = [microtrain.tensor(rng.standard_normal(tuple(y.shape)), dtype=y.dtype, device=y.device,
                                        requires_grad=True) for y in results]
    else:
        given = listed(grad_outputs)
        for ct in given:
            if not isinstance(ct, microtrain.Tensor):
                raise TypeError(f"gradgradcheck(): argument 'grad_outputs' must be Tensors, not {type(ct).__name__}")
        cotangents = [ct.detach().requires_grad_() for ct in given]

    def gradients(*arguments: Any) -> list[Any]:
        given, cts = arguments[:len(tensors)], arguments[len(tensors):]
        outputs = [y for y in _results(func(*given)) if y.requires_grad]
        found = microtrain.autograd.grad(outputs, [given[i] for i in places], list(cts), create_graph=True,
                                         materialize_grads=True)
        return [one for one in found if one.requires_grad]

    try:
        _gradcheck(gradients, (*tensors, *cotangents), eps, atol, rtol, "second ", nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _differentiated(tensors: Sequence[Any]) -> list[int]:
    places = [i for i, one in enumerate(tensors) if getattr(one, "requires_grad", False)]
    if not places:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have "
                         "requires_grad=True.")
    for i in places:
        if tensors[i].dtype != microtrain.float64:
            raise ValueError(f"gradcheck(): input {i} is {tensors[i].dtype.name}: central differences need float64")
    return places


def _gradcheck(func: Callable[..., Any], tensors: tuple[Any, ...], eps: float, atol: float, rtol: float,
               order: str, nondet_tol: float) -> None:
    places = _differentiated(tensors)
    values = [np.array(tensors[i].detach().cpu().numpy()) for i in places]
    requested = [tensors[i] for i in places]

    def evaluate(moved: list[np.ndarray]) -> list[np.ndarray]:
        given = list(tensors)
        for i, array in zip(places, moved, strict=True):
            given[i] = microtrain.tensor(array, device=tensors[i].device, requires_grad=True)
        outputs = _results(func(*given))
        shapes = [tuple(one.shape) for one in results], [tuple(one.shape) for one in outputs]
        if shapes[0] != shapes[1]:
            raise GradcheckError("func has to return outputs with the same shape when inputs are perturbed, but gave "
                                 f"the shapes {shapes[0]} and then {shapes[1]}")
        return [np.array(outputs[k].detach().cpu().numpy()) for k in live]

    results = _results(func(*tensors))
    live = [k for k, y in enumerate(results) if y.requires_grad]
    for k, y in enumerate(results[k] for k in live):
        for number, place in enumerate(places):
            name = f"{order}for output {live[k]} with respect to input {place}"
            first, again = (_gradient(y, requested[number], np.ones(tuple(y.shape))) for _ in range(2))
            if not np.allclose(first, again, rtol=0, atol=float(nondet_tol), equal_nan=True):
                raise GradcheckError(f"Backward is not reentrant, {name}: with the same input and the same cotangent "
                                     "it gives another gradient the second time")
            if y.numel() * values[number].size <= FULL:
                _full(evaluate, y, requested[number], values, k, number, eps, atol, rtol, name)
            else:
                _projected(evaluate, y, requested[number], values, k, number, eps, atol, rtol, name)


def _gradient(y: Any, x: Any, cotangent: np.ndarray) -> np.ndarray:
    """The analytical product of a cotangent with the Jacobian."""
    ct = microtrain.tensor(cotangent, dtype=y.dtype, device=y.device)
    found, = microtrain.autograd.grad(y, x, ct, retain_graph=True, materialize_grads=True)
    return np.array(found.detach().cpu().numpy())


def _difference(evaluate: Callable[..., Any], values: list[np.ndarray], number: int, direction: np.ndarray, k: int,
                eps: float) -> np.ndarray:
    """The central difference of output k along a direction of one input."""
    ends = [evaluate([array + sign * eps * direction if i == number else array for i, array in enumerate(values)])[k]
            for sign in (1.0, -1.0)]
    return np.asarray((ends[0] - ends[1]) / (2 * eps))


def _full(evaluate: Callable[..., Any], y: Any, x: Any, values: list[np.ndarray], k: int, number: int, eps: float,
          atol: float, rtol: float, name: str) -> None:
    """Compare every entry: analytical rows, numerical columns."""
    shape, size = tuple(y.shape), values[number].size
    analytical = np.zeros((size, y.numel()))
    for j in range(y.numel()):
        analytical[:, j] = _gradient(y, x, np.eye(1, y.numel(), j).reshape(shape)).ravel()
    numerical = np.zeros_like(analytical)
    for i in range(size):
        direction = np.eye(1, size, i).reshape(values[number].shape)
        numerical[i] = _difference(evaluate, values, number, direction, k, eps).ravel()
    wrong = ~(np.abs(analytical - numerical) <= atol + rtol * np.abs(numerical))
    if wrong.any():
        i, j = (int(place) for place in np.argwhere(wrong)[0])
        raise GradcheckError(
            f"Jacobian mismatch {name}: d output{list(map(int, np.unravel_index(j, shape or (1,))))[:y.ndim]} / d input"
            f"{list(map(int, np.unravel_index(i, values[number].shape or (1,))))[:values[number].ndim]}: "
            f"numerical {numerical[i, j]:.9g}, analytical {analytical[i, j]:.9g} "
            f"({int(wrong.sum())} of {wrong.size} entries differ)")


def _projected(evaluate: Callable[..., Any], y: Any, x: Any, values: list[np.ndarray], k: int, number: int, eps: float,
               atol: float, rtol: float, name: str) -> None:
    """Compare u'Jv for random unit directions u, v."""
    rng = np.random.default_rng(3)
    for _ in range(PROJECTIONS):
        u, v = rng.standard_normal(tuple(y.shape)), rng.standard_normal(values[number].shape)
        u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
        analytical = float((_gradient(y, x, u) * v).sum())
        numerical = float((_difference(evaluate, values, number, v, k, eps) * u).sum())
        if not abs(analytical - numerical) <= atol + rtol * abs(numerical):
            raise GradcheckError(f"Jacobian mismatch {name}, along random directions: numerical {numerical:.9g}, "
                                 f"analytical {analytical:.9g}")
