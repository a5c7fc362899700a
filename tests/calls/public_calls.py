"""Every public callable of the package, found by inspection, with a valid call of each.

A new function is found by itself; where its arguments have names that are not known here, a test says so, and a value
is added to `VALID` (by the argument's name) or `PARTICULAR` (by callable and argument).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np  # noqa: F401      values speak of it
import torch

import microtrain as mt
import microtrain.data
import microtrain.nn
import microtrain.optim
import microtrain.testing
import microtrain.train
import microtrain.viz

ROOTS = ("", "Tensor", "nn", "nn.functional", "nn.init", "nn.Module", "optim", "optim.SGD", "optim.Adam",
         "optim.lr_scheduler", "optim.lr_scheduler.StepLR", "data", "train", "train.metrics", "train.checkpoint", "viz",
         "testing", "settings", "cuda", "special", "linalg", "autograd")
"""Where public callables live: modules, and classes whose methods are called on an instance."""

OWN = ("train.checkpoint", "train.metrics", "nn.init", "optim.lr_scheduler")
"""Modules that are public themselves: what they import of others is not theirs."""

CONTAINERS = ("Module", "ModuleList", "Parameter")
OPERATORS = (
    *[f"__{side}{name}__" for side in ("", "r", "i") for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul")],
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__getitem__", "__setitem__", "__contains__",
    "__bool__", "__float__", "__int__", "__index__", "__len__")


def cut(text: str) -> list[str]:
    """The cells of a table, | between."""
    return " ".join(text.split()).split(" | ")


SKIPPED = {*cut("""
    testing.check_kernel | custom_kernel | testing.KernelCount | testing.Memory | testing.KernelError |
    testing.ParityError | testing.ParityReport | testing.Tally | testing.AnomalyError | autograd.AnomalyError |
    testing.needed_memory | testing.peak_memory | explain | train.DivergedError | settings.Flag | data.Table |
    AcceleratorError | OutOfMemoryError | data.DataError | cuda.OutOfMemoryError | testing.GradcheckError |
    testing.OracleError | cuda.backend | DType | dtype | testing.check_parity | testing.Sample | testing.as_torch |
    testing.cases | autograd.Function | Function | data.Dataset | train.Progress | train.make_progress | nn.Identity
    | nn.Module.get_extra_state | nn.Module.set_extra_state | settings.Setting | settings.check | optim.Optimizer |
    optim.lr_scheduler.Optimizer | testing.Tolerance | optim.lr_scheduler.LRScheduler""")}
"""What ends the process, waits, or measures; what needs a GPU; what takes no argument of a caller's."""

Maker = Callable[[Any], Any]
"""Makes a value by a library T."""


def maker(text: str) -> Maker:
    """What makes the value of an expression, which may speak of T and of what is defined here."""
    code = compile(text.strip(), "<value>", "eval")
    return lambda T: eval(code, {**globals(), "T": T})


def const(value: Any) -> Maker:
    return lambda T: value


def values(cells: list[str]) -> dict[str, Maker]:
    """What makes the value of each name, of cells `names: expression`."""
    found = [cell.partition(": ") for cell in cells]
    return {name: made for names, _, text in found for made in [maker(text)] for name in names.split()}


def here(root: Any, path: str) -> Any:
    """The object at a dotted path; PyTorch's data loaders are in `torch.utils`."""
    if root is torch and path.split(".")[0] == "data":
        path = "utils." + path
    return reduce(getattr, filter(None, path.split(".")), root)


matrix = maker("T.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])")
vector = maker("T.tensor([0.25, 0.5, 0.75])")
square = maker("T.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 10.0]])")
image = maker("T.ones(1, 3, 4, 4)")
plain = maker("T.tensor(0.5)")
whole = maker("T.tensor([[1, 2, 3], [4, 5, 6]])")
optimizer = maker("T.optim.SGD([T.nn.Parameter(T.ones(2))], lr=0.1)")
dataset = maker("here(T, 'data').TensorDataset(matrix(T), T.tensor([0.0, 1.0]))")
history = maker("mt.train.History([0.5, 0.25], seconds=[1.0, 1.0])")


def model(T: Any) -> Any:
    T.manual_seed(0)
    return T.nn.Linear(3, 1)


def instance(T: Any, root: str) -> Any:
    """What a method of a class is called on."""
    if root == "nn.Module":
        return T.nn.Sequential(T.nn.Linear(3, 2), T.nn.ReLU(), T.nn.Linear(2, 1))
    if root.startswith("optim.lr"):
        return T.optim.lr_scheduler.StepLR(optimizer(T), 2)
    return here(T, root)([T.nn.Parameter(T.ones(2))], lr=0.1)


