"""PyTorch's own operator database as cases: names, how each is called here, samples.

The database (`torch.testing._internal.common_methods_invocations.op_db`) is what PyTorch tests itself with: for each
operator samples that reach its corners, and inputs that must raise. It is loaded when first asked for.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.random import Generator

import microtrain

from ..closeness import Tolerance
from ..running import Arguments, Library, Tried, dtype_name, nudged

NAMES = tuple("""
__getitem__ __radd__ __rdiv__ __rmatmul__ __rmul__ __rpow__ __rsub__ abs acos acosh add addcdiv addcmul addmm all amax
amin any argmax argmin asin asinh atan atan2 atanh bmm broadcast_to cat ceil chunk clamp clamp_max clamp_min clone
contiguous copysign cos cosh cumprod cumsum deg2rad diagonal div dot dstack einsum eq erf erfc exp exp2 expand expm1 eye
fill flatten flip float_power floor floor_divide fmod frac full gather ge gt hstack hypot index_select isclose isfinite
isinf isnan le lerp linalg.norm linalg.vector_norm linspace log log10 log1p log2 log_softmax logaddexp logical_and
logical_not logical_or logit logsumexp lt masked_fill masked_select matmul max maximum mean median min minimum mm
movedim mul mv nan_to_num narrow ne neg new_ones new_zeros nn.functional.avg_pool2d nn.functional.batch_norm
nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits nn.functional.celu
nn.functional.conv1d nn.functional.conv2d nn.functional.cosine_similarity nn.functional.cross_entropy
nn.functional.dropout nn.functional.elu nn.functional.embedding nn.functional.gelu nn.functional.glu
nn.functional.hardshrink nn.functional.hardsigmoid nn.functional.hardswish nn.functional.hardtanh
nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.kl_div nn.functional.l1_loss
nn.functional.layer_norm nn.functional.leaky_relu nn.functional.linear nn.functional.logsigmoid
nn.functional.max_pool2d nn.functional.mish nn.functional.mse_loss nn.functional.nll_loss nn.functional.normalize
nn.functional.one_hot nn.functional.pad nn.functional.prelu nn.functional.relu nn.functional.relu6
nn.functional.rms_norm nn.functional.scaled_dot_product_attention nn.functional.selu nn.functional.silu
nn.functional.smooth_l1_loss nn.functional.soft_margin_loss nn.functional.softmin nn.functional.softplus
nn.functional.softshrink nn.functional.softsign nn.functional.tanhshrink nn.functional.threshold norm ones_like outer
permute positive pow prod ravel reciprocal remainder repeat reshape round rsqrt rsub scatter select sgn sigmoid sign sin
sinh softmax sort special.xlog1py split sqrt square squeeze stack std sub sum t tan tanh tile topk trace transpose tril
triu true_divide trunc unbind unflatten unsqueeze var view vstack where xlogy zeros_like
""".split())        # noqa: SIM905 (two hundred names read better without quotes)
"""The operators that are compared, under the names that the database gives them."""

FURTHER = tuple("""
__rmod__ allclose arange argsort broadcast_tensors equal expand_as full_like heaviside index_add index_copy index_fill
kthvalue logaddexp2 logcumsumexp logical_xor masked_scatter msort nanmedian new_full nn.functional.avg_pool1d
nn.functional.unfold nonzero ones rad2deg reshape_as scatter_add signbit take take_along_dim view_as zeros
""".split())        # noqa: SIM905
"""Others of the database that are here."""

DTYPES = ("float32", "float64")

CONVENTIONS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "einsum": lambda function: lambda operands, equation: function(equation, *operands),
    "where": lambda function: lambda input, condition, other: function(condition, input, other),
    "nn.functional.embedding": lambda function: lambda weight, indices, **kw: function(indices, weight, **kw),
}
"""Operators that the database calls with their arguments in another order than the public function has."""

SEED = 1234
"""The database's own."""


