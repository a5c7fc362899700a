"""A node of the graph: one recorded operation, not yet computed, or a value at hand.

Recording is the hot path of the package (about a microsecond an operation): shape and dtype rules run once for each
combination of primitive, attributes and source specs, and are then found in the primitive's own memo table.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from typing import Any

from ..runtime.lock import lock
from .dtypes import DType, float32, plain
from .spec import Device, Shape, Spec, spec
from .tape import Pullback, Recorded, Rule, enter, grad_mode

Infer = Callable[..., tuple[Shape, DType]]
Text = str | Callable[..., str]

next_seq = itertools.count(1).__next__


class Kind(Enum):
    """How a primitive is scheduled and emitted."""

    LEAF = "leaf"               # a value at hand: a buffer or a run-time scalar
    CONSTANT = "constant"       # a number that is part of the structure
    MAP = "map"                 # one output element from one element of each (broadcast) source
    REDUCE = "reduce"           # axes folded away
    MATMUL = "matmul"           # (..., M, K) @ (..., K, N)
    VIEW = "view"               # index arithmetic alone
    INDEX = "index"             # index -> value, no element read (iota, random words), or read at computed places
    USER_KERNEL = "user kernel" # a user's kernel: whole arrays in memory to whole arrays in memory
    COMPOSITE = "composite"     # rewritten in terms of the others before it is scheduled


NAMED: dict[str, Primitive] = {}
"""Every primitive by its name, which is what is pickled of it."""


class Primitive:
    """One row of the operation table: what an operation is on every device.

    `infer(*specs, *attrs)` gives the output's shape and dtype or raises; `numpy` and `triton` are expressions with
    `{0}`, `{1}`, ... for the sources (see `ops.table`), `on_bool` the Triton one of booleans where that is another;
    `decompose(*nodes, *attrs)` rewrites a composite; `rule` is the derivative; `identity(dtype)` is what a reduction
    starts from.
    """

    __slots__ = ("decompose", "differentiable", "grad_name", "identity", "infer", "kind", "memo", "name", "numpy",
                 "numpy_out", "numpy_scalar", "on_bool", "rule", "triton")

    def __init__(self, name: str, kind: Kind, infer: Infer, numpy: Text = "", triton: Text = "", *,
                 numpy_scalar: str | None = None, numpy_out: str = "", grad_name: str | None = None,
                 differentiable: bool = True, decompose: Callable[..., Node] | None = None, rule: Rule | None = None,
                 on_bool: str = "", identity: Callable[[DType], int | float] = lambda dtype: math.nan) -> None:
        self.name, self.kind, self.infer = name, kind, infer
        self.numpy, self.numpy_scalar, self.numpy_out = numpy, numpy_scalar, numpy_out
        self.triton, self.decompose = triton, decompose
        self.on_bool, self.identity = on_bool, identity
        self.grad_name = grad_name or "".join(p.capitalize() for p in name.split("_")) + "Backward0"
        self.differentiable, self.rule = differentiable, rule
        self.memo: dict[Hashable, Signature] = {}   # filled by `setdefault`: each signature is one, in every thread
        NAMED[name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> tuple[object, ...]:
        return primitive_named, (self.name,)


def primitive_named(name: str) -> Primitive:
    """The primitive that was pickled by its name."""
    return NAMED[name]


class Signature:
    """A primitive applied to given source specs with given attributes: interned, so plans are keyed by identity. Where
    it has a derivative, `first`, `second` and `both` are its pullbacks where that source alone, or both of two, require
    grad; those of more sources are in `pullbacks`, by who requires grad."""

    __slots__ = ("attrs", "both", "first", "inputs", "primitive", "pullbacks", "rule", "second", "spec")

    def __init__(self, primitive: Primitive, attrs: tuple[Any, ...], inputs: tuple[Spec, ...], out: Spec) -> None:
        self.primitive, self.attrs, self.inputs, self.spec = primitive, attrs, inputs, out
        self.rule: Rule | None = None
        self.first: Pullback | None = None
        self.second: Pullback | None = None
        self.both: Pullback | None = None
        self.pullbacks: dict[tuple[bool, ...], Pullback] = {}
        if primitive.differentiable and out.dtype.is_floating_point:
            self.rule = primitive.rule
            if self.rule is None:
                raise NotImplementedError(f"derivative for {primitive.name} is not implemented")
            self.first = self.pullback((True, *[False] * (len(inputs) - 1)))
            if len(inputs) == 2:
                self.second, self.both = self.pullback((False, True)), self.pullback((True, True))

    def pullback(self, needs: tuple[bool, ...]) -> Pullback:
        """A pullback for the sources that require grad."""
        assert self.rule is not None
        return Pullback(self.rule, self.attrs, self.inputs, self.primitive.grad_name, needs)

    def __repr__(self) -> str:
        return f"{self.primitive.name}{self.attrs or ''} -> {self.spec}"

    def __reduce__(self) -> tuple[object, ...]:
        return signature_of, (self.primitive, self.attrs, self.inputs, self.spec)


class Described:
    """What a signature says of a value, whoever holds it: a node, or a value of a program."""

    __slots__ = ()

    signature: Signature
    spec: Spec

    @property
    def shape(self) -> Shape:
        return self.spec.shape

    @property
    def dtype(self) -> DType:
        return self.spec.dtype

    @property
    def device(self) -> Device:
        return self.spec.device

    @property
    def primitive(self) -> Primitive:
        return self.signature.primitive

    @property
    def attrs(self) -> tuple[Any, ...]:
        return self.signature.attrs


class VersionCell:
    """A memory's version, which nodes refer to: not to the memory itself, which refers to a node."""

    __slots__ = ("version",)

    def __init__(self, version: int) -> None:
        self.version = version


