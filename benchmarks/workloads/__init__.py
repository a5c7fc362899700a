"""The workloads, by family: each a function of its size."""
