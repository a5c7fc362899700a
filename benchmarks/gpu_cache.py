"""Triton's cache, filled on a machine without a GPU and packed for one that has a GPU and little time.

    make gpu-cache GPU_SECONDS=1500             here: so long at most, with Python 3.12 and Triton 3.6.0
    tar -xJf .gpu/cache.tar.xz -C /             there; then TRITON_CACHE_DIR as .gpu/cache.json has it, in every process
    MICROTRAIN_FIRST=.gpu/first.txt             there: the tests whose kernels are all in it, before the others

The suite runs on a virtual H100 on which NumPy computes, so that it launches what it would launch on a real one, and
each kernel is compiled besides; so are the benchmarks' kernels, at full size.

A kernel is found by its source, the line at which that begins, types, constants and options, and by Triton's own files;
neither by folders nor by the user. So what is needed there is the same `kernels/`, the same wheel of Triton and the
same path of the cache, which its lists of files name. Of a kernel the pack has what a launch reads, cubin and metadata,
and not the texts of the stages before. Triton also builds a C module for each signature that it launches; of these it
finds those of the same source for the same platform, in which Python names the format of its own executable only where
the program `file` is installed: each is packed under both names.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import microtrain
from microtrain.files import replacing
from microtrain.runtime.compile_cache import digest, seal_of

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path("/tmp/microtrain-cache")
TASKS = ("perceptron", "linear-regression")
PACK = ROOT / ".gpu" / "cache.tar.xz"
ARCH = 90

LAUNCHED = (".cubin", ".json")
"""What of a kernel's files a launch reads."""

PLATFORMS = ("x86_64,Linux,64bit,ELF", "x86_64,Linux,64bit,")
"""How Triton names a platform to find a C module, with the program `file` and without it."""


@dataclass(frozen=True)
class File:
    """A file of the pack, by its path in the cache."""

    path: Path
    data: bytes


def kernel_files(folder: Path, listing: Path, since: float) -> list[File]:
    """What a launch reads of a kernel, given its folder and its list of files; nothing of one that is damaged, of
    another GPU's, or was not used `since`."""
    filename = listing.name.removeprefix("__grp__")
    group: dict[str, str] = json.loads(listing.read_text()).get("child_paths", {})
    if not group:
        return []
    seal = folder / seal_of(filename)
    if not all(Path(path).exists() for path in group.values()) or (seal.exists() and seal.read_text() != digest(group)):
        return []
    target = json.loads((folder / filename).read_text())["target"]
    kept = {name: path for name, path in group.items() if Path(name).suffix in LAUNCHED}
    stale = (folder / filename).stat().st_mtime < since
    if target["backend"] != "cuda" or target["arch"] != ARCH or len(kept) != len(LAUNCHED) or stale:
        return []
    made = [File(folder / name, Path(path).read_bytes()) for name, path in kept.items()]
    made.append(File(listing, json.dumps({"child_paths": kept}).encode()))
    if seal.exists():
        made.append(File(seal, digest(kept).encode()))
    return made


def gathered(cache: Path, since: float) -> tuple[list[File], list[File]]:
    """The files of all kernels, and the C modules."""
    kernels: list[File] = []
    modules: list[File] = []
    for folder in sorted(cache.iterdir()):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith("__grp__"):
                kernels += kernel_files(folder, path, since)
            elif path.suffix == ".so":
                modules.append(File(path, path.read_bytes()))
    return kernels, modules


def pack(cache: Path, to: Path, since: float = 0.0) -> dict[str, Any]:
    """Pack what was used of a cache `since`, so that unpacked at / it lies where it does now. Returns its manifest,
    which is written beside it too."""
    kernels, modules = gathered(cache, since)
    told = {**manifest(), "cache": str(cache), "unpack": f"tar -xJf {to.name} -C /",
            "kernels": sum(file.path.suffix == ".cubin" for file in kernels), "modules": len(modules)}
    text = json.dumps(told, indent=1) + "\n"
    to.parent.mkdir(parents=True, exist_ok=True)
    with replacing(to) as temporary, tarfile.open(temporary, "w:xz", preset=9) as tar:
        # Like beside like, so that the compressor sees them together.
        first: dict[bytes, str] = {}
        for file in [File(cache / "MANIFEST.json", text.encode()),
                     *sorted(kernels + modules, key=lambda file: (file.path.suffix, file.path.name, len(file.data)))]:
            entry = tarfile.TarInfo(str(file.path).lstrip("/"))
            if file.path.suffix == ".so":
                if file.data in first:
                    entry.type, entry.linkname = tarfile.LNKTYPE, first[file.data]
                else:
                    first[file.data] = entry.name
            entry.size = len(file.data) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(file.data) if entry.size else None)
    told["bytes"], told["sha256"] = to.stat().st_size, hashlib.sha256(to.read_bytes()).hexdigest()
    with replacing(to.with_suffix("").with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(told, indent=1) + "\n")
    return told