class Node(Recorded, Described):
    """A value of the graph. Immutable but for its realization: then `buffer` is set and `sources` are dropped.

    `holders` counts the tape entries that keep this value. `shared` says, once there is a buffer, whether it can be
    seen without this node: by another node, or from outside; before that, it is set where a tensor was given the node.
    `version`, of a value that was viewed or changed in place: the memory's version cell, and the version that the value
    is of. Compares by identity. Made by `new_node`: a class without an `__init__` is called in half the time.
    """

    __slots__ = ("__weakref__", "buffer", "shared", "signature", "version")

    buffer: Any
    shared: bool
    sources: tuple[Node, ...]
    version: tuple[VersionCell, int] | None

    def realize(self, buffer: object, shared: bool = False) -> None:
        """Take the computed value and let go of what it was computed from."""
        signature = self.spec.buffer_signature or buffer_signature(self.spec)
        # No call from here on, so nothing comes between; who sees the buffer sees that it has been decided on `shared`.
        self.shared = shared
        self.buffer = buffer
        self.signature = signature
        self.sources = ()

    def __repr__(self) -> str:
        return f"<node {self.signature}>"


class Unmade(Node):
    """A node that is made once anything of it is asked for; then it is a node as any other. Until then its `sources`
    are a function that, given it, has it `become` one."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> object:
        with lock:
            if type(self) is Unmade:            # no other thread has made it in the meantime
                _SLOTS["sources"].__get__(self)(self)
        return object.__getattribute__(self, name)


_SLOTS = {name: getattr(Node, name) for name in (*Recorded.__slots__, *Node.__slots__) if name != "__weakref__"}


def become(unmade: Node, node: Node) -> None:
    """Have a node be what another one is, of which nobody knows; done again, it changes nothing."""
    for slot in _SLOTS.values():
        slot.__set__(unmade, slot.__get__(node))
    unmade.__class__ = node.__class__


def making(name: str, signature: str, spec: str, sources: str, next_seq: str = "next_seq()") -> list[str]:
    """The statements that make a node. Every function that records consists of them, for a call would cost time."""
    return [f"{name} = Node()", f"{name}.signature = {signature}", f"{name}.spec = {spec}",
            f"{name}.sources = {sources}", f"{name}.seq = {next_seq}", f"{name}.holders = 0",
            f"{name}.buffer = {name}.tape = {name}.version = None"]


def recording(head: str, sources: str, *rest: str) -> Callable[..., Node]:
    """A function `head` that makes a node, and then what else is to be done before it is returned."""
    lines = [f"def {head}:", *making("node", "signature", "signature.spec", sources), *rest, "return node"]
    exec(compile("\n    ".join(lines), "<microtrain recording>", "exec"), globals())
    return globals()[head.partition("(")[0]]


new_node: Callable[[Signature, tuple[Node, ...]], Node] = recording("new_node(signature, sources)", "sources")
"""A node that is not on the tape."""

apply1: Callable[[Signature, Node], Node] = recording(
    "apply1(signature, x)", "(x,)",
    "if signature.first is not None and x.tape is not None and grad_mode.enabled: enter(node, signature.first)")
"""Record an operation of one source whose signature is at hand."""

apply2: Callable[[Signature, Node, Node], Node] = recording(
    "apply2(signature, x, y)", "(x, y)",
    "if signature.both is None: return node",
    "if x.tape is not None: pullback = signature.first if y.tape is None else signature.both",
    "elif y.tape is not None: pullback = signature.second",
    "else: return node",
    "if pullback is not None and grad_mode.enabled: enter(node, pullback)")
"""Record an operation of two sources whose signature is at hand."""

BUFFER = Primitive("buffer", Kind.LEAF, lambda: ((), float32), differentiable=False)
SCALAR = Primitive("scalar", Kind.LEAF, lambda: ((), float32), differentiable=False)
LITERAL = Primitive("literal", Kind.CONSTANT, lambda: ((), float32), differentiable=False)


def buffer_signature(of: Spec) -> Signature:
    """The signature of a value at hand with this spec."""
    of.buffer_signature = BUFFER.memo.setdefault(of, Signature(BUFFER, (), (), of))
    return of.buffer_signature


def scalar_signature(of: Spec) -> Signature:
    """The signature of a number that is handed to a program as it runs, with this (0-d) spec."""
    of.scalar_signature = SCALAR.memo.setdefault(of, Signature(SCALAR, (), (), of))
    return of.scalar_signature


def leaf(buffer: object, of: Spec) -> Node:
    """A node for a value at hand."""
    node = new_node(of.buffer_signature or buffer_signature(of), ())
    node.buffer = buffer
    node.shared = False
    return node


def literal(value: bool | int | float, dtype: DType, device: Device) -> Node:
    """A 0-d constant that is part of the structure: plans are compiled for its value."""
    of = spec((), dtype, device)
    value = (bool, int, float)[dtype.category](value)
    key = value if value and value == value else str(value)     # 0 is not -0, and a NaN finds no NaN
    node = of.literals.get(key)
    if node is None:                # kept for good: with another signature every graph of this number would be new
        node = of.literals.setdefault(key, new_node(Signature(LITERAL, (value,), (), of), ()))
    return node


def infer(primitive: Primitive, key: Hashable, sources: tuple[Node, ...], attrs: tuple[object, ...]) -> Signature:
    """Run the shape and dtype rules once for this combination and remember the answer. Raises TypeError for attributes
    that are no numbers, dtypes or tuples of them."""
    device = sources[0].spec.device
    for source in sources[1:]:
        if source.spec.device is not device:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {device} and "
                f"{source.spec.device}! (when computing {primitive.name}; move one with .to({str(device)!r}))")
    own = plain(attrs, primitive.name)
    if own is not attrs:                        # known by numbers that cannot change their minds about who they are
        assert isinstance(key, tuple)
        key = tuple([own if part is attrs else part for part in key])
        attrs = own
        known = primitive.memo.get(key)
        if known is not None:
            return known
    return primitive.memo.setdefault(key, interned(primitive, attrs, tuple([s.spec for s in sources])))


def interned(primitive: Primitive, attrs: tuple[object, ...], specs: tuple[Spec, ...]) -> Signature:
    """The one signature of a primitive applied to these, whichever function records it."""
    key = (attrs, *specs)
    known = primitive.memo.get(key)
    if known is None:
        shape, dtype = primitive.infer(*specs, *attrs)
        out = spec(shape, dtype, specs[0].device)
        known = primitive.memo.setdefault(key, Signature(primitive, attrs, specs, out))
    return known


def signature_of(primitive: Primitive, attrs: tuple[Any, ...], inputs: tuple[Spec, ...], out: Spec) -> Signature:
    """The signature that was pickled as this."""
    if primitive is LITERAL:
        return literal(attrs[0], out.dtype, out.device).signature
    if primitive.kind is Kind.LEAF:
        return (out.buffer_signature or buffer_signature(out) if primitive is BUFFER else
                out.scalar_signature or scalar_signature(out))
    return interned(primitive, attrs, inputs)


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots depend on, sources first. Iterative: a graph may be deeper than Python's stack."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        for source in stack.pop().sources:
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return sorted(seen, key=lambda node: node.seq)


def record1(primitive: Primitive, x: Node, attrs: tuple[object, ...] = ()) -> Node:
    """Record an operation of one source."""
    key = (x.spec, attrs) if attrs else x.spec
    return apply1(primitive.memo.get(key) or infer(primitive, key, (x,), attrs), x)


def record2(primitive: Primitive, x: Node, y: Node) -> Node:
    """Record an operation of two sources and no attributes."""
    key = (x.spec, y.spec)
    return apply2(primitive.memo.get(key) or infer(primitive, key, (x, y), ()), x, y)


def record_with(primitive: Primitive, x: Node, *numbers: Node) -> Node:
    """Record an operation of a node and numbers: constants of its dtype, which never require grad."""
    sources = x, *numbers
    node = new_node(primitive.memo.get(x.spec) or infer(primitive, x.spec, sources, ()), sources)
    if node.signature.first is not None and x.tape is not None and grad_mode.enabled:
        enter(node, node.signature.first)
    return node


def record(primitive: Primitive, sources: tuple[Node, ...], attrs: tuple[object, ...] = ()) -> Node:
    """Record an operation of any number of sources."""
    key = (attrs, *[s.spec for s in sources])
    signature = primitive.memo.get(key) or infer(primitive, key, sources, attrs)
    node = new_node(signature, sources)
    if signature.rule is not None and grad_mode.enabled:
        needs = tuple([s.tape is not None for s in sources])
        if True in needs:
            pullback = signature.pullbacks.get(needs)
            if pullback is None:
                pullback = signature.pullbacks.setdefault(needs, signature.pullback(needs))
            enter(node, pullback)
    return node
