"""Modules that hold modules in order: Sequential applies them, ModuleList only keeps them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Self, overload

from .module import Module, indent

__all__ = ["ModuleList", "Sequential"]


def _key(modules: dict[str, Module], index: int) -> str:
    """The name under which the index-th module is registered; negative indices count from the end."""
    position = operator.index(index)
    if not -len(modules) <= position < len(modules):
        raise IndexError(f"index {position} is out of range")
    return list(modules)[position]


class _Indexed(Module):
    """What both containers share: length, iteration and indexing by position."""

    _modules: dict[str, Module]  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        if isinstance(index, slice):
            return self._made_of(dict(list(self._modules.items())[index]))
        return self._modules[_key(self._modules, index)]

    def _made_of(self, modules: dict[str, Module]) -> Self:
        kind: Any = type(self)
        made: Self = kind(modules)
        return made

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, _key(self._modules, index), module)

    def __delitem__(self, index: int | slice) -> None:
        doomed = list(self._modules)[index] if isinstance(index, slice) else [_key(self._modules, index)]
        for name in doomed:
            delattr(self, name)
        self._renumber(list(self._modules.values()))

    def _renumber(self, modules: list[Module]) -> None:
        self._modules.clear()
        self._modules.update((str(i), module) for i, module in enumerate(modules))

    def append(self, module: Module) -> Self:
        """Adds `module` at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Adds each of `modules` at the end."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_Indexed):
    """Applies its modules one after the other: `Sequential(a, b)(x)` is `b(a(x))`. Takes modules, or a dict of them."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = args[0] if len(args) == 1 and isinstance(args[0], dict) else {str(i): one for i, one in enumerate(args)}
        for name, module in named.items():
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """Passes the input through the modules in order."""
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_Indexed):
    """A list of modules whose parameters are found; has no forward of its own."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _made_of(self, modules: dict[str, Module]) -> Self:
        return type(self)([*modules.values()])

    def insert(self, index: int, module: Module) -> None:
        """Inserts `module` before position `index`."""
        modules = list(self._modules.values())
        modules.insert(index, module)
        if not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._renumber(modules)

    def __repr__(self) -> str:
        # Runs of modules that print alike are folded: "(0-2): 3 x Linear(...)".
        lines, first = [], 0
        for text, run in groupby(map(repr, self)):
            last = first + len([*run]) - 1
            label = f"({first}): " if first == last else f"({first}-{last}): {last - first + 1} x "
            lines.append(indent(label + text))
            first = last + 1
        return self._assemble_repr(lines)