def manifest() -> dict[str, Any]:
    """What must be the same where a cache is used, and what it was made of."""
    import numpy
    import torch
    import triton
    from triton.runtime.cache import triton_key

    whole = hashlib.sha256()
    for path in sorted((ROOT / "kernels").glob("*.py")):
        whole.update(path.read_bytes())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {"arch": f"sm_{ARCH}", "triton": triton.__version__, "python": sys.version.split()[0],
            "torch": torch.__version__, "numpy": numpy.__version__, "commit": commit.stdout.strip(),
            "triton_key": hashlib.sha256(triton_key().encode()).hexdigest(), "sources": whole.hexdigest()}


# ------------------------------------------------------------------------------------------ what a process of it does

@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """How many kernels Triton finds in its cache and how many it compiles inside the block. What is found is dated
    anew: it is still in use."""
    from triton import knobs
    counts = {"found": 0, "compiled": 0}

    def listener(**told: Any) -> None:
        counts["found" if told["cache_hit"] else "compiled"] += 1
        for name, path in told["metadata_group"].items():
            if name.endswith(".json"):
                os.utime(path)
    knobs.compilation.listener = listener
    yield counts
    knobs.compilation.listener = None


def compile_too() -> None:
    """Have the virtual GPU of this process compile what it computes by NumPy, and keep each C module for both
    platforms."""
    from triton import knobs
    from triton.backends.nvidia import driver

    from microtrain.runtime.virtual.backend import VirtualBackend

    meant, build = VirtualBackend.compiled, driver.compile_module_from_src

    def compiled(self: Any, launch: Any) -> Any:
        if launch.kernel.group.template.ours:     # else it is emulated, for which its text is needed
            with knobs.compilation.scope():
                knobs.compilation.store_binary_only = True
                launch.compiled(self.kernels)
        return meant(self, launch)

    def built(src: str, name: str, **where: Any) -> Any:
        made = build(src=src, name=name, **where)
        both(src, name)
        return made

    VirtualBackend.compiled, driver.compile_module_from_src = compiled, built       # type: ignore[method-assign]


def both(src: str, name: str) -> None:
    """Have the C module of a source found under both platforms' names."""
    import sysconfig

    from triton.runtime.cache import get_cache_manager
    file = name + sysconfig.get_config_var("EXT_SUFFIX")
    caches = [get_cache_manager(hashlib.sha256((src + platform).encode()).hexdigest()) for platform in PLATFORMS]
    made = [Path(path) for cache in caches if (path := cache.get_file(file))]
    for cache in caches:
        if made and not cache.get_file(file):
            cache.put(made[0].read_bytes(), file, binary=True)