@cache
def database() -> dict[str, list[Any]]:
    """The database's entries by name; some names have several variants.

    Raises ImportError, saying what to install, where PyTorch or what its database needs is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.testing._internal.common_methods_invocations import op_db
    except ImportError as error:
        needed = f"'{error.name}'" if error.name else str(error)
        raise ImportError(f"PyTorch's operator database could not be loaded for want of {needed}: it needs torch, "
                          "numpy, pytest and expecttest (pip install torch expecttest)", name=error.name) from error
    entries: dict[str, list[Any]] = {name: [] for name in (*NAMES, *FURTHER)}
    for entry in op_db:
        if entry.name in entries:
            entries[entry.name].append(entry)
    return entries


def find(name: str) -> Callable[..., Any] | None:
    """What goes by the name here, called as the database calls it: a function of the package, else a method of Tensor.

    None where there is neither.
    """
    found: Any = microtrain
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None or isinstance(found, ModuleType):
        found = getattr(microtrain.Tensor, name, None)
    return None if found is None else CONVENTIONS.get(name, lambda function: function)(found)


@dataclass(frozen=True)
class Call:
    """An operator of the database with arguments, which hold PyTorch's tensors."""

    operation: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        return f"({', '.join([*map(shown, self.args), *(f'{k}={shown(v)}' for k, v in self.kwargs.items())])})"

    def arguments(self, library: Library, dtype: str | None = None) -> Arguments:
        """The arguments in a library, tensors copied; PyTorch's tensors and dtypes of floating point as `dtype`."""
        args, kwargs = mapped(partial(converted, library, dtype), self.args, self.kwargs)
        leaves = [tensor for tensor in dict.fromkeys(tensors_in((args, kwargs))) if tensor.requires_grad]
        return Arguments(args, kwargs, leaves)


@dataclass(frozen=True)
class Case(Call, Tried):
    """One sample of one entry of the database.

    `finish` picks what is compared of the result; `order` is how often the operator can be differentiated; `kind` how
    near its value must be.
    """

    variant: str
    dtype: str
    seed: int
    finish: Callable[[Any], Any]
    order: int
    kind: Tolerance
    near: int | None = None

    @property
    def own(self) -> str | None:
        named = any("dtype" in type(value).__name__ for value in (*self.args, *self.kwargs.values()))
        return None if named else self.dtype

    @property
    def size(self) -> int:
        return sum(tensor.numel() for tensor in tensors_in((self.args, self.kwargs)))

    @property
    def differentiated(self) -> list[int]:
        tensors = dict.fromkeys(tensors_in((self.args, self.kwargs)))
        return [place for place, tensor in enumerate(tensors) if tensor.requires_grad]

    def results(self, result: Any) -> list[Any]:
        return tensors_in(self.finish(result))

    def cotangent(self, library: Library, rng: Generator, like: Any, requires_grad: bool) -> tuple[Any, Any]:
        values = nudged(rng.standard_normal(tuple(like.shape)), self.near)
        values = values.astype(np.float32)              # so that every precision can hold them
        leaf = library.tensor(values, dtype_name(like), requires_grad)
        return leaf, leaf

    def neighbour(self, number: int) -> Case:
        args, kwargs = mapped(nearby(number), self.args, self.kwargs)
        return replace(self, args=args, kwargs=kwargs, near=number)


def nearby(number: int) -> Callable[[Any], Any]:
    """A function that makes PyTorch's leaves up to a percent smaller, by factors of a seed, and leaves all else."""
    import torch
    generator = torch.Generator().manual_seed(number)

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.requires_grad:
            return value
        factor = 1 - 0.01 * torch.rand(value.shape, generator=generator, dtype=value.dtype)
        return (value.detach() * factor).requires_grad_()
    return moved


