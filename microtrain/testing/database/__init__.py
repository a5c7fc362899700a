"""PyTorch's own operator database, held against this package: its samples, its wrong arguments, what is refused.

`parity` runs cases and counts; `judge` says whether a case passes; `operators` has the cases, `raising` those that must
raise; `exceptions` has two tables, with reasons: what is refused, and where PyTorch is not the yardstick.
"""
