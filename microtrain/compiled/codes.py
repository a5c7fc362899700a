"""What the code of a function asks for: names, attributes, modules. Read off its instructions; nothing is called."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Sequence
from opcode import opmap


@functools.cache
def named_in(code: types.CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that a function's code, and that of functions in it, look for in globals or as attributes; and texts in
    it that may be such names."""
    inner = [named_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    texts = [constant for constant in code.co_consts if isinstance(constant, str)]
    return (tuple(dict.fromkeys([*code.co_names, *[name for names, _ in inner for name in names]])),
            tuple(dict.fromkeys([*texts, *[text for _, listed in inner for text in listed]])))


@functools.cache
def asked_of(code: types.CodeType) -> frozenset[tuple[str, str]]:
    """Names and attributes, each with the attribute that a function's code asks of it at once."""
    found, before = [], None
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and before is not None:
            found.append((before, instruction.argval))
        loads = instruction.opname.startswith("LOAD_") and isinstance(instruction.argval, str)
        before = instruction.argval if loads else None
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(found).union(*map(asked_of, inner))


@functools.cache
def imported(code: types.CodeType) -> frozenset[str]:
    """The modules that a function's code, and that of functions in it, imports."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return used(code, ("IMPORT_NAME",)).union(*map(imported, inner))


@functools.cache
def looked_up(code: types.CodeType) -> frozenset[str]:
    """The names that a function's code, and that of functions in it, look for in globals, or put there."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return used(code, ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL")).union(*map(looked_up, inner))


def used(code: types.CodeType, operations: Sequence[str]) -> frozenset[str]:
    """The names that some operations of a code are about."""
    # The lowest bit of LOAD_GLOBAL's argument says whether a call follows.
    shifts = {opmap[name]: int(name == "LOAD_GLOBAL") for name in operations}
    found, extended = [], 0
    for operation, argument in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument |= extended
        extended = argument << 8 if operation == opmap["EXTENDED_ARG"] else 0
        if operation in shifts:
            found.append(code.co_names[argument >> shifts[operation]])
    return frozenset(found)
