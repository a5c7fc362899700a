"""The order in which threads that have parted go on, so that they meet again: the lowest block first.

That of the text will not do: as it turns loops, a compiler puts the place where two ways meet before them.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from .blocks import Block, End


def arranged(blocks: list[Block]) -> list[Block]:
    """Blocks in such an order that ways come before the place where they meet, and a whole loop before what follows it.

    A loop that begins anew from several places does so from one more, behind them. What is entered at two places
    stays as it is.
    """
    latches = {header: gathered(blocks, header, tails) for header, tails in turns(blocks).items()}
    into: dict[int, set[int]] = {block.index: set() for block in blocks}
    for block in blocks:
        for successor in block.successors:
            into[successor].add(block.index)
    before = {later: {0, *some} - {latches.get(later), later} for later, some in into.items()}
    for header, latch in latches.items():
        body, work = {header}, [latch]
        while work:
            if (inner := work.pop()) not in body:
                body.add(inner)
                work += into[inner]
        for inner in body:
            for out in blocks[inner].successors:
                if out not in body and latches.get(out) != inner:
                    before[out] |= body
    if all(earlier < later for later, some in before.items() for earlier in some):
        return blocks
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError:
        return blocks
    place = {old: new for new, old in enumerate(order)}
    for block in blocks:
        block.index, block.following = place[block.index], place.get(block.following, -1)
        block.end.targets = [place[target] for target in block.end.targets]
        block.successors = [place[successor] for successor in block.successors]
    return [blocks[old] for old in order]


def turns(blocks: list[Block]) -> dict[int, list[int]]:
    """By the first block of each loop those from which it begins anew."""
    found: dict[int, list[int]] = {}
    under_way, seen = [0], {0}
    left = [iter(blocks[0].successors)]
    while left:
        successor = next(left[-1], None)
        if successor is None:
            left.pop()
            under_way.pop()
        elif successor in under_way:
            found.setdefault(successor, []).append(under_way[-1])
        elif successor not in seen:
            seen.add(successor)
            under_way.append(successor)
            left.append(iter(blocks[successor].successors))
    return found


def gathered(blocks: list[Block], header: int, tails: list[int]) -> int:
    """The one block from which a loop begins anew, added where there are several."""
    if len(tails) == 1:
        return tails[0]
    latch = len(blocks)
    for tail in tails:
        block = blocks[tail]
        block.end.targets = [latch if target == header else target for target in block.end.targets]
        block.following = latch if block.following == header else block.following
        block.successors = [latch if successor == header else successor for successor in block.successors]
    blocks.append(Block(latch, end=End("jump", targets=[header]), following=-1, successors=[header]))
    return latch
