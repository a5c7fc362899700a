"""A replay as one straight line: a function that checks that nothing has changed, runs the step, and leaves all as the
step would have left it.

    def attempt(args, kwargs):
        x2, x3, = args
        if not (switches.changes == 0 and ... and cell.cell_contents is x0 and ...): return MISS
        n0 = x0.node
        if n0.spec is not s0 or n0.tape is not p0 or ...: return MISS
        r0, r1, = run([n0.buffer, ...])
        m0.buffer = r0; ...
        return fresh(...)

From the first change on nothing is called, so that an interrupt comes before all of them or after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import getrefcount
from typing import Any

from ..engine.donation import uninterrupted
from ..engine.run import listeners, realize, report
from ..graph.constants import scalar
from ..graph.dtypes import DType
from ..graph.node import buffer_signature, leaf, making, next_seq
from ..tensor import Tensor
from ..tensor.storage import blank
from .guards import Guards
from .recorder import Call, Draw
from .results import Built, Constant, Fresh, Recording, Result, There
from .running import OWN, GroupNumbers, Runner, rebound, twin
from .sight import Sight


class Line(Guards):
    """A replay in the making, bound to what a sight has met. One that is `looped` is handed what runs many steps at
    once, and gives their losses and how many they were; it tells `looped`, by its `left`, that all is left so."""

    def __init__(self, recording: Recording, sight: Sight, args: tuple[Any, ...], kwargs: dict[str, Any],
                 looped: Any = None) -> None:
        assert recording.step is not None
        self.looped, self.step = looped, recording.step
        super().__init__(f"attempt(args, kwargs{', loop' if looped else ''})", recording, sight, args, kwargs)
        self.space |= {"refs": getrefcount, "twin": twin, "realize": realize, "scalar": scalar, "listeners": listeners,
                       "report": report, "blank": blank[0], "number_of": next_seq,
                       "leaf": leaf, "rebound": rebound, "uninterrupted": uninterrupted}
        self.run()
        self.leave()

    def function(self) -> Callable[..., Any]:
        """The function itself."""
        exec(compiled("\n".join(self.text)), self.space)
        return self.space["attempt"]

    # ---------------------------------------------------------------------------------------------- the run
    def run(self) -> None:
        """Gather the inputs, do what is done on the host, run the step."""
        uses: dict[int, list[tuple[int, DType]]] = {}
        texts = []
        used: dict[int, None] = {}
        self.refuse()
        run = None if self.looped else self.runner()
        if run is not None and run.waits:
            self.write(f"if {self.name(run)}.enough(): return MISS")
        for source, port in zip(self.recording.inputs, self.step.ports, strict=False):
            if source.kind == "number":
                listed = uses.setdefault(source.number, [])
                use = (source.which, port.spec.dtype)
                if use not in listed:
                    listed.append(use)
                texts.append("None" if self.looped else f"q{source.number}[{listed.index(use)}]")
            elif source.kind == "constant":
                texts.append(self.name(source.value))
            else:
                used[source.number] = None
                texts.append(f"b{source.number}")
        for k in used:
            self.write(f"b{k} = n{k}.buffer")
            self.write(f"if b{k} is None: b{k} = realize(n{k})")
        self.counts()
        events = [] if self.looped else self.recording.events
        last = max((k for k, event in enumerate(events) if not isinstance(event, Call)), default=-1)
        for k, event in enumerate(events[:last + 1]):
            self.event(k, event, uses.get(k, []))
        self.prepare()
        outputs = ", ".join(f"r{k}" for k in range(len(self.step.outputs)))
        self.after = [(k, event) for k, event in enumerate(events) if k > last]
        if run is None:
            self.write(f"({outputs},), made = loop([{', '.join(texts)}])")
            return
        self.write(f"if listeners: report({self.name(self.step)})")
        values, kept = f"[{', '.join(texts)}]", "None"
        if run.fixed:
            nodes = ", ".join(f"n{self.recording.inputs[place].number}" for place in run.fixed)
            self.write(f"values = {values}")
            name = self.name(run)
            same = [f"{name}.kept is not None"]
            for number, place in enumerate(run.fixed):
                k = self.recording.inputs[place].number
                same.append(f"{name}.last[{number}] is b{k} and not n{k}.shared")
            self.write(f"kept = {name}.kept if {' and '.join(same)} else {name}.same(values, ({nodes},))")
            values, kept = "values", "kept"
        free = self.free(run)
        if free:
            nodes = ", ".join(f"n{source.number}" if source.kind == "tensor" else "None"
                              for source in self.recording.inputs)
            self.write(f"{outputs}, = {self.name(run)}.run({values}, ({', '.join(free)},), ({nodes},), {kept})")
        elif run.native:
            more = ", ".join(texts) if run.takes_each else f"{values}, (), {kept}"
            machine = f"{self.name(run.machine)}({more}) or " if run.machine and run.takes_each else ""
            self.write(f"{outputs}, = {machine}{self.name(run.quick)}({self.name(run.function)}, {more})")
        else:
            self.write(f"{outputs}, = {self.name(run.quick)}({values})")

    def runner(self) -> Runner:
        """What runs the step: another from when it is run often."""
        run: Runner | None = self.recording.runner
        if run is None or run.spent:
            arguments = [place for place, source in enumerate(self.recording.inputs)
                         if source.kind == "tensor" and source.number in self.given]
            run = self.recording.runner = Runner(self.step, arguments, dict(self.carried()), often=run is not None)
        return run

    def event(self, k: int, event: Any, uses: list[tuple[int, DType]]) -> None:
        """What is done on the host, in a replay."""
        if isinstance(event, Draw):
            self.write(f"q{k} = {self.name(event.generator)}.draw()")
            self.space["scalar"] = scalar
            made = ", ".join(f"scalar(q{k}[{which}], {self.name(dtype)})" for which, dtype in uses)
            self.write(f"q{k} = ({made},)")
        elif isinstance(event, Call):
            self.write(f"{self.name(event.method)}({', '.join(self.name(one) for one in event.arguments)})")
        else:
            optimizer = self.sight.optimizers[event.number]
            numbers = GroupNumbers(optimizer, event.group, uses)
            param = optimizer.param_groups[event.group]["params"][event.place]
            self.write(f"q{k} = {self.name(numbers)}({self.count_of(optimizer, param)})")

    def counts(self) -> None:
        """Name how many steps each parameter has made; those that were as many as another's must be."""
        self.counted: dict[tuple[int, int], str] = {}
        for number, param, _, count in self.recording.states:
            if count is None:
                continue
            optimizer, tensor = self.sight.optimizers[number], self.sight.tensors[param]
            c = f"c{number}_{param}"
            self.counted[id(optimizer), id(tensor)] = c
            self.write(f"{c} = {self.state(optimizer, tensor)}['step']" if tensor in optimizer.state else f"{c} = 0")
        for optimizer in self.sight.optimizers:
            for group in optimizer.param_groups:
                first: dict[int, str] = {}
                for param in group["params"]:
                    c = self.counted.get((id(optimizer), id(param)), "")
                    if c:
                        now = optimizer.state.get(param, {}).get("step", 0)
                        if now in first:
                            self.conditions.append(f"{c} == {first[now]}")
                        first.setdefault(now, c)
                self.conditions += [f"{a} != {b}" for a, b in zip(list(first.values()), list(first.values())[1:],
                                                                  strict=False)]
        self.refuse()

    def count_of(self, optimizer: Any, param: Tensor) -> str:
        return self.counted.get((id(optimizer), id(param)), "0")

    # ---------------------------------------------------------------------------------------------- what is left
    def prepare(self) -> None:
        """Have a node ready for each new value: the tensor's own where nobody else holds it."""
        for change in self.recording.changes:
            if not change.shared:
                self.write(f"m{change.tensor} = n{change.tensor} if refs(n{change.tensor}) <= {OWN} "
                       f"else twin(n{change.tensor})")

    def free(self, run: Runner) -> list[str]:
        """The texts for places of inputs that may be written over: those of tensors that have another value afterwards,
        or that are replaced, where nobody else sees the value."""
        texts = []
        changed = {change.tensor: change.shared for change in self.recording.changes}
        for place, source in enumerate(self.recording.inputs):
            k = source.number
            if source.kind != "tensor" or place not in run.donatable:
                continue
            alone = f" and refs(b{k}) <= {OWN} and b{k}.base is None" if run.native else ""
            if changed.get(k):
                continue
            if k in changed:
                texts.append(f"*(({place},) if m{k} is n{k} and not n{k}.shared{alone} else ())")
            elif isinstance(self.replaced(k), Fresh):
                texts.append(f"*(({place},) if refs(n{k}) <= {OWN} and refs(x{k}) <= {OWN} and not n{k}.shared{alone} "
                             "else ())")
        return texts

    def replaced(self, k: int) -> Result | None:
        """What becomes of a tensor of an optimizer's state; None where it is none."""
        if self.sight.loose.get(k, ("",))[0] != "state":
            return None
        _, optimizer, param, key = self.sight.loose[k]
        return next((results.get(key) for number, tensor, results, _ in self.recording.states
                     if self.sight.optimizers[number] is optimizer and self.sight.tensors[tensor] is param), None)

    def carried(self) -> Iterator[tuple[int, int]]:
        """Places of inputs, each with that of the output that is the tensor's value after the step."""
        changed: dict[int, Result] = {change.tensor: change.value for change in self.recording.changes}
        for place, source in enumerate(self.recording.inputs):
            after = changed.get(source.number) or self.replaced(source.number) if source.kind == "tensor" else None
            if isinstance(after, Fresh) and after.output is not None:
                yield place, self.recording.renumber.get(after.output, after.output)

    def leave(self) -> None:
        """Leave all as the step would have left it."""
        self.made: dict[int, str] = {}
        later: list[str] = []
        shared: list[str] = []
        for change in self.recording.changes:
            value, k = self.value_of(change.value), change.tensor
            if change.shared:
                shared.append(f"(x{k}, leaf({value}, n{k}.spec), {self.times(change.times)}), ")
                continue
            later += [f"m{k}.buffer = {value}", f"m{k}.shared = {self.is_shared(change.value)}", f"x{k}.node = m{k}",
                      f"x{k}._changes += {self.times(change.times)}"]
        self.later = later
        if shared:
            later.append(f"rebound(({''.join(shared)}))")
        for k, result in self.recording.gradients:
            old = next((number for number, place in self.sight.loose.items() if place == ("grad", k)), None)
            later.append(f"x{k}._grad = {self.result(result, old)}")
        for number, param, results, count in self.recording.states:
            optimizer, tensor = self.sight.optimizers[number], self.sight.tensors[param]
            before = {place[3]: k for k, place in self.sight.loose.items()
                      if place[0] == "state" and place[1] is optimizer and place[2] is tensor}
            items = {key: self.result(result, before.get(key)) for key, result in results.items()
                     if not (isinstance(result, There) and result.tensor in self.sight.loose)}
            if count is not None:
                items["step"] = f"{self.counted[id(optimizer), id(tensor)]} + {self.times(count)}"
            if tensor not in optimizer.state:
                pairs = ", ".join(f"{key!r}: {text}" for key, text in items.items())
                later.append(f"{self.name(optimizer.state)}[{self.name(tensor)}] = {{{pairs}}}")
            else:
                later += [f"{self.state(optimizer, tensor)}[{key!r}] = {text}" for key, text in items.items()]
        for container, key, result in self.recording.stored:
            text = self.result(result)
            later.append(f"{self.name(container)}.cell_contents = {text}" if key is None else
                         f"{self.name(container)}[{self.name(key)}] = {text}" if isinstance(container, dict | list) else
                         f"{self.name(container)}.{key} = {text}")
        returned = self.loss() if self.looped else self.result(self.recording.result)
        if self.looped:
            later.insert(0, f"{self.name(self.looped)}.left = True")
        if shared:                              # a call, within which a signal may come
            later = ["def leave():", *[f"    {line}" for line in later], "uninterrupted(leave)"]
        for line in later:
            self.write(line)
        for k, event in self.after:
            self.event(k, event, [])
        self.write(f"return {returned}")

    def times(self, count: int) -> str:
        """What a count grows by: in a loop, in each step that was made."""
        return f"{count} * made" if self.looped else str(count)

    def loss(self) -> str:
        """What a loop gives: the losses, and how many steps were made."""
        assert isinstance(self.recording.result, Fresh)
        return f"{self.value_of(self.recording.result)}, made"

    def value_of(self, value: Fresh) -> str:
        """The buffer of a result."""
        if value.output is not None:
            return f"r{self.recording.renumber.get(value.output, value.output)}"
        source = value.source
        assert source is not None
        return f"n{source.number}.buffer" if source.kind == "tensor" else self.name(source.value)

    def is_shared(self, value: Fresh) -> bool:
        """Whether the buffer of a result may be seen without its node."""
        return value.output is None or self.step.shared[self.recording.renumber.get(value.output, value.output)]

    def result(self, result: Result, old: int | None = None) -> str:
        """The text that gives a result; what is made is made before, once: or the tensor that was in its place before
        is taken (its number is `old`), where nobody else holds it."""
        if isinstance(result, There):
            return f"x{result.tensor}"
        if isinstance(result, Constant):
            return self.name(result.value)
        if isinstance(result, Built):
            parts = [self.result(part) for part in result.parts]
            if result.kind is dict:
                pairs = [f"{self.name(key)}: {part}" for key, part in zip(result.keys, parts, strict=True)]
                return f"{{{', '.join(pairs)}}}"
            listed = f"[{', '.join(parts)}]"
            return listed if result.kind is list else f"{self.name(result.kind)}(*{listed})" \
                if hasattr(result.kind, "_fields") else f"({', '.join(parts)}{',' if parts else ''})"
        name = self.made.get(id(result), "")
        if not name:
            name = self.made[id(result)] = f"y{len(self.made)}"
            node, spec = f"z{name[1:]}", result.spec
            signature = spec.buffer_signature or buffer_signature(spec)
            lines = [*making(node, self.name(signature), self.name(spec), "()", "number_of()")[:-1],
                     f"{node}.version = None", f"{node}.tape = {self.name(result.tape)}", f"{name} = blank()",
                     f"{name}.node = {node}"]
            if result.kind is not Tensor:
                lines.append(f"{name}.__class__ = {self.name(result.kind)}")
            if old is not None and self.is_like(old, result):
                lines = [f"if refs(x{old}) <= {OWN} and refs(n{old}) <= {OWN} and n{old}.version is None: "
                         f"{name}, {node} = x{old}, n{old}", "else:", *[f"    {line}" for line in lines]]
            for line in lines:
                self.write(line)
            self.later[:0] = [f"{node}.buffer = {self.value_of(result)}", f"{node}.shared = {self.is_shared(result)}"]
        return name

    def is_like(self, old: int, result: Fresh) -> bool:
        """Whether a tensor that was there could stand for a result, but for its value."""
        tensor = self.sight.tensors[old]
        return (type(tensor) is result.kind and tensor.node.spec is result.spec and tensor.node.tape is result.tape
                and tensor._grad is None and self.value_of(result)[0] == "r"
                and all(change.tensor != old for change in self.recording.changes))


_codes: dict[str, Any] = {}


def compiled(text: str) -> Any:
    """The code of a text, compiled once."""
    if text not in _codes:
        if len(_codes) >= 256:
            _codes.clear()
        _codes[text] = compile(text, "<microtrain replay>", "exec")
    return _codes[text]
