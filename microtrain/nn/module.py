"""Module: parameters, buffers and submodules under names, and what follows from the names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from ..arguments import refused
from ..autograd.api import zero_gradients
from ..graph.dtypes import TITLES
from ..scopes import finish
from ..tensor import Tensor, bfloat16, float16, float32, float64, no_grad
from ..tensor.transfer import conversion
from .parameter import Parameter, Registered
from .state import Stateful


def indent(text: str) -> str:
    """Indents every line of `text` but the first by two blanks, as nested reprs are printed."""
    return text.replace("\n", "\n  ")


def _misplaced(value: object, verb: str, name: str, expected: str) -> TypeError:
    """The error for a value of the wrong type under a registered name."""
    kind = f"torch.{TITLES[value.dtype.name]}Tensor" if isinstance(value, Tensor) else type(value).__name__
    return TypeError(f"cannot assign '{kind}' {verb} '{name}' ({expected})")


class Module(Stateful):
    """Base of every layer and model: assign Parameters and Modules as attributes and write `forward`. Follows
    `torch.nn.Module`: the same registration rules, names, state dicts and errors."""

    training: bool
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        # Set past __setattr__, which looks into these very registries.
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _non_persistent=set())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the module's output; each subclass writes its own."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.forward(*args, **kwargs)
        except AttributeError:
            wrong = next((i for i, value in enumerate(args) if not isinstance(value, Tensor)), None)
            if wrong is None or self._modules or not type(self).__module__.startswith("microtrain.nn."):
                raise
            raise refused(type(self).__name__, "input", wrong + 1, ("Tensor",), args[wrong]) from None

    # -- registration ---------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, but=self._registry("_parameters", "parameters"))
            self.register_parameter(name, value)
        elif isinstance(value, Module) and name not in own.get("_parameters", ()):
            self._forget(name, but=self._registry("_modules", "module"))
            self.add_module(name, value)
        else:
            for registry, kind, what, wanted in _ASSIGNED:
                if name in own.get(registry, ()):
                    if value is not None and (kind is None or not isinstance(value, kind)):
                        raise _misplaced(value, what, name, f"{wanted} or None expected")
                    own[registry][name] = value
                    return
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            if registry in own and name in own[registry]:
                return own[registry][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        known = [name for name in super().__dir__()
                 if name in self.__dict__ or getattr(type(self), name, None).__class__ is not Registered]
        return sorted({*known, *(name for name in (*self._parameters, *self._buffers, *self._modules)
                                 if not name[:1].isdigit())})

    def _registry(self, registry: str, what: str) -> dict[str, Any]:
        if registry not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        return self.__dict__[registry]

    def _forget(self, name: str, but: Mapping[str, Any] | None = None) -> bool:
        """Removes `name` wherever it is registered or set, `but` in one registry: an attribute has one home."""
        found = False
        for registry in (self._parameters, self._buffers, self._modules):
            if registry is not but:
                found |= registry.pop(name, self) is not self
        if but is None:
            self._non_persistent.discard(name)
        if not found and name in self.__dict__:
            del self.__dict__[name]
            found = True
        return found

    def _register(self, registry: str, what: str, name: str, value: Any, kind: type, wanted: str) -> None:
        entries = self._registry(registry, what)
        title = what.removesuffix("s")
        if not isinstance(name, str):
            raise TypeError(f"{title} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{title} name can\'t contain "."' + (f", got: {name}" if title == "module" else ""))
        if name == "":
            raise KeyError(f'{title} name can\'t be empty string ""')
        if hasattr(self, name) and name not in entries:
            raise KeyError(f"attribute '{name}' already exists")
        if value is not None and not isinstance(value, kind):
            raise _misplaced(value, f"object to {title}", name, f"{wanted} or None required")
        entries[name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Registers `param` under `name`; None keeps the name for a parameter that is absent. KeyError for a name that
        is empty, has a dot or is taken; TypeError for no Parameter."""
        self._register("_parameters", "parameters", name, param, Parameter, "torch.nn.Parameter")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Registers a tensor that is state but is not trained; left out of state dicts if not persistent. KeyError as
        `register_parameter`; TypeError for no Tensor."""
        self._register("_buffers", "buffer", name, tensor, Tensor, "torch Tensor")
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Registers a child module under `name`. KeyError as `register_parameter`; TypeError for no Module."""
        if module is not None and not isinstance(module, Module):
            self._registry("_modules", "module")
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._register("_modules", "module", name, module, Module, "torch.nn.Module")

    register_module = add_module

    # -- walking --------------------------------------------------------------------------------

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yields `(dotted name, module)` for this module and all below it, depth first."""
        seen = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, child in self._modules.copy().items():         # another thread may add one meanwhile, here and below
            if child is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(seen, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yields this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yields `(name, module)` for the direct children, each once."""
        seen: set[Module] = set()
        for name, child in self._modules.copy().items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yields the direct children, each once."""
        return (child for _, child in self.named_children())

    def _named_members(self, registry: str, prefix: str, recurse: bool,
                       remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(None, prefix, remove_duplicate) if recurse else iter([(prefix, self)])
        for path, module in owners:
            for name, member in getattr(module, registry).copy().items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yields `(dotted name, parameter)`; a shared parameter once, under its first name."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yields the parameters, as an optimizer takes them."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yields `(dotted name, buffer)`."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yields the buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # -- changing all of it ---------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Sets training mode (dropout drops), or evaluation mode, here and below, by each child's own `train`."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")

        def switch() -> None:
            self.training = mode
            for child in self.children():
                child.train(mode)

        finish(switch)
        return self

    def eval(self) -> Self:
        """Sets evaluation mode; the same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Sets whether the parameters record gradients."""
        def switch() -> None:
            for parameter in self.parameters():
                parameter.requires_grad_(requires_grad)

        finish(switch)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the parameters' gradients, or fills them with zeros."""
        zero_gradients([*self.parameters()], set_to_none)

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Calls `fn` on every module below and then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _convert(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replaces every parameter's, gradient's and buffer's storage by `fn` of it; the handles stay."""
        with no_grad():
            parameters = [(parameter, fn(parameter), None if grad is None else fn(grad.detach()))
                          for parameter in self.parameters() for grad in (parameter.grad,)]
        buffers = [(module._buffers, {name: fn(buffer) for name, buffer in module._buffers.copy().items()
                                      if buffer is not None}) for module in self.modules()]

        def replace() -> None:
            for parameter, converted, grad in parameters:
                if converted is not parameter:
                    parameter.data = converted
                    parameter.grad = grad
            for registry, moved in buffers:
                registry.update(moved)

        finish(replace)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves parameters and buffers: `to(device)`, `to(dtype)`, `to(device, dtype)` or `to(tensor)`. A dtype applies
        to the floating-point ones alone; TypeError for one that is no such."""
        device, wanted, copy = conversion(args, kwargs)
        if copy:
            raise RuntimeError(".to() does not accept copy argument")
        if wanted is not None and not wanted.is_floating_point:
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but got desired "
                            f"dtype={wanted}")

        def move(tensor: Tensor) -> Tensor:
            moved = tensor if device is None else tensor.to(device)
            return moved.to(wanted) if wanted is not None and moved.is_floating_point() else moved

        return self._convert(move)

    def cpu(self) -> Self:
        """Moves parameters and buffers to the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """Moves parameters and buffers to a GPU, given as a number, a name or a device; by default to the current one.
        """
        return self._convert(lambda tensor: tensor.cuda(device))

    def float(self) -> Self:
        """Casts floating-point parameters and buffers to float32."""
        return self.to(float32)

    def double(self) -> Self:
        """Casts floating-point parameters and buffers to float64."""
        return self.to(float64)

    def half(self) -> Self:
        """Casts floating-point parameters and buffers to float16."""
        return self.to(float16)

    def bfloat16(self) -> Self:
        """Casts floating-point parameters and buffers to bfloat16."""
        return self.to(bfloat16)

    # -- printing -------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The text between the parentheses of the repr, before the children."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {indent(repr(child))}" for name, child in self._modules.copy().items()]
        return self._assemble_repr(lines)

    def _assemble_repr(self, child_lines: list[str]) -> str:
        extra = self.extra_repr()
        if not child_lines:
            return f"{type(self).__name__}({extra})"
        body = "\n  ".join(([extra] if extra else []) + child_lines)
        return f"{type(self).__name__}(\n  {body}\n)"


_ASSIGNED: tuple[tuple[str, Any, str, str], ...] = (
    ("_parameters", None, "as parameter", "torch.nn.Parameter"),
    ("_modules", None, "as child module", "torch.nn.Module"),
    ("_buffers", Tensor, "as buffer", "torch.Tensor"))
"""Registries, and what but None a name in them is assigned without being registered anew."""
