"""Every tile that a kernel may have, timed on this GPU: what the tables in `kernels/` are held against.

    python -m benchmarks.tiles --output tiles.json            # or --only matmul, --at-most 4, --compile

A line a tile: microseconds, and the fastest tile's share of them. The first of each kernel is the one that is taken.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.bench_device import ONCE, place
from benchmarks.launch_facts import resources, steps_of
from benchmarks.suite import _caller, matmuls
from benchmarks.workload import Workload
from benchmarks.workloads import losses, maps, products, rows, steps
from microtrain.compiler.tune import measured, tile_of
from microtrain.files import replacing
from microtrain.runtime import backend

AT_MOST = 8


def workloads() -> Iterable[Workload]:
    """Those whose tiles were chosen by arithmetic alone."""
    for format in ("bfloat16", "tf32", "float32"):
        yield products.layer(4096, 4096, 4096, format)
        yield products.layer(512, 512, 512, format)
        yield products.layer(256, 32768, 256, format)
        yield products.weight_gradient(2048, 2048, 2048, format)
    yield products.layer(8192, 64, 8192, "bfloat16")
    yield products.layer(64, 4096, 4096, "bfloat16")
    yield steps.mlp(128, (784, 128, 10))
    yield maps.forward(2, 1 << 24)
    yield maps.forward(8, 1 << 24)
    yield rows.softmax(1 << 15, 1 << 10)
    yield rows.softmax(1 << 18, 128)
    yield rows.layer_norm(1 << 15, 1 << 10)
    yield rows.column_sum(1 << 10, 1 << 15)
    yield losses.cross_entropy(1 << 15, 1 << 10)
    yield losses.bce_with_logits(1 << 25)
    yield steps.logistic(262_144, 256)


def table(workload: Workload, at: Any, at_most: int, compile_only: bool) -> Iterable[dict[str, Any]]:
    """For each kernel of a call its tiles, in the order in which they would be taken, with their seconds."""
    where: Any = backend(at.where.type, at.where.index)
    seen: list[Any] = []
    with matmuls(workload):
        for step in steps_of(_caller(workload, at.memory.inputs(workload), at)):
            kernel = step.kernel
            if any(kernel is one for one in seen) or not kernel.group.template.ours:
                continue
            seen.append(kernel)
            launches = kernel.launches(where.arch, at_most)
            if compile_only:
                for launch in launches:
                    launch.compiled(where.kernels)
                continue
            times = measured(kernel, launches, where)
            for launch, seconds in zip(launches, times, strict=True):
                found = resources(launch, where.arch) if seconds < float("inf") else {}
                yield {"workload": workload.name, "kernel": str(kernel.group.template), "tile": tile_of(launch),
                       "grid": launch.grid, "us": seconds * 1e6, "of_the_fastest": min(times) / seconds,
                       "registers": found.get("registers"), "spills": found.get("spills")}


def main() -> None:
    """Times them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", default="", help="workloads whose names contain this")
    parser.add_argument("--at-most", type=int, default=AT_MOST, help="tiles a kernel (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile them only, for a later run")
    args = parser.parse_args()
    at = place("cuda", ONCE)
    rows_: list[dict[str, Any]] = []
    for workload in workloads():
        if args.only in workload.name:
            try:
                for row in table(workload, at, args.at_most, args.compile):
                    rows_.append(row)
                    print(f"{row['workload']:34} {row['kernel']:44} {row['us']:9.2f} us {row['of_the_fastest']:5.2f} "
                          f"{row['tile']} {row['registers']} registers, {row['spills']} spilled", flush=True)
            except Exception as error:
                print(f"{workload.name:34} {type(error).__name__}: {str(error)[:200]}", flush=True)
            at.memory.free()
    if args.output is not None:
        with replacing(args.output) as temporary:
            temporary.write_text(json.dumps(rows_, indent=1))


if __name__ == "__main__":
    main()
