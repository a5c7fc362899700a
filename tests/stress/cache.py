"""Is the compile cache on disk safe against processes that compile at once, and against one that is killed?

    python -m tests.stress.cache                            # 8 processes at once, 50 kills, the step of an MLP
    python -m tests.stress.cache --step perceptron --processes 3 --kills 4 --moves 4

Every process compiles the kernels of a training step, on the null device, in one cache. What each of them gets, and
what the next one finds after a process was killed, is compared with the kernels of a process that had a cache of its
own. Killed are processes at random moments of their compiling, and at files that they move into the cache, just before
and just after. Exits with 1, saying what was wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton import knobs
from triton.runtime.cache import triton_key

from benchmarks.host import layers as host
from microtrain.engine.plans import plans
from microtrain.engine.run import flush
from microtrain.graph.spec import Device
from microtrain.runtime import resources
from tests.stress import forked

NULL = Device("null:sm_90")
STEPS = {workload.name.split()[0]: workload for workload in host.STEPS}


@dataclass(frozen=True)
class Outcome:
    """What a process got: hashes of its kernels' binaries, how many it compiled and found, and its seconds."""

    kernels: tuple[str, ...]
    compiled: int
    found: int
    seconds: float


def training_step(name: str) -> Outcome:
    told: list[bool] = []
    binaries: list[str] = []
    compile_kernel = resources.compile_kernel

    def noting(*arguments: Any) -> Any:
        kernel = compile_kernel(*arguments)
        whole = hashlib.sha256(kernel.asm["cubin"] + kernel.asm["ptx"].encode() + repr(kernel.metadata).encode())
        binaries.append(whole.hexdigest())
        return kernel

    resources.compile_kernel = noting
    knobs.compilation.listener = lambda **about: told.append(about["cache_hit"])
    start = time.perf_counter()
    workload = STEPS[name]
    plans.forget()
    instance = host.instance_of(workload, str(NULL))
    held = instance.run()
    flush(NULL)
    del held
    return Outcome(tuple(binaries), told.count(False), told.count(True), time.perf_counter() - start)


class Child:
    """A forked process that takes a step in a cache: with Triton and microtrain imported, but nothing compiled."""

    def __init__(self, step: str, cache: Path, prepare: Callable[[], None] = lambda: None) -> None:
        self.read, write = os.pipe()

        def work() -> None:
            os.close(self.read)
            os.environ["TRITON_CACHE_DIR"] = str(cache)
            prepare()
            os.write(write, json.dumps(vars(training_step(step))).encode())

        self.pid = forked(work)
        os.close(write)

    def outcome(self) -> Outcome | None:
        """Wait for it. None where it was killed; raises RuntimeError where it failed."""
        with os.fdopen(self.read) as pipe:
            text = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return None
        if status != 0:
            raise RuntimeError(f"a process failed with status {status}")
        fields = json.loads(text)
        return Outcome(**{**fields, "kernels": tuple(fields["kernels"])})


def dying_at(count: int, late: bool) -> Callable[[], None]:
    """Makes a process kill itself at its `count`-th move of a file, before it or, `late`, after it."""
    def prepare() -> None:
        left, replace = [count], os.replace

        def move(*arguments: Any, **named: Any) -> None:
            left[0] -= 1
            if left[0] == 0 and not late:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*arguments, **named)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = move
    return prepare


def stress(step: str, processes: int, kills: int, moves: int, seed: int) -> dict[str, Any]:
    """Run everything and report. Raises AssertionError where a process got other kernels than the first."""
    draw = random.Random(seed)
    triton_key()                # a second of hashing Triton's own library, which every fork would spend
    with tempfile.TemporaryDirectory() as folder:
        alone, shared, killed, cut = (Path(folder) / name for name in ("alone", "shared", "killed", "cut"))
        right = Child(step, alone).outcome()
        assert right is not None and right.compiled == len(right.kernels) > 0, right

        children = [Child(step, shared) for _ in range(processes)]
        together = [child.outcome() for child in children]
        assert all(found is not None and found.kernels == right.kernels for found in together), together
        second = Child(step, shared).outcome()
        assert second is not None and second.kernels == right.kernels and second.compiled == 0, second

        died, finished, longest, resumed = 0, 0, right.seconds, Counter[int]()
        while died < kills:
            assert finished < 20 + 5 * kills, f"{finished} processes ended before they were killed, {died} did not"
            cache = killed / str(died // 2)     # the second of two finds what the first one left
            victim = Child(step, cache)
            time.sleep(draw.uniform(0, longest))
            os.kill(victim.pid, signal.SIGKILL)
            ended = victim.outcome()
            if ended is not None:               # too late: nothing is left to be killed at in this cache
                finished += 1
                longest = min(longest, ended.seconds + 0.05)
                shutil.rmtree(cache)
                continue
            died += 1
            if died % 2 == 0 or died == kills:
                after = Child(step, cache).outcome()
                assert after is not None and after.kernels == right.kernels, (died, after, right)
                resumed[after.compiled] += 1

        total = sum(1 for path in alone.rglob("*") if path.is_file())
        for turn in range(moves):
            cache, count = cut / str(turn), 1 + turn * total // moves
            assert Child(step, cache, dying_at(count, late=bool(turn % 2))).outcome() is None, f"no move {count}"
            after = Child(step, cache).outcome()
            assert after is not None and after.kernels == right.kernels, (count, after, right)
        left = sum(1 for path in Path(folder).rglob("tmp.*"))
    return {"step": step, "kernels": len(right.kernels), "seconds alone": round(right.seconds, 2),
            "processes at once": processes, "compiled by them": sum(found.compiled for found in together if found),
            "compiled by the next": second.compiled, "killed at random": died, "ended before the kill": finished,
            "compiled after kills": dict(resumed), "killed at a move": moves, "temporary files left": left}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", default="mlp", choices=STEPS)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--kills", type=int, default=50, help="at random moments")
    parser.add_argument("--moves", type=int, default=20, help="kills at a file that is moved into the cache")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        report = stress(args.step, args.processes, args.kills, args.moves, args.seed)
    except AssertionError:
        traceback.print_exc()
        return 1
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
