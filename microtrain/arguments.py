"""Arguments held to a function's own annotations: what is of another type is refused at the door, in PyTorch's words.

`sort(descending: bool = False)`, guarded, raises "sort(): argument 'descending' must be bool, not str". Numbers arrive
as Python's own: NumPy's, and those of a subclass, are converted. What a mere type does not tell, a function checks
itself, and so do the few that a training step calls: a guard costs half a microsecond a call, once the types were met.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from typing import Any, NamedTuple, TypeGuard

import numpy as np

Number = Any
"""A number, or a 0-d tensor of one: what PyTorch calls a Scalar."""

CLASSES: dict[str, Any] = {}
"""Classes that annotations name without importing them."""

OPEN = frozenset(("Any", "object", "DeviceLike", "Shape", "Self", "Operand", "Dims", "Sizes"))
"""Annotations that say nothing here: anything goes, or the function looks for itself."""


class Kind(NamedTuple):
    """One alternative of an annotation: what it is called, whether a value is one, and the value to be handed on."""

    text: str
    holds: Callable[[object], bool]
    taken: Callable[[Any], object] | None = None
    elements: bool = False


def is_int(value: object) -> bool:
    """Whether a value counts as an integer: no bool does."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def as_int(value: int | np.integer) -> int:
    """An integer as Python's own."""
    return int(value) if isinstance(value, np.generic) else int.__index__(value)


def is_number(value: object) -> bool:
    """Whether a value counts as a real number."""
    return isinstance(value, int | float | np.integer | np.floating)


def as_number(value: float | np.generic) -> bool | int | float:
    """A number as one of Python's own types."""
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, bool) else float.__float__(value) if isinstance(value, float) else as_int(value)


def _is_whole_tensor(value: Any) -> bool:
    """Whether a value is a 0-d tensor of integers, which counts as the integer it holds."""
    return isinstance(value, CLASSES["Tensor"]) and not value.shape and value.dtype.category == 1


def _some(taken: Callable[[Any], object]) -> Callable[[Sequence[object]], Sequence[object]]:
    def elements(value: Sequence[object]) -> Sequence[object]:
        made = [taken(v) for v in value]
        return made if isinstance(value, list) else tuple(made)
    return elements


NAMED = {
    "int": Kind("int", lambda v: is_int(v) or _is_whole_tensor(v), lambda v: as_int(v) if is_int(v) else int(v.item())),
    "float": Kind("float", is_number, as_number),
    "bool": Kind("bool", lambda v: isinstance(v, bool | np.bool_), bool),
    "Number": Kind("Number", lambda v: is_number(v) or (isinstance(v, CLASSES["Tensor"]) and not v.shape),
                   lambda v: as_number(v) if is_number(v) else v),
    "str": Kind("str", lambda v: isinstance(v, str), str.__str__),
    "None": Kind("None", lambda v: v is None),
    "Path": Kind("Path", lambda v: isinstance(v, os.PathLike)),
    "Dataset": Kind("Dataset", lambda v: hasattr(type(v), "__len__") and hasattr(type(v), "__getitem__")),
    "np.ndarray": Kind("numpy.ndarray", lambda v: isinstance(v, np.ndarray)),
    "np.random.Generator": Kind("numpy.random.Generator", lambda v: isinstance(v, np.random.Generator)),
}


