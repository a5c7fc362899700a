"""A Triton kernel of your own: SiLU(x) * y in one pass, with its backward, proven against PyTorch and, on a GPU, timed.

Without a GPU the kernels are interpreted: slow, and the same values.
"""

import microtrain as mt

mt.set_default_device("cuda" if mt.cuda.is_available() else "interpret")    # before Triton decorates anything

import torch  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from microtrain import bench, testing  # noqa: E402


@triton.jit
def silu_mul_fwd(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=0)
    y = tl.load(y_ptr + i, mask=i < n, other=0)
    tl.store(out_ptr + i, x * tl.sigmoid(x) * y, mask=i < n)


@triton.jit
def silu_mul_bwd(ct_ptr, x_ptr, y_ptr, dx_ptr, dy_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ct = tl.load(ct_ptr + i, mask=i < n, other=0)
    x = tl.load(x_ptr + i, mask=i < n, other=0)
    y = tl.load(y_ptr + i, mask=i < n, other=0)
    s = tl.sigmoid(x)
    tl.store(dx_ptr + i, ct * y * s * (1 + x * (1 - s)), mask=i < n)
    tl.store(dy_ptr + i, ct * x * s, mask=i < n)


CALL = {"grid": lambda x, *_: (triton.cdiv(x.numel(), 1024),), "scalars": lambda x, *_: (x.numel(),),
        "constants": {"BLOCK": 1024}}
silu_mul = mt.custom_kernel(silu_mul_fwd, name="silu_mul", outputs=lambda x, y: x, **CALL,
                            backward=mt.custom_kernel(silu_mul_bwd, outputs=lambda ct, x, y: (x, y), **CALL))


def oracle(x, y):
    return torch.nn.functional.silu(x) * y


if __name__ == "__main__":
    cases = testing.cases.alike(2)
    print(testing.check_parity(silu_mul, oracle, cases, order=1, dtypes=["float32"]).text())
    if mt.cuda.is_available():
        x, y = mt.randn(1 << 24), mt.randn(1 << 24)
        right = (x * x.sigmoid() * y).cpu().numpy()
        print(bench.compare({"one kernel": lambda: silu_mul(x, y), "microtrain": lambda: x * x.sigmoid() * y},
                            check=lambda out: abs(out.cpu().numpy() - right).max() < 1e-5))
