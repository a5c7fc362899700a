"""What a virtual GPU raises."""


class VirtualGpuError(RuntimeError):
    """A launch that a GPU would have gone wrong with, and what was wrong with it."""
