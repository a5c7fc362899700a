"""How float32 matrices are multiplied."""

from __future__ import annotations

from .. import settings
from ..engine.run import flush
from ..engine.session import pending


def get_float32_matmul_precision() -> str:
    """"highest" (IEEE arithmetic, the default), "high" or "medium" (TF32)."""
    return str(settings.matmul_precision.value)


def set_float32_matmul_precision(precision: str) -> None:
    """How products of float32 matrices are computed from now on; what was recorded before is computed as it was meant.

    Args:
        precision: "highest" for IEEE arithmetic; "high" for TF32, which rounds the operands to 11 significant bits for
            the tensor cores and accumulates in float32; "medium" is the same here (PyTorch may round to bfloat16).
            It matters on the devices cuda and null: cpu and interpret have no TF32 and compute in IEEE arithmetic.

    Raises ValueError for another word.
    """
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"set_float32_matmul_precision(): expected 'highest', 'high' or 'medium', not {precision!r}")
    for device in {node.spec.device for node in pending()}:
        flush(device)
    settings.matmul_precision.set(precision)
