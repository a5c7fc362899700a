"""Threads that part meet again, wherever a compiler puts the place where they do."""

from __future__ import annotations

import numpy as np
import pytest

from tests.emulator.rows import N, words
from tests.support.ptx_kernels import compute


@pytest.mark.parametrize("body", ["""bra.uni $HEAD;
$JOIN:
    shfl.sync.bfly.b32 %r22, %r21, 1, 31, -1;
    add.u32 %y0, %y0, %r22; add.u32 %r23, %r23, 1;
    setp.eq.u32 %p2, %r23, 3; @%p2 bra $END;
$HEAD:
    mov.u32 %r21, 1; @%p1 bra $JOIN;
    mov.u32 %r21, 2; bra.uni $JOIN;
$END:""", """bra.uni $HEAD;
$ODD:
    mov.u32 %r21, 1; add.u32 %r23, %r23, 1; bra.uni $HEAD;
$HEAD:
    shfl.sync.bfly.b32 %r22, %r21, 1, 31, -1;
    add.u32 %y0, %y0, %r22;
    setp.eq.u32 %p2, %r23, 3; @%p2 bra $END;
    @%p1 bra $ODD;
    mov.u32 %r21, 2; add.u32 %r23, %r23, 1; bra.uni $HEAD;
$END:"""], ids=["before the ways in the text", "where a loop begins anew"])
def test_threads_that_part_meet_where(body: str) -> None:
    """All take the shuffle in each of three turns, and have what their neighbours brought."""
    have, = compute("""mov.u32 %r20, %tid.x; and.b32 %r20, %r20, 1; setp.eq.u32 %p1, %r20, 1;
    mov.u32 %y0, 0; mov.u32 %r21, 0; mov.u32 %r23, 0;""" + body, [words()], ["u4"])
    np.testing.assert_array_equal(have, np.array([3, 6])[np.arange(N) % 2])
