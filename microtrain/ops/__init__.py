"""Operations: of each its row, its derivative, what it is made of and the function of nodes, in one place.

`table` says what a row is, `core` has the primitives, the other modules a family each. This is the face that everybody
calls `g`: every function of nodes, and every row under its name in capitals.
"""

from ..graph.constants import like as like
from ..graph.node import BUFFER as BUFFER
from ..graph.node import LITERAL as LITERAL
from ..graph.node import SCALAR as SCALAR
from .activations import *  # noqa: F403
from .core import *  # noqa: F403
from .indexing import *  # noqa: F403
from .layers import *  # noqa: F403
from .losses import *  # noqa: F403
from .normalisation import *  # noqa: F403
from .ordering import *  # noqa: F403
from .random import *  # noqa: F403
from .rows import *  # noqa: F403
from .shapes import TWO_BOOLS as TWO_BOOLS
from .special import *  # noqa: F403
from .table import PRIMITIVES as PRIMITIVES
