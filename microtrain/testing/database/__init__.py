"""PyTorch's own operator database, held against this package: its samples, its wrong arguments, what is refused.

`parity` runs cases and counts; `judge` says whether a case passes; `operators` has the cases, `raising` those that must
raise; `refusals` and `unspecified` are tables, with reasons.
"""
