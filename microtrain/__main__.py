"""``python -m microtrain``."""

import os
import sys

from microtrain.cli import main

if __name__ == "__main__":
    status = main()
    if status > 128:  # a library in C that a signal came into may not be fit to be taken down
        os._exit(status)
    sys.exit(status)
