"""What a function can see: all that it leads to, through its closure, the globals that it names, its arguments.

A compiled step must do what the function would do. So whatever the function may read is either handed to the step anew
(the values of tensors, an optimizer's numbers), or it is part of a description: see `seen`.
"""

from __future__ import annotations

import builtins
import functools
import os
import sys
import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from opcode import opmap
from typing import Any

import numpy as np

from ..nn import Module
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..tensor import Tensor
from ..tensor.random import default_generator
from .seen import Seen, known_by


class Sight(Seen):
    """What a function sees, with its closure and globals, classes, modules and optimizers."""

    @classmethod
    def of(cls, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sight:
        """What a function sees when it is called with some arguments."""
        sight = cls()
        sight.see(function, getattr(function, "__name__", "the step"))
        sight.see(default_generator(), "the default generator")
        sight.first_argument = len(sight.tensors)
        for k, value in enumerate(args):
            sight.argument(value, f"argument {k}")
        for name, value in kwargs.items():
            sight.tokens.append(name)
            sight.argument(value, name)
        return sight

    # ---------------------------------------------------------------------------------------------- functions, classes
    def function(self, function: types.FunctionType, path: str) -> None:
        """Describe a function by its code and what it sees; of one of another library, by which it is."""
        if known_by(function):                      # type: ignore[arg-type]
            self.same(function)
            if function is os.getenv:
                self.see(os.environ, "os.environ")
            return
        code = function.__code__
        self.tokens += ("function", code)
        self.check("{0}.__code__ is {1} and {0}.__defaults__ is {2} and {0}.__kwdefaults__ is {3}", function, code,
                   function.__defaults__, function.__kwdefaults__)
        for cell, name in zip(function.__closure__ or (), code.co_freevars, strict=True):
            self.cell(cell, name)
        self.see(function.__defaults__, f"the defaults of {path}")
        self.see(function.__kwdefaults__, f"the defaults of {path}")
        if vars(function):
            self.see(vars(function), path)
        names = dict.fromkeys(named_in(code))
        space = function.__globals__
        for name in names:
            if name in space:
                self.check("{0}.get({1}, {0}) is {2}", space, name, space[name])
                self.places.append((space, (name, space[name]), name))
                self.tokens.append(name)
                self.named(space[name], name, names)
            elif hasattr(builtins, name):
                self.check("{1} not in {0}", space, name)
            elif isinstance(module := sys.modules.get(name), types.ModuleType):
                self.named(module, name, names)
            elif name in made_global(code):
                self.check("{1} not in {0}", space, name)
                self.places.append((space, (name,), name))

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

    def named(self, value: Any, path: str, names: Mapping[str, None]) -> None:
        """Describe what a global name stands for; of a module what is in it under one of the names."""
        self.see(value, path)
        if isinstance(value, types.ModuleType):
            if self.again(value):
                return
            space = vars(value)
            own = value.__name__.partition(".")[0] == "microtrain"
            for name in names:
                if name in space:
                    found = space[name]
                    self.check("{0}.get({1}, {0}) is {2}", space, name, found)
                    self.tokens.append(name)
                    if isinstance(found, types.ModuleType):
                        self.named(found, f"{path}.{name}", names)
                    elif own:
                        self.same(found)
                    else:
                        self.places.append((space, (name, found), f"{path}.{name}"))
                        self.see(found, f"{path}.{name}")

    def method(self, method: types.MethodType, path: str) -> None:
        """Describe a bound method."""
        self.see(method.__self__, path.rpartition(".")[0] or f"the object of {path}")
        self.see(method.__func__, path)

    def partial(self, function: functools.partial[Any], path: str) -> None:
        """Describe a partial application."""
        self.see(function.func, path)
        self.see(function.args, path)
        self.see(function.keywords, path)

    def kind(self, kind: type, path: str) -> None:
        """Describe a class by which it is; one of the user's by its attributes too."""
        self.same(kind)
        for base in kind.__mro__:
            if not known_by(base) and not (base is not kind and self.again(base)):
                space = base.__dict__
                self.check("len({0}) == {1} and all(map(is_, {0}.values(), {2}))", space, len(space),
                           tuple(space.values()))
                for name, value in list(space.items()):
                    if name not in ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__",
                                    "__static_attributes__", "__firstlineno__", "__abstractmethods__", "_abc_impl"):
                        self.tokens.append(name)
                        self.see(value, f"{base.__name__}.{name}")

    def wrapped(self, value: Any, path: str) -> None:
        """Describe a property, or a method of a class."""
        for part in ("fget", "fset", "func", "__func__"):
            if hasattr(value, part):
                self.see(getattr(value, part), path)

    # ---------------------------------------------------------------------------------------------- objects
    def instance(self, value: Any, path: str) -> None:
        """Describe an object by its class and attributes; one of a class of another library, by which it is."""
        kind = type(value)
        self.tokens.append("instance")
        if hasattr(kind, "__next__"):
            self.iterators.append(path)
        if known_by(kind) and not isinstance(value, Module):
            self.same(value)
            return
        self.see(kind, kind.__name__)
        space = getattr(value, "__dict__", None)
        if space is not None:
            self.mapping(space, path, attribute=True)
        for base in kind.__mro__:
            for name in slots(base):
                held = getattr(value, name, None)
                self.check("getattr({0}, {1}, None) is {2}", value, name, held)
                self.places.append((value, (name, held), f"{path}.{name}"))
                self.see(held, f"{path}.{name}")

    def optimizer(self, optimizer: Optimizer, path: str) -> None:
        """Describe an optimizer. Of this package's, the groups but for the numbers that a step is handed, the state but
        for the count; of another one all."""
        self.optimizers.append(optimizer)
        known = known_by(type(optimizer))
        given, counted = (optimizer._given, ("step",)) if known else ((), ())
        space, groups, state = vars(optimizer), optimizer.param_groups, optimizer.state
        self.see(type(optimizer), type(optimizer).__name__)
        self.tokens += ("optimizer", len(groups), len(state))
        for name, value in space.items():
            if name not in ("param_groups", "state", "stepped"):
                self.tokens.append(name)
                self.check("{0}.get({1}) is {2}", space, name, value)
                self.see(value, f"{path}.{name}")
        self.check("{0}.param_groups is {1} and {0}.state is {2} and len({1}) == {3} and len({2}) == {4}", optimizer,
                   groups, state, len(groups), len(state))
        self.own |= {id(space): ("stepped",), id(state): None}
        self.places += [(space, dict(space), path), (groups, list(groups), f"{path}.param_groups"),
                        (state, dict(state), f"{path}.state")]
        for k, group in enumerate(groups):
            free = [key for key in group
                    if key == "initial_lr" or (key in given and not isinstance(group[key], Tensor))]
            self.own[id(group)] = tuple(free)
            self.check("{0}[{1}] is {2}", groups, k, group)
            self.mapping(group, f"{path}.param_groups[{k}]", free)
            self.tokens += [structure(group[key]) for key in free]
            if free:
                self.check("{0}([{1}[key] for key in {2}]) == {3}", structures, group, free,
                           structures([group[key] for key in free]))
            counts = [state.get(param, {}).get("step", 0) for param in group["params"]]
            self.tokens.append(tuple(map(counts.index, counts)))
        for param, held in list(state.items()):
            self.see(param, f"a parameter in {path}.state")
            tensors = [key for key, value in held.items()
                       if isinstance(value, Tensor) and id(value) not in self.numbers]
            self.check("{0}.get({1}) is {2}", state, param, held)
            self.own[id(held)] = None
            self.mapping(held, f"{path}.state[...]", (*counted, *tensors))
            for key in tensors:
                self.tokens.append(key)
                if id(held[key]) not in self.numbers:
                    self.loose[len(self.tensors)] = ("state", optimizer, param, key)
                self.see(held[key], f"{path}.state[...][{key!r}]")

    def scheduler(self, scheduler: LRScheduler, path: str) -> None:
        """Describe a scheduler, whose own step is taken in each replay, by which it is."""
        self.same(scheduler)
        self.see(scheduler.optimizer, f"{path}.optimizer")


