"""Parameter: a leaf tensor that a Module registers when it is assigned as an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microtrain.tensor import Tensor, empty

if TYPE_CHECKING:
    from collections.abc import Callable


class Parameter(Tensor):
    """A tensor to be trained. Shares the storage of ``data``; is a leaf whatever made ``data``.

    Args:
        data: tensor of any shape; a floating dtype unless ``requires_grad`` is False.
        requires_grad: whether backward accumulates into ``.grad``.

    Raises:
        RuntimeError: an integer or bool ``data`` with ``requires_grad=True``.
    """

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        source = empty(0) if data is None else data
        leaf = source.detach().requires_grad_(requires_grad)
        # The handle made by detach() is fresh and nobody else holds it: it becomes the parameter itself,
        # which keeps the storage shared without a second constructor.
        leaf.__class__ = cls
        return leaf  # type: ignore[return-value]

    __init__: Callable[..., None] = object.__init__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