def pytest_load_initial_conftests() -> None:
    """With `pytest -p benchmarks.gpu_cache` the suite fills the cache."""
    compile_too()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Count kernels, and print the counts."""
    with counted() as counts:
        result = yield
    print(f"\nkernels: {counts}")
    return result


class Shapes:
    """Draws inputs that have a shape and nothing else (`draws.Draw`)."""

    def normal(self, *shape: int) -> Any:
        import torch
        return torch.empty(shape, device="meta")

    def uniform(self, bound: float, *shape: int) -> Any:
        return self.normal(*shape)

    def zeros(self, *shape: int) -> Any:
        return self.normal(*shape)

    def classes(self, count: int, rows: int) -> Any:
        return self.normal(rows).long()


def compile_benchmarks() -> None:
    """Compile the kernels of the benchmarks at full size, on the null device: no memory is needed."""
    from benchmarks.catalogue import on_gpu
    from benchmarks.suite import matmuls
    from benchmarks.workload import Workload, unchanged
    from microtrain.engine.run import flush
    from microtrain.graph.dtypes import from_name
    from microtrain.graph.node import leaf
    from microtrain.graph.spec import Device, spec
    from microtrain.runtime import null, virtual
    from microtrain.tensor.storage import wrap

    virtual.gpu()
    kernels: dict[Any, Any] = {}
    null.compile_launch = lambda target, launch: launch.compiled(kernels).run       # `run` builds the C module
    where = Device(f"null:sm_{ARCH}")
    for workload in sorted(on_gpu(), key=lambda subject: subject.rank):
        if not isinstance(workload, Workload):
            continue
        inputs = {}
        for name, drawn in workload.inputs(Shapes()).items():
            of = spec(tuple(drawn.shape), from_name(workload.dtype if drawn.is_floating_point() else "int64"), where)
            inputs[name] = wrap(leaf(null.Nowhere(of.shape, of.dtype.name), of))
        with matmuls(workload):
            instance = workload.build(microtrain, inputs, unchanged)
            for _ in range(3):      # a step of a loop is computed when the next one begins
                held = instance.run()
                if not workload.loop:
                    flush(where)
            flush(where)
        del held


def compile_programs() -> None:
    """Compile what the commands and the benchmarks launch."""
    from microtrain.cli import main as command
    compile_too()
    with counted() as counts:
        for task in TASKS:
            command(["train", task])
        compile_benchmarks()
    print(f"kernels: {counts}")


# ---------------------------------------------------------------------------------------------------------- the whole

def start(name: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    """A Python process on the virtual GPU, whose output goes to a file."""
    environment = {**os.environ, "MICROTRAIN_VIRTUAL_GPU": f"sm_{ARCH}=reference", "MICROTRAIN_DEVICE": "cuda",
                   "TRITON_CACHE_DIR": str(CACHE), "PYTHONPATH": str(ROOT), **variables}
    with open(PACK.with_name(f"{name}.log"), "w") as log:
        return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)


def fill(seconds: float, jobs: int, tests: list[str]) -> None:
    """Run what is to be found in the cache, for so many seconds at most."""
    until = time.monotonic() + seconds
    PACK.parent.mkdir(exist_ok=True)
    for path in PACK.parent.glob("tests-*.jsonl*"):
        path.unlink()
    suite = ("-m", "pytest", "-q", "-p", "benchmarks.gpu_cache", "-p", "no:cacheprovider", "--tb=short", "-m",
             "not budgets and not emulated", *tests)
    running = [start(f"tests-{k}", *suite, MICROTRAIN_SHARD=f"{k}/{jobs}",
                     MICROTRAIN_DONE=str(PACK.with_name(f"tests-{k}.jsonl"))) for k in range(jobs)]
    running.append(start("programs", "-m", "benchmarks.gpu_cache", "--programs"))
    for process in running:
        try:
            process.wait(max(until - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            process.terminate()     # files appear in the cache whole or not at all
            process.wait()
    ended = [json.loads(line) for path in PACK.parent.glob("tests-*.jsonl") for line in path.open()]
    passed = [test["test"] for test in ended if test["outcome"] == "passed"]
    PACK.with_name("first.txt").write_text("".join(f"{name}\n" for name in passed))
    print(f"{len(ended)} tests ran and {len(passed)} of them passed")


def main() -> int:
    """Fill, pack, say how much."""
    parser = argparse.ArgumentParser(description="Triton's cache for an H100, filled and packed without one.")
    parser.add_argument("--seconds", type=float, default=1500, help="of compiling, at most (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="processes that run tests")
    parser.add_argument("--programs", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", help="files of tests (default: all)")
    args = parser.parse_args()
    if args.programs:
        compile_programs()
        return 0
    began = time.time()
    fill(args.seconds, args.jobs, args.tests)
    told = pack(CACHE, PACK, since=began)
    print(f"{told['kernels']} kernels and {told['modules']} modules in {told['bytes'] / 2 ** 20:.1f} MiB: {PACK}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
