"""Sums of products written as an equation: `einsum("bij,bjk->bik", x, y)`.

The operands are contracted from left to right, two at a time: what only one of them has and nobody needs later is
summed, and the rest is one (batched) matrix product, or a multiplication where nothing is summed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from .operands import no_bool
from .types import Tensor

Labels = list[str]
"""A name for each axis: a letter, or for an axis of the ellipsis its number, counted from the right."""

ELLIPSIS = "..."


def _subscripts(term: str, start: int, called: str) -> Labels:
    """The letters of a term and `ELLIPSIS`. Raises RuntimeError, in PyTorch's words, for anything else."""
    labels: Labels = []
    i = 0
    while i < len(term):
        if term[i].isascii() and term[i].isalpha():
            labels.append(term[i])
        elif term[i] == ".":
            if ELLIPSIS in labels:
                raise RuntimeError(f"einsum(): found '.' for {called} for which an ellipsis was already found")
            if term[i:i + 3] != ELLIPSIS:
                raise RuntimeError(f"einsum(): found '.' for {called} that is not part of any ellipsis (...)")
            labels.append(ELLIPSIS)
            i += 2
        elif term[i] != " ":
            raise RuntimeError(f"einsum(): invalid subscript given at index {start + i} in the equation string, "
                               f"subscripts must be in [a-zA-Z], got {term[i]!r}")
        i += 1
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
            raise RuntimeError(f"einsum(): the number of subscripts in the equation ({named}) "
                               f"{'is more than' if ELLIPSIS in term else 'does not match'} the number of dimensions "
                               f"({len(shape)}) for operand {i}"
                               f"{'' if ELLIPSIS in term else ' and no ellipsis was given'}")
        terms[i] = _spelled(term, len(shape) - named)
        hidden = max(hidden, len(terms[i]) - named)
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


def _check_sizes(terms: list[Labels], shapes: Sequence[Sequence[int]]) -> None:
    """Raise RuntimeError where one label stands for two sizes, neither of them 1."""
    seen: dict[str, int] = {}
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        own: dict[str, int] = {}
        for label, size in zip(term, shape, strict=True):
            if own.setdefault(label, size) != size:
                raise RuntimeError(f"einsum(): subscript {label} is repeated for operand {i} but the sizes don't "
                                   f"match, {size} != {own[label]}")
        for label, size in own.items():
            before = seen.get(label, 1)
            if size != before and 1 not in (size, before):
                raise RuntimeError(f"einsum(): subscript {label} has size {size} for operand {i} which does not "
                                   f"broadcast with previously seen size {before}")
            seen[label] = before if size == 1 else size


def _diagonals(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """The elements whose indices are equal along axes of one label."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            a = labels.index(label)
            b = labels.index(label, a + 1)
            x = x.diagonal(0, a, b)
            labels = [*labels[:a], *labels[a + 1:b], *labels[b + 1:], label]
    return x, labels


def _summed(x: Tensor, labels: Labels, kept: Collection[str]) -> tuple[Tensor, Labels]:
    """Summed over all axes whose label is not kept; integers as int64."""
    dims = [d for d, label in enumerate(labels) if label not in kept]
    return (x.sum(dims), [label for label in labels if label in kept]) if dims else (x, labels)


def _arranged(x: Tensor, labels: Labels, *groups: Labels) -> Tensor:
    """The axes in the order of the groups, each group merged into one axis."""
    x = x.permute([labels.index(label) for group in groups for label in group])
    sizes = iter(x.shape)
    return x.reshape([math.prod(next(sizes) for _ in group) for group in groups])


def _contracted(x: Tensor, mine: Labels, y: Tensor, theirs: Labels, kept: Collection[str]) -> tuple[Tensor, Labels]:
    """The product of two operands, summed over the labels that are not kept."""
    for label in [label for label in mine if label in theirs]:
        a, b = mine.index(label), theirs.index(label)
        if x.shape[a] == 1 != y.shape[b]:               # a size of 1 is a factor of every element: no axis at all
            x, mine = x.squeeze(a), [*mine[:a], *mine[a + 1:]]
        elif y.shape[b] == 1 != x.shape[a]:
            y, theirs = y.squeeze(b), [*theirs[:b], *theirs[b + 1:]]
    x, mine = _summed(x, mine, {*theirs, *kept})
    y, theirs = _summed(y, theirs, {*mine, *kept})
    batch = [label for label in mine if label in theirs and label in kept]
    folded = [label for label in mine if label in theirs and label not in kept]
    rows = [label for label in mine if label not in theirs]
    columns = [label for label in theirs if label not in mine]
    size = {**dict(zip(mine, x.shape, strict=True)), **dict(zip(theirs, y.shape, strict=True))}
    if folded:
        no_bool(x.node, "einsum")
        product = _arranged(x, mine, batch, rows, folded) @ _arranged(y, theirs, batch, folded, columns)
    else:
        product = _arranged(x, mine, batch, rows, []) * _arranged(y, theirs, batch, [], columns)
    labels = [*batch, *rows, *columns]
    return product.reshape([size[label] for label in labels]), labels


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
    listed = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], list | tuple) else list(operands)
    if not listed:
        raise ValueError("einsum(): must specify the equation string and at least one operand")
    tensors: list[Tensor] = []
    for i, operand in enumerate(listed):
        if not isinstance(operand, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 1, but got {type(operand).__name__}")
        tensors.append(operand)
    shapes = [operand.shape for operand in tensors]
    terms, output = _parsed(equation, shapes)
    _check_sizes(terms, shapes)
    parts = [_diagonals(x, labels) for x, labels in zip(tensors, terms, strict=True)]
    x, labels = parts[0]
    for i, (y, theirs) in enumerate(parts[1:], 2):
        later = {label for _, term in parts[i:] for label in term}
        x, labels = _contracted(x, labels, y, theirs, {*output, *later})
    x, labels = _summed(x, labels, output)
    return x.permute([labels.index(label) for label in output])
