"""What a training step costs in Python, layer by layer: ``python -m benchmarks --host``."""
