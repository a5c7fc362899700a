"""The compile cache on disk: found again by another process, safe against killed ones, and never believed when damaged.

`stress_cache.py` beside this file does more of the same, for minutes.
"""

from __future__ import annotations

import ast
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from microtrain import ops as g
from microtrain.compiler.executable import Executable
from microtrain.compiler.templates.template import Launch
from microtrain.graph import dtypes
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import compiling
from microtrain.runtime.compile_cache import sealed
from tests.support.programs import program

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted here")


def python(*arguments: str, **variables: str) -> str:
    done = subprocess.run([sys.executable, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------------ many processes

def test_processes_at_once_and_killed_ones_leave_a_usable_cache() -> None:
    report = json.loads(python("-m", "tests.stress.cache", "--step=perceptron", "--processes=3", "--kills=4",
                               "--moves=2"))
    assert report["compiled by the next"] == 0 and report["killed at random"] > 0 and report["killed at a move"] == 2


FIRST_STEP = """
import json, subprocess, sys
commands = []
before = subprocess.Popen.__init__
def noted(self, command, *rest, **named):
    commands.append(command if isinstance(command, str) else " ".join(map(str, command)))
    before(self, command, *rest, **named)
subprocess.Popen.__init__ = noted
from tests.stress.cache import training_step
outcome = training_step("mlp")
assembled = [command for command in commands if "ptxas" in command and "--version" not in command]
print(json.dumps({**vars(outcome), "assembled": len(assembled)}))
"""


def test_a_second_processs_first_step_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that differs from process to process (addresses, the seed of hashes) is in what identifies a kernel."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))       # one that was carried here may lack the texts
    monkeypatch.delenv("TRITON_STORE_BINARY_ONLY", raising=False)
    first, second = (json.loads(python("-c", FIRST_STEP, PYTHONHASHSEED=seed)) for seed in ("1", "2"))
    assert first["compiled"] == len(first["kernels"])
    assert second["compiled"] == 0 == second["assembled"] and second["found"] == len(second["kernels"]) > 1
    assert second["kernels"] == first["kernels"]


KEYS = """
import importlib, json, pkgutil, sys
import microtrain.kernels
from microtrain.runtime.compiling import settle
from triton.runtime import JITFunction
names = [found.name for found in pkgutil.iter_modules(microtrain.kernels.__path__, "microtrain.kernels.")]
functions = {fn.__module__ + "." + fn.__name__: fn for name in names
             for fn in vars(importlib.import_module(name)).values() if isinstance(fn, JITFunction)}
for name in sorted(functions, reverse=sys.argv[1] == "backwards"):
    if sys.argv[2] == "settled":
        settle(functions[name])
    functions[name].cache_key
print(json.dumps({name: fn.cache_key for name, fn in functions.items()}))
"""


def test_a_kernels_key_does_not_hang_on_what_was_compiled_before_it() -> None:
    forwards, backwards = (json.loads(python("-c", KEYS, order, "settled")) for order in ("forwards", "backwards"))
    assert forwards == backwards and len(forwards) > 50


def test_names_of_global_constants_are_told_apart_by_name_alone() -> None:
    """Triton 3.6 and 3.7 put those that a kernel uses into its key in the order of name, then address."""
    names = [target.id for path in sorted((ROOT / "kernels").glob("*.py")) for node in ast.parse(path.read_text()).body
             if isinstance(node, ast.Assign) and "constexpr(" in ast.unparse(node.value)
             for group in node.targets for target in ast.walk(group) if isinstance(target, ast.Name)]
    assert len(names) > 5 and sorted(set(names)) == sorted(names)


LIBRARY = """
import triton
import triton.language as tl

@triton.jit
def helper(x):
    return x * {factor}

@triton.jit
def emitted(x):
    return helper(x)

@triton.jit
def kernel(ptr, FUNCTIONS: tl.constexpr):
    tl.store(ptr, FUNCTIONS[0](tl.load(ptr)))
"""


def test_a_kernel_is_not_found_once_a_helper_of_its_functions_has_changed(tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """An emitted function has the same name and text while the library that it calls is another version's."""
    from triton.backends.compiler import GPUTarget
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TRITON_STORE_BINARY_ONLY", raising=False)
    products = []
    for factor in ("3.0", "5.0", "3.0"):
        path = tmp_path / factor / "library.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(LIBRARY.format(factor=factor))
        scope = runpy.run_path(str(path), run_name="library")
        with listening() as found:
            kernel = compiling.compile_kernel(
                scope["kernel"], {"ptr": "*fp32", "FUNCTIONS": "constexpr"}, {"FUNCTIONS": (scope["emitted"],)}, {}, {},
                GPUTarget("cuda", 90, 32))
        products.append(("0f40400000" in kernel.asm["ptx"].lower(), "0f40a00000" in kernel.asm["ptx"].lower(), *found))
    assert products == [(True, False, False), (False, True, False), (True, False, True)]


# -------------------------------------------------------------------------------------------------------------- damage

@contextmanager
def listening() -> Iterator[list[bool]]:
    """For each kernel that Triton compiles inside the block, whether it was found in the cache."""
    from triton import knobs
    found: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knobs.compilation, "listener", lambda **told: found.append(told["cache_hit"]))
        yield found


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Callable[[], Any], Any]]:
    """A function that compiles a kernel for sm_90 in a cache of its own, and what it gave the first time."""
    of = spec((1 << 12,), dtypes.float32, Device("null:sm_90"))
    made, _ = program(g.mul(g.exp(leaf(None, of)), 1.25))
    launch: Launch = Executable(made).launches[0]

    def compiled() -> Any:
        from triton.backends.compiler import GPUTarget
        signature, even = launch.signature()
        return compiling.compile_kernel(launch.function, signature, launch.constexprs,
                                        compiling.divisible_by_16(signature, even), launch.options,
                                        GPUTarget("cuda", 90, 32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield compiled, compiled()


def files(kernel: Any) -> dict[str, Path]:
    """A kernel's files by suffix; "group" is the list of them."""
    folder = Path(next(iter(kernel.metadata_group.values()))).parent
    return {"group" if path.name.startswith("__grp__") else path.suffix[1:]: path for path in folder.iterdir()}


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1:]


DAMAGED: dict[str, Callable[[bytes], bytes]] = {"cut short": lambda data: data[:-100], "emptied": lambda data: b"",
                                                "flipped": flipped, "replaced": lambda data: b"[]"}


def test_a_kernel_is_found_again_while_its_files_are_whole(cached: Any) -> None:
    compiled, first = cached
    with listening() as found:
        again = compiled()
    assert found == [True] and again.asm == first.asm


@pytest.mark.parametrize("file, damage", [
    ("cubin", "cut short"), ("cubin", "flipped"), ("cubin", "removed"), ("json", "emptied"), ("json", "replaced"),
    ("ptx", "flipped"), ("group", "cut short"), ("group", "replaced"), ("group", "removed"), ("sha256", "replaced"),
    ("sha256", "removed")])
def test_a_damaged_file_is_compiled_anew(file: str, damage: str, cached: Any) -> None:
    compiled, first = cached
    path = files(first)[file]
    whole = path.read_bytes()
    path.unlink()
    if damage != "removed":
        path.write_bytes(DAMAGED[damage](whole))
        assert path.read_bytes() != whole
    with listening() as found:
        again = compiled()
    assert again.asm == first.asm and again.metadata == first.metadata
    assert found.count(False) == 1, found
    with listening() as found:
        assert compiled().asm == first.asm
    assert found == [True]


def test_an_error_of_the_kernel_itself_is_raised_as_it_is(cached: Any) -> None:
    import triton
    _, first = cached
    signature = {**first.src.signature, "BLOCK": "constexpr", "EXPR": "constexpr"}
    with pytest.raises(triton.CompilationError), listening() as found:
        compiling.compile_kernel(first.src.fn, signature, {"EXPR": 1, "BLOCK": 64, "INDEX": triton.language.int32}, {},
                                 {}, first.metadata.target)
    assert found == []


def test_a_cache_manager_of_the_users_is_kept_and_sealed(cached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton import knobs
    from triton.runtime.cache import FileCacheManager
    compiled, first = cached
    asked: list[str] = []

    class Theirs(FileCacheManager):
        def get_group(self, filename: str) -> Any:
            asked.append(filename)
            return super().get_group(filename)
    monkeypatch.setattr(knobs.cache, "manager_class", Theirs)
    cubin = files(first)["cubin"]
    cubin.write_bytes(flipped(cubin.read_bytes()))
    with listening() as found:
        assert compiled().asm == first.asm == compiled().asm
    assert found == [False, True] and len(asked) == 2 and knobs.cache.manager_class is Theirs


def test_threads_that_compile_at_once_leave_nothing_behind() -> None:
    """The first one in is the first one out: what it found is what the last one puts back."""
    from triton import knobs
    inside, may_leave = Barrier(2), Event()

    def second() -> None:
        with sealed:
            inside.wait()
            may_leave.wait()
            assert knobs.cache.manager_class is not None

    with ThreadPoolExecutor() as pool:
        with sealed:
            other = pool.submit(second)
            inside.wait()
        may_leave.set()
        other.result()
    assert knobs.cache.manager_class is None


def test_outside_our_own_compilations_the_cache_is_tritons(cached: Any) -> None:
    from triton import knobs
    compiled, _ = cached
    compiled()
    assert knobs.cache.manager_class is None