def converted(library: Library, dtype: str | None, value: Any) -> Any:
    """An argument of a call in a library."""
    import torch
    if library.module is torch:
        kind = value.dtype if isinstance(value, torch.Tensor) else value
        if dtype and isinstance(kind, torch.dtype) and kind.is_floating_point:
            kind = getattr(torch, dtype)
        if isinstance(value, torch.Tensor):
            return value.detach().clone().to(kind).requires_grad_(value.requires_grad)
        return kind
    if isinstance(value, torch.Tensor):
        if value.is_complex() or value.layout is not torch.strided:
            raise NotImplementedError(f"microtrain has no {value.dtype} tensors of layout {value.layout}")
        return library.tensor(value.numpy(force=True).copy(), dtype_name(value), value.requires_grad)
    if isinstance(value, torch.dtype):
        return getattr(microtrain, str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return tuple(value)
    return library.device if isinstance(value, str) and value == "cpu" else value


def mapped(change: Callable[[Any], Any], args: tuple[Any, ...],
           kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with each value changed; a tensor that is passed twice is one tensor still."""
    from torch.utils._pytree import tree_map
    copies: dict[int, Any] = {}

    def once(value: Any) -> Any:
        if id(value) not in copies:
            copies[id(value)] = change(value)
        return copies[id(value)]
    return tree_map(once, (args, kwargs))


def tensors_in(tree: Any) -> list[Any]:
    """The tensors in nested lists, tuples and dictionaries, PyTorch's or ours."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, list | tuple):
        return [tensor for part in tree for tensor in tensors_in(part)]
    return [tree] if hasattr(tree, "requires_grad") else []


def shown(value: Any) -> str:
    """An argument in a few words: of a tensor dtype and shape."""
    if hasattr(value, "requires_grad"):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        left, right = "[]" if isinstance(value, list) else ("(", ",)" if len(value) == 1 else ")")
        return left + ", ".join(map(shown, value)) + right
    return repr(value)


def cases(name: str, dtype: str) -> Iterator[Case]:
    """All samples of an operator in a dtype, the same ones every time; none where the operator does not take it."""
    import torch
    from torch.testing._internal.opinfo.core import BinaryUfuncInfo, UnaryUfuncInfo
    kind = getattr(torch, dtype)
    for entry in database()[name]:
        if kind not in entry.dtypes:
            continue
        order = 0 if not entry.supports_autograd else 2 if entry.supports_gradgrad else 1
        elementwise = isinstance(entry, BinaryUfuncInfo | UnaryUfuncInfo)
        tolerance = Tolerance.ELEMENTWISE if elementwise else Tolerance.REDUCTION
        samples = entry.sample_inputs_func(entry, "cpu", kind, entry.supports_autograd)
        for number, sample in enumerate(seeded(samples)):
            yield Case(name, entry.op, (sample.input, *sample.args), sample.kwargs, entry.variant_test_name, dtype,
                       number, sample.output_process_fn_grad, order, tolerance)


@dataclass(frozen=True)
class ErrorCase(Call):
    """Arguments that must raise: PyTorch's exception type, and the pattern that its message matches."""

    error: Any
    pattern: str


def error_cases(name: str) -> Iterator[ErrorCase]:
    """The arguments with which an operator must raise."""
    for entry in database()[name]:
        for wrong in seeded(entry.error_inputs_func(entry, "cpu") if entry.error_inputs_func else ()):
            sample = wrong.sample_input
            yield ErrorCase(name, entry.op, (sample.input, *sample.args), sample.kwargs, wrong.error_type,
                            wrong.error_regex)


def seeded(samples: Iterable[Any]) -> Iterator[Any]:
    """Samples, all generators that they are drawn from being seeded before each, as the database's own iterator does.

    That one also looks through the stack for the test that asks, at every sample: it takes longer than the samples.
    """
    import torch
    drawn, end = iter(samples), object()
    while True:
        random.seed(SEED)
        np.random.seed(SEED)
        torch.default_generator.manual_seed(SEED)       # of the CPU alone: `torch.manual_seed` looks through the stack
        if (sample := next(drawn, end)) is end:
            return
        yield sample


def spread(found: list[Case], count: int) -> list[Case]:
    """So many of some cases, from the smallest to the median in number of elements, none of them empty."""
    ordered = sorted((case for case in found if case.size), key=lambda case: (case.size, case.variant, case.seed))
    ordered = ordered[:max(count, (len(ordered) + 1) // 2)] or found
    step = max(1, len(ordered) // count)
    return ordered[::step][:count]
