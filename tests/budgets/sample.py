"""The sample: distinct kernels of random programs and of training steps, every template among them.

The programs are run on the cpu device; what is taken are the kernels that they would be on a GPU. Nothing is left to
chance: a fresh process makes the same kernels every time, and asking for more adds some at the end.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, count, cycle

import microtrain as mt
from microtrain import settings
from microtrain.engine.run import flush
from microtrain.runtime.compiling import POINTERS
from microtrain.tensor import device
from microtrain.testing import count_kernels
from microtrain.testing.specimens import Specimen, specimens
from tests import fuzz

from .training import folds, steps

Run = tuple[str, Callable[[], object]]
"""The text that makes a program again, and what runs it."""
EACH = 2
"""Kernels taken of one program at most, so that the sample is of many."""
WEIGHTS = {"map": 3, "maps": 2, "row": 3, "slab": 2, "matmul": 4, "reduce": 1}
"""How often a template should come, in proportion: of a program's new kernels the rarest so far are taken."""
DTYPES = ("float32", "bfloat16", "float32", "float16", "float64")
"""What the random programs are run in, in turn."""


def sample(size: int) -> list[Specimen]:
    """The first `size` kernels."""
    found: list[Specimen] = []
    texts: set[str] = set()
    templates: Counter[str] = Counter()
    with settings.device("cpu"), settings.fuse(True):
        for origin, run in runs():
            fresh = {content(one): one for one in kernels(origin, run) if content(one) not in texts}
            for _ in range(min(EACH, len(fresh))):
                rarest = min(fresh, key=lambda one: templates[fresh[one].template] / WEIGHTS[fresh[one].template])
                templates[fresh[rarest].template] += 1
                texts.add(rarest)
                found.append(fresh.pop(rarest))
            if len(found) >= size:
                return found[:size]
    raise AssertionError("unreachable: random programs do not end")


def kernels(origin: str, run: Callable[[], object]) -> list[Specimen]:
    """What one program would launch, by itself and with random numbers of its own."""
    flush(device("cpu"))
    mt.manual_seed(0)
    with count_kernels() as found:
        run()
    return [one for program in found.programs for one in specimens(program, origin)]


def content(specimen: Specimen) -> str:
    """What tells a kernel from others: the emitted functions and what else follows from its program."""
    kernel = specimen.kernel
    sources = [function.source for function in kernel.emitted]
    pointers = tuple([POINTERS[node.dtype.name] for node in kernel.pointers])
    return "\n".join([specimen.template, *sources, str(kernel.constants), str(pointers), kernel.index_type])


def runs() -> Iterator[Run]:
    """By turns training steps, random programs (of sizes that divide, and of others), and folds of long rows."""
    trained, long = list(steps()), list(folds())
    random.Random(0).shuffle(trained)
    turns = [cycle(trained), programs("WIDE"), cycle(trained[::-1]), programs("USUAL"), cycle(long)]
    return chain.from_iterable(zip(*turns, strict=False))


def programs(scale: str) -> Iterator[Run]:
    for seed in count():
        program = fuzz.program(seed, getattr(fuzz, scale))
        dtype = DTYPES[seed % len(DTYPES)]
        name = f"fuzz.program({seed}, fuzz.{scale}).run(mt, '{dtype}')"
        yield name, partial(program.run, mt, dtype)
