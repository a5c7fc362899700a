"""Python's objects in LLVM's text: the arguments of a built-in function, once they are what they should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...runtime.machine_code import DTYPE, FLAGS, HEAD, READABLE, WRITABLE, address
from ..program import Value
from .llvm_values import Writer, pointer


def given(one: str) -> list[str]:
    """Give an object."""
    return [f"  call void {pointer(address('Py_IncRef'))}(ptr {one})", f"  ret ptr {one}"]


def begin(w: Writer, inputs: Sequence[Value], result: Value | None = None) -> list[str]:
    """The names of a function's arguments, once they are what they should be; `result` is written into."""
    check(w, [w.new(f"icmp eq i64 %count, {len(inputs)}")], "counted")
    objects = [w.new(f"load ptr, ptr {w.new(f'getelementptr ptr, ptr %arguments, i64 {k}')}")
               for k in range(len(inputs))]
    kinds = [np.ndarray if value.shape else value.dtype.numpy.type for value in inputs]
    check(w, [w.new(f"icmp eq ptr {at(w, one, HEAD // 2, 'ptr')}, {pointer(id(kind))}")
              for kind, one in zip(kinds, objects, strict=True)], "kinds")
    fits = []
    for value, one in zip(inputs, objects, strict=True):
        if value.shape:
            wanted = WRITABLE if value is result else READABLE
            flags = w.new(f"and i32 {at(w, one, FLAGS, 'i32')}, {wanted}")
            fits += [w.new(f"icmp eq i32 {flags}, {wanted}"),
                     w.new(f"icmp eq ptr {at(w, one, DTYPE, 'ptr')}, {pointer(id(value.dtype.numpy))}")]
    check(w, fits, "layouts")
    return objects


def at(w: Writer, place: str, offset: int, kind: str) -> str:
    """What is so many bytes from a place."""
    return w.new(f"load {kind}, ptr {w.new(f'getelementptr i8, ptr {place}, i64 {offset}')}")


def check(w: Writer, fits: list[str], label: str) -> None:
    """Go on where all that is asked for holds."""
    all_fit = "true"
    for one in fits:
        all_fit = w.new(f"and i1 {all_fit}, {one}")
    w.lines += [f"  br i1 {all_fit}, label %{label}, label %other", f"{label}:"]
