"""The lock of the process: held while anything is computed or launched, and while a device is loaded.

Operations are recorded without it: what they share (specs, signatures, constants) is interned by `dict.setdefault`,
which gives every thread the same object.
"""

from __future__ import annotations

import os
import threading

lock = threading.RLock()

# A process is forked while nobody computes: else the child had a lock that nobody lets go of, and a graph taken apart.
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
