"""One call of a user's kernel (`mt.custom_kernel`): nothing else is computed in it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from ...graph.node import interned
from ...ops.user_kernel import CALL, OUTPUT, KernelCall
from ...runtime.backend import CompiledKernel, Pointer
from ...runtime.compile_cache import sealed
from ...runtime.compiling import Signature, settle
from ..index import ZERO, Coords, Index
from ..program import Value
from .template import Kernel, Launch, Members, Offer, Template


@dataclass(frozen=True)
class UserKernel(Template):
    """It reads and writes whole arrays, and is launched as the user says."""

    call: KernelCall
    name = "user kernel"
    ours = False

    @classmethod
    def opened(cls, value: Value) -> UserKernel | None:
        return cls(value.attrs[0]) if value.primitive is CALL else None

    def layouts(self, numel: int) -> list[Index]:
        """What a call writes has its place in memory alone; 0 stands for it."""
        return [ZERO]

    def entry(self, value: Value, position: Index) -> list[tuple[Value, Coords]]:
        """Whole arrays."""
        return [(source, ()) for source in value.sources if value.primitive is CALL]

    def extent(self) -> str:
        return f"a grid of {' x '.join(map(str, self.call.grid))}: {self.call.name}"

    def offers(self, members: Members, value: Value, place: Container[Value]) -> Iterator[Offer]:
        """Its own outputs."""
        if value.primitive is OUTPUT and value.sources[0] in members:
            yield Offer(self, {**members, value: ZERO})

    def write(self, kernel: Kernel) -> None:
        """It writes all its outputs, also those that nobody asked for."""
        group, first = kernel.group, kernel.group.root
        given = {value.attrs[1]: value for value in group.members if value is not first}
        group.stores = [first, *[given.get(i) or Value(interned(OUTPUT, (self.call, i), (first.spec,)), (first,))
                                 for i in range(1, len(self.call.outputs))]]
        kernel.pointers[:] = [*first.sources, *group.stores]
        kernel.scalars.clear()
        kernel.wide = False

    def launches(self, kernel: Kernel, arch: str) -> Iterator[Launch]:
        call = self.call
        free = [name for name in call.kernel.arg_names if name not in call.constants]
        ones = {name: n for name, n in zip(free[len(kernel.pointers):], call.scalars, strict=True)
                if isinstance(n, int) and n == 1}
        yield CallLaunch(kernel, call.kernel, call.grid, {}, call.constants | ones, call.options, call=call)


@dataclass(eq=False)
class CallLaunch(Launch):
    """The launch of a user's kernel, whose pointers and numbers are parameters of their own.

    `constexprs` are the user's, and the ones among the numbers: Triton makes constants of those.
    """

    call: KernelCall = field(kw_only=True)

    @cached_property
    def slots(self) -> list[tuple[int, object]]:
        """For each parameter the pointer that it takes, or -1 and its value."""
        constants = self.call.constants
        given = iter([*[(k, None) for k in range(len(self.kernel.pointers))], *[(-1, n) for n in self.call.scalars]])
        return [(-1, constants[name]) if name in constants else next(given) for name in self.function.arg_names]

    def arguments(self, pointers: tuple[Pointer, ...], scalars: tuple[int, ...]) -> tuple[object, ...]:
        return tuple([value if k < 0 else pointers[k] for k, value in self.slots])

    def signature(self) -> tuple[Signature, list[str]]:
        types, even = {}, []
        pointers = self.pointer_types()
        for name, (k, value) in zip(self.function.arg_names, self.slots, strict=True):
            if k >= 0:
                types[name] = pointers[k]
            elif name in self.constexprs:
                types[name] = "constexpr"
            elif isinstance(value, float):
                types[name] = "fp32"
            else:
                assert isinstance(value, int)
                types[name] = "i32" if abs(value) < 2 ** 31 else "i64"
                even += [name] if value % 16 == 0 else []
        return types, even

    def compiled(self, kernels: dict[object, CompiledKernel]) -> CompiledKernel:
        """As Triton specialises it, which has kept it if it was called before: the kernel may be annotated, and may ask
        that a number be left alone."""
        from triton.runtime import MockTensor
        pointers = tuple([MockTensor(value.dtype.name) for value in self.kernel.pointers])
        settle(self.function)
        with sealed:
            return self.function.warmup(*self.arguments(pointers, ()), grid=self.grid, **self.options)
