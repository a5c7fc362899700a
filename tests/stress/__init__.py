"""What random moments show: threads beside one another, interrupts, kills."""

import os
import traceback
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """A process of its own that does some work, and ends with 0, or with 1 having said what went wrong."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid
