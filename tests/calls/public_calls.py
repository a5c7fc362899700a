"""Every public callable of the package, found by inspection, with a valid call of each.

A new function is found by itself; where its arguments have names that are not known here, a test says so, and a value
is added to `VALID` (by the argument's name) or `PARTICULAR` (by callable and argument).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
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

SKIPPED = {
    # what ends the process, waits, or measures; what needs a GPU; what takes no argument of a caller's
    "testing.check_kernel", "custom_kernel", "testing.KernelCount", "testing.Memory", "testing.KernelError",
    "testing.ParityError", "testing.ParityReport", "testing.Tally", "testing.AnomalyError", "autograd.AnomalyError",
    "testing.needed_memory", "testing.peak_memory", "explain", "train.DivergedError", "settings.Flag", "data.Table",
    "AcceleratorError", "OutOfMemoryError", "data.DataError", "cuda.OutOfMemoryError", "testing.GradcheckError",
    "testing.OracleError", "cuda.backend", "DType", "dtype", "testing.check_parity", "testing.Sample",
    "testing.as_torch",
    "testing.cases", "autograd.Function", "Function", "data.Dataset", "train.Progress", "train.make_progress",
    "nn.Identity", "nn.Module.get_extra_state", "nn.Module.set_extra_state", "settings.Setting", "settings.check",
    "optim.Optimizer", "optim.lr_scheduler.Optimizer", "testing.Tolerance",
    "optim.lr_scheduler.LRScheduler",
}


def here(root: Any, path: str) -> Any:
    """The object at a dotted path; PyTorch's data loaders are in `torch.utils`."""
    if root is torch and path.split(".")[0] == "data":
        path = "utils." + path
    for part in path.split(".") if path else ():
        root = getattr(root, part)
    return root


def matrix(T: Any) -> Any:
    return T.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


def vector(T: Any) -> Any:
    return T.tensor([0.25, 0.5, 0.75])


def square(T: Any) -> Any:
    return T.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 10.0]])


def cube(T: Any) -> Any:
    return T.ones(2, 3, 3)


def image(T: Any) -> Any:
    return T.ones(1, 3, 4, 4)


def model(T: Any) -> Any:
    T.manual_seed(0)
    return T.nn.Linear(3, 1)


def optimizer(T: Any) -> Any:
    return T.optim.SGD([T.nn.Parameter(T.ones(2))], lr=0.1)


def dataset(T: Any) -> Any:
    return here(T, "data").TensorDataset(matrix(T), T.tensor([0.0, 1.0]))


def loader(T: Any) -> Any:
    return here(T, "data").DataLoader(here(T, "data").TensorDataset(matrix(T), T.tensor([[0.0], [1.0]])), batch_size=1)


def const(value: Any) -> Callable[[Any], Any]:
    return lambda T: value


def integers(*values: int) -> Callable[[Any], Any]:
    return lambda T: T.tensor(values)


