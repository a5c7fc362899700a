"""How wide a kernel's accesses can be, from the structure of what was emitted.

A load or store of a tile is a number of accesses by each thread, of at most 16 bytes. How many neighbouring elements
one access can take follows from the index alone: along one of the template's symbols, and within every aligned block of
w of its values the place must move by one element a step, from a multiple of w on, and neither the boundary nor a guard
may cut through the block. Nothing here looks at what the compiler made of it.
"""

from __future__ import annotations

import math

from microtrain.compiler.access import Guard
from microtrain.compiler.emit_value import Touch
from microtrain.compiler.index import Index, Loaded, Var, bases, size_of
from microtrain.compiler.templates.template import Launch
from microtrain.runtime.resources import Target

WIDEST = 16
"""Bytes of the widest access a thread has."""
HINTED = 16
"""Sizes that a kernel is told when it is launched are known to be multiples of this, or of nothing."""
BLOCKS = {"i": "BLOCK", "r": "BLOCK_R", "c": "BLOCK_C", "m": "BLOCK_M", "n": "BLOCK_N", "k": "BLOCK_K"}
"""The template's constant that says how many values of a symbol a tile has."""
RUN_TIME = {"i": "numel", "r": "rows", "c": "cols"}
"""The template's parameter for the size of a symbol, where it may be told at launch. (That of a product has constants
beside it that say what divides its sizes.)"""


def elements(touch: Touch, launch: Launch, target: Target) -> int:
    """How many elements each access of a load or store can take on a target."""
    blocks = {symbol: launch.constexprs[BLOCKS[symbol]] for symbol in touch.sizes}
    held = math.prod(blocks.values()) // (launch.options["num_warps"] * target.warp_size)   # elements a thread
    widest = WIDEST // touch.value.dtype.itemsize
    return max([1, *[run(touch, launch, symbol, min(held, block, widest)) for symbol, block in blocks.items()]])


def run(touch: Touch, launch: Launch, symbol: str, most: int) -> int:
    """How many neighbouring elements along a symbol one access can take: a power of two, at most `most`."""
    told = RUN_TIME.get(symbol) in launch.sizes
    width = most
    while width > 1:
        slope, multiple = along(touch.at, symbol, width)
        whole = touch.sizes[symbol] % (HINTED if told else width) == 0
        if whole and slope == 1 and multiple % width == 0 and all(uniform(g, symbol, width) for g in touch.guards):
            return width
        width //= 2
    return 1


def uniform(guard: Guard, symbol: str, width: int) -> bool:
    slope, multiple = along(guard.place, symbol, width)
    ends = [guard.low] if guard.place.low < guard.low else []
    ends += [guard.high] if guard.place.high >= guard.high else []
    blocks = slope == 1 and guard.step == 1 and multiple % width == 0
    return slope == 0 or (blocks and all(end % width == 0 for end in ends))


def along(index: Index, symbol: str, width: int) -> tuple[int | None, int]:
    """(slope, multiple) of an index within each aligned block of `width` (a power of two) values of a symbol.

    slope: what it grows by a step, None where that varies; multiple: what it is a multiple of where the block begins,
    0 for an index that is 0 there.
    """
    slope: int | None = 0
    multiple = abs(index.const)
    for (base, div, mod), coefficient in index.terms.items():
        step, begins = _of_base(base, symbol, width)
        # A block between two multiples of what divides has one quotient, and remainders one by one.
        aligned = step == 1 and begins % width == 0
        if div > 1:
            constant = 0 if step == 0 or (aligned and div % width == 0) else None
            step, begins = constant, begins // div if step == 0 and begins % div == 0 else 1
            aligned = False
        if div * mod < size_of(base):
            regular = step == 0 or (aligned and mod % width == 0)
            step, begins = (step, math.gcd(begins, mod)) if regular else (None, 1)
        slope = None if slope is None or step is None else slope + coefficient * step
        multiple = math.gcd(multiple, begins * abs(coefficient))
    return slope, multiple


def _of_base(base: Var | Loaded | Index, symbol: str, width: int) -> tuple[int | None, int]:
    if isinstance(base, Index):
        return along(base, symbol, width)
    if isinstance(base, Var):
        return (1, width) if base.name == symbol else (0, 1)
    varies = any(isinstance(inner, Var) and inner.name == symbol for c in base.coords for inner in bases(c))
    return (None, 1) if varies else (0, 1)
