"""A few kernels at sizes where speed counts, each launched once more after it is warm, for a profiler to watch.

    ncu --profile-from-start off --clock-control none --csv python -m benchmarks.profiled

Only what lies between the profiler's start and stop is watched: one call of each, of microtrain's alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack

import torch

from benchmarks.bench_device import ONCE, place
from benchmarks.suite import _instance, matmuls
from benchmarks.workload import Workload
from benchmarks.workloads import losses, products, rows, updates

WORKLOADS: tuple[Callable[[], Workload], ...] = (
    lambda: losses.bce_with_logits(1 << 25),
    lambda: losses.cross_entropy(1 << 15, 1 << 10),
    lambda: losses.cross_entropy(2048, 32_768),
    lambda: rows.softmax(1 << 15, 1 << 10),
    lambda: rows.layer_norm(1 << 15, 1 << 10),
    lambda: rows.column_sum(1 << 10, 1 << 15),
    lambda: products.layer(4096, 4096, 4096, "bfloat16"),
    lambda: products.layer(4096, 4096, 4096, "tf32"),
    lambda: updates.adam((25_000_000, 15_000_000, 8_000_000, 2_000_000)),
)


def main() -> None:
    """Runs them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", action="store_true", help="compile only: nothing is shown to the profiler")
    args = parser.parse_args()
    at = place("cuda", ONCE)
    for make in WORKLOADS:
        workload = make()
        with matmuls(workload), ExitStack() as shown:
            instance = _instance(workload, at.memory.inputs(workload), at)
            for _ in range(2):
                held = instance.run()
            torch.cuda.synchronize()
            if not args.warm:
                torch.cuda.profiler.start()
                shown.callback(torch.cuda.profiler.stop)
            torch.cuda.nvtx.range_push(workload.name)
            held = instance.run()
            torch.cuda.synchronize()
            torch.cuda.nvtx.range_pop()
            del held
        print(workload.name, flush=True)
        at.memory.free()


if __name__ == "__main__":
    main()