VALID: dict[str, Callable[[Any], Any]] = {
    "self": matrix, "input": matrix, "other": matrix, "target": matrix, "tensor": matrix, "obj": matrix, "src": matrix,
    "A": matrix, "x": matrix, "x1": matrix, "x2": matrix, "a": matrix, "b": matrix, "mask": lambda T: matrix(T) > 0.2,
    "condition": lambda T: matrix(T) > 0.2, "values": matrix, "end": matrix, "tensor1": matrix, "tensor2": matrix,
    "query": cube, "key": cube, "value": const(2.0), "dim": const(0), "dim0": const(0), "dim1": const(1),
    "index": integers(1, 0), "indices": integers(1, 0), "index2": integers(0), "source": matrix,
    "destination": const(1),
    "name": const("cpu"), "kernel_size": const(2), "tensors": lambda T: [matrix(T), matrix(T)], "size": const((2, 3)),
    "padding": const(1), "path": const("file.npz"), "indices_or_sections": const(1), "weight": matrix,
    "model": model, "batch1": lambda T: T.ones(2, 2, 3), "batch2": lambda T: T.ones(2, 3, 3),
    "mat1": lambda T: T.ones(2, 3), "mat2": square, "mat": square, "vec": vector, "vec2": vector,
    "data": const([1.0, 2.0]), "start": const(0), "exponent": const(2), "k": const(1), "seed": const(3),
    "device": const("cpu"), "normalized_shape": const((3,)), "dataset": dataset, "epochs": const(1),
    "fill_value": const(1.5), "shape": const((3, 2)), "mode": const(True), "loss_fn": lambda T: T.nn.MSELoss(),
    "logit": vector, "chunks": const(2), "max": const(0.5), "min": const(0.1), "n": const(3), "axis": const(0),
    "dims": const((1, 0)), "array": const(np.ones((2, 3), np.float32)), "length": const(1), "low": const(0),
    "high": const(5), "repeats": const(2), "shifts": const(1), "dtype": lambda T: T.float32, "split_size": const(1),
    "row": const(2), "col": const(3), "sizes": const((1, 2)), "num_features": const(3), "in_channels": const(3),
    "out_channels": const(2), "output_size": const((4, 4)), "in_features": const(3), "out_features": const(2),
    "threshold": const(0.3), "mean": const(np.zeros(3)), "std": const(np.ones(3)), "batch": const([1.0, 2.0]),
    "train_loader": loader, "loader": loader, "steps": const(3), "precision": const("highest"),
    "num_embeddings": const(4), "embedding_dim": const(3), "running_mean": vector, "running_var": vector,
    "p": const(0.5), "pad": const((1, 1)), "nonlinearity": const("relu"), "val": const(0.5), "T_max": const(5),
    "lr_lambda": const(len), "step_size": const(2), "datasets": lambda T: [dataset(T)], "lengths": const([1, 1]),
    "logits": matrix, "optimizer": optimizer, "params": lambda T: [T.nn.Parameter(T.ones(2))],
    "equation": const("ij->ji"),
    "operands": lambda T: (matrix(T),), "outputs": lambda T: T.ones(2, requires_grad=True).sum(),
    "inputs": lambda T: T.ones(2, requires_grad=True), "hook": const(lambda g: None), "prediction": vector,
    "state_dict": lambda T: {"a": matrix(T)}, "train": const(np.ones((2, 3))), "others": const(()), "args": const(()),
    "arrays": const((np.arange(12.0), )), "score": vector, "func": const(lambda x: x * 2), "module": model,
    "fn": const(len), "options": const({}), "kwargs": const({}), "param": lambda T: T.nn.Parameter(T.ones(2)),
    "closure": const(None), "param_group": lambda T: {"params": [T.nn.Parameter(T.ones(3))]}, "spec": const(""),
    "history": lambda T: T.train.History(), "protocol": const(2), "memo": const({}), "label": const(""),
}
"""A valid value for each argument of that name, made by a library T."""

whole = lambda T: T.tensor([[1, 2, 3], [4, 5, 6]])  # noqa: E731
truths = lambda T: T.tensor([[True, False, True], [False, False, True]])  # noqa: E731
long_index = lambda T: T.tensor([[0, 1, 0], [1, 0, 1]])  # noqa: E731
plain = lambda T: T.tensor(0.5)  # noqa: E731

PARTICULAR: dict[str, dict[str, Callable[[Any], Any]]] = {}
"""Arguments of one callable, by its dotted name (or the end of it: "sum" is of `sum` and of `Tensor.sum`)."""


def particular(names: str, **values: Callable[[Any], Any]) -> None:
    for name in names.split():
        PARTICULAR[name] = {**PARTICULAR.get(name, {}), **values}


particular("bitwise_and bitwise_or bitwise_xor __and__ __or__ __xor__ __rand__ __ror__ __rxor__ __iand__ __ior__ "
           "__ixor__",
           self=whole, input=whole, other=whole)
