"""What measures microtrain, and is not shipped with it: ``python -m benchmarks``, from the repository.

Workloads, each written once against PyTorch's API, are checked and then timed on microtrain, on PyTorch and JAX, and
held against measured ceilings. `microtrain.bench` is what times them.
"""
