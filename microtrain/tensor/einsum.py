"""Sums of products written as an equation: `einsum("bij,bjk->bik", x, y)`.

Each label of the equation is an axis of every operand, of size 1 where it has none. They are contracted from left to
right, two at a time: what only one of them has and nobody needs later is summed, and the rest is one (batched) matrix
product, or a multiplication where nothing is summed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from .operands import no_bool
from .types import Tensor

Labels = list[str]
"""A name for each axis: a letter, or for an axis of the ellipsis its number, counted from the right."""

ELLIPSIS = "..."


def _subscripts(term: str, start: int, called: str) -> Labels:
    """The letters of a term and `ELLIPSIS`. Raises RuntimeError, in PyTorch's words, for anything else."""
    labels: Labels = []
    for found in re.finditer(r"\.\.\.|.", term, re.DOTALL):
        label = found[0]
        if label[0] == "." and ELLIPSIS in labels:
            raise RuntimeError(f"einsum(): found '.' for {called} for which an ellipsis was already found")
        if label == ".":
            raise RuntimeError(f"einsum(): found '.' for {called} that is not part of any ellipsis (...)")
        if label == ELLIPSIS or (label.isascii() and label.isalpha()):
            labels.append(label)
        elif label != " ":
            raise RuntimeError(f"einsum(): invalid subscript given at index {start + found.start()} in the equation "
                               f"string, subscripts must be in [a-zA-Z], got {label!r}")
    return labels


def _spelled(labels: Labels, ndim: int) -> Labels:
    """Labels with an ellipsis of `ndim` axes written out."""
    at = labels.index(ELLIPSIS) if ELLIPSIS in labels else len(labels)
    return [*labels[:at], *(str(i) for i in reversed(range(ndim))), *labels[at + 1:]] if at < len(labels) else labels


def _parsed(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[Labels], Labels]:
    """The labels of each operand and of the result. Raises RuntimeError where equation and shapes do not fit."""
    left, arrow, right = equation.partition("->")
    terms, start = [], 0
    for i, text in enumerate(left.split(",")):
        terms.append(_subscripts(text, start, f"operand {i}"))
        start += len(text) + 1
    if len(terms) != len(shapes):
        raise RuntimeError(f"einsum(): {'fewer' if len(terms) > len(shapes) else 'more'} operands were provided than "
                           f"specified in the equation: {len(shapes)} for {equation!r}")
    hidden = 0
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        named = len(term) - (ELLIPSIS in term)
        if len(shape) < named or (ELLIPSIS not in term and len(shape) != named):
            problem, rest = (("is more than", "") if ELLIPSIS in term else
                             ("does not match", " and no ellipsis was given"))
            raise RuntimeError(f"einsum(): the number of subscripts in the equation ({named}) {problem} the number of "
                               f"dimensions ({len(shape)}) for operand {i}{rest}")
        terms[i] = _spelled(term, len(shape) - named)
        hidden = max(hidden, len(shape) - named)
    every = [label for term in terms for label in term]
    if not arrow:
        letters = sorted({label for label in every if label.isalpha()})
        return terms, _spelled([ELLIPSIS, *(label for label in letters if every.count(label) == 1)], hidden)
    output = _spelled(_subscripts(right, len(left) + 2, "output"), hidden)
    for label in output:
        if output.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
        if label not in every:
            raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input "
                               "operand")
    return terms, output


