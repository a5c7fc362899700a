"""What whole training loops cost in one launch, written by hand: the figures that a generated loop is held against.

    python -m benchmarks.loops_by_hand

Each loop is checked against the same steps in float64 before it is timed. A perceptron step of 32 features on one warp;
a full-batch logistic step of 256 rows of 64 features on one processor, its rows in registers, read anew each step, or
with each row's value handed through memory; a sweep of perceptrons, one a thread; a barrier among all processors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

LR = tl.constexpr(0.05)


@triton.jit
def perceptron_kernel(x_ptr, y_ptr, w_ptr, loss_ptr, steps, ROWS: tl.constexpr, D: tl.constexpr):
    """One row a step: w -= lr * (sigmoid(w @ x) - y) * x."""
    d = tl.arange(0, D)
    w = tl.load(w_ptr + d)
    for k in tl.range(0, steps, num_stages=1):
        row = k % ROWS
        x = tl.load(x_ptr + row * D + d)
        y = tl.load(y_ptr + row)
        z = tl.sum(x * w, 0)
        p = 1 / (1 + tl.exp(-z))
        tl.store(loss_ptr + k, p - y)
        w -= LR * (p - y) * x
    tl.store(w_ptr + d, w)


@triton.jit
def logistic_kernel(x_ptr, y_ptr, w_ptr, z_ptr, loss_ptr, steps, B: tl.constexpr, D: tl.constexpr, READ: tl.constexpr,
                    FLAT: tl.constexpr):
    """All B rows a step. READ: x comes from memory each step; FLAT: row values go through memory, a thread a row."""
    b, d = tl.arange(0, B), tl.arange(0, D)
    at = x_ptr + b[:, None] * D + d[None, :]
    x = tl.load(at)
    y = tl.load(y_ptr + b)
    w = tl.load(w_ptr + d)
    for k in tl.range(0, steps, num_stages=1):
        if READ:
            x = tl.load(at)
        z = tl.sum(x * w[None, :], 1)
        if FLAT:
            tl.store(z_ptr + b, z)
            tl.debug_barrier()
            flat = tl.load(z_ptr + b)
            p = 1 / (1 + tl.exp(-flat))
            loss = tl.sum(tl.maximum(flat, 0) - flat * y + tl.log(1 + tl.exp(-tl.abs(flat))), 0) / B
            tl.store(z_ptr + B + b, (p - y) / B)
            tl.debug_barrier()
            g = tl.load(z_ptr + B + b)
        else:
            p = 1 / (1 + tl.exp(-z))
            loss = tl.sum(tl.maximum(z, 0) - z * y + tl.log(1 + tl.exp(-tl.abs(z))), 0) / B
            g = (p - y) / B
        tl.store(loss_ptr + k, loss)
        w -= LR * tl.sum(x * g[:, None], 0)
    tl.store(w_ptr + d, w)


@triton.jit
def sweep_kernel(x_ptr, y_ptr, w_ptr, steps, models, ROWS: tl.constexpr, D: tl.constexpr, OWN: tl.constexpr,
                 BLOCK: tl.constexpr):
    """A perceptron a thread, weights (D, models). OWN: each model visits the rows in an order of its own."""
    m, d = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, D)
    at = w_ptr + d[:, None] * models + m[None, :]
    w = tl.load(at)
    for k in tl.range(0, steps, num_stages=1):
        if OWN:
            row = (k * (2 * m + 1)) % ROWS
            x = tl.load(x_ptr + row[None, :] * D + d[:, None])
            y = tl.load(y_ptr + row)
        else:
            row = k % ROWS
            x = tl.load(x_ptr + row * D + d)[:, None] + tl.zeros([D, BLOCK], tl.float32)
            y = tl.load(y_ptr + row) + tl.zeros([BLOCK], tl.float32)
        p = 1 / (1 + tl.exp(-tl.sum(x * w, 0)))
        w -= LR * (p - y)[None, :] * x
    tl.store(at, w)


@triton.jit
def barrier_kernel(counter_ptr, rounds, PROGRAMS: tl.constexpr):
    """Rounds of a barrier among all programs."""
    for k in tl.range(0, rounds, num_stages=1):
        tl.debug_barrier()
        tl.atomic_add(counter_ptr, 1, sem="release", scope="gpu")
        while tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu") < (k + 1) * PROGRAMS:
            pass
        tl.debug_barrier()


def microseconds(call: Callable[[int], Any], few: int, many: int) -> float:
    """Of one step: the difference of launches of many and of few steps, the least of five."""
    def once(steps: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call(steps)
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e3
    call(few)
    return min((once(many) - once(few)) / (many - few) for _ in range(5))


def told(name: str, kernel: Any, us: float, rest: str = "") -> None:
    """A line: the time of a step, and what the compiler made of the loop."""
    print(f"{name:52} {us:9.4f} us a step, {kernel.n_regs} registers, {kernel.n_spills} spilled, "
          f"{kernel.metadata.num_warps} warps{rest}", flush=True)


def check(name: str, got: torch.Tensor, right: torch.Tensor) -> None:
    """Raise where they differ by more than float32 explains."""
    error = (got.double() - right).abs().max().item() / right.abs().max().item()
    if not error < 1e-4:
        raise SystemExit(f"{name}: off by {error:.3g} of the largest weight")


def perceptrons(d: int = 32, rows: int = 512) -> None:
    """W1."""
    x, y = torch.randn(rows, d, device="cuda"), (torch.rand(rows, device="cuda") > 0.5).float()
    right = torch.zeros(d, device="cuda", dtype=torch.float64)
    for k in range(100):
        right -= 0.05 * (torch.sigmoid(x[k].double() @ right) - y[k]) * x[k]
    losses = torch.empty(1 << 17, device="cuda")
    for warps in (1, 2, 4):
        w = torch.zeros(d, device="cuda")
        kernel = perceptron_kernel[(1,)](x, y, w, losses, 100, rows, d, num_warps=warps)
        check("perceptron", w, right)
        us = microseconds(lambda steps, w=w, warps=warps: perceptron_kernel[(1,)](
            x, y, w, losses, steps, rows, d, num_warps=warps), 1000, 100_000)
        told("perceptron, 32 features, a row a step", kernel, us)


def logistics(rows: int = 256, d: int = 64) -> None:
    """W2."""
    x, y = torch.randn(rows, d, device="cuda"), (torch.rand(rows, device="cuda") > 0.5).float()
    right = torch.zeros(d, device="cuda", dtype=torch.float64)
    for _ in range(50):
        right -= 0.05 * x.double().T @ (torch.sigmoid(x.double() @ right) - y) / rows
    losses, scratch = torch.empty(1 << 17, device="cuda"), torch.empty(2 * rows, device="cuda")
    for read in (False, True):
        for flat in (False, True):
            for warps in (4, 8, 16):
                w = torch.zeros(d, device="cuda")
                kernel = logistic_kernel[(1,)](x, y, w, scratch, losses, 50, rows, d, read, flat, num_warps=warps)
                name = f"logistic 256x64, x {'read' if read else 'held'}, row values {'flat' if flat else 'replicated'}"
                check(name, w, right)
                us = microseconds(lambda steps, w=w, read=read, flat=flat, warps=warps: logistic_kernel[(1,)](
                    x, y, w, scratch, losses, steps, rows, d, read, flat, num_warps=warps), 500, 20_000)
                told(name, kernel, us)


def sweeps(d: int = 32, rows: int = 512) -> None:
    """Thousands of perceptrons."""
    x, y = torch.randn(rows, d, device="cuda"), (torch.rand(rows, device="cuda") > 0.5).float()
    for models in (4096, 1 << 16):
        for own in (False, True):
            for warps, block in ((1, 32), (4, 128)):
                w = torch.zeros(d, models, device="cuda")
                grid = (models // block,)
                kernel = sweep_kernel[grid](x, y, w, 40, models, rows, d, own, block, num_warps=warps)
                last = torch.zeros(d, device="cuda", dtype=torch.float64)
                for k in range(40):
                    row = (k * (2 * (models - 1) + 1)) % rows if own else k % rows
                    last -= 0.05 * (torch.sigmoid(x[row].double() @ last) - y[row]) * x[row]
                check("sweep", w[:, -1], last)
                us = microseconds(lambda steps, w=w, own=own, warps=warps, block=block, grid=grid, models=models:
                                  sweep_kernel[grid](x, y, w, steps, models, rows, d, own, block, num_warps=warps),
                                  100, 4000)
                told(f"sweep of {models}, {'own order' if own else 'one order'}, block {block}", kernel, us,
                     f", {models / us * 1e6:.3g} model-steps/s")


def barriers() -> None:
    """Among one program a processor, and two."""
    processors = torch.cuda.get_device_properties(0).multi_processor_count
    for programs in (processors, 2 * processors):
        def call(rounds: int, programs: int = programs) -> Any:
            return barrier_kernel[(programs,)](torch.zeros(1, dtype=torch.int32, device="cuda"), rounds, programs,
                                               num_warps=4, launch_cooperative_grid=True)
        told(f"a barrier among {programs} programs", call(10), microseconds(call, 100, 10_000))


if __name__ == "__main__":
    print(torch.cuda.get_device_name(), "triton", triton.__version__)
    for part in (perceptrons, logistics, sweeps, barriers):
        part()
