"""``python -m microtrain``."""

from microtrain.cli import program

if __name__ == "__main__":
    program()
