"""What an operation is: nodes, the table of primitives, their derivatives, shapes and dtypes."""

from . import vjps as vjps
