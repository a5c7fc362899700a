"""Triton's cache, filled on a machine without a GPU and packed for one that has a GPU and little time.

    make gpu-cache                          fills a cache for an H100 on the virtual GPU and packs it, in 25 minutes
    tar -xJf .gpu/cache.tar.xz -C /         there; then TRITON_CACHE_DIR as the manifest has it, in every process

A kernel is found by its source, the line at which that begins, types, constants and options, and by Triton's own files;
neither by folders nor by the user. So what is needed there is the same commit, the same wheel of Triton and the same
path of the cache, which its lists of files name. Of a kernel the pack has what a launch reads, cubin and metadata, and
not the texts of the stages before. Triton also builds a C module for each signature that it launches; of these it finds
those of the same source for the same platform, in which Python names the format of its own executable only where the
program `file` is installed: each is packed under both names.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtrain.runtime.compile_cache import digest, seal_of

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path("/tmp/microtrain-cache")
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


def kernel_files(folder: Path, listing: Path) -> list[File]:
    """What a launch reads of a kernel, given its folder and its list of files; nothing of one that is damaged, or of
    another GPU's."""
    filename = listing.name.removeprefix("__grp__")
    group: dict[str, str] = json.loads(listing.read_text())["child_paths"]
    seal = folder / seal_of(filename)
    if not all(Path(path).exists() for path in group.values()) or (seal.exists() and seal.read_text() != digest(group)):
        return []
    target = json.loads((folder / filename).read_text())["target"]
    kept = {name: path for name, path in group.items() if Path(name).suffix in LAUNCHED}
    if target["backend"] != "cuda" or target["arch"] != ARCH or len(kept) != len(LAUNCHED):
        return []
    made = [File(folder / name, Path(path).read_bytes()) for name, path in kept.items()]
    made.append(File(listing, json.dumps({"child_paths": kept}).encode()))
    if seal.exists():
        made.append(File(seal, digest(kept).encode()))
    return made


def gathered(cache: Path) -> tuple[list[File], list[File]]:
    """The files of all kernels, and the C modules."""
    kernels: list[File] = []
    modules: list[File] = []
    for folder in sorted(cache.iterdir()):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith("__grp__"):
                kernels += kernel_files(folder, path)
            elif path.suffix == ".so":
                modules.append(File(path, path.read_bytes()))
    return kernels, modules


def pack(cache: Path, to: Path) -> dict[str, Any]:
    """Pack a cache so that unpacked at / it lies where it does now. Returns its manifest, which is written beside it
    too."""
    kernels, modules = gathered(cache)
    told = {**manifest(), "cache": str(cache), "unpack": f"tar -xJf {to.name} -C /",
            "kernels": sum(file.path.suffix == ".cubin" for file in kernels), "modules": len(modules)}
    text = json.dumps(told, indent=1) + "\n"
    to.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(to, "w:xz", preset=9) as tar:
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
    to.with_suffix("").with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
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
