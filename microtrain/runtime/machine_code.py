"""Machine code for the processor that Python runs on, made of LLVM's text by the LLVM that Triton has.

On x86-64 Linux, for a CPython with its lock. Elsewhere, and where memory must not be executed, there is none, and who
asks for it does without.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import platform
import struct
import sys
import sysconfig
from collections.abc import Callable
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

TRIPLE = "x86_64-unknown-linux-gnu"
HEAD = object.__basicsize__
"""Bytes of an object before the value of a NumPy scalar: its count of references and its type."""

# Bytes from the beginning of a NumPy array (PyArrayObject) to what is known of it: flags as of `ndarray.flags.num`.
DATA, AXES, SIZES, DTYPE, FLAGS = 16, 24, 32, 56, 64
READABLE, WRITABLE = 0x101, 0x501                # contiguous as C's arrays are, and aligned; and writable

WITH_HOST = ("3.6.", "3.7.")                    # Tritons whose `init_targets` is for the host too; later export more
FASTCALL = 0x80                                 # METH_FASTCALL: called with an array of arguments and their count
ALLOC = 47                                      # Py_tp_alloc: a type's function that makes an object of it


class Definition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("address", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p)]


class Code:
    """A function in memory that is executed, and that is given back when nobody holds it. Raises OSError where memory
    may not be executed."""

    def __init__(self, text: str) -> None:
        code = linked(translate(text))
        self.memory = mmap.mmap(-1, len(code), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory.write(code)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        if protect(ctypes.c_void_p(self.address), ctypes.c_size_t(len(code)), mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "memory may not be executed here")


def c_function(text: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """The function of a text as one of C's; others run while it runs."""
    code = Code(text)
    function = ctypes.CFUNCTYPE(result, *arguments)(code.address)
    function.code = code                        # type: ignore[attr-defined]    # kept as long as it
    return function


def python_function(text: str, *kept: object) -> Callable[..., Any]:
    """The function of a text, of a signature of METH_FASTCALL, as a built-in function of Python's; it keeps objects
    that its text names by their address."""
    code = Code(text)
    definition = Definition(b"step", code.address, FASTCALL, None)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        ("PyCFunction_NewEx", ctypes.pythonapi))
    return make(ctypes.addressof(definition), (code, definition, *kept), None)     # type: ignore[no-any-return]