def both(T: Any) -> dict[str, Any]:
    leaf = T.ones(2, requires_grad=True)
    return {"outputs": (leaf * leaf).sum(), "inputs": leaf}


def run_of(T: Any) -> dict[str, Any]:
    return {"path": "run.npz", "model": model(T), "optimizer": T.optim.SGD(model(T).parameters(), lr=0.1)}


VALID = values(cut("""
    self input other target tensor obj src A x x1 x2 a b values end tensor1 tensor2 source logits: matrix(T) |
    mask condition: matrix(T) > 0.2 | query key: T.ones(2, 3, 3) |
    vec vec2 logit running_mean running_var prediction score: vector(T) | mat2 mat: square(T) | weight: matrix(T) |
    mat1: T.ones(2, 3) | batch1: T.ones(2, 2, 3) | batch2: T.ones(2, 3, 3) | tensors: [matrix(T), matrix(T)] |
    operands: (matrix(T),) | state_dict: {"a": matrix(T)} | index indices: T.tensor((1, 0)) | index2: T.tensor((0,)) |
    outputs: T.ones(2, requires_grad=True).sum() | inputs: T.ones(2, requires_grad=True) | model module: model(T) |
    optimizer: optimizer(T) | loss_fn: T.nn.MSELoss() | param: T.nn.Parameter(T.ones(2)) |
    params: [T.nn.Parameter(T.ones(2))] | param_group: {"params": [T.nn.Parameter(T.ones(3))]} | dataset: dataset(T) |
    datasets: [dataset(T)] |
    train_loader loader: here(T, "data").DataLoader(here(T, "data").TensorDataset( matrix(T), T.tensor([[0.0], [1.0]])),
        batch_size=1) |
    history: T.train.History() | dtype: T.float32 | dim dim0 start axis low: 0 |
    dim1 destination padding indices_or_sections k epochs length shifts split_size: 1 |
    kernel_size exponent chunks repeats row out_channels out_features step_size protocol: 2 |
    seed n col num_features in_channels in_features steps embedding_dim: 3 | num_embeddings: 4 | high T_max: 5 |
    value: 2.0 | fill_value: 1.5 | max p val: 0.5 | min: 0.1 | threshold: 0.3 | mode: True | size: (2, 3) |
    shape: (3, 2) | normalized_shape: (3,) | dims: (1, 0) | sizes: (1, 2) | output_size: (4, 4) | pad: (1, 1) |
    lengths: [1, 1] | data batch: [1.0, 2.0] | array: np.ones((2, 3), np.float32) | train: np.ones((2, 3)) |
    mean: np.zeros(3) | std: np.ones(3) | arrays: (np.arange(12.0),) | name device: "cpu" | path: "file.npz" |
    precision: "highest" | nonlinearity: "relu" | equation: "ij->ji" | spec label: "" | others args: () |
    options kwargs memo: {} | closure: None | lr_lambda fn: len | hook: lambda g: None | func: lambda x: x * 2"""))
"""A valid value for each argument of that name, made by a library T."""

PARTICULAR: dict[str, dict[str, Maker]] = {}
"""Arguments of one callable, by its dotted name (or the end of it: "sum" is of `sum` and of `Tensor.sum`)."""

