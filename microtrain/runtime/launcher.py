"""Queueing a compiled kernel: `kernel[grid](...)` without what that does again at every call.

Triton's `JITFunction.run` specialises every argument, makes a key of them and looks the compiled kernel up; its
launcher then asks each tensor for its address, and the driver whether that is a GPU's. A launch here knows its kernel
and is given addresses, so what is left is the call into C that fills in the kernel's parameters.
"""

from __future__ import annotations

from collections.abc import Callable

from .backend import CompiledKernel

Queue = Callable[[int, tuple[object, ...]], None]
"""Queues a kernel on a stream, given as an integer, with its arguments: addresses and numbers, tuples where the kernel
takes tuples, anything in the place of a constexpr."""

KNOWN = ("3.6.", "3.7.", "3.8.", "3.9.")
"""Versions of Triton whose launcher `direct` knows."""


GRID = (2 ** 31 - 1, 65535, 65535)
"""The most programs that CUDA takes along each axis."""


def start(kernel: CompiledKernel, grid: tuple[int, ...], stream: int, arguments: tuple[object, ...]) -> Queue:
    """Queue a CompiledKernel for the first time, on a grid of 1 to 3 axes, and return how to queue it from then on:
    by the call into C, or Triton's own slower way where the launcher is not a known one or does not take the call.

    Raises ValueError for a grid that CUDA does not take, or of 2^31 programs and more, which Triton's launcher counts
    in 32 bits and passes over without a word.
    """
    x, y, z = (*grid, 1, 1)[:3]
    if x * y * z > GRID[0] or y > GRID[1] or z > GRID[2]:
        raise ValueError(f"a grid of {x} x {y} x {z} programs cannot be launched: there can be {GRID[0]} at most, and "
                         f"{GRID[1]} along the second and third axis; let each program compute more")

    def public(stream: int, arguments: tuple[object, ...]) -> None:
        kernel[x, y, z](*arguments, stream=stream)

    private = direct(kernel, (x, y, z), public)
    if private is not None:
        try:
            private(stream, arguments)
            return private
        except TypeError:       # from reading its arguments: nothing was queued
            pass
    public(stream, arguments)
    return public


def direct(kernel: CompiledKernel, grid: tuple[int, int, int], public: Queue) -> Queue | None:
    """The call into C behind a CompiledKernel, or None where it is not a known one.

    All that is private to Triton is in here. In 3.6 each kernel has a function in C, which takes the arguments one by
    one; from 3.7 to 3.9 one function serves all, and takes them in a tuple, with a description of it. Both take tuples
    within as they are and skip constexprs. Where launch hooks are set, as profilers do, `public` is called, which
    honours them.
    """
    import triton
    launcher = kernel.run
    if not triton.__version__.startswith(KNOWN) or type(launcher).__name__ != "CudaLauncher":
        return None
    if launcher.global_scratch_size or launcher.profile_scratch_size or getattr(launcher, "gsan_enabled", False):
        return None             # what the kernel needs besides is allocated at each launch
    x, y, z = grid
    launch, function, metadata = launcher.launch, kernel.function, kernel.packed_metadata
    cooperative, dependent = launcher.launch_cooperative_grid, launcher.launch_pdl
    hooks = triton.knobs.runtime
    enter, leave = hooks.launch_enter_hook, hooks.launch_exit_hook
    entering, leaving = getattr(enter, "calls", enter), getattr(leave, "calls", leave)

    def shared(stream: int, arguments: tuple[object, ...]) -> None:
        if (entering or leaving or hooks.launch_enter_hook is not enter or hooks.launch_exit_hook is not leave):
            return public(stream, arguments)
        launch(x, y, z, stream, function, cooperative, dependent, metadata, None, None, None, None, None,
               annotations, signature, arguments)

    def own(stream: int, arguments: tuple[object, ...]) -> None:
        if (entering or leaving or hooks.launch_enter_hook is not enter or hooks.launch_exit_hook is not leave):
            return public(stream, arguments)
        launch(x, y, z, stream, function, cooperative, dependent, None, None, metadata, None, None, None, *arguments)

    if triton.__version__.startswith("3.6."):
        return own
    annotations, signature = launcher.arg_annotations, launcher.kernel_signature
    return shared
