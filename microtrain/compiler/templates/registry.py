"""The list of kernel templates, in the order in which they are asked to open a kernel: only it names them all."""

from __future__ import annotations

from ..program import Value
from .map import Map, Maps
from .matmul import Matmul
from .rows import Reduce, Row, Slab
from .template import Template
from .user_kernel import UserKernel

# In the order in which they are asked to open a kernel
TEMPLATES: tuple[type[Template], ...] = (Matmul, UserKernel, Slab, Row, Reduce, Map, Maps)


def opened(value: Value) -> Template:
    """The template of a kernel opened for a value."""
    return next(found for template in TEMPLATES if (found := template.opened(value)) is not None)
