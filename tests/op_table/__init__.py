"""Every operation, one row each: values, gradients, second gradients and promotion are compared with PyTorch's on them.

A row's function takes a namespace (microtrain or torch) and that namespace's tensors, so both run the very same code.
Its sampler gives a list of Samples: float64 values for every tensor, and attributes. `test_parity.py` goes through the
table on every device.
"""

from tests.op_table.activations import ACTIVATIONS
from tests.op_table.algebra import ALGEBRA
from tests.op_table.creation import CREATION
from tests.op_table.elementwise import ELEMENTWISE_FUNCTIONS
from tests.op_table.inplace import INPLACE
from tests.op_table.layers import LAYERS
from tests.op_table.losses import LOSSES
from tests.op_table.matrices import MATRICES
from tests.op_table.operators import OPERATORS
from tests.op_table.ordering import ORDERING
from tests.op_table.reductions import REDUCTIONS
from tests.op_table.row import ELEMENTWISE, EXACT, REDUCTION, Op, Sample, Tolerance
from tests.op_table.special import SPECIAL_FUNCTIONS
from tests.op_table.views import VIEWS

__all__ = ["ELEMENTWISE", "EXACT", "OPS", "REDUCTION", "Op", "Sample", "Tolerance"]

OPS: list[Op] = [
    *OPERATORS, *ELEMENTWISE_FUNCTIONS, *SPECIAL_FUNCTIONS, *ACTIVATIONS, *REDUCTIONS, *ORDERING, *MATRICES,
    *ALGEBRA, *VIEWS, *INPLACE, *CREATION, *LOSSES, *LAYERS,
]  # fmt: skip