particular("bitwise_not __invert__", self=whole, input=whole)
particular("float_power_", self=lambda T: T.ones(2, 3, dtype=T.float64))
particular("item __bool__ __float__ __int__ __index__ __complex__", self=lambda T: T.tensor(2))
particular("addmv", self=lambda T: T.ones(2), mat=matrix)
particular("bmm", self=cube, mat2=cube)
particular("baddbmm", self=lambda T: T.ones(2, 2, 3))
particular("dot outer", self=vector, other=vector)
particular("dsplit", self=cube)
particular("matmul __matmul__ __rmatmul__ __imatmul__ kron", self=square, other=square)
particular("gather scatter scatter_add", index=long_index)
particular("scatter take_along_dim", src=matrix, indices=long_index)
particular("linspace", end=const(1.0))
particular("movedim", source=const(0))
particular("select", index=const(1))
particular("promote_types", type1=lambda T: T.float32, type2=lambda T: T.int64)
particular("narrow", start=const(0))
particular("reshape view", shape=const(((3, 2),)))
particular("expand", size=const(((2, 3),)))
particular("empty ones zeros rand randn new_empty new_ones new_zeros", size=const(((2, 3),)))
particular("permute tile", dims=const(((1, 0),)))
particular("flip", axis=const(((0,),)))
particular("repeat", repeats=const(((1, 2),)))
particular("broadcast_shapes", shapes=const(((2, 3), (1, 3))))
particular("broadcast_tensors atleast_1d atleast_2d atleast_3d data.TensorDataset",
           tensors=lambda T: (matrix(T), matrix(T)))
particular("meshgrid", tensors=lambda T: (vector(T), vector(T)))
particular("Tensor", data=const(([1.0, 2.0],)))
particular("Size", iterable=const((2, 3)))
particular("fill masked_fill fill_", value=const(0.5))
particular("copy_", src=matrix)
particular("where", condition=truths)
particular("normal_ uniform_", mean=const(0.0), std=const(1.0))
particular("scaled_dot_product_attention", value=cube)
particular("embedding Embedding()", input=integers(1, 0), weight=square)
particular("one_hot", tensor=integers(1, 0))
particular("prelu", weight=lambda T: T.tensor(0.25))
particular("linear", weight=square)
particular("conv1d Conv1d()", input=cube, weight=lambda T: T.ones(2, 3, 2))
particular("conv2d Conv2d() avg_pool2d max_pool2d AvgPool2d() MaxPool2d() unfold Unfold() BatchNorm2d() "
           "CircularPad2d() ReflectionPad2d() ReplicationPad2d()", input=image, weight=lambda T: T.ones(2, 3, 2, 2))
particular("fold Fold()", input=lambda T: T.ones(1, 4, 9))
particular("GLU() glu", input=lambda T: T.ones(2, 4))
particular("nll_loss NLLLoss() cross_entropy CrossEntropyLoss()", target=integers(1, 0))
particular("check_dense", scale_grad_by_freq=const(False), sparse=const(False))
particular("nn.Module.add_module nn.Module.register_module nn.Module.register_buffer nn.Module.register_parameter",
           name=const("own"))
particular("nn.Module.apply", fn=const(lambda module: None))
particular("nn.Module.load_state_dict", state_dict=lambda T: instance(T, "nn.Module").state_dict())
particular("optim.SGD.load_state_dict", state_dict=lambda T: instance(T, "optim.SGD").state_dict())
particular("optim.Adam.load_state_dict", state_dict=lambda T: instance(T, "optim.Adam").state_dict())
particular("optim.lr_scheduler.StepLR.load_state_dict",
           state_dict=lambda T: instance(T, "optim.lr_scheduler.StepLR").state_dict())
particular("LambdaLR", lr_lambda=const(lambda epoch: 0.5))
particular("data.load", name=const("diabetes"))
particular("data.read_csv", path=const("table.csv"))
particular("accuracy binary_accuracy r2_score roc_curve root_mean_squared_error plot_classification plot_regression",
           logits=const(np.eye(2)), target=const(np.array([0.0, 1.0])), logit=const(np.array([0.5, -0.5])),
           prediction=const(np.array([0.5, 1.0])), score=const(np.array([0.5, 1.0])), path=const("picture.png"))
