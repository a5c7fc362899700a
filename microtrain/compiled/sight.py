"""What a function can see: all that it leads to, through its closure, the globals that it names, its arguments.

A compiled step must do what the function would do. So whatever the function may read is either handed to the step anew
(the values of tensors, an optimizer's numbers), or it is part of a description: see `seen`.
"""

from __future__ import annotations

import builtins
import collections
import enum
import functools
import os
import re
import sys
import types
import weakref
from array import array
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..tensor.random import Generator, default_generator
from .codes import asked_of, imported, looked_up, named_in
from .seen import known_by
from .stateful import STATEFUL, stateful
from .trained import Trained

COUNTS = frozenset(("param_groups", "state", "state_dict", "get_last_lr", "last_epoch", "_last_lr", "initial_seed",
                    "get_state", "get_rng_state", "_stream", "_seed", "stepped", "_step_count", "__dict__", "vars"))
"""Names under which a function may itself read what a replay otherwise is handed: then it is compared too."""


class Sight(Trained):
    """What a function sees, with its closure and globals, classes, modules and optimizers.

    arguments: the numbers, from and to, of the tensors that are met first among the arguments.
    """

    def __init__(self, exact: bool = False) -> None:
        super().__init__()
        self.exact = exact
        self.codes: list[types.CodeType] = []
        self.pairs: set[tuple[str, str]] = set()        # names, with attributes that code of the user's asks of them
        self.modules: dict[types.ModuleType, str] = {}
        self.described: set[tuple[int, str]] = set()
        self.first_argument = self.last_argument = 0
        self.given: dict[str, tuple[Hashable, ...]] = {}        # what is said of each argument

    @classmethod
    def of(cls, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sight:
        """What a function sees when it is called with some arguments."""
        sight = cls()
        sight.call(function, args, kwargs)
        if not COUNTS.isdisjoint(sight.names):
            sight = cls(exact=True)
            sight.call(function, args, kwargs)
        sight.refused = [(path, kind) for path, kind in sight.refused if sight.may_read(path)]
        return sight

    def may_read(self, path: str) -> bool:
        """Whether code of the user's may come to what a path leads to: attributes are read by their names."""
        attribute = re.search(r"\.(\w+)(\[[^.]*\])?$", path)
        return attribute is None or attribute[1] in self.names

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Describe a call."""
        self.see(function, getattr(function, "__name__", "the step"))
        self.see(default_generator(), "the default generator")
        self.members()
        self.first_argument = len(self.tensors)
        for k, value in enumerate(args):
            self.argument(value, f"argument {k}")
        for name, value in kwargs.items():
            self.tokens.append(name)
            self.argument(value, name)
        self.last_argument = len(self.tensors)
        self.members()

    def argument(self, value: Any, path: str) -> None:
        """Describe one that is handed over: lists, tuples and dicts are others in the next call."""
        if type(value) in (list, tuple, dict):
            self.tokens += (type(value), len(value))
            if type(value) is not tuple:
                self.places.append((value, value.copy(), path))
            if type(value) is dict:
                self.tokens += value
            for key, part in value.items() if type(value) is dict else enumerate(value):
                self.argument(part, f"{path}[{key!r}]")
        else:
            first = len(self.tokens)
            self.see(value, path)
            self.given[path] = tuple(self.tokens[first:])

    def is_argument(self, number: int) -> bool:
        """Whether a tensor, by its number, was met first among the arguments."""
        return self.first_argument <= number < self.last_argument

    # ---------------------------------------------------------------------------------------------- functions
    def function(self, function: types.FunctionType, path: str) -> None:
        """Describe a function by its code and what it sees; of one of another library, by which it is."""
        space = function.__globals__
        name = str(space.get("__name__"))
        if known_by(types.SimpleNamespace(__module__=name)):
            self.same(function)
            if "__wrapped__" in vars(function):
                self.see(function.__wrapped__, path)        # type: ignore[attr-defined]
            for cell in function.__closure__ or ():
                if isinstance(held := contents(cell), types.FunctionType) and not known_by(held):
                    self.cell(cell, path)
            return
        code = function.__code__
        self.codes.append(code)
        self.tokens += ("function", code)
        self.check("{0}.__code__ is {1} and {0}.__defaults__ is {2} and {0}.__kwdefaults__ is {3}", function, code,
                   function.__defaults__, function.__kwdefaults__)
        for cell, name in zip(function.__closure__ or (), code.co_freevars, strict=True):
            self.cell(cell, name)
        self.see(function.__defaults__, f"the defaults of {path}")
        self.see(function.__kwdefaults__, f"the defaults of {path}")
        if vars(function):
            self.see(vars(function), path)
        names, texts = named_in(code)
        if not path.endswith("__init__"):           # of an object that is there already
            self.names |= dict.fromkeys(names) | dict.fromkeys(texts)
            self.pairs |= asked_of(code)
        for name in [name for name in names if name in looked_up(code)]:
            if name in space:
                self.held(space, name, space[name])
                self.places.append((space, (name, space[name]), name))
                self.tokens.append(name)
                self.see(space[name], name)
            elif hasattr(builtins, name):
                found = getattr(builtins, name)
                self.same(found)
                self.check("{1} not in {0} and {2}.{3} is {4}", space, name, builtins, Bare(name), found)
            else:
                self.check("{1} not in {0}", space, name)
                self.places.append((space, (name,), name))
        imports = texts if {"import_module", "__import__"} & {*names} else imported(code)
        for text in [text for text in imports if text in sys.modules]:
            self.see(sys.modules[text], text)
        if "getenv" in names:
            self.see(os.environ, "os.environ")

    def cell(self, cell: types.CellType, name: str) -> None:
        """Describe a variable of a function around."""
        if self.again(cell):
            return
        try:
            value = cell.cell_contents
        except ValueError:                          # not assigned yet
            self.tokens.append("empty")
            return
        self.check("{0}.cell_contents is {1}", cell, value)
        self.places.append((cell, value, name))
        self.see(value, name)

    def module(self, module: types.ModuleType, path: str) -> None:
        """Note a module; what is in it under the names that are looked for is described in the end."""
        self.same(module)
        self.modules.setdefault(module, path)

    def members(self) -> None:
        """Describe what is in modules under the names that are looked for, and what that leads to."""
        count = -1
        while count != (count := len(self.described)):
            for module, path in list(self.modules.items()):
                space, own = vars(module), known_by(types.SimpleNamespace(__module__=module.__name__))
                if not own and (id(module), "") not in self.described:
                    self.described.add((id(module), ""))
                    self.check("len({0}) == {1}", space, len(space))
                for name in list(self.names):
                    if name in space and (id(module), name) not in self.described:
                        self.described.add((id(module), name))
                        self.member(space, name, own, f"{path}.{name}")

    def member(self, space: dict[str, Any], name: str, own: bool, path: str) -> None:
        """Describe what a module has under a name; of a library's function, or class, which it is."""
        value = space[name]
        self.held(space, name, value)
        self.tokens.append(name)
        if value is sys.modules:
            for text in [text for text in self.names if text in value]:
                self.see(value[text], text)
            return
        if (path.split(".")[-2], name) in self.pairs and "numpy.random" in (
                getattr(value, "__module__", ""), type(getattr(value, "__self__", 0)).__module__[:12]):
            self.refused.append((path, "a function that gives another value each time"))
        if own and not isinstance(value, types.ModuleType | bool | int | float | str | tuple | type(os.environ)):
            self.same(value)
            return
        self.places.append((space, (name, value), path))
        self.see(value, path)

    def method(self, method: types.MethodType, path: str) -> None:
        """Describe a bound method."""
        self.see(method.__self__, path.rpartition(".")[0] or f"the object of {path}")
        self.see(method.__func__, path)

    def in_c(self, function: types.BuiltinFunctionType, path: str) -> None:
        """Describe a function in C, or a method of an object's."""
        self.same(function)
        if stateful(function):
            self.refused.append((path, "a function that gives another value each time"))
        owner = function.__self__
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            self.see(owner, f"the object of {path}")

    def partial(self, function: functools.partial[Any], path: str) -> None:
        """Describe a partial application."""
        self.see(function.func, path)
        self.see(function.args, path)
        self.see(function.keywords, path)

    def kind(self, kind: type, path: str) -> None:
        """Describe a class by which it is; one of the user's by its bases and attributes too."""
        self.same(kind)
        for base in kind.__mro__:
            if known_by(base):
                for name in ("forward", "step", "_update", "_numbers", "zero_grad"):
                    if name in base.__dict__:
                        self.check("{0}.{1} is {2}", base, Bare(name), getattr(base, name))
                        self.same(getattr(base, name))
            elif not (base is not kind and self.again(base)):
                space = base.__dict__
                for other in base.__mro__:
                    self.same(other)
                self.check("{0}.__mro__ == {3} and len({1}) == {4} and all(map(is_, {1}.values(), {2}))", base, space,
                           tuple(space.values()), base.__mro__, len(space))
                for name, value in list(space.items()):
                    if name not in UNREAD:
                        self.tokens.append(name)
                        self.places.append((base, (name, value), f"{base.__name__}.{name}"))
                        self.see(value, f"{base.__name__}.{name}")

    def wrapped(self, value: Any, path: str) -> None:
        """Describe a property, or a method of a class."""
        for part in ("fget", "fset", "func", "__func__", "__wrapped__"):
            if hasattr(value, part):
                self.see(getattr(value, part), path)

    # ---------------------------------------------------------------------------------------------- objects
    def instance(self, value: Any, path: str) -> None:
        """Describe an object by its class and attributes; one that has none that can be seen is refused."""
        kind = type(value)
        space = getattr(value, "__dict__", None)
        named = [name for base in kind.__mro__ for name in slots(base)]
        if kind.__module__ == f"{__package__}.function":
            self.see(value.function, path)          # a compiled function is what the function is
        elif kind.__module__.partition(".")[0] == "torch" or isinstance(value, functools._lru_cache_wrapper):
            self.opaque(value, path)
        elif isinstance(value, STATEFUL):
            self.same(value)                        # what it gives is refused where it is asked for
        elif hasattr(kind, "__next__") or (space is None and not named and kind is not object):
            self.opaque(value, path)
        else:
            self.more(value, path)

    def more(self, value: Any, path: str) -> None:
        kind, space = type(value), getattr(value, "__dict__", None)
        self.tokens.append("instance")
        self.check("{0}.__class__ is {1}", value, kind)
        self.see(kind, kind.__name__)
        if isinstance(space, dict):
            self.mapping(space, path, attribute=True)
        for base in kind.__mro__:
            for name in slots(base):
                held = getattr(value, name, None)
                self.check("getattr({0}, {1}, None) is {2}", value, name, held)
                self.places.append((value, (name, held), f"{path}.{name}"))
                self.see(held, f"{path}.{name}")

    def constant(self, value: enum.Enum, path: str) -> None:
        """Describe one of several named constants."""
        self.same(value)

    def number(self, value: Any, path: str) -> None:
        """Describe a number or text of a class derived from Python's."""
        plain = next(of for of in (bool, int, float, complex, str, bytes) if isinstance(value, of))
        self.tokens += (type(value), plain.__repr__(value))

    def proxy(self, value: Any, path: str) -> None:
        """Describe a mapping that is only read."""
        self.tokens.append(len(value))
        self.check("len({0}) == {1} and all(map(is_, {0}.values(), {2}))", value, len(value), tuple(value.values()))
        for key, held in value.items():
            self.see(key, path)
            self.see(held, f"{path}[{key!r}]")

    def reference(self, value: weakref.ref[Any], path: str) -> None:
        """Describe what a weak reference refers to."""
        held = value()
        self.check("{0}() is {1}", value, held)
        self.see(held, path)

    def environment(self, value: Any, path: str) -> None:
        """Describe the environment's variables."""
        self.tokens.append(tuple(value._data.items()))
        self.check("{0}._data == {1}", value, dict(value._data))

    def generator(self, value: Generator, path: str) -> None:
        """Describe a generator, whose draws are made in each replay, by which it is."""
        self.same(value)
        if self.exact:
            self.tokens += (value._seed, value._stream)
            self.check("{0}._seed == {1} and {0}._stream == {2}", value, value._seed, value._stream)


class Bare(str):
    """Text that is written into a condition as it is."""


UNREAD = frozenset(("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__static_attributes__",
                    "__firstlineno__", "__abstractmethods__", "_abc_impl", "__orig_bases__", "__parameters__"))
"""Of a class: what a step has no use for."""


def contents(cell: types.CellType) -> Any:
    """What a variable holds; None where it is not assigned yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def slots(base: type) -> list[str]:
    """The attributes that a class keeps in slots."""
    names = base.__dict__.get("__slots__", ())
    return [name for name in ([names] if isinstance(names, str) else names) if not name.startswith("__")]


Sight.looks = [
    (types.ModuleType, Sight.module), (types.BuiltinFunctionType, Sight.in_c), (list | tuple | collections.deque,
    Sight.sequence), (dict, Sight.mapping), (set | frozenset, Sight.group), (np.ndarray, Sight.array),
    (bytearray | array | memoryview, Sight.raw),
    (np.generic, lambda sight, value, path: sight.tokens.extend((value.dtype.str, value.tobytes()))),
    (int | float | complex | str | bytes, Sight.number),
    (slice, lambda sight, value, path: sight.sequence((value.start, value.stop, value.step), path)),
    (types.FunctionType, Sight.function), (types.MethodType, Sight.method), (functools.partial, Sight.partial),
    (type, Sight.kind), (types.CellType, Sight.cell), (types.MappingProxyType, Sight.proxy),
    (weakref.ref, Sight.reference), (Generator, Sight.generator),
    (property | staticmethod | classmethod | functools.cached_property, Sight.wrapped), (enum.Enum, Sight.constant),
    (Optimizer, Sight.optimizer), (LRScheduler, Sight.scheduler), (type(os.environ), Sight.environment)]
