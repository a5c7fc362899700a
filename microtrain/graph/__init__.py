"""What an operation is: nodes, the table of primitives, their derivatives, shapes and dtypes."""

from . import special_vjps as special_vjps
from . import vjps as vjps