particular("train.metrics.accuracy", target=const(np.array([0, 1])))
particular("viz.check_plot_path viz.plot_history", path=const("picture.png"), history=lambda T: told(T))
particular("gradcheck gradgradcheck", inputs=lambda T: T.ones(2, dtype=T.float64, requires_grad=True))
particular("register_hook retain_grad", self=lambda T: T.ones(2, requires_grad=True) * 2)
particular("Tensor.backward", self=lambda T: T.ones(2, requires_grad=True).sum())
particular("assign overwrite rebind from_node", node=lambda T: matrix(T).node, name=const("own"))
particular("accumulate", ct=lambda T: matrix(T).node)
particular("another", node=lambda T: matrix(T).node, changed=const(len))
particular("data.Subset", indices=const([1, 0]))
particular("share", view=const(lambda x: x), update=const(lambda base, v: v))
particular("from_dlpack", ext_tensor=const(np.ones(2, np.float32)))
particular("settings.fuse settings.cache settings.poison settings.tune settings.validate", value=const(False))
particular("settings.debug", value=const(0))
particular("settings.device", value=const("cpu"))
particular("settings.matmul_precision", value=const("highest"))
particular("settings.virtual_gpu", value=const(""))
particular("set_rng_state cuda.set_rng_state", new_state=lambda T: T.get_rng_state())
particular("cuda.set_rng_state_all", new_states=lambda T: [T.get_rng_state()])
particular("register_post_accumulate_grad_hook", self=lambda T: T.ones(2, requires_grad=True))
particular("Standardiser", mean=const(np.zeros(3)), std=const(np.ones(3)))
particular("Tensor.cuda nn.Module.cuda", device=const(0))
particular("clamp clip", self=matrix)
particular("__getitem__ __setitem__", index=const(0), value=const(0.5))
particular("__format__", spec=const(""))
particular("backward", tensors=lambda T: T.ones(2, requires_grad=True).sum())
particular("index_add index_copy", source=matrix)
particular("roll", shifts=const(1))
particular("heaviside", values=matrix)
particular("lerp", end=matrix, weight=const(0.5))
particular("train_test_split", arrays=lambda T: (np.arange(12.0),))
particular("standardise", others=const(()))


def both(T: Any) -> dict[str, Any]:
    leaf = T.ones(2, requires_grad=True)
    return {"outputs": (leaf * leaf).sum(), "inputs": leaf}


def told(T: Any) -> Any:
    return mt.train.History([0.5, 0.25], seconds=[1.0, 1.0])


class Target(NamedTuple):
    """A public callable: its name, how to get it of a library, and its signature (that of ours)."""

    name: str
    get: Callable[[Any], Any]
    signature: inspect.Signature
    method: bool


def instance(T: Any, root: str) -> Any:
    """What a method of a class is called on."""
    if root == "nn.Module":
        return T.nn.Sequential(T.nn.Linear(3, 2), T.nn.ReLU(), T.nn.Linear(2, 1))
    if root.startswith("optim.lr"):
        return T.optim.lr_scheduler.StepLR(optimizer(T), 2)
    return here(T, root)([T.nn.Parameter(T.ones(2))], lr=0.1)


def public(root: str, owner: Any) -> Iterator[str]:
    for name in sorted(dir(owner)):
        hidden = name.startswith("_") and not (root == "Tensor" and name in OPERATORS)
        if hidden or f"{root}.{name}".lstrip(".") in SKIPPED:
            continue
        if root == "Tensor" and not hasattr(torch.Tensor, name):       # how the tensor layer works within
            continue
        value = inspect.getattr_static(owner, name)
        if isinstance(value, property) or inspect.ismodule(value) or not callable(getattr(owner, name)):
            continue
        home = str(getattr(getattr(owner, name), "__module__", "microtrain"))
        if not home.startswith("microtrain") or (root in OWN and home != owner.__name__):
            continue
        yield name


