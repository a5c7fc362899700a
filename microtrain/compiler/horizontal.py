"""Independent kernels of maps in one launch: the updates of all parameters of a step, whatever their shapes.

A launch costs more than a small map. Each part keeps its own elements, expression and programs; a program finds its
part by its number. Parts that differ in their buffers and sizes alone are compiled once (`templates.map`).
"""

from __future__ import annotations

from .templates.template import Group, Schedule

BUNDLE_POINTERS = 400  # Pointers of one launch: 3,200 of the 4,096 bytes that a kernel's arguments may have
BUNDLE_OPS = 2048  # Operations of one launch, all parts together; a hundred parts compile in about 3 s


def bundled(groups: Schedule) -> None:
    """Replace groups of maps that do not depend on each other, whose `stores` are known, by bundles, in place, each
    where its first or last part was."""
    bundles: list[list[Group]] = []
    where: list[int] = []                                       # the place in `groups` at which each bundle runs
    at = {group.index: position for position, group in enumerate(groups)}
    for position, group in enumerate(groups):
        if not group.template.bundles:
            continue
        needs = max([at[groups.place[value].index] for value in group.reads if value in groups.place], default=-1)
        for k, parts in enumerate(bundles):
            if type(parts[0].template) is not type(group.template) or not fits([*parts, group]):
                continue
            if needs < where[k]:                                # what it reads is there when the bundle runs
                parts.append(group)
                break
            between = [value for reader in groups[where[k] + 1:position + 1] for value in reader.reads]
            if not any(value in part.members for value in between for part in parts):
                parts.append(group)                             # nobody reads the bundle before the group runs
                where[k] = position
                break
        else:
            bundles.append([group])
            where.append(position)
            k = len(bundles) - 1
        at[group.index] = where[k]
        for part in bundles[k]:
            at[part.index] = where[k]
    slots = {position: group for position, group in enumerate(groups) if not group.template.bundles}
    for parts, position in zip(bundles, where, strict=True):
        slots[position] = parts[0] if len(parts) == 1 else together(parts)
    groups[:] = [slots[position] for position in sorted(slots)]
    for index, group in enumerate(groups):
        for part in group.parts:
            part.index = index
        group.index = index


def together(parts: list[Group]) -> Group:
    """One group of several."""
    whole = Group(parts[0].index, parts[0].template.together(tuple(parts)))
    for part in parts:
        whole.members.update(part.members)
        whole.reads.update(part.reads)
        whole.stores += part.stores
        whole.ops += part.ops
    return whole


def fits(parts: list[Group]) -> bool:
    """Whether one launch can take so much."""
    pointers = sum(len(part.reads) + len(part.stores) for part in parts)
    return pointers <= BUNDLE_POINTERS and sum(part.ops for part in parts) <= BUNDLE_OPS
