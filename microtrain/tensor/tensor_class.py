"""The Tensor: the handle with every operation on it."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from ..arguments import CLASSES, guard
from ..errors import missing
from ..graph.dtypes import DType
from .copies import Copies
from .core import Handle
from .create import DeviceLike, default_device, full, kind, place, sizes
from .elementwise import Elementwise
from .gathering import Gathering
from .index import Indexing, values
from .inplace import Inplace
from .linalg import Linalg
from .norms import Norms
from .ordering import Ordering
from .printing import format_array
from .random import Generator
from .rearranging import Rearranging
from .reduce import Reduce
from .refusal import Refused
from .shaping import Shaping
from .special import Special
from .storage import blank
from .transfer import Transfer


class Tensor(Elementwise, Special, Reduce, Norms, Ordering, Shaping, Rearranging, Indexing, Gathering, Linalg, Inplace,
             Transfer, Copies, Handle):
    """An array of numbers on a device, recorded on the tape when it requires grad.

    `Tensor(data)` makes a leaf of the default floating dtype; `tensor(data)` keeps the data's own kind.
    """

    __slots__ = ()

    def __new__(cls, *data: Any, device: DeviceLike = None) -> Tensor:
        from ..graph.dtypes import get_default_dtype
        from .create import empty, tensor
        if len(data) == 1 and not isinstance(data[0], int):
            return tensor(data[0], dtype=get_default_dtype(), device=device)
        return empty(*data, device=device) if data else empty(0, device=device)

    def new_full(self, size: Any, fill_value: Any, *, dtype: DType | None = None, device: DeviceLike = None,
                 requires_grad: bool = False) -> Tensor:
        """`fill_value` in every element, by default of this dtype and device."""
        return full(sizes((size,)), fill_value, dtype=kind(dtype) or self.dtype,
                    device=self.device if device is None else place(device), requires_grad=requires_grad)

    def new_zeros(self, *size: Any, **options: Any) -> Tensor:
        """Zeros, by default of this dtype and device."""
        return self.new_full(sizes(size), 0, **options)

    def new_ones(self, *size: Any, **options: Any) -> Tensor:
        """Ones, by default of this dtype and device."""
        return self.new_full(sizes(size), 1, **options)

    new_empty = new_zeros

    if sys.version_info >= (3, 12):             # before, a class that has one takes thrice as long for every attribute
        def __getattr__(self, name: str) -> Any:
            raise missing("'Tensor' object", name)

    def __repr__(self) -> str:
        suffixes = []
        if self.device is not default_device():
            suffixes.append(f"device='{self.device}'")
        if self.node.__class__ is Refused:
            suffixes.append("grad_fn=<Invalid>")
        elif self.grad_fn is not None:
            suffixes.append(f"grad_fn=<{self.grad_fn.name}>")
        elif self.requires_grad:
            suffixes.append("requires_grad=True")
        return format_array(values(self.node), self.dtype.name, suffixes)


QUICK = """
accumulate add add_ backward become clamp clip copy_ detach div expand fill_ flatten gradient item log_softmax matmul
max mean min mul permute reshape requires_grad_ size softmax square sub sum t to transpose unsqueeze view zero_ squeeze
""".split()         # noqa: SIM905
"""Methods that look at their arguments themselves: those of a training step."""

CLASSES.update(Tensor=Handle, DType=DType, Generator=Generator)
for _family in Tensor.__mro__[:-1]:
    guard(_family, [_name for _name in vars(_family) if not _name.startswith("_")], but=QUICK)

blank.append(partial(object.__new__, Tensor))