for callables, *arguments in (cell.split(" / ") for cell in cut("""
    bitwise_and bitwise_or bitwise_xor __and__ __or__ __xor__ __rand__ __ror__ __rxor__ __iand__ __ior__ __ixor__
        bitwise_not __invert__ / self input other: whole(T) |
    float_power_ / self: T.ones(2, 3, dtype=T.float64) |
    item __bool__ __float__ __int__ __index__ __complex__ / self: T.tensor(2) |
    addmv / self: T.ones(2) / mat: matrix(T) | bmm / self mat2: T.ones(2, 3, 3) | baddbmm / self: T.ones(2, 2, 3) |
    dot outer / self other: vector(T) | dsplit / self: T.ones(2, 3, 3) |
    matmul __matmul__ __rmatmul__ __imatmul__ kron / self other: square(T) |
    gather scatter scatter_add / index: T.tensor([[0, 1, 0], [1, 0, 1]]) |
    scatter take_along_dim / indices: T.tensor([[0, 1, 0], [1, 0, 1]]) | linspace / end: 1.0 | movedim / source: 0 |
    select / index: 1 | promote_types / type1: T.float32 / type2: T.int64 | reshape view / shape: ((3, 2),) |
    expand empty ones zeros rand randn new_empty new_ones new_zeros / size: ((2, 3),) | permute tile / dims: ((1, 0),) |
    flip / axis: ((0,),) | repeat / repeats: ((1, 2),) | broadcast_shapes / shapes: ((2, 3), (1, 3)) |
    broadcast_tensors atleast_1d atleast_2d atleast_3d data.TensorDataset / tensors: (matrix(T), matrix(T)) |
    meshgrid / tensors: (vector(T), vector(T)) | Tensor / data: ([1.0, 2.0],) | Size / iterable: (2, 3) |
    fill masked_fill fill_ / value: 0.5 | where / condition: T.tensor([[True, False, True], [False, False, True]]) |
    normal_ uniform_ / mean: 0.0 / std: 1.0 | scaled_dot_product_attention / value: T.ones(2, 3, 3) |
    embedding Embedding() / input: T.tensor((1, 0)) / weight: square(T) | one_hot / tensor: T.tensor((1, 0)) |
    prelu / weight: T.tensor(0.25) | linear / weight: square(T) |
    conv1d Conv1d() / input: T.ones(2, 3, 3) / weight: T.ones(2, 3, 2) |
    conv2d Conv2d() avg_pool2d max_pool2d AvgPool2d() MaxPool2d() unfold Unfold() BatchNorm2d() CircularPad2d()
        ReflectionPad2d() ReplicationPad2d() / input: image(T) / weight: T.ones(2, 3, 2, 2) |
    fold Fold() / input: T.ones(1, 4, 9) | GLU() glu / input: T.ones(2, 4) |
    nll_loss NLLLoss() cross_entropy CrossEntropyLoss() / target: T.tensor((1, 0)) |
    check_dense / scale_grad_by_freq sparse: False |
    nn.Module.add_module nn.Module.register_module nn.Module.register_buffer nn.Module.register_parameter
        / name: "own" |
    nn.Module.apply / fn: lambda module: None |
    nn.Module.load_state_dict / state_dict: instance(T, "nn.Module").state_dict() |
    optim.SGD.load_state_dict / state_dict: instance(T, "optim.SGD").state_dict() |
    optim.Adam.load_state_dict / state_dict: instance(T, "optim.Adam").state_dict() |
    optim.lr_scheduler.StepLR.load_state_dict / state_dict: instance(T, "optim.lr_scheduler.StepLR").state_dict() |
    LambdaLR / lr_lambda: lambda epoch: 0.5 | data.load / name: "diabetes" | data.read_csv / path: "table.csv" |
    accuracy binary_accuracy r2_score roc_curve root_mean_squared_error plot_classification plot_regression / logits:
        np.eye(2) / target: np.array([0.0, 1.0]) / logit: np.array([0.5, -0.5]) / prediction score: np.array([0.5, 1.0])
        / path: "picture.png" |
    train.metrics.accuracy / target: np.array([0, 1]) |
    viz.check_plot_path viz.plot_history / path: "picture.png" / history: history(T) |
    gradcheck gradgradcheck / inputs: T.ones(2, dtype=T.float64, requires_grad=True) |
    register_hook retain_grad / self: T.ones(2, requires_grad=True) * 2 |
    Tensor.backward / self: T.ones(2, requires_grad=True).sum() |
    assign overwrite rebind from_node / node: matrix(T).node / name: "own" | accumulate / ct: matrix(T).node |
    another / node: matrix(T).node / changed: len | data.Subset / indices: [1, 0] |
    share / view: lambda x: x / update: lambda base, v: v | from_dlpack / ext_tensor: np.ones(2, np.float32) |
    settings.fuse settings.cache settings.poison settings.tune settings.validate / value: False |
    settings.debug / value: 0 | settings.device / value: "cpu" | settings.matmul_precision / value: "highest" |
    settings.virtual_gpu / value: "" | set_rng_state cuda.set_rng_state / new_state: T.get_rng_state() |
    cuda.set_rng_state_all / new_states: [T.get_rng_state()] |
    register_post_accumulate_grad_hook / self: T.ones(2, requires_grad=True) | Tensor.cuda nn.Module.cuda / device: 0 |
    __getitem__ __setitem__ / index: 0 / value: 0.5 | backward / tensors: T.ones(2, requires_grad=True).sum() |
    lerp / weight: 0.5""")):
    for name in callables.split():
        PARTICULAR.setdefault(name, {}).update(values(arguments))

TOGETHER = values(cut("""
    grad: both(T) | arange: {"start": 0, "end": 3} | save_training: {**run_of(T), "more": {}} |
    load_training: run_of(T) | clamp clip: {"min": 0.2} | randint: {"high": 5, "size": (3,)} |
    randint_like: {"high": 5} | scatter: {"src": matrix(T)}"""))
