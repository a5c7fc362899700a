"""The package's own exceptions, and what is said where a well-known name of PyTorch's is asked for that is not here."""

from __future__ import annotations


class OutOfMemoryError(RuntimeError):
    """A device has no room for a value. Nothing was changed; with memory freed the next operation works."""


class AcceleratorError(RuntimeError):
    """A device can no longer be used by this process: a kernel touched memory that is not its own, or the like."""


class CompileError(RuntimeError):
    """A step that `mt.compile` was given cannot be replayed: which line of it, why, and what to write instead."""


class NonFiniteLossError(ArithmeticError):
    """A loss is infinite or NaN: `loss`, of `step` (from 1); `losses` are those so far. What was trained is kept."""

    def __init__(self, step: int, loss: float, losses: object = None) -> None:
        self.step, self.loss, self.losses = step, loss, losses
        super().__init__(f"the loss became {loss} in step {step}: a lower learning rate may help, or data without "
                         "infinite values; what was trained is kept, `losses` of this error has those so far")


class VirtualGpuError(RuntimeError):
    """A launch that a GPU would have gone wrong with, and what was wrong with it."""


INSTEAD = {
    "there are no complex numbers; keep real and imaginary parts in two tensors":
        "complex complex64 complex128 cfloat cdouble chalf view_as_real view_as_complex real imag conj angle polar",
    "there are no sparse tensors; use a dense one":
        "sparse sparse_coo_tensor sparse_csr_tensor to_sparse to_dense coalesce is_sparse",
    "nothing needs to be compiled by hand: what is recorded is, when a value is read; microtrain.explain shows how":
        "jit fx export",
    "write the batch axis out, with broadcasting, and differentiate with microtrain.autograd.grad": "vmap func",
    "compute it with numpy.linalg on x.numpy()":
        "svd qr eig eigh inverse det logdet slogdet cholesky lstsq pinverse matrix_exp matrix_power",
    "compute it with numpy.fft on x.numpy()": "fft stft istft",
    "use microtrain.train.checkpoint.save and load": "save load",
    "a tensor's memory is not shown; use view, reshape, expand or indexing":
        "data_ptr storage untyped_storage storage_offset as_strided resize_ set_",
    "convert with x.to(microtrain.bfloat16)": "autocast amp GradScaler",
    "a program here is one process on one device": "distributed multiprocessing",
}
"""What to use instead of some names, none of which is here."""


def missing(owner: str, name: str) -> AttributeError:
    """The error for a name that `owner` (as in "module 'microtrain'") does not have."""
    hint = next((f"; {instead}" for instead, names in INSTEAD.items() if name in names.split()), "")
    return AttributeError(f"{owner} has no attribute {name!r}{hint}")


def shown(text: str) -> str:
    """Text as one line that a terminal takes for text alone: control characters, line ends, marks that turn the order
    of writing round and the like as Python escapes them."""
    return text if text.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
