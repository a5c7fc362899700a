"""`python -m tests.fuzz`: random programs on the default device, compared with PyTorch."""

from __future__ import annotations

import argparse
import sys
import time

from microtrain.tensor import default_device

from .campaign import Tally, Verdict, run
from .growth import TABLES


def main() -> int:
    """Run as many programs as asked for; 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first (default 0)")
    parser.add_argument("--kind", choices=TABLES, help="what they are about (default: all, by turns)")
    parser.add_argument("--processes", type=int, default=2, help="at once (default 2)")
    chosen = parser.parse_args()
    device, start = default_device().type, time.monotonic()

    def tell(verdict: Verdict, tally: Tally) -> None:
        if verdict.wrong is not None:
            print(f"seed {verdict.seed}: {verdict.wrong}\n", flush=True)
        if not tally.programs.total() % 1000:
            print(f"{tally} [{time.monotonic() - start:.0f} s]", file=sys.stderr, flush=True)

    tally = run(range(chosen.seed, chosen.seed + chosen.programs), device, chosen.kind, chosen.processes, tell)
    print(f"{tally} on {device}, seeds from {chosen.seed}, in {time.monotonic() - start:.0f} s")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
