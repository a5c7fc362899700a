"""Derivatives against central differences, in float64: no oracle needed but the function itself.

Of a function with few elements the whole Jacobian is compared; of one with many, random projections of it: u'Jv for
random u and v, which a wrong entry of the Jacobian changes almost surely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

import microtrain

from .running import listed

FULL = 4096
"""Entries up to which a Jacobian is compared as a whole."""

PROJECTIONS = 4


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
    return _checked(func, tuple(listed(inputs)), "", eps, atol, rtol, raise_exception, nondet_tol)


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

    return _checked(gradients, (*tensors, *cotangents), "second ", eps, atol, rtol, raise_exception, nondet_tol)


def _results(result: Any) -> list[Any]:
    """The tensors of a function's result. Raises TypeError for what is none."""
    results = listed(result)
    for one in results:
        if not isinstance(one, microtrain.Tensor):
            raise TypeError(f"gradcheck(): func gives Tensors, not {type(one).__name__}")
    return results


def _differentiated(tensors: Sequence[Any]) -> list[int]:
    """The places of the inputs that require grad. Raises ValueError as `gradcheck`."""
    places = [i for i, one in enumerate(tensors) if getattr(one, "requires_grad", False)]
    if not places:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have "
                         "requires_grad=True.")
    for i in places:
        if tensors[i].dtype != microtrain.float64:
            raise ValueError(f"gradcheck(): input {i} is {tensors[i].dtype.name}: central differences need float64")
    return places


def _checked(func: Callable[..., Any], tensors: tuple[Any, ...], order: str, eps: float, atol: float, rtol: float,
             raise_exception: bool, nondet_tol: float) -> bool:
    """Compare each output with respect to each input."""
    values = {place: _array(tensors[place]) for place in _differentiated(tensors)}
    results = _results(func(*tensors))
    shapes = [tuple(one.shape) for one in results]

    def moved(number: int, place: int, step: np.ndarray) -> np.ndarray:
        """An output where one input is elsewhere."""
        given = [microtrain.tensor(values[i] + step if i == place else values[i], device=one.device, requires_grad=True)
                 if i in values else one for i, one in enumerate(tensors)]
        outputs = _results(func(*given))
        if (other := [tuple(one.shape) for one in outputs]) != shapes:
            raise GradcheckError("func has to return outputs with the same shape when inputs are perturbed, but gave "
                                 f"the shapes {shapes} and then {other}")
        return _array(outputs[number])

    def check(number: int, place: int) -> None:
        y, x, name = results[number], tensors[place], f"{order}for output {number} with respect to input {place}"
        shape, rows, columns = values[place].shape, values[place].size, y.numel()

        def analytical(cotangent: np.ndarray) -> np.ndarray:
            """Its product with the Jacobian: an entry for each of the input."""
            ct = microtrain.tensor(cotangent.reshape(shapes[number]), dtype=y.dtype, device=y.device)
            found, = microtrain.autograd.grad(y, x, ct, retain_graph=True, materialize_grads=True)
            return _array(found).ravel()

        def numerical(direction: np.ndarray) -> np.ndarray:
            """The central difference along a direction of the input: an entry for each of the output."""
            ahead, behind = (moved(number, place, sign * eps * direction.reshape(shape)) for sign in (1.0, -1.0))
            return np.ravel((ahead - behind) / (2 * eps))

        first, again = (analytical(np.ones(columns)) for _ in range(2))
        if not np.allclose(first, again, rtol=0, atol=float(nondet_tol), equal_nan=True):
            raise GradcheckError(f"Backward is not reentrant, {name}: with the same input and the same cotangent it "
                                 "gives another gradient the second time")
        whole = rows * columns <= FULL
        if whole:
            found = np.reshape([analytical(np.eye(1, columns, j)) for j in range(columns)], (columns, rows)).T
            expected = np.reshape([numerical(np.eye(1, rows, i)) for i in range(rows)], (rows, columns))
        else:
            rng = np.random.default_rng(3)
            pairs = [[u / np.linalg.norm(u) for u in (rng.standard_normal(columns), rng.standard_normal(rows))]
                     for _ in range(PROJECTIONS)]
            found = np.array([[analytical(u) @ v] for u, v in pairs])
            expected = np.array([[numerical(v) @ u] for u, v in pairs])
        wrong = ~(np.abs(found - expected) <= atol + rtol * np.abs(expected))
        for i, j in np.argwhere(wrong)[:1]:
            said = f"numerical {expected[i, j]:.9g}, analytical {found[i, j]:.9g}"
            if not whole:
                raise GradcheckError(f"Jacobian mismatch {name}, along random directions: {said}")
            to, by = ([int(n) for n in np.unravel_index(*at)] for at in ((j, shapes[number]), (i, shape)))
            raise GradcheckError(f"Jacobian mismatch {name}: d output{to} / d input{by}: {said} ({int(wrong.sum())} of "
                                 f"{wrong.size} entries differ)")

    try:
        for number, place in product((k for k, y in enumerate(results) if y.requires_grad), values):
            check(number, place)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _array(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy())
