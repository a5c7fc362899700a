"""Handles of hooks, as in PyTorch."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from ..graph.node import next_seq
from ..graph.tape import HookTable


class RemovableHandle:
    """What registering a hook returns: `remove()`, or the end of a `with` block, takes the hook away."""

    def __init__(self, hooks: HookTable) -> None:
        self.hooks_dict_ref, self.id = weakref.ref(hooks), next_seq()

    @classmethod
    def enter(cls, hooks: HookTable, hook: Callable[..., object]) -> RemovableHandle:
        """Enter a hook among others; what it returns takes it out again."""
        handle = cls(hooks)
        hooks[handle.id] = hook
        return handle

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        hooks = self.hooks_dict_ref()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def __getstate__(self) -> tuple[HookTable, int]:
        return HookTable(self.hooks_dict_ref() or {}), self.id

    def __setstate__(self, state: tuple[HookTable, int]) -> None:
        hooks, self.id = state
        self.hooks_dict_ref = weakref.ref(hooks)