@lru_cache
def available() -> bool:
    """Whether there is machine code here: NumPy's scalars are laid out as it takes them to be, and a function of it
    gives what it should."""
    if (sys.platform, platform.machine(), sys.implementation.name) != ("linux", "x86_64", "cpython") \
            or sysconfig.get_config_var("Py_GIL_DISABLED") or 2 * ctypes.sizeof(ctypes.c_void_p) != HEAD:
        return False
    for kind, as_c in (np.float32, ctypes.c_float), (np.float64, ctypes.c_double), (np.int64, ctypes.c_int64):
        one = kind(-3)
        array = np.zeros((3, 5), kind)
        found = [ctypes.c_void_p.from_address(id(array) + place).value for place in (HEAD // 2, DATA, DTYPE)]
        sizes = ctypes.c_void_p.from_address(id(array) + SIZES).value or 0
        if (ctypes.c_void_p.from_address(id(one) + HEAD // 2).value != id(kind)
                or as_c.from_address(id(one) + HEAD).value != -3
                or found != [id(np.ndarray), array.ctypes.data, id(np.dtype(kind))]
                or ctypes.c_int.from_address(id(array) + AXES).value != 2
                or [*(ctypes.c_ssize_t * 2).from_address(sizes)] != [3, 5]
                or ctypes.c_int.from_address(id(array) + FLAGS).value & WRITABLE != WRITABLE):
            return False
    try:
        twice = c_function("define i64 @twice(i64 %x) {\n  %y = add i64 %x, %x\n  ret i64 %y\n}\n",
                           ctypes.c_int64, ctypes.c_int64)
        return bool(twice(21) == 42 and address("exp"))
    except Exception:           # whatever stands in its way (a folder or a module that is called triton): without, then
        return False


@lru_cache
def address(name: str) -> int:
    """Where a function of C's mathematical library is, or of Python's (`Py...`)."""
    library = ctypes.pythonapi if name.startswith("Py") else ctypes.CDLL("libm.so.6")
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


@lru_cache
def maker(kind: type) -> int:
    """Where the function is that makes an object of a type: of the type and 0."""
    slot = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_int)(("PyType_GetSlot", ctypes.pythonapi))
    return slot(kind, ALLOC) or 0


# ------------------------------------------------------------------------------------------------------ Triton's LLVM

LIBRARY = "triton._C.libtriton"


class Loaded(MetaPathFinder, Loader):
    """Has Triton, where it is imported later, find its library loaded: twice is fatal."""

    def __init__(self, library: ModuleType) -> None:
        self.library = library

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, origin=self.library.__file__) if name == LIBRARY else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.library

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it was."""


@lru_cache
def llvm() -> Any:
    """Triton's bindings of LLVM, by themselves where Triton is not imported: to import it takes five times as long, and
    decides whether kernels are interpreted from then on. Raises ImportError without Triton."""
    library: Any = sys.modules.get(LIBRARY)
    if library is None:
        found = importlib.util.find_spec("triton")
        paths = [path for folder in (found and found.submodule_search_locations) or ()
                 for path in Path(folder, "_C").glob("libtriton*.so")]
        if not paths:
            raise ImportError("Triton is not installed")
        loader = ExtensionFileLoader(LIBRARY, str(paths[0]))
        spec = importlib.util.spec_from_file_location(LIBRARY, paths[0], loader=loader)
        assert spec is not None
        library = importlib.util.module_from_spec(spec)
        loader.exec_module(library)
        sys.meta_path.insert(0, Loaded(library))
    library.llvm.init_targets()
    exports = ctypes.CDLL(library.__file__)
    if hasattr(exports, "LLVMInitializeX86Target"):
        for what in ("TargetInfo", "Target", "TargetMC", "AsmPrinter"):
            exports[f"LLVMInitializeX86{what}"]()
    elif not version("triton").startswith(WITH_HOST):
        raise RuntimeError("whether this Triton's LLVM writes code for x86-64 is not known, and to ask it may be fatal")
    return library.llvm


@lru_cache
def vectors() -> str:
    """What LLVM may use for several elements at once: AVX2, where the processor has it. Wider ones are not faster on
    memory, and slow some processors down."""
    with open("/proc/cpuinfo") as about:
        has = next((line.split() for line in about if line.startswith("flags")), [])
    return "+avx,+avx2" if "avx2" in has else ""


def translate(text: str) -> bytes:
    """An object file of LLVM's text. No product is fused with a sum."""
    given: tuple[Any, ...] = (text, TRIPLE, "", vectors(), [], False, True)
    try:
        made = llvm().translate_to_asm(*given)
    except TypeError:                           # from Triton 3.8 on it is asked whether addresses are made uniform
        made = llvm().translate_to_asm(*given, False)
    return bytes(made)


def linked(file: bytes) -> bytes:
    """The code of an ELF object file with one function, which comes first, and with its constants behind it."""
    (table,), (count,) = struct.unpack_from("<Q", file, 40), struct.unpack_from("<H", file, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", file, table + 64 * k) for k in range(count)]
    places: dict[int, int] = {}
    code = bytearray()
    for k, (_, kind, flags, _, at, size, _, _, alignment, _) in enumerate(sections):
        if kind == 1 and flags & 2:             # PROGBITS that are part of the program: code, constants
            code += bytes(-len(code) % alignment)
            places[k] = len(code)
            code += file[at:at + size]
    for _, kind, _, _, at, size, symbols, target, _, _ in sections:
        for entry in range(at, at + size, 24) if kind == 4 and target in places else ():
            offset, info, addend = struct.unpack_from("<QQq", file, entry)
            _, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", file, sections[symbols][4] + 24 * (info >> 32))
            if info & 0xffffffff != 2 or section not in places:     # R_X86_64_PC32
                raise RuntimeError(f"the code needs what is not in it (relocation {info & 0xffffffff})")
            at_ = places[target] + offset
            struct.pack_into("<i", code, at_, places[section] + value + addend - at_)
    return bytes(code)
