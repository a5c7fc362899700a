"""`backward` and `grad` on tensors, with PyTorch's arguments and errors.

The Tensor class lies above; it is met here only through its instances (`node`, `from_node`, `accumulate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .. import ops as g
from ..arguments import refused
from ..engine.handle import TensorLike, is_tensor, type_of
from ..engine.session import Session, current
from ..graph.node import Node
from ..graph.tape import DeadEnd, Entry, Hooks, Leaf, Tape
from ..runtime.lock import lock
from ..scopes import finish
from .checks import hook_result
from .mode import no_grad
from .walk import walk

NO_GRAD = "element {} of tensors does not require grad and does not have a grad_fn"
UNUSED = ("The differentiated Tensor at index {} appears to not have been used in the graph. Set allow_unused=True if "
          "this is the desired behavior.")


def _listed(value: object) -> list[object]:
    return [] if value is None else list(value) if isinstance(value, Sequence | Iterator) else [value]


def _tensors(value: object, what: str, function: str) -> list[TensorLike]:
    """One tensor or several as a list. Raises TypeError for anything else."""
    found = []
    for i, tensor in enumerate([None] if value is None and what != "inputs" else _listed(value)):
        if not is_tensor(tensor):
            where = f"{what}[{i}]" if isinstance(value, Sequence | Iterator) else what
            raise TypeError(f"{function}(): {where} has to be a Tensor, but got {type_of(tensor)}: all "
                            f"{what} have to be Tensors")
        found.append(tensor)
    return found


def _cotangents(outputs: list[TensorLike], given: object) -> list[Node]:
    """A cotangent node for each output: the one given, or 1 for a scalar."""
    grads: list[TensorLike | None] = [None] * len(outputs) if given is None else []
    for grad in _listed(given):
        if grad is not None and not is_tensor(grad):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(grad).__name__}")
        grads.append(grad)
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    nodes = []
    for i, (out, grad) in enumerate(zip(outputs, grads, strict=True)):
        node = out.node
        if grad is None:
            if node.tape is None or node.tape.__class__ is DeadEnd:
                raise RuntimeError(NO_GRAD.format(i))
            if node.spec.numel != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            nodes.append(g.full(1, node.shape, node.dtype, node.device) if node.shape
                         else g.constant(1, node.dtype, node.device))
            continue
        if grad.node.shape != node.shape:
            raise RuntimeError(f"Mismatch in shape: grad_output[{i}] has a shape of "
                               f"torch.Size({list(grad.node.shape)}) and output[{i}] has a shape of "
                               f"torch.Size({list(node.shape)}).")
        if grad.node.device is not node.device:
            if node.shape:
                raise RuntimeError(f"invalid gradient at index {i} - expected device {node.device} but got "
                                   f"{grad.node.device}")
            grad = grad.to(node.device)
        nodes.append(g.cast(grad.node, node.dtype))
    for i, out in enumerate(outputs):
        if out.node.tape is None or out.node.tape.__class__ is DeadEnd:
            raise RuntimeError(NO_GRAD.format(i))
    return nodes


def backward(tensors: object, grad_tensors: object = None, retain_graph: bool | None = None, create_graph: bool = False,
             inputs: object = None) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves (or of `inputs`) that they depend on. `grad_tensors`
    are the cotangents; a scalar may go without. The graph is freed unless `retain_graph` (`create_graph` implies it).
    """
    if retain_graph is not None or create_graph is not False:
        for name, value in (("retain_graph", retain_graph), ("create_graph", create_graph)):
            if not isinstance(value, bool | None):
                raise refused("backward", name, None, ("bool",), value)
    if grad_tensors is None and inputs is None and is_tensor(tensors):
        node = tensors.node
        if isinstance(node.tape, Entry) and not node.spec.shape:            # the loss of a training step
            ct = node.spec.constants.get(1) or g.constant(1, node.spec.dtype, node.spec.device)
            _differentiate((node,), (ct,), None, retain_graph, create_graph)
            return
    outputs, chosen = _tensors(tensors, "tensors", "backward"), _tensors(inputs, "inputs", "backward")
    if inputs is not None and not chosen:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    if not outputs:
        return
    cts = _cotangents(outputs, grad_tensors)
    targets = []
    for tensor in chosen:
        targets.append(tensor.node.tape)        # raises for a view that may not be used any more
        tensor.retain_grad()
    _differentiate([t.node for t in outputs], cts, targets or None, retain_graph, create_graph)


