"""Making a failing program small: fewer steps, values in place of what computed them, smaller sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from .judge import Failure, check
from .program import LEAF, Program, Sizes, Step


def shrink(failure: Failure, most: int = 600) -> Failure:
    """The smallest failing program found in at most so many runs of smaller ones.

    A smaller program counts only where what is wrong is of the same kind (an error, a value), so that one bug is not
    taken for another.
    """
    runs = 0

    def still(program: Program) -> Failure | None:
        nonlocal runs
        runs += 1
        try:
            found = check(program, (failure.mode,))
        except (SyntaxError, NameError):        # a step lost what it needs
            return None
        return found if found is not None and found.kind == failure.kind else None

    smaller = True
    while smaller and runs < most:
        smaller = False
        for reductions in (without_steps, with_leaves, with_smaller_sizes, without_gradients, without_blocks):
            while found := next(filter(None, map(still, islice(reductions(failure.program), max(0, most - runs)))), 0):
                failure, smaller = found, True
                most -= 1
    return failure


def without_steps(program: Program) -> Iterator[Program]:
    """The program without some of its steps and all that needs them: first many at the end, then one by one."""
    steps = program.steps
    for cut in (len(steps) // 2, len(steps) // 4):
        if cut:
            yield program.with_steps(steps[:-cut])
    for i in reversed(range(len(steps))):
        yield program.with_steps(tuple(without(steps, i)))


def without(steps: tuple[Step, ...], dropped: int) -> Iterator[Step]:
    """The steps but for one, and for those that read a value which is then missing."""
    missing = {steps[dropped].target}
    for i, step in enumerate(steps):
        if i == dropped:
            continue
        if missing.isdisjoint(step.sources):
            yield step
        elif step.target is not None:
            missing.add(step.target)


def with_leaves(program: Program) -> Iterator[Program]:
    """The program with a leaf of the same shape in place of a step that computes a value."""
    import torch
    shapes = {name: value.shape for name, value in program.run(torch).values.items() if value.dtype.kind == "f"}
    for i, step in enumerate(program.steps):
        shape = shapes.get(f"v{step.target}")
        if step.form != LEAF and step.target is not None and shape is not None:
            for requires_grad in (False, True):
                yield program.with_step(i, Step(LEAF, (), (step.target, -2, 3, Sizes(shape), 2, requires_grad),
                                                step.target))


def with_smaller_sizes(program: Program) -> Iterator[Program]:
    """The program with every axis of some size made smaller."""
    sizes = {n for step in program.steps for shape in step.attributes if isinstance(shape, Sizes) for n in shape}
    for size in sorted(sizes, reverse=True):
        for new in dict.fromkeys((1, 2, size // 2, size - 1)):
            if 0 < new < size:
                yield program.with_steps(tuple(replace(step, attributes=tuple(
                    Sizes(new if n == size else n for n in value) if isinstance(value, Sizes) else value
                    for value in step.attributes)) for step in program.steps))


def without_gradients(program: Program) -> Iterator[Program]:
    """The program with a leaf that requires no grad in place of one that does."""
    for i, step in enumerate(program.steps):
        if step.form == LEAF and step.attributes[-1]:
            yield program.with_step(i, replace(step, attributes=(*step.attributes[:-1], False)))


def without_blocks(program: Program) -> Iterator[Program]:
    """The program with a step that stands in blocks no more, but for one that may raise."""
    for i, step in enumerate(program.steps):
        if (kept := tuple(block for block in step.blocks if block == "attempt()")) != step.blocks:
            yield program.with_step(i, replace(step, blocks=kept))
