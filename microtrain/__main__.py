"""``python -m microtrain``."""

import sys

from microtrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