def _aligned(x: Tensor, term: Labels, operand: int, seen: dict[str, int]) -> Tensor:
    """An operand, of axes of one label their diagonal, with all labels of `seen` as axes: a dict of their sizes so far.
    Raises RuntimeError where one label stands for two sizes, in two operands neither of them 1."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            a = term.index(label)
            b = term.index(label, a + 1)
            if x.shape[a] != x.shape[b]:
                raise RuntimeError(f"einsum(): subscript {label} is repeated for operand {operand} but the sizes don't "
                                   f"match, {x.shape[b]} != {x.shape[a]}")
            x, term = x.diagonal(0, a, b), [*term[:a], *term[a + 1:b], *term[b + 1:], label]
    for label, size in zip(term, x.shape, strict=True):
        if size != seen[label] and 1 not in (size, seen[label]):
            raise RuntimeError(f"einsum(): subscript {label} has size {size} for operand {operand} which does not "
                               f"broadcast with previously seen size {seen[label]}")
        seen[label] = seen[label] if size == 1 else size
    x = x.permute([term.index(label) for label in seen if label in term])
    for axis, label in enumerate(seen):
        x = x if label in term else x.unsqueeze(axis)
    return x


def _arranged(x: Tensor, *groups: list[int]) -> Tensor:
    """The axes in the order of the groups, each group merged into one axis."""
    x = x.permute([axis for group in groups for axis in group])
    sizes = iter(x.shape)
    return x.reshape([math.prod(next(sizes) for _ in group) for group in groups])


def _summed(x: Tensor, y: Tensor, axes: list[int]) -> Tensor:
    """x summed over those of the axes that y does not have."""
    own = [axis for axis in axes if x.shape[axis] != 1 == y.shape[axis]]
    return x.sum(own, keepdim=True) if own else x


def _contracted(x: Tensor, y: Tensor, summed: list[int]) -> Tensor:
    """The product of two operands, summed over these axes."""
    x, y = _summed(x, y, summed), _summed(y, x, summed)
    axes = range(x.ndim)
    both = [axis for axis in axes if x.shape[axis] != 1 != y.shape[axis]]
    folded, batch = [axis for axis in both if axis in summed], [axis for axis in both if axis not in summed]
    rows = [axis for axis in axes if x.shape[axis] != 1 == y.shape[axis]]
    columns = [axis for axis in axes if x.shape[axis] == 1]
    if folded:
        no_bool(x.node, "einsum")
    left, right = _arranged(x, batch, rows, folded + columns), _arranged(y, batch, folded + rows, columns)
    product = left @ right if folded else left * right
    sizes = [x.shape[axis] for axis in batch + rows] + [y.shape[axis] for axis in columns] + [1] * len(folded)
    order = [*batch, *rows, *columns, *folded]
    return product.reshape(sizes).permute([order.index(axis) for axis in axes])


def einsum(equation: str, *operands: object) -> Tensor:
    """Products of the operands' elements, summed over every index that the result does not have.

    `equation` names each axis of each operand by a letter, "..." stands for the rest, which broadcast; after "->" come
    the result's. Without it the result has the "..." and, in alphabetical order, the letters that occur once. A letter
    twice in one operand is its diagonal. Operands may come as one list. Raises RuntimeError for an equation that does
    not fit the shapes; NotImplementedError for operands with lists of numbers in place of an equation.
    """
    if isinstance(equation, Tensor):
        raise NotImplementedError("einsum(): operands followed by lists of axes are not supported; write an equation, "
                                  "as in einsum('ij,jk->ik', x, y)")
    if not isinstance(equation, str):
        raise TypeError(f"einsum(): argument 'equation' (position 1) must be str, not {type(equation).__name__}")
    listed = operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
    if not listed:
        raise ValueError("einsum(): must specify the equation string and at least one operand")
    tensors: list[Tensor] = []
    for i, operand in enumerate(listed):
        if not isinstance(operand, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 1, but got {type(operand).__name__}")
        tensors.append(operand)
    terms, output = _parsed(equation, [operand.shape for operand in tensors])
    sizes = dict.fromkeys([*output, *(label for term in terms for label in term)], 1)
    parts = [_aligned(x, term, i, sizes) for i, (x, term) in enumerate(zip(tensors, terms, strict=True))]
    rest = [*range(len(output), len(sizes))]
    total = parts[0]
    for i, part in enumerate(parts[1:], 2):
        total = _contracted(total, part, [axis for axis in rest if all(other.shape[axis] == 1 for other in parts[i:])])
    if rest and len(parts) == 1:
        return total.sum(rest)
    return total.squeeze(tuple(rest)) if rest else total
