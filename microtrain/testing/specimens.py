"""Kernels that stand for uses of the templates, at sizes where speed counts, compiled for one target without a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from .. import ops as g
from ..autograd import no_grad
from ..compiler.program import Program
from ..compiler.schedule import schedule
from ..compiler.simplify import simplify
from ..compiler.templates.template import Kernel
from ..engine.plans import linearize
from ..graph import dtypes
from ..graph.dtypes import DType
from ..graph.node import leaf
from ..graph.spec import Device, spec
from ..runtime.null import Nowhere
from ..tensor import Tensor
from ..tensor.storage import wrap

T = TypeVar("T")

DEVICE = "null:sm_90"

LARGE = 1 << 24
"""Elements of the elementwise cases."""


@dataclass(frozen=True, eq=False)
class Specimen:
    """A kernel, and where it came from: the text that makes it again."""

    kernel: Kernel
    origin: str

    @property
    def template(self) -> str:
        return self.kernel.group.template.name


class Case(NamedTuple):
    """A program that stands for a use of a template."""

    name: str
    make: Callable[[], list[Tensor]]


def x(*shape: int, dtype: DType = dtypes.float32) -> Tensor:
    """A tensor of that shape, which is nowhere."""
    return wrap(leaf(Nowhere(shape, dtype.name), spec(shape, dtype, Device(DEVICE))))


def _softmax_backward() -> list[Tensor]:
    out, ct = x(4096, 1024), x(4096, 1024)
    return [out * (ct - (ct * out).sum(1, keepdim=True))]


def _layer_norm() -> list[Tensor]:
    a = x(4096, 1024)
    scale = (a.var(1, correction=0, keepdim=True) + 1e-5).rsqrt()
    return [(a - a.mean(1, keepdim=True)) * scale * x(1024) + x(1024)]


def _linear(dtype: DType, m: int = 1024, k: int = 512, n: int = 256) -> Callable[[], list[Tensor]]:
    return lambda: [(x(m, k, dtype=dtype) @ x(k, n, dtype=dtype) + x(n, dtype=dtype)).relu()]


def _weight_update() -> list[Tensor]:
    momentum = x(256, 512) * 0.9 + x(1024, 256).T @ x(1024, 512)
    return [momentum, x(256, 512) - momentum * 0.1]


CASES = (
    Case("elementwise", lambda: [((a := x(LARGE)).exp() + x(LARGE)) * a.tanh()]),
    Case("elementwise, float64", lambda: [x(LARGE, dtype=dtypes.float64).sigmoid() * x(LARGE, dtype=dtypes.float64)]),
    Case("elementwise, bfloat16",
         lambda: [x(LARGE, dtype=dtypes.bfloat16).sigmoid() * x(LARGE, dtype=dtypes.bfloat16)]),
    Case("special functions", lambda: [x(LARGE).erfc().atan2(x(LARGE).log10())]),
    Case("normal random numbers", lambda: [wrap(g.normal(7, 9, (LARGE,), dtypes.float32, Device(DEVICE)))]),
    Case("slice + transpose", lambda: [x(8192, 4096)[4096:].reshape(LARGE) + x(4096, 4096).T.reshape(LARGE)]),
    Case("softmax", lambda: [x(4096, 1024).softmax(1)]),
    Case("softmax backward", _softmax_backward),
    Case("layer norm", _layer_norm),
    Case("column sum", lambda: [x(256, 1024).sum(0)]),
    Case("sum of 4 M elements", lambda: [x(1 << 22).sum(0)]),
    Case("sums of rows of 65536", lambda: [x(256, 1 << 16).sum(1)]),
    Case("linear + relu", _linear(dtypes.float32)),
    Case("linear + relu, bfloat16", _linear(dtypes.bfloat16)),
    Case("linear + relu, float64", _linear(dtypes.float64)),
    Case("large linear + relu", _linear(dtypes.float32, 4096, 4096, 4096)),
    Case("large linear + relu, bfloat16", _linear(dtypes.bfloat16, 4096, 4096, 4096)),
    Case("large linear + relu, float64", _linear(dtypes.float64, 4096, 4096, 4096)),
    Case("integer product", _linear(dtypes.int64, 256, 256, 256)),
    Case("weight gradient + update", _weight_update),
)


def of_case(case: Case) -> list[Specimen]:
    """The kernels of a case. Nothing is computed."""
    with no_grad():
        _, key, *_ = linearize([result.node for result in case.make()])
    return list(specimens(simplify(Program.read(key)), case.name))


def specimens(program: Program, origin: str) -> Iterator[Specimen]:
    """The kernels of a simplified program."""
    groups = schedule(program)
    return (Specimen(Kernel(group, groups), origin) for group in groups if group.template.ours)


def compiled_at_once(specimens: Sequence[Specimen], work: Callable[[Specimen], T]) -> list[T]:
    """What `work` makes of each, as many at once as there are cores: Triton's compilers let each other run."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return list(pool.map(work, specimens))
    finally:
        pool.shutdown(cancel_futures=True)      # an interrupt does not wait for what has not begun