OPERATORS = (
    *[f"__{side}{name}__" for side in ("", "r", "i") for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul")],
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__getitem__", "__setitem__", "__contains__",
    "__bool__", "__float__", "__int__", "__index__", "__len__")


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
                if name == "forward":
                    continue
                static = inspect.getattr_static(owner, name)
                if not isinstance(static, classmethod | staticmethod):
                    signature = signature.replace(parameters=list(signature.parameters.values())[1:])
                yield Target(path, lambda T, r=root, n=name: getattr(instance(T, r), n), signature, True)
                continue
            if "self" in signature.parameters and not bound:        # a method as a function
                signature = signature.replace(parameters=[p.replace(name="input") if n == "self" else p
                                                          for n, p in signature.parameters.items()])
            yield Target(path, lambda T, p=path: here(T, p), signature, root == "Tensor")
            if root == "nn" and inspect.isclass(value) and issubclass(value, mt.nn.Module) and name not in CONTAINERS:
                forward = inspect.signature(value.forward)
                forward = forward.replace(parameters=list(forward.parameters.values())[1:])
                yield Target(f"{path}()", lambda T, p=path, s=signature: constructed(T, p, s), forward, True)


def constructed(T: Any, path: str, signature: inspect.Signature) -> Any:
    """An instance of a class, of valid arguments."""
    args, kwargs = base(path, signature, T)
    return here(T, path)(*args, **kwargs)


CONTAINERS = ("Module", "ModuleList", "Parameter")


def valid(path: str, name: str) -> Callable[[Any], Any] | None:
    """How to make a valid value of an argument."""
    for known in (path, path.split(".")[-1], path.split(".")[-1].rstrip("_")):
        if name in PARTICULAR.get(known, ()):
            return PARTICULAR[known][name]
        if name == "input" and "self" in PARTICULAR.get(known, ()):
            return PARTICULAR[known]["self"]
    return VALID.get(name)


def base(path: str, signature: inspect.Signature, T: Any, but: str = "",
         wrong: Any = None) -> tuple[list[Any], dict[str, Any]]:
    """A call's arguments, the required ones alone, or with one of them (or an optional one) wrong."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    last = path.split(".")[-1]
    together = next((TOGETHER[n] for n in (path, last, last.rstrip("_")) if n in TOGETHER), None)
    made = together(T) if together else {}
    for name, p in signature.parameters.items():
        if name == but:
            value = wrong
            if p.kind is p.VAR_POSITIONAL:
                value = (wrong,)
        elif name in made:
            value = made[name]
        elif p.default is not p.empty:
            continue
        else:
            make = valid(path, name) or BY_TYPE.get(str(p.annotation))
            if make is None:
                raise LookupError(f"no valid value is known for the argument {name!r} of {path}: add one to "
                                  "tests/calls/public_calls.py")
            value = make(T)
        if p.kind is p.VAR_POSITIONAL:
            args += value if isinstance(value, tuple) else (value,)
        elif p.kind is p.VAR_KEYWORD:
            kwargs.update(value if isinstance(value, dict) else {})
        elif p.kind is p.KEYWORD_ONLY or p.default is not p.empty:
            kwargs[name] = value
        else:
            args.append(value)
    return args, kwargs


def run_of(T: Any) -> dict[str, Any]:
    return {"path": "run.npz", "model": model(T), "optimizer": T.optim.SGD(model(T).parameters(), lr=0.1)}


BY_TYPE: dict[str, Callable[[Any], Any]] = {
    "int": const(1), "float": const(0.5), "bool": const(True), "str": const("cpu"), "Tensor": matrix}
"""A value for an argument whose name is not known, by its annotation."""

TOGETHER: dict[str, Callable[[Any], dict[str, Any]]] = {
    "grad": both, "arange": lambda T: {"start": 0, "end": 3},
    "save_training": lambda T: {**run_of(T), "more": {}}, "load_training": lambda T: run_of(T),
    "clamp": lambda T: {"min": 0.2}, "clip": lambda T: {"min": 0.2}, "randint": lambda T: {"high": 5, "size": (3,)},
    "randint_like": lambda T: {"high": 5}, "scatter": lambda T: {"src": matrix(T)},
}
"""All required arguments of callables whose arguments belong together."""
