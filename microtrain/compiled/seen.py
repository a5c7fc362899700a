"""What one comes to from some objects: tensors, containers, plain values, described at one moment.

Two moments with one description are one structure. Nothing of the user's is called here, and nothing is changed.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import re
import sys
import threading
import types
from array import array as Array
from collections.abc import Callable, Hashable, Sequence
from pathlib import PurePath
from sys import getrefcount
from typing import Any, ClassVar

import numpy as np

from ..engine.session import others
from ..errors import CompileError
from ..graph.dtypes import DType
from ..graph.node import Node, Unmade
from ..graph.spec import Device, Spec
from ..graph.tape import Leaf
from ..optim import Optimizer
from ..tensor import Tensor
from ..tensor.memory import same_value
from .running import OWN

MOST = 100_000
"""Objects looked at; a function that leads to more of them is refused."""

PLAIN = frozenset((bool, int, str, bytes, type(None), type(...), type(NotImplemented), complex, range, DType, Device,
                   Spec, datetime.date, datetime.datetime, datetime.timedelta, decimal.Decimal))
"""What is known by its value."""

SAME = (types.CodeType, types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType,
        types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType,
        type(collections.namedtuple("_Pair", "a").a), np.ufunc, np.dtype,       # type: ignore[attr-defined]
        PurePath, re.Pattern, type(threading.Lock()), type(threading.RLock()), types.FrameType)
"""What is known by being the same object: it never changes, or nothing can be read of it."""

OURS = ("microtrain", "numpy", "torch", "builtins")

OWN_ATTRIBUTES = frozenset(("_grad", "_leaf", "_alias", "_changes", "_based", "_retains", "_backward_hooks",
                            "_looked_at"))
"""Of a tensor."""

Check = tuple[str, tuple[object, ...]]
"""A condition, with `{0}`, `{1}`, ... for the objects that follow: it holds as long as nothing has changed there."""

Look = Callable[[Any, Any, str], None]


def known_by(kind: object) -> bool:
    """Whether a class or function is one of Python's or of this package's own: it is not looked into."""
    top = (getattr(kind, "__module__", None) or "").partition(".")[0]
    return top in OURS or (top in sys.stdlib_module_names and top != "__main__")


class Seen:
    """What some roots lead to, at one moment.

    Attributes:
        tokens: the description, flat: what is read here, in the order in which it is met.
        tensors, paths: the tensors that are met, in order, and how one comes to each.
        checks: conditions, which all hold as long as nothing is described otherwise but the tensors.
        dicts, lists: containers with the keys and elements that they had: checked all at once, there are many.
        places: containers with what they held, for putting it back.
        optimizers: those that are met.
        own: containers that an optimizer or a scheduler changes, with the keys under which it does (None for all).
        loose: tensors, by number, that are looked up anew in each replay, with where: whose gradient (its number), or
            under which key of the state that which optimizer keeps of which parameter.
        names: texts, and names that code of the user's looks for, as globals or attributes.
        refused: objects that cannot be compared from call to call: how one comes to them, and what they are.
    """

    looks: ClassVar[list[tuple[Any, Look]]] = []
    """How objects of certain classes are described; any other is an instance."""

    def __init__(self) -> None:
        self.tokens: list[Any] = []             # hashable, each
        self.tensors: list[Tensor] = []
        self.paths: list[str] = []
        self.checks: list[Check] = []
        self.dicts: list[tuple[dict[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self.lists: list[tuple[Any, tuple[Any, ...]]] = []
        self.places: list[tuple[Any, Any, str]] = []
        self.optimizers: list[Optimizer] = []
        self.own: dict[int, tuple[str, ...] | None] = {}
        self.loose: dict[int, tuple[Any, ...]] = {}
        self.refused: list[tuple[str, str]] = []
        self.names: dict[str, None] = {}
        self.numbers: dict[int, int] = {}       # of each object that may be met again
        self.kept: list[object] = []            # whose identity is part of the description

    @property
    def description(self) -> tuple[Hashable, ...]:
        """What is equal at two moments where the function would do the same."""
        return tuple(self.tokens)

    # ---------------------------------------------------------------------------------------------- any value
    def see(self, value: Any, path: str) -> None:
        """Describe a value and all that it leads to."""
        kind = type(value)
        if kind in PLAIN:
            self.tokens += (kind, value)
            if kind is str:
                self.names[value] = None
        elif kind is float:
            self.tokens += (kind, value if value and value == value else repr(value))
        elif isinstance(value, SAME):
            self.same(value)
        elif self.again(value):
            return
        elif isinstance(value, Tensor):
            self.tensor(value, path)
        else:
            for of, look in self.looks:
                if isinstance(value, of):
                    look(self, value, path)
                    if not known_by(kind):
                        self.more(value, path)
                    return
            self.instance(value, path)

    def same(self, value: object) -> None:
        """Describe an object by which one it is."""
        self.kept.append(value)
        self.tokens.append(id(value))

    def again(self, value: object) -> bool:
        """Whether an object was met before; it is described by when."""
        number = self.numbers.get(id(value))
        if number is not None:
            self.tokens += ("again", number)
            return True
        if len(self.numbers) >= MOST:
            raise CompileError(f"the compiled step leads to more than {MOST} objects, too many to compare at each call")
        self.numbers[id(value)] = len(self.numbers)
        self.kept.append(value)
        return False

    def opaque(self, value: Any, path: str) -> None:
        """Note an object that cannot be compared from call to call."""
        self.refused.append((path, type(value).__name__))
        self.same(value)

    def more(self, value: Any, path: str) -> None:
        """Describe what an object of a class derived from one of Python's has beside that: attributes and class."""

    # ---------------------------------------------------------------------------------------------- tensors
    def tensor(self, tensor: Tensor, path: str) -> None:
        """Describe a tensor by what an operation records of it, and its gradient. Its value is none of it."""
        alias = tensor._alias
        if alias is not None and alias.view is same_value and tensor.is_contiguous() and alias.family.is_only(tensor):
            tensor.leave()                          # as the next change in place would do
            alias = None
        node = tensor.node
        if type(node) is Unmade:
            node.spec                               # noqa: B018 (asked for, it is made)
        self.tensors.append(tensor)
        self.paths.append(path)
        tape = None if node.__class__ is not Node else node.tape
        place = "none" if tape is None else "leaf" if tape.__class__ is Leaf else "graph"
        if node.__class__ is not Node:
            place = node.__class__.__name__
        self.tokens += (type(tensor), tensor.node.spec, place, None if alias is None else alias.strides,
                        None if tensor._backward_hooks is None else id(tensor._backward_hooks), bool(tensor._retains))
        held = tensor.__dict__
        if "_alias" not in held and getrefcount(held) <= OWN and not others():
            # What each replay asks for is found in a fifth of the time where a tensor has it itself, not by its class,
            # and in a dict with keys of its own, not one that shares them with other tensors.
            tensor.__dict__ = {"_alias": alias, "_grad": tensor._grad, **held}
        for name, value in tensor.__dict__.items():
            if name not in OWN_ATTRIBUTES:
                self.check("{0}.__dict__.get({1}) is {2}", tensor, name, value)
                self.places.append((tensor.__dict__, (name, value), f"{path}.{name}"))
                self.see(value, f"{path}.{name}")
        if tensor._backward_hooks is not None:
            self.mapping(tensor._backward_hooks, f"{path}'s hooks")
            self.mapping(tensor._backward_hooks.after, f"{path}'s hooks")
        number = len(self.tensors) - 1
        if tensor._grad is not None and id(tensor._grad) not in self.numbers:
            self.loose[len(self.tensors)] = ("grad", number)
        self.see(tensor._grad, f"{path}.grad")

    # ---------------------------------------------------------------------------------------------- containers
    def sequence(self, values: Sequence[Any], path: str) -> None:
        """Describe a list or tuple."""
        self.tokens += (type(values), len(values))
        if isinstance(values, list | collections.deque):
            self.lists.append((values, tuple(values)))
            self.places.append((values, list(values), path))
        for k, value in enumerate(list(values)):
            self.see(value, f"{path}[{k}]")

    def mapping(self, values: dict[Any, Any], path: str, free: Sequence[str] = (), attribute: bool = False) -> None:
        """Describe a dict, or the attributes of an object: all but what is under the keys that are `free`."""
        self.tokens += (type(values), len(values))
        items = list(values.items())
        held = [(key, value) for key, value in items if key not in free]
        self.places.append((values, dict(items), path))
        if free:
            for key, value in held:
                self.check("{0}[{1}] is {2}", values, key, value)
            self.check("len({0}) == {1}", values, len(values))
        else:
            self.dicts.append((values, tuple(values), tuple(values.values())))
        for key, value in held:
            if type(key) is str:
                self.tokens.append(key)             # no text that may be a name which is looked for
            else:
                self.see(key, path)
            self.see(value, f"{path}.{key}" if attribute else f"{path}[{key!r}]" if isinstance(key, str | int)
                     else f"{path}[...]")

    def group(self, values: set[Any] | frozenset[Any], path: str) -> None:
        """Describe a set: by its elements, in any order, where they are plain."""
        self.tokens += (type(values), len(values))
        if isinstance(values, set):
            self.check("not {0}" if not values else "len({0}) == {1} and all(map(is_, {0}, {2}))", values, len(values),
                       tuple(values))
            self.places.append((values, set(values), path))
        if all(type(value) in (*PLAIN, float) for value in values):
            self.tokens.append(frozenset((type(value), repr(value)) for value in values))
        else:
            for value in values:
                self.see(value, f"an element of {path}")

    def array(self, array: np.ndarray, path: str) -> None:
        """Describe an array by what it holds."""
        self.tokens += (array.shape, array.dtype.str)
        if array.dtype.hasobject:
            held = tuple(array.flat)
            self.check("{0}.shape == {1} and all(map(is_, {0}.flat, {2}))", array, array.shape, held)
            for value in held:
                self.see(value, f"an element of {path}")
        else:
            self.tokens.append(array.tobytes())
            self.check("{0}.shape == {1} and {0}.tobytes() == {2}", array, array.shape, array.tobytes())
        self.places.append((array, array.copy(), path))

    def raw(self, value: bytearray | Array[Any] | memoryview, path: str) -> None:
        """Describe memory by its bytes."""
        self.tokens.append(bytes(memoryview(value).cast("B")))
        self.check("bytes({0}) == {1}", value, bytes(value))
        if not isinstance(value, memoryview):
            self.places.append((value, value[:], path))

    def check(self, condition: str, *objects: object) -> None:
        """Note a condition that holds now."""
        self.checks.append((condition, objects))

    def held(self, space: dict[str, Any], name: str, value: object) -> None:
        """Note what is in a namespace under a name; where there is nothing the condition raises KeyError."""
        self.check("{0}[{1}] is {2}" if type(space) is dict else "{0}.get({1}, {0}) is {2}", space, name, value)

    def instance(self, value: Any, path: str) -> None:
        """Describe an object of any other class."""
        self.opaque(value, path)