def _is_listed(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _of_class(name: str, known: type) -> Kind:
    return Kind(name, lambda v: isinstance(v, known))


def _container(name: str, inner: str) -> Kind | None:
    if name == "Callable":
        return Kind("callable", callable)
    if name == "set":
        return Kind("set", lambda v: isinstance(v, set))
    if name in ("Mapping", "dict"):
        return Kind("dict", lambda v: isinstance(v, Mapping))
    if name in ("Iterable", "Iterator"):
        return Kind("iterable", lambda v: isinstance(v, Iterable) and not isinstance(v, str | bytes))
    if name not in ("Sequence", "tuple", "list"):
        return None
    element = NAMED.get(inner.split(",")[0].strip())
    if element is None or element.taken is None:
        return Kind(f"tuple of {inner}s" if inner.isidentifier() else "sequence", _is_listed)
    return Kind(f"tuple of {element.text}s", lambda v: _is_listed(v) and all(map(element.holds, v)),
                _some(element.taken), elements=True)


def _alternatives(annotation: str) -> list[str]:
    """The parts of a union, brackets left whole."""
    parts, depth = [""], 0
    for letter in annotation:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def kinds(annotation: object, scope: Mapping[str, Any]) -> tuple[Kind, ...]:
    """The alternatives of an annotation; none where it says nothing, or names what is not known here."""
    found: list[Kind] = []
    parts = _alternatives(annotation if isinstance(annotation, str) else inspect.formatannotation(annotation))
    if {"DType", "None"} <= {*parts}:           # Python's types go too
        return ()
    for part in parts:
        name, _, inner = part.removesuffix("]").partition("[")
        known = scope.get(name, CLASSES.get(name))
        kind = None
        if name in OPEN:
            return ()
        if part in NAMED:
            kind = NAMED[part]
        elif inner or name in ("Callable", "Mapping", "Iterable", "Sequence", "tuple", "list", "dict"):
            kind = _container(name, inner)
        elif getattr(known, "__origin__", None) is Callable:
            kind = _container("Callable", "")
        elif isinstance(known, type):
            kind = _of_class(name, known)
        if kind is None:
            return ()
        found.append(kind)
    return tuple(found)


def described(value: Any) -> str:
    """A value by its type, with what it is where that is short and sure."""
    kind = type(value)
    if kind in (int, float, bool, str):
        return f"{kind.__name__} ({value!r:.40})"
    if kind in (list, tuple) and value:
        return f"{kind.__name__} of {', '.join(sorted({type(v).__name__ for v in value}))}"
    if "Tensor" in CLASSES and isinstance(value, CLASSES["Tensor"]):
        return f"{kind.__name__} of shape {list(value.shape)}"
    if kind.__name__ in CLASSES:                # another package's, of the same name
        return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    return kind.__name__


def refused(function: str, argument: str, position: int | None, wanted: Iterable[str], value: object) -> TypeError:
    """The error for an argument of a wrong type, in PyTorch's words."""
    where = "" if position is None else f" (position {position})"
    names = " or ".join(name for name in wanted if name != "None") or "None"
    return TypeError(f"{function}(): argument '{argument}'{where} must be {names}, not {described(value)}")


class Guard:
    """The checks of one function."""

    def __init__(self, function: Callable[..., object], name: str, itself: Iterable[str] = (),
                 method: bool = False) -> None:
        self.function, self.name = function, name
        self.kinds: dict[str, tuple[Kind, ...]] = {}
        self.order: list[str] = []
        self.rest = ""
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                self.order.append(parameter.name)
            elif parameter.kind is parameter.VAR_POSITIONAL:
                self.rest = parameter.name
            if parameter.name in itself or parameter.kind is parameter.VAR_KEYWORD:
                continue
            if parameter.annotation is not parameter.empty:
                self.kinds[parameter.name] = kinds(parameter.annotation, inspect.unwrap(function).__globals__)
        self.bound = self.order[:1] == ["self"] and (method or "." in function.__qualname__)

    def value(self, argument: str, position: int | None, value: object, name: str) -> tuple[object, bool]:
        """An argument as it is handed on, and whether its type alone says that it may be. Raises TypeError."""
        alternatives = self.kinds.get(argument)
        if not alternatives:
            return value, True
        for kind in alternatives:
            if kind.holds(value):
                new = value if kind.taken is None else kind.taken(value)
                a_tensor = kind is NAMED["Number"] and hasattr(value, "shape")      # another may have axes
                return new, new is value and not kind.elements and not a_tensor
        raise refused(name or self.name, "input" if argument == "self" else argument, position,
                      [kind.text for kind in alternatives], value)

    def check(self, args: tuple[object, ...], kwargs: dict[str, object],
              caller: str = "") -> tuple[tuple[object, ...], dict[str, object], bool]:
        """The arguments of a call, and whether calls of the same types need no other look."""
        certain, given = True, []
        for i, value in enumerate(args):
            name = self.order[i] if i < len(self.order) else self.rest
            value, sure = self.value(name, max(i + 1 - self.bound, 1), value, caller)
            given.append(value)
            certain &= sure
        for name, value in kwargs.items():
            kwargs[name], sure = self.value(name, None, value, caller)
            certain &= sure
        return tuple(given), kwargs, certain


def says_something(function: Callable[..., object], method: bool) -> bool:
    """Whether any annotation of a function's arguments can be checked; of a method, beside that of its own instance."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return False
    instance = code.co_varnames[:1] if method else ()
    return any(name != "return" and name not in instance and str(annotation) not in OPEN
               for name, annotation in function.__annotations__.items())


@cache
def guarded(function: Any, name: str = "", itself: tuple[str, ...] = (), method: bool = False) -> Any:
    """A function whose arguments are held to its annotations, but for those at which it looks `itself`."""
    met: set[tuple[object, ...]] = set()
    of_class = function.__name__ == "__init__"
    guards: list[Guard] = []

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        types = (*map(type, args), *kwargs, *map(type, kwargs.values()))
        if types not in met:
            if not guards:
                guards.append(Guard(function, name or function.__name__, itself, method))
            args, kwargs, certain = guards[0].check(args, kwargs, type(args[0]).__name__ if of_class else "")
            if certain:
                met.add(types)
        return function(*args, **kwargs)
    return call


def guard(space: Any, names: Iterable[str], but: Collection[str] = (), itself: tuple[str, ...] = ()) -> None:
    """Guard what is public of a module (or class): functions of these names, and the constructors of classes. Not those
    in `but`, and not the arguments in `itself`."""
    for name in names:
        home = next(one for one in getattr(space, "__mro__", (space,)) if name in vars(one))
        value = vars(home)[name]
        if name in but or not says_something(value.__init__ if inspect.isclass(value) else value,
                                                   inspect.isclass(value) or inspect.isclass(space)):
            continue
        if inspect.isclass(value):
            owner: Any = next(cls for cls in value.__mro__ if "__init__" in vars(cls))
            owner.__init__ = guarded(owner.__init__, itself=itself)
        elif inspect.isfunction(value) or hasattr(value, "cache_info"):
            made = guarded(value, itself=itself, method=inspect.isclass(space))
            if inspect.ismodule(space):
                made.__module__ = space.__name__                    # where pickle finds it
            setattr(home, name, made)


def tidy(space: dict[str, object]) -> None:
    """Take out of a public module's namespace what it imported for its annotations."""
    for name, value in list(space.items()):
        if getattr(value, "__module__", "") in ("typing", "collections.abc", "__future__") or name == "annotations":
            del space[name]
