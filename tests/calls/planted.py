"""Text planted in every argument of every public callable, and in the attributes of what they make: none of it is run.

    [MICROTRAIN_DEVICE=interpret] python -m tests.calls.planted [--every N] [--only WORD]

What would run is a call of `planted`, which counts; what is compiled is looked at as well: the word may stand there
as quoted text alone. Beside plain text go numbers and text of classes of a caller's own, which say of themselves that
they are "planted()".
"""

from __future__ import annotations

import ast
import builtins
import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import microtrain as mt
from tests.calls.public_calls import Target, base, targets
from tests.calls.wrong_calls import kept, options_of, outcome, prepared

WORD = "planted"
PLANTED = f"{WORD}()"

ran: list[str] = []
"""Calls of what was planted, and texts with it that were compiled."""

watching = [False]


def names_of(source: str) -> set[str]:
    """Names in a program's text, quoted text left out; the text itself where it is no program."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {source}
    return {node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Name | ast.Attribute)}


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: looks at all that is compiled, by `exec` and `eval` too."""
    if event == "compile" and watching[0] and isinstance(arguments[0], str | bytes):
        source = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode(errors="replace")
        if WORD in source:
            watching[0] = False
            if any(WORD in name for name in names_of(source)):
                ran.append(source)
            watching[0] = True


def always(value: Any) -> Any:
    """A method that gives this, whatever it is asked."""
    return lambda self, *_: value


class Number(int):
    """An integer that calls itself by another name, and is equal to any."""

    __repr__ = __str__ = __format__ = always(PLANTED)
    __index__ = __int__ = lambda self: self
    __eq__, __hash__ = always(True), int.__hash__


class Real(float):
    """A float that calls itself by another name."""

    __repr__ = __str__ = __format__ = always(PLANTED)


class Text(str):
    """Text that says of itself that it is not quoted, and that it is in every set."""

    __repr__, __eq__, __ne__, __hash__ = always(PLANTED), always(True), always(False), always(hash("mean"))


class Anything:
    """An object that is whatever is asked for."""

    __repr__ = __str__ = __format__ = __call__ = always(PLANTED)
    __index__ = __int__ = __len__ = always(Number(1))
    __float__, __bool__, __eq__, __hash__ = always(Real(1.0)), always(True), always(True), object.__hash__
    __lt__ = __le__ = __gt__ = __ge__ = always(False)


SEEDS: tuple[Any, ...] = (PLANTED, Text("mean"), Number(1), Number(0), Real(0.5), Anything(), (Number(1), Number(1)),
                          [PLANTED, PLANTED], {PLANTED: PLANTED}, np.array([PLANTED], object), PLANTED.encode())


def calls(every: int, only: str) -> Iterator[tuple[str, Any]]:
    """Names of calls, and functions that make them."""
    def all_of(target: Target) -> Iterator[tuple[str, Any]]:
        for argument, seed in itertools.product(target.signature.parameters, SEEDS):
            yield f"{target.name}({argument}={type(seed).__name__})", partial(called, target, argument, seed)
        for attribute, seed in itertools.product(attributes(target) if target.name.endswith("()") else (), SEEDS):
            yield f"{target.name[:-2]}.{attribute} = {type(seed).__name__}", partial(changed, target, attribute, seed)
    found = itertools.chain.from_iterable(all_of(target) for target in targets() if only in target.name)
    return itertools.islice(found, 0, None, every)


def called(target: Target, argument: str, seed: Any) -> Any:
    args, kwargs = base(target.name, target.signature, mt, argument, seed)
    return target.get(mt)(*args, **kwargs)


def attributes(target: Target) -> list[str]:
    """What a module holds beside parameters and modules."""
    return [name for name in vars(target.get(mt)) if not name.startswith("_")]


def changed(target: Target, attribute: str, seed: Any) -> Any:
    """A module's call after one of its attributes was changed."""
    module = target.get(mt)
    setattr(module, attribute, seed)
    args, kwargs = base(target.name, target.signature, mt)
    return module(*args, **kwargs)


def options(every: int) -> Iterator[tuple[str, Any]]:
    """Steps of optimizers, an option of a group changed; what schedulers go by."""
    for name in ("SGD", "Adam", "AdamW"):
        for option, seed in itertools.product(getattr(mt.optim, name)([mt.nn.Parameter(mt.ones(1))]).defaults, SEEDS):
            yield f"{name}: {option} = {type(seed).__name__}", partial(stepped, name, option, seed)


def stepped(name: str, option: str, seed: Any) -> Any:
    parameter = mt.nn.Parameter(mt.ones(3))
    optimizer = getattr(mt.optim, name)([parameter], lr=0.1)
    optimizer.param_groups[0][option] = seed
    (parameter * 2).sum().backward()
    optimizer.step()
    return parameter


def hunt(every: int = 1, only: str = "") -> tuple[int, list[str]]:
    """How many calls were made, and those that ran what was planted in them."""
    sys.addaudithook(audit)
    builtins.planted = lambda *_: ran.append("was called") or 1         # type: ignore[attr-defined]
    count, found = 0, []
    watching[0] = True
    try:
        for name, call in itertools.chain(calls(every, only), options(every) if not only else ()):
            count += 1
            with kept(mt):
                outcome(call)
            if ran:
                found.append(f"{name}: {ran[0][:300]}")
                ran.clear()
    finally:
        watching[0] = False
        del builtins.planted                                            # type: ignore[attr-defined]
    return count, found


def main() -> int:
    given = options_of(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        prepared(Path())
        count, found = hunt(given.every, given.only)
    for line in found:
        print(line)
    print(f"{count} calls on {mt.default_device()} with planted text: {len(found)} ran it")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