"""All required arguments of callables whose arguments belong together."""

BY_TYPE = {"int": const(1), "float": const(0.5), "bool": const(True), "str": const("cpu"), "Tensor": matrix}
"""A value for an argument whose name is not known, by its annotation."""


class Target(NamedTuple):
    """A public callable: its name, how to get it of a library, and its signature (that of ours)."""

    name: str
    get: Maker
    signature: inspect.Signature
    method: bool


def public(root: str, owner: Any) -> Iterator[str]:
    for name in sorted(dir(owner)):
        hidden = name.startswith("_") and not (root == "Tensor" and name in OPERATORS)
        inner = root == "Tensor" and not hasattr(torch.Tensor, name)           # how the tensor layer works within
        if hidden or inner or f"{root}.{name}".lstrip(".") in SKIPPED:
            continue
        value, static = getattr(owner, name), inspect.getattr_static(owner, name)
        if isinstance(static, property) or inspect.ismodule(static) or not callable(value):
            continue
        home = str(getattr(value, "__module__", "microtrain"))
        if home.startswith("microtrain") and not (root in OWN and home != owner.__name__):
            yield name


def targets() -> Iterator[Target]:
    """Every public callable of microtrain, modules' `forward` included (as "nn.Linear()")."""
    for root in ROOTS:
        owner = here(mt, root)
        bound = inspect.isclass(owner)
        for name in public(root, owner):
            path = f"{root}.{name}".lstrip(".")
            value = getattr(owner, name)
            try:
                signature = inspect.signature(value)
            except (TypeError, ValueError):
                continue
            changes = name.endswith("_") and hasattr(owner, name[:-1])
            if changes and list(signature.parameters) == ["self", "args", "kwargs"]:
                signature = inspect.signature(getattr(owner, name[:-1]))
            if bound and root != "Tensor":
                if name != "forward":
                    static = isinstance(inspect.getattr_static(owner, name), classmethod | staticmethod)
                    yield Target(path, lambda T, r=root, n=name: getattr(instance(T, r), n),
                                 signature if static else without_self(signature), True)
                continue
            if "self" in signature.parameters and not bound:        # a method as a function
                signature = signature.replace(parameters=[p.replace(name="input") if n == "self" else p
                                                          for n, p in signature.parameters.items()])
            yield Target(path, lambda T, p=path: here(T, p), signature, root == "Tensor")
            if root == "nn" and inspect.isclass(value) and issubclass(value, mt.nn.Module) and name not in CONTAINERS:
                yield Target(f"{path}()", lambda T, p=path, s=signature: constructed(T, p, s),
                             without_self(inspect.signature(value.forward)), True)


def without_self(signature: inspect.Signature) -> inspect.Signature:
    return signature.replace(parameters=[*signature.parameters.values()][1:])


def constructed(T: Any, path: str, signature: inspect.Signature) -> Any:
    args, kwargs = base(path, signature, T)
    return here(T, path)(*args, **kwargs)


def known_as(path: str) -> tuple[str, ...]:
    return path, path.split(".")[-1], path.split(".")[-1].rstrip("_")


def valid(path: str, name: str) -> Maker | None:
    for known in known_as(path):
        for own in (name, "self") if name == "input" else (name,):
            if own in PARTICULAR.get(known, ()):
                return PARTICULAR[known][own]
    return VALID.get(name)


def base(path: str, signature: inspect.Signature, T: Any, but: str = "",
         wrong: Any = None) -> tuple[list[Any], dict[str, Any]]:
    """A call's arguments, the required ones alone, or with one of them (or an optional one) wrong."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    made = next((TOGETHER[known](T) for known in known_as(path) if known in TOGETHER), {})
    for name, p in signature.parameters.items():
        if name == but:
            value = (wrong,) if p.kind is p.VAR_POSITIONAL else wrong
        elif name in made:
            value = made[name]
        elif p.default is not p.empty:
            continue
        elif make := valid(path, name) or BY_TYPE.get(str(p.annotation)):
            value = make(T)
        else:
            raise LookupError(f"no valid value is known for the argument {name!r} of {path}: add one to "
                              "tests/calls/public_calls.py")
        if p.kind is p.VAR_POSITIONAL:
            args += value if isinstance(value, tuple) else (value,)
        elif p.kind is p.VAR_KEYWORD:
            kwargs.update(value if isinstance(value, dict) else {})
        elif p.kind is p.KEYWORD_ONLY or p.default is not p.empty:
            kwargs[name] = value
        else:
            args.append(value)
    return args, kwargs
