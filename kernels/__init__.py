"""Triton templates and device functions: raw pointers and index arithmetic, no Tensor.

Each template (`map`, `row`, `reduce`, `matmul`) is the skeleton of a kernel: programs, tiles, masks, loops and
reduction order. What is computed comes in as `@triton.jit` functions passed as `tl.constexpr`, which do their own
loads and stores. All templates share one calling convention:

- `ptrs`: one tuple of pointers, inputs and outputs alike; only the functions know what each of them is;
- `scalars`: one tuple of run-time numbers as int64, floats as the bits of a float64 (see `math.scalar_f64`);
- `INDEX`: `tl.int32`, or `tl.int64` where an offset can pass 2**31 elements.

Triton is imported by the modules, not by the package: `tiles` needs nothing.
"""

if __name__ == "kernels":
    raise ImportError(
        "this folder is microtrain.kernels and was imported as top-level 'kernels'; "
        "write `from microtrain.kernels import ...` (another distribution owns the import name 'kernels')"
    )
