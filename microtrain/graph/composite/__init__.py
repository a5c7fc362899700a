"""Composites: operations recorded as one node, with a derivative in closed form, and rewritten in primitives later.

`basic` says what they are; the other modules hold a family each. Their derivatives are in `graph.vjps` and
`graph.special_vjps`.
"""