def _differentiate(outputs: Sequence[Node], cts: Sequence[Node], targets: Sequence[Tape | None] | None,
                   retain_graph: bool | None, create_graph: bool) -> None:
    """Walk the tape and add to the gradients of leaves and of what retains its own: to all or, where an interrupt comes
    first or something fails, to none."""
    session = current()
    outer, session.retained = session.retained, []
    try:
        _accumulate(walk(outputs, cts, targets, retain_graph=create_graph if retain_graph is None else retain_graph,
                         create_graph=create_graph, through=True), create_graph, session)
    except BaseException:
        finish(_take_back, session)
        raise
    finally:
        session.retained = outer


def _take_back(session: Session) -> None:
    while session.retained:
        tensor, before = session.retained[-1]
        tensor._grad = before
        session.retained.pop()


def _accumulate(found: dict[Any, Node], create_graph: bool, session: Session) -> None:
    """Add each leaf's cotangent to its tensor's gradient: of all or, where an interrupt comes first, of none. From then
    on what was retained is not taken back."""
    given: list[TensorLike] = []
    with lock:
        try:
            for tape, ct in reversed(found.items()):
                tensor = tape.tensor() if tape.__class__ is Leaf else None
                if tensor is not None:
                    if tensor._grad is not None or tape.hooking is not None:
                        break
                    given.append(tensor)
                    tensor._grad = tensor.gradient(ct, create_graph)
            else:                               # as in a training step: none had a gradient
                session.retained = []
                return
        except BaseException:
            finish(_drop, given)
            raise
        finish(_drop, given)
    finish(_add, [[tape, ct, None] for tape, ct in reversed(found.items()) if tape.__class__ is Leaf], create_graph,
           session)


def _add(left: list[list[Any]], create_graph: bool, session: Session) -> None:
    """Take each leaf, with its cotangent, from the list once it is added."""
    session.retained = []
    while left:
        tape = left[-1][0]
        tensor = tape.tensor()
        if tensor is not None:
            with lock:                          # also where an interrupt comes: another thread may add to it as well
                finish(_add_to, tensor, left[-1], create_graph)
        left.pop()
        if tape.hooking is not None and tensor is not None:
            after_accumulation(tape.hooks, tensor)


def _add_to(tensor: TensorLike, one: list[Any], create_graph: bool) -> None:
    """Add to a leaf's gradient, once. What the gradient was before is noted only now: a leaf that came before may have
    changed it, where two gradients share memory."""
    _, ct, before = one
    grad = tensor._grad
    node = None if grad is None else grad.node
    if before is None:
        one[2] = before = (grad, node)
    if grad is before[0] and node is before[1]:
        tensor.accumulate(ct, create_graph)


def after_accumulation(hooks: Hooks | None, tensor: TensorLike) -> None:
    """Call the hooks that want to see a leaf's gradient when it is complete; they may change the leaf."""
    with no_grad():
        for hook in list(hooks.after.values()) if hooks is not None else ():
            result = hook(tensor)
            hook_result(hook, result, tensor.node)                  # what is no gradient is said so
            if result is not None and result is not tensor:         # `p.sub_(p.grad)` returns p
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")


def zero_gradients(tensors: list[object], set_to_none: bool) -> None:
    """Drop the gradients of some tensors, or fill them with zeros: of all of them, also where an interrupt comes."""
    finish(_drop if set_to_none else _fill, tensors)


def _drop(tensors: Iterable[TensorLike]) -> None:
    for tensor in tensors:
        tensor._grad = None


def _fill(tensors: Iterable[TensorLike]) -> None:
    for tensor in tensors:
        grad = tensor._grad
        if grad is not None:                    # a view may be one, where it is off the tape
            (grad.requires_grad_(False) if grad.is_leaf else grad.detach_()).zero_()


def grad(outputs: object, inputs: object, grad_outputs: object = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple[Any, ...]:
    """Gradients of the sum of `outputs` (weighted by the cotangents `grad_outputs`) with respect to each of `inputs`.
    One that the outputs do not depend on raises, or gives None with `allow_unused`, or zeros with `materialize_grads`.
    """
    if is_grads_batched or not only_inputs:
        raise NotImplementedError("grad() supports only_inputs=True and is_grads_batched=False")
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
                         "allow_unused=False.")
    listed, chosen = _tensors(outputs, "outputs", "grad"), _tensors(inputs, "inputs", "grad")
    if not chosen:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    cts = _cotangents(listed, grad_outputs)
    targets = [tensor.node.tape for tensor in chosen]
    if None in targets:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = walk([t.node for t in listed], cts, targets, create_graph=create_graph,
                 retain_graph=create_graph if retain_graph is None else retain_graph)
    results: list[TensorLike | None] = []
    for i, (tensor, tape) in enumerate(zip(chosen, targets, strict=True)):
        if tape in found:
            results.append(type(tensor).from_node(found[tape]))
        elif materialize_grads:
            results.append(type(tensor).from_node(g.zeros_like(tensor.node.spec)).requires_grad_(create_graph))
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(UNUSED.format(i))
    return tuple(results)
