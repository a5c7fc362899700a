"""The Tensor: the handle, and the methods that are bound to it, one name for each.

A method is a function of `elementwise`, `shaping`, ... whose first argument is the tensor; one that does no more than
record an operation of the graph is made here (`unary`, `binary`, ...). Most are functions of the package too.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

from .. import ops as g
from ..arguments import CLASSES, guard
from ..errors import missing
from ..graph.dtypes import DType, get_default_dtype
from . import (
    copies,
    create,
    elementwise,
    gathering,
    index,
    inplace,
    linalg,
    norms,
    operators,
    ordering,
    rearranging,
    shaping,
    special,
    transfer,
)
from . import reduce as r
from .core import Handle
from .create import DeviceLike, default_device
from .elementwise import binary, logical, primitive, rounding, strict, two, unary, with_number
from .host import values
from .inplace import augmented, update
from .inplace import inplace as in_place
from .operands import floats_only
from .printing import format_array
from .random import Generator
from .refusal import Refused
from .storage import blank


class Tensor(Handle):
    """An array of numbers on a device, recorded on the tape when it requires grad. `Tensor(data)` makes a leaf of the
    default floating dtype; `tensor(data)` keeps the data's own kind."""

    __slots__ = ()
    __array_ufunc__ = None          # an ndarray on the left defers to the tensor: ndarray * Tensor is a Tensor
    __array_priority__ = 1000

    def __new__(cls, *data: Any, device: DeviceLike = None) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], int):
            return create.tensor(data[0], dtype=get_default_dtype(), device=device)
        return create.empty(*data, device=device) if data else create.empty(0, device=device)

    if sys.version_info >= (3, 12):             # before, a class that has one takes thrice as long for every attribute
        def __getattr__(self, name: str) -> object:
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

    @property
    def T(self) -> Tensor:
        """All axes reversed."""
        return shaping.permuted(self, tuple(reversed(range(self.ndim))), "PermuteBackward0")

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self.ndim}-D "
                               "tensor.")
        return self.transpose(-2, -1)

    @property
    def data(self) -> Tensor:
        """The same memory, off the tape, changes of which do not count as versions."""
        return self.detached(counts=False)

    @data.setter
    def data(self, value: Tensor) -> None:
        transfer.set_data(self, value)

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return transfer.cuda_array_interface(self)

    # ------------------------------------------------------------------------------------------------------ operators
    __add__ = __radd__ = operators.add
    __sub__, __rsub__ = operators.sub, operators.rsub
    __mul__ = __rmul__ = operators.mul
    __truediv__, __rtruediv__ = operators.truediv, operators.rtruediv
    __rdiv__ = strict(operators.rtruediv, "__rdiv__")
    __floordiv__, __rfloordiv__ = operators.floordiv, operators.rfloordiv
    __mod__, __rmod__ = operators.mod, operators.rmod
    __pow__, __rpow__ = operators.pow, operators.rpow
    __matmul__, __rmatmul__ = linalg.matmul_operator, linalg.rmatmul_operator
    __neg__, __pos__, __invert__, __abs__ = operators.neg, operators.pos, operators.invert, elementwise.abs
    __eq__, __ne__, __lt__ = operators.eq, operators.ne, operators.lt       # type: ignore[assignment]
    __le__, __gt__, __ge__ = operators.le, operators.gt, operators.ge
    __hash__ = object.__hash__
    __and__ = __rand__ = operators.bitwise_and
    __or__ = __ror__ = operators.bitwise_or
    __xor__ = __rxor__ = operators.bitwise_xor
    __iadd__ = update(g.ADD, "add", augmented("add"))
    __isub__ = update(g.SUB, "sub", augmented("sub"))
    __imul__ = update(g.MUL, "mul", augmented("mul"))
    __itruediv__, __ifloordiv__ = augmented("truediv"), augmented("floordiv")
    __imod__, __ipow__ = augmented("mod"), augmented("pow")
    __iand__, __ior__, __ixor__ = augmented("and"), augmented("or"), augmented("xor")
    __getitem__, __setitem__ = index.getitem, index.setitem
    __iter__, __contains__ = index.iterated, index.contains
    __bool__, __float__, __int__, __index__ = transfer.as_bool, transfer.as_float, transfer.as_int, transfer.as_index
    __format__, __array__ = transfer.formatted, transfer.as_array
    __dlpack__, __dlpack_device__ = transfer.as_dlpack, transfer.dlpack_device
    __reduce__, __copy__, __deepcopy__ = copies.reduced, copies.copied, copies.deep_copied

    # ----------------------------------------------------------------------------------------------------- elementwise
    exp = primitive("exp", "e to the power of each element.")
    log = primitive("log", "Natural logarithm.")
    log1p = primitive("log1p", "log(1 + x), accurate near 0.")
    expm1 = primitive("expm1", "exp(x) - 1, accurate near 0.")
    sqrt = primitive("sqrt", "Square root.")
    rsqrt = primitive("rsqrt", "1 / sqrt(x).")
    reciprocal = primitive("reciprocal", "1 / x.")
    sin = primitive("sin", "Sine of an angle in radians.")
    cos = primitive("cos", "Cosine of an angle in radians.")
    tan = primitive("tan", "Tangent of an angle in radians.")
    tanh = primitive("tanh", "Hyperbolic tangent.")
    sigmoid = primitive("sigmoid", "1 / (1 + exp(-x)).")
    acos = arccos = unary("acos", "The angle in [0, pi] whose cosine is x; NaN outside [-1, 1].")
    asin = arcsin = unary("asin", "The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1].")
    atan = arctan = unary("atan", "The angle in (-pi/2, pi/2) whose tangent is x.")
    sinh = unary("sinh", "Hyperbolic sine.")
    cosh = unary("cosh", "Hyperbolic cosine.")
    asinh = arcsinh = unary("asinh", "Inverse hyperbolic sine.")
    acosh = arccosh = unary("acosh", "Inverse hyperbolic cosine; NaN below 1.")
    atanh = arctanh = unary("atanh", "Inverse hyperbolic tangent; NaN outside [-1, 1].")
    exp2 = unary("exp2", "2 to the power of each element.")
    log2 = unary("log2", "Logarithm to base 2.")
    log10 = unary("log10", "Logarithm to base 10.")
    erf = unary("erf", "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.")
    erfc = unary("erfc", "1 - erf(x), accurate in its tail.")
    atan2 = arctan2 = binary("atan2", "The angle of the point (other, self), in [-pi, pi].")
    hypot = binary("hypot", "sqrt(self^2 + other^2), without overflow on the way.", floats_only)
    logaddexp = binary("logaddexp", "log(exp(self) + exp(other)).", floats_only)
    logaddexp2 = binary("logaddexp2", "log2(2^self + 2^other).", floats_only)
    xlogy = with_number("xlogy", "self log(other); 0 where self is 0, unless `other` is NaN.")
    deg2rad = special.scaled("deg2rad", math.pi / 180, "Deg2RadBackward0", "Degrees in radians.")
    rad2deg = special.scaled("rad2deg", 180 / math.pi, "Rad2DegBackward0", "Radians in degrees.")
    floor = rounding("floor", "The largest integer not above.")
    ceil = rounding("ceil", "The smallest integer not below.")
    trunc = fix = rounding("trunc", "The integer part.")
    maximum = two(g.maximum, "maximum", "The larger of two elements; NaN wins. Ties share the gradient.")
    minimum = two(g.minimum, "minimum", "The smaller of two elements; NaN wins. Ties share the gradient.")
    logical_and = logical("logical_and", g.bitwise_and, "Whether both elements are non-zero.")
    logical_or = logical("logical_or", g.bitwise_or, "Whether either element is non-zero.")
    logical_xor = logical("logical_xor", g.bitwise_xor, "Whether exactly one element is non-zero.")
    eq, ne, lt = strict(operators.eq, "eq"), strict(operators.ne, "ne"), strict(operators.lt, "lt")
    le, gt, ge = strict(operators.le, "le"), strict(operators.gt, "gt"), strict(operators.ge, "ge")
    bitwise_and = strict(operators.bitwise_and, "bitwise_and")
    bitwise_or = strict(operators.bitwise_or, "bitwise_or")
    bitwise_xor = strict(operators.bitwise_xor, "bitwise_xor")
    abs = absolute = elementwise.abs
    relu, softplus, sign, round = elementwise.relu, elementwise.softplus, elementwise.sign, elementwise.round
    square, add, rsub = elementwise.square, elementwise.add, elementwise.rsub
    sub = subtract = elementwise.sub
    mul = multiply = elementwise.mul
    div = divide = true_divide = elementwise.div
    floor_divide, remainder, pow = elementwise.floor_divide, elementwise.remainder, elementwise.pow
    logical_not, isnan, isinf = elementwise.logical_not, elementwise.isnan, elementwise.isinf
    isfinite, masked_fill = elementwise.isfinite, elementwise.masked_fill
    clamp = clip = elementwise.clamp
    clamp_min, clamp_max = elementwise.clamp_min, elementwise.clamp_max
    neg = negative = operators.neg
    bitwise_not, where = operators.invert, gathering.chosen
    copysign, logit, fmod, frac = special.copysign, special.logit, special.fmod, special.frac
    float_power, float_power_, positive, sgn = special.float_power, special.float_power_, special.positive, special.sgn
    signbit, heaviside, lerp, addcmul = special.signbit, special.heaviside, special.lerp, special.addcmul
    addcdiv, nan_to_num, isclose, allclose = special.addcdiv, special.nan_to_num, special.isclose, special.allclose
    # ------------------------------------------------------------------------------------------------------ reductions
    sum, mean, var, std, prod = r.sum, r.mean, r.var, r.std, r.prod
    amax, amin, aminmax, max, min = r.amax, r.amin, r.aminmax, r.max, r.min
    argmax, argmin, any, all, count_nonzero = r.argmax, r.argmin, r.any, r.all, r.count_nonzero
    nansum, logsumexp, softmax, log_softmax = r.nansum, r.logsumexp, r.softmax, r.log_softmax
    norm, dist = norms.tensor_norm, norms.dist
    # ----------------------------------------------------------------------------------------------------------- order
    cumsum, cumprod, logcumsumexp, sort = ordering.cumsum, ordering.cumprod, ordering.logcumsumexp, ordering.sort
    argsort, msort, topk, kthvalue = ordering.argsort, ordering.msort, ordering.topk, ordering.kthvalue
    median, nanmedian = ordering.median, ordering.nanmedian
    # -------------------------------------------------------------------------------------------------------- products
    matmul, mm, bmm, mv, dot = linalg.matmul, linalg.mm, linalg.bmm, linalg.mv, linalg.dot
    outer, addmm, addmv, baddbmm, addbmm = linalg.outer, linalg.addmm, linalg.addmv, linalg.baddbmm, linalg.addbmm
    tensordot, kron = linalg.tensordot, linalg.kron
    # ---------------------------------------------------------------------------------------------------------- shapes
    reshape, view, view_as, reshape_as = shaping.reshape, shaping.view, shaping.view_as, shaping.reshape_as
    flatten, unflatten, ravel, permute = shaping.flatten, shaping.unflatten, shaping.ravel, shaping.permute
    transpose = swapaxes = swapdims = shaping.transpose
    movedim, t, expand, expand_as = shaping.movedim, shaping.t, shaping.expand, shaping.expand_as
    broadcast_to, squeeze, unsqueeze, flip = shaping.broadcast_to, shaping.squeeze, shaping.unsqueeze, shaping.flip
    contiguous, narrow, select, split = shaping.contiguous, shaping.narrow, shaping.select, shaping.split
    chunk, tensor_split, hsplit, vsplit = shaping.chunk, shaping.tensor_split, shaping.hsplit, shaping.vsplit
    dsplit, unbind = shaping.dsplit, shaping.unbind
    # ---------------------------------------------------------------------------------------- elements in other places
    diagonal, diag, diag_embed = rearranging.diagonal, rearranging.diag, rearranging.diag_embed
    trace, tril, triu, repeat = rearranging.trace, rearranging.tril, rearranging.triu, rearranging.repeat
    tile, repeat_interleave, roll = rearranging.tile, rearranging.repeat_interleave, rearranging.roll
    rot90 = rearranging.rot90
    # ------------------------------------------------------------------------------------------------- elements picked
    gather, scatter, scatter_add = gathering.gather, gathering.scatter, gathering.scatter_add
    take_along_dim, take, index_add = gathering.take_along_dim, gathering.take, gathering.index_add
    index_copy, index_fill, masked_scatter = gathering.index_copy, gathering.index_fill, gathering.masked_scatter
    nonzero, index_select, masked_select = index.nonzero, gathering.index_select, index.masked_select
    # ----------------------------------------------------------------------------------------------------- conversions
    item, tolist, numpy, to, type = transfer.item, transfer.tolist, transfer.numpy, transfer.to, transfer.type
    type_as, float, double, half = transfer.type_as, transfer.to_float, transfer.double, transfer.half
    bfloat16, long, int, short, char = transfer.bfloat16, transfer.long, transfer.to_int, transfer.short, transfer.char
    byte, bool, cpu, cuda, clone = transfer.byte, transfer.to_bool, transfer.cpu, transfer.cuda, transfer.clone
    detach, detach_ = transfer.detach, transfer.detach_
    new_full, new_ones, new_tensor = create.new_full, create.new_ones, create.new_tensor
    new_zeros = new_empty = create.new_zeros
    # ------------------------------------------------------------------------------------------------ changes in place
    check_inplace, twin, former, become = inplace.check_inplace, inplace.twin, inplace.former, inplace.become
    assign, overwrite, zero_, fill_ = inplace.assign, inplace.overwrite, inplace.zero_, inplace.fill_
    copy_, uniform_, normal_, bernoulli_ = inplace.copy_, inplace.uniform_, inplace.normal_, inplace.bernoulli_
    add_ = update(g.ADD, "add", in_place("add"))
    sub_ = update(g.SUB, "sub", in_place("sub"))
    mul_ = update(g.MUL, "mul", in_place("mul"))
    div_, pow_, neg_, abs_, exp_, log_, sqrt_ = map(in_place, ("div", "pow", "neg", "abs", "exp", "log", "sqrt"))
    rsqrt_, sin_, cos_, tanh_, sigmoid_, relu_ = map(in_place, ("rsqrt", "sin", "cos", "tanh", "sigmoid", "relu"))
    clamp_, floor_, ceil_, round_, reciprocal_ = map(in_place, ("clamp", "floor", "ceil", "round", "reciprocal"))
    clamp_min_, clamp_max_, square_, masked_fill_ = map(in_place, ("clamp_min", "clamp_max", "square", "masked_fill"))
    remainder_, floor_divide_, trunc_, acos_ = map(in_place, ("remainder", "floor_divide", "trunc", "acos"))
    asin_, atan_, sinh_, cosh_, asinh_, acosh_ = map(in_place, ("asin", "atan", "sinh", "cosh", "asinh", "acosh"))
    atanh_, exp2_, arccos_, arcsin_, arctan_ = map(in_place, ("atanh", "exp2", "arccos", "arcsin", "arctan"))
    arcsinh_, arccosh_, arctanh_, log2_, log10_ = map(in_place, ("arcsinh", "arccosh", "arctanh", "log2", "log10"))
    erf_, erfc_, deg2rad_, rad2deg_, atan2_ = map(in_place, ("erf", "erfc", "deg2rad", "rad2deg", "atan2"))
    arctan2_, hypot_, copysign_, xlogy_, logit_ = map(in_place, ("arctan2", "hypot", "copysign", "xlogy", "logit"))
    fmod_, frac_, sgn_, heaviside_, nan_to_num_ = map(in_place, ("fmod", "frac", "sgn", "heaviside", "nan_to_num"))
    lerp_, addcmul_, addcdiv_, scatter_ = map(in_place, ("lerp", "addcmul", "addcdiv", "scatter"))
    scatter_add_, index_add_, index_copy_ = map(in_place, ("scatter_add", "index_add", "index_copy"))
    index_fill_, masked_scatter_, addmm_, addmv_ = map(in_place, ("index_fill", "masked_scatter", "addmm", "addmv"))
    addbmm_, baddbmm_, cumsum_, cumprod_, tril_ = map(in_place, ("addbmm", "baddbmm", "cumsum", "cumprod", "tril"))
    triu_ = in_place("triu")


METHODS_ONLY = """
assign become bfloat16 bool byte char check_inplace contiguous cpu cuda double expand expand_as float former half int
item long new_empty new_full new_ones new_tensor new_zeros numpy overwrite repeat reshape_as short to tolist twin type
type_as view view_as where
""".split()         # noqa: SIM905 (so many names read better without quotes)
FUNCTIONS = ["numel", *(name for name, value in vars(Tensor).items() if callable(value) and name.strip("_") == name
                        and name not in METHODS_ONLY)]
"""Methods that are functions of the package too: all but those in place, and a few."""


QUICK = """
accumulate add add_ backward become clamp clip copy_ detach div expand fill_ flatten gradient item log_softmax matmul
max mean min mul permute reshape requires_grad_ size softmax square sub sum t to transpose unsqueeze view zero_ squeeze
""".split()         # noqa: SIM905
"""Methods that look at their arguments themselves: those of a training step."""

CLASSES.update(Tensor=Handle, DType=DType, Generator=Generator)
for _class in Tensor.__mro__[:-1]:
    guard(_class, [_name for _name in vars(_class) if not _name.startswith("_")], but=QUICK)

blank.append(partial(object.__new__, Tensor))
