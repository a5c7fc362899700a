"""Tensors that share memory without being views on the tape: as steps of a random program.

Detached aliases and their views live on and are changed, from both sides, with and without grad mode; parameters made
by hand, copies, `.data` and `detach_` beside them. What PyTorch refuses may be kept as an attempt.
"""

from __future__ import annotations

from .changes import IN_PLACE_TWO
from .grower import Grower
from .views import basic

ALIASES = ["{0}.detach()", "{0}.detach()", "{0}.data", "{0}[...]", "{0}.view_as({0})", "{0}.detach().requires_grad_()",
           "copy.copy({0})", "{0}.requires_grad_()", "T.nn.Parameter({0})",
           "T.nn.Parameter({0}.detach())", "{0}.mT"]
PARTS = ["{0}.detach()[{1}]", "{0}[{1}].detach()", "{0}.data[{1}]", "{0}[{1}]", "{0}[{1}]"]
SEVERAL = ["{0}.unbind()[0].add_(1)", "{0}.chunk(2)[0].mul_(2)", "{0}.split(1)[-1].neg_()",
           "{0}.unbind()[0].copy_({1})"]
"""Changes of one of several views made together, which PyTorch refuses while recording."""

IN_PLACE = ["{0}.mul_(2)", "{0} *= 0.5", "{0} += 1", "{0}.sub_(0.5)", "{0}.zero_()", "{0}.fill_(0.5)", "{0}.neg_()",
            "{0}.tanh_()", "{0}.square_()", "{0}.detach().mul_(2)", "{0}.data.add_(1)", "{0}.data += 1", "{0}.abs_()"]

MODES = [("T.no_grad()",), ("T.no_grad()",), ("T.enable_grad()",), ("T.no_grad()", "T.enable_grad()"),
         ("T.set_grad_enabled(False)",)]


def alias(o: Grower) -> None:
    """A tensor of the same memory."""
    n = o.pick()
    if n is None:
        return
    if o[n].ndim and o.chance(0.4):
        o.add(o.choose(PARTS), (n,), (basic(o, tuple(o[n].shape)),), exact=True)
    else:
        form = o.choose(ALIASES)
        if form != "{0}.mT" or o[n].ndim > 1:
            o.add(form, (n,), exact=True)


def alter(o: Grower) -> None:
    """Any tensor changed in place, a leaf that requires grad among them."""
    n = o.pick()
    if n is None or not o[n].numel():
        return
    if o.chance(0.05):
        with o.within("T.inference_mode()"):
            o.change(o.choose(IN_PLACE), (n,), exact=True)
    elif o.chance(0.3):
        o.change(o.choose(IN_PLACE_TWO), (n, o.beside(n)), exact=True)
    elif o.chance(0.1) and o[n].ndim:
        o.change(o.choose(SEVERAL), (n, o.leaf(())), exact=True)
    elif o.chance(0.3) and o[n].ndim:
        index = basic(o, tuple(o[n].shape))
        if o[n].detach()[tuple(index)].numel():         # see `assign`
            o.change(o.choose(["{0}[{1}] = 0.5", "{0}[{1}] *= 2", "{0}[{1}].mul_(2)", "{0}[{1}].detach().add_(1)",
                               "{0}.detach()[{1}].add_(1)", "{0}.data[{1}] = 1"]), (n,), (index,), exact=True)
    else:
        o.change(o.choose(IN_PLACE), (n,), exact=True)


def leave(o: Grower) -> None:
    """A tensor taken off the tape, put on it, or given other memory."""
    n = o.pick()
    if n is None:
        return
    same = [m for m in o.floats if m != n and o[m].shape == o[n].shape and o[m].dtype == o[n].dtype]
    form = o.choose(["{0}.detach_()", "{0}.detach_()", "{0}.requires_grad_(False)", "{0}.requires_grad_()",
                     "{0}.requires_grad = True", "{0}.data = {1}.data", "{0}.data = {1}.detach().clone()"])
    if "{1}" not in form:
        o.add(form, (n,), makes=False)
    elif same and not o.shared(n):
        o.add(form, (n, o.choose(same)), makes=False)       # in PyTorch its views would be of another memory than it


def duplicate(o: Grower) -> None:
    """Copies of two tensors, made together or alone."""
    n = o.pick()
    if n is None:
        return
    near = [m for m in o.floats if o.memory(m) == o.memory(n)]
    if o.chance(0.3):
        o.add("copy.deepcopy({0})", (n,), exact=True)
        return
    both = o.add("copy.deepcopy([{0}, {1}])", (n, o.choose(near if o.chance(0.8) else o.floats)))
    if both is not None:
        o.add("{0}[0]", (both,))
        o.add("{0}[1]", (both,))


def count(o: Grower) -> None:
    """How often a tensor was changed since it was asked before."""
    n = o.pick()
    if n is None:
        return
    before = [m for m in o.counts if o.counts[m] == n]
    if before:
        o.add("{0}._version - {1}[0]", (n, o.choose(before)))
    else:
        made = o.add("({0}._version,)", (n,))           # PyTorch's own kernels leave versions of their own in results
        assert made is not None
        o.counts[made] = n
