"""Every operation, one row each: values, gradients, second gradients and promotion are compared with PyTorch's on them.

A row's function takes a namespace (microtrain or torch) and that namespace's tensors, so both run the very same code.
Its sampler gives a list of Samples: float64 values for every tensor, and attributes. `test_parity.py` goes through the
table on every device.
"""

from .activations import ACTIVATIONS
from .algebra import ALGEBRA
from .creation import CREATION
from .elementwise import ELEMENTWISE_FUNCTIONS
from .layers import LAYERS
from .losses import LOSSES
from .operators import OPERATORS
from .ordering import ORDERING
from .reductions import REDUCTIONS
from .row import ELEMENTWISE, EXACT, REDUCTION, Op, Sample, Tolerance
from .views import INPLACE, VIEWS

__all__ = ["ELEMENTWISE", "EXACT", "OPS", "REDUCTION", "Op", "Sample", "Tolerance"]

OPS: list[Op] = [
    *OPERATORS, *ELEMENTWISE_FUNCTIONS, *ACTIVATIONS, *REDUCTIONS, *ORDERING, *ALGEBRA, *VIEWS, *INPLACE, *CREATION,
    *LOSSES, *LAYERS]
