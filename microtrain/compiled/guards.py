"""The guards of a replay: what must be as it was when the step was recorded."""

from __future__ import annotations

from itertools import chain
from operator import is_
from typing import Any

from .. import settings
from ..graph.node import Node
from ..graph.tape import Leaf, grad_mode
from ..tensor import Tensor
from .results import Recording
from .running import Again, circumstances
from .sight import Bare, Sight

MISS = object()
"""What a replay gives where something has changed."""


class Guards:
    """The first lines of a replay, bound to what a sight has met: they name tensors `x0`, ... and their nodes `n0`, ...
    and return `MISS` where a condition does not hold."""

    def __init__(self, head: str, recording: Recording, sight: Sight, args: tuple[Any, ...],
                 kwargs: dict[str, Any]) -> None:
        self.recording, self.sight = recording, sight
        self.text = [f"def {head}:"]
        self.space: dict[str, Any] = {"MISS": MISS, "Node": Node, "settings": settings, "grad_mode": grad_mode,
                                      "is_": is_, "kept": recording.kept}
        self.names: dict[int, str] = {}         # of objects in `space`, which keeps them
        self.number = {id(tensor): k for k, tensor in enumerate(sight.tensors)}
        self.given: set[int] = set()            # tensors that are arguments and may be others in the next call
        self.bound: set[int] = set()
        self.conditions: list[str] = []
        self.circumstances()
        self.arguments(args, kwargs)
        for condition, objects in sight.checks:
            self.conditions.append(condition.format(*[self.name(one) for one in objects]))
        self.containers()
        if self.conditions:
            self.write("try:")
            self.refuse("    ")
            self.write("except KeyError: return MISS")
        self.tensors()
        self.questions()
        self.refuse()

    # ---------------------------------------------------------------------------------------------- writing
    def name(self, value: Any) -> str:
        """A name for an object; a number by itself."""
        if value is None or value is True or value is False:
            return repr(value)
        if isinstance(value, Bare):
            return value
        name = self.names.get(id(value))
        if name is None:
            name = self.names[id(value)] = f"k{len(self.names)}"
            self.space[name] = value
        return name

    def write(self, line: str) -> None:
        self.text.append(f"    {line}")

    def refuse(self, indent: str = "") -> None:
        """Have the replay miss where a condition does not hold."""
        if self.conditions:
            self.write(f"{indent}if not ({' and '.join(dict.fromkeys(self.conditions))}): return MISS")
            self.conditions = []

    def circumstances(self) -> None:
        self.conditions += [f"settings.changes == {settings.changes}", f"grad_mode.enabled is {circumstances()[-1]}"]

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Name what is handed over, and compare it."""
        self.conditions += [f"len(args) == {len(args)}", f"[*kwargs] == {self.name([*kwargs])}"
                            if kwargs else "not kwargs"]
        self.refuse()
        for k, value in enumerate(args):
            self.argument(value, f"args[{k}]")
        for key, value in kwargs.items():
            self.argument(value, f"kwargs[{key!r}]")

    def argument(self, value: Any, text: str) -> None:
        """Compare one that is handed over."""
        if isinstance(value, Tensor):
            k = self.number[id(value)]
            if k in self.bound or not self.sight.is_argument(k) or self.is_fixed(k):
                self.conditions.append(f"{text} is {f'x{k}' if k in self.bound else self.name(value)}")
                return
            self.bound.add(k)
            self.given.add(k)
            self.refuse()
            self.write(f"x{k} = {text}")
            # The shape too, before all else: a step that is called with many has as many replays to try.
            self.conditions += [f"x{k}.__class__ is {self.name(type(value))}",
                                f"x{k}.node.spec is {self.name(value.node.spec)}"]
            self.refuse()
        elif type(value) in (list, tuple):
            self.conditions.append(f"{text}.__class__ is {self.name(type(value))} and len({text}) == {len(value)}")
            for k, part in enumerate(value):
                self.argument(part, f"{text}[{k}]")
        elif type(value) is dict:
            self.conditions.append(f"{text}.__class__ is dict and list({text}) == {self.name(list(value))}")
            for key, part in value.items():
                self.argument(part, f"{text}[{self.name(key)}]")
        elif type(value) in (int, str, bool, bytes, float) and value == value and value != 0:
            self.conditions.append(f"{text}.__class__ is {self.name(type(value))} and {text} == {self.name(value)}")
        else:
            self.conditions.append(f"{text} is {self.name(value)}")

    def is_fixed(self, k: int) -> bool:
        """Whether an argument is one tensor throughout: it is changed, requires grad, has a gradient."""
        tensor = self.sight.tensors[k]
        return (tensor._grad is not None or tensor.node.tape is not None
                or any(change.tensor == k for change in self.recording.changes)
                or any(number == k for number, _ in self.recording.gradients))

    def containers(self) -> None:
        """Compare what containers hold, all of a kind in a few loops of C's."""
        self.space |= {"chain": chain.from_iterable, "values_of": dict.values}
        full = [one for one in self.sight.dicts if one[0]]
        everything: list[Any] = [one for one, _ in self.sight.lists] + [one for one, *_ in self.sight.dicts]
        lists, dicts = (self.name(tuple([one[0] for one in listed])) for listed in (self.sight.lists, full))
        members = [member for _, stored in self.sight.lists for member in stored]
        values, keys = ([member for one in full for member in one[place]] for place in (2, 1))
        if everything:
            sizes = self.name([*map(len, everything)])
            self.conditions.append(f"[*map(len, {self.name(tuple(everything))})] == {sizes}")
        for elements, of, stored in (("{0}", lists, members), ("map(values_of, {0})", dicts, values),
                                     ("{0}", dicts, keys)):
            if stored:
                self.conditions.append(f"all(map(is_, chain({elements.format(of)}), {self.name(tuple(stored))}))")

    def tensors(self) -> None:
        """Name all tensors and their nodes, and compare what an operation records of them."""
        changed = {change.tensor for change in self.recording.changes}
        for k, tensor in enumerate(self.sight.tensors):
            place, x = self.sight.loose.get(k), f"x{k}"
            if place is not None:
                held = (f"x{place[1]}._grad" if place[0] == "grad" else
                        f"{self.state(place[1], place[2])}.get({place[3]!r})")
                self.write(f"{x} = {held}")
                self.write(f"if {x}.__class__ is not {self.name(type(tensor))}: return MISS")
            elif k not in self.bound:
                self.space[x] = tensor
            node = tensor.node
            self.write(f"n{k} = {x}.node")
            self.conditions += [f"n{k}.__class__ is {self.name(node.__class__)}",
                                f"n{k}.spec is {self.name(node.spec)}", f"n{k}.tape is {self.name(node.tape)}"]
            if tensor._grad is None:
                self.conditions.append(f"{x}._grad is None")
            if node.tape.__class__ is Leaf:
                self.conditions.append(f"{self.name(node.tape)}.hooking is {self.name(node.tape.hooking)}")
            if (node.tape is not None or k in changed) and tensor._alias is None:
                self.conditions.append(f"(n{k}.version is None or {x}._alias is None)")
            elif node.tape is not None or k in changed:
                self.conditions.append(f"{x}._alias is {self.name(tensor._alias)}")
            if k in self.given:
                strides = None if tensor._alias is None else tensor._alias.strides
                self.conditions.append(f"{x}._alias is None" if strides is None else
                                       f"{x}._alias is not None and {x}._alias.strides == {self.name(strides)}")
            if k in self.given and any(self.sight.tensors[one].node.tape is None for one in changed):
                ids = frozenset([id(self.sight.tensors[one]) for one in changed])
                self.conditions.append(f"id({x}) not in {self.name(ids)}")
            self.refuse()

    def state(self, optimizer: Any, param: Tensor) -> str:
        """A name for the state that an optimizer keeps of a parameter."""
        return self.name(optimizer.state[param])

    def questions(self) -> None:
        """Ask again what was asked of values."""
        for k, question, answer in self.recording.asked:
            self.conditions.append(f"{self.name(Again(question))}(n{k}) == {self.name(answer)}")