def structure(value: object) -> Hashable:
    """What of an optimizer's number is structure: whether it is zero, and its kind."""
    if isinstance(value, tuple):
        return (tuple, *map(structure, value))
    return (isinstance(value, float | int), value == 0)


def structures(values: Sequence[object]) -> list[Hashable]:
    """`structure` of each."""
    return [structure(value) for value in values]


def slots(base: type) -> list[str]:
    """The attributes that a class of the user's keeps in slots."""
    names = [] if known_by(base) else base.__dict__.get("__slots__", ())
    return [name for name in ([names] if isinstance(names, str) else names) if not name.startswith("__")]


@functools.cache
def named_in(code: types.CodeType) -> tuple[str, ...]:
    """The names that a function's code, and that of functions in it, look for in globals or as attributes."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *[name for one in inner for name in named_in(one)]]))


@functools.cache
def made_global(code: types.CodeType) -> frozenset[str]:
    """The names that a function's code, and that of functions in it, may make global ones."""
    own = [code.co_names[place] for operation, place in zip(code.co_code[::2], code.co_code[1::2], strict=True)
           if operation == opmap["STORE_GLOBAL"] and place < len(code.co_names)]
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(own).union(*map(made_global, inner))


def environment(sight: Sight, value: Any, path: str) -> None:
    """Describe the environment's variables."""
    sight.tokens.append(tuple(value.items()))
    sight.check("{0}._data == {1}", value, dict(value._data))


Sight.looks = [
    (list | tuple, Sight.sequence), (dict, Sight.mapping), (set | frozenset, Sight.group), (np.ndarray, Sight.array),
    (np.generic, lambda sight, value, path: sight.tokens.extend((value.dtype.str, value.tobytes()))),
    (slice, lambda sight, value, path: sight.sequence((value.start, value.stop, value.step), path)),
    (types.FunctionType, Sight.function), (types.MethodType, Sight.method), (functools.partial, Sight.partial),
    (type, Sight.kind), (types.CellType, lambda sight, value, path: sight.cell(value, path)),
    (property | staticmethod | classmethod | functools.cached_property, Sight.wrapped),
    (Optimizer, Sight.optimizer), (LRScheduler, Sight.scheduler), (type(os.environ), environment)]
