"""Every public callable with every argument wrong in turn, beside PyTorch: what is wrong has to be said at the door.

    python -m tests.calls.wrong_calls [--every N] [--only WORD] [--list KINDS]

Callables and arguments are found by inspection, so a new function is covered as soon as it has a valid call: values for
arguments go by the argument's name (`VALID`), or by callable and argument (`PARTICULAR`). A call counts as

- "inside"   where it ends in an error that no caller should see (AttributeError, KeyError, ZeroDivisionError, ...);
- "unsaid"   where it ends in Python's or NumPy's own words, which do not name the wrong value's type;
- "silent"   where it is accepted, and PyTorch refuses it;
- "differs"  where both accept it and the values differ;
- "fine"     otherwise: refused in words, or accepted with PyTorch's value.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import math
import resource
import signal
import sys
import tempfile
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import microtrain as mt
from tests.calls import public_calls
from tests.calls.public_calls import Maker, Target, base, const, matrix, plain, targets


class Other:
    """An object of no use."""


WRONG: dict[str, Maker] = {
    "None": const(None), "text": const("planted()"), "bytes": const(b"planted()"), "int": const(3), "True": const(True),
    "negative": const(-7), "float": const(1.5), "nan": const(float("nan")), "huge": const(2**70), "complex": const(1j),
    "list": lambda T: [1.0, 2.0], "texts": lambda T: ["planted()", "b"], "empty": lambda T: [], "pair": const((1, 0)),
    "seven": const((1, 2, 3, 4, 5, 6, 7)), "dict": lambda T: {"planted()": 1}, "set": lambda T: {1.5},
    "array": lambda T: np.ones((2, 3), np.float32), "objects": lambda T: np.array(["planted()", None], object),
    "numpy int": const(np.int64(1)), "numpy float": const(np.float32(0.5)), "tensor": matrix, "point": plain,
    "foreign": lambda T: (mt if T is torch else torch).ones(2, 3), "object": lambda T: Other(), "class": const(Other),
    "function": const(len),
}

ALLOWED = (
    ("full new_full randint tile", "size dims", "int", "one number is one size"),
    ("", "device name", "int", "a number is a GPU's, which is asked for when a value is computed"),
    ("clamp clip clamp_", "max", "tensor point", "a number beside a tensor is a bound too"),
    ("scatter scatter_", "src", "int negative float True nan numpy int numpy float", "a number as src is one as value"),
    ("flip", "dims", "", "is given beside axis here, which PyTorch does not have"),
    ("logsumexp softmin", "dim", "None empty", "all axes"),
    ("max min", "dim", "tensor point", "by this name too: the element-wise one"),
    ("uniform_ normal_", "low high a b gain std", "", "are called from and to there"),
    ("random_split", "generator", "int negative numpy int", "is a seed here"),
    ("type", "dtype", "None", "names the dtype as it is named everywhere else"),
    ("Tensor", "data", "int negative numpy int", "memory that nobody has written to"),
    ("bernoulli_", "p", "", "probabilities are looked at when they are used"),
    ("no_grad enable_grad inference_mode", "function", "class function", "a class is called too"),
    ("Adam AdamW", "betas", "empty", "is looked at when it is used"),
    ("soft_margin_loss SoftMarginLoss", "input", "point", "broadcasts"), ("", "keepdim", "True", "of all axes too"),
    ("add sub subtract rsub", "alpha", "True", "counts as 1"),
    ("to", "args", "True", "is non_blocking, whatever its place"),
    ("default_collate", "batch", "list", "a batch of Python's floats is of the default dtype"),
    ("AvgPool1d AvgPool2d MaxPool1d MaxPool2d", "kernel_size stride padding", "point", "is looked at when it is used"),
    ("SGD.zero_grad Adam.zero_grad zero_grad", "set_to_none", "", "whatever is true"),
    ("Tensor", "data", "float nan numpy float", "a number is a 0-d tensor"),
    ("backward", "create_graph", "None", "is False"), ("fit", "epochs", "huge", "takes long"),
    ("arange", "step", "huge", "is refused by NumPy, in words that name it"),
    ("state_dict", "destination", "", "is assigned to, whatever it is"), ("step", "epoch", "", "is computed with"),
    ("inference_mode", "mode", "array objects", "is no bool"),
    ("fill_", "label", "text", "is what its entry on the tape is called"),
    ("set_rng_state", "device", "", "is not looked at: there is one generator"),
    ("tril_indices triu_indices", "offset", "huge", "is refused by NumPy, in words that name it"),
    ("cosine_similarity", "eps", "negative", "as it is"),
    ("std var", "dim", "True", "is unbiased, as PyTorch has it too")
)
"""What is accepted here and refused by PyTorch, or has another value, and why: callables, arguments, wrong values."""


def allowed(target: Target, argument: str, wrong: str) -> bool:
    name = target.name.split(".")[-1].rstrip("()")
    return any(argument in arguments.split() and name in (names.split() or [name]) and (not values or wrong in values)
               for names, arguments, values, _ in ALLOWED)


class Verdict(NamedTuple):
    kind: str
    target: str
    argument: str
    wrong: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.kind:8}{self.target}({self.argument}={self.wrong}): {self.ours}   | PyTorch: {self.theirs}"


SECONDS = 20


class Late(BaseException):
    """A call that has not ended in SECONDS."""


def _late(*_: Any) -> None:
    raise Late(f"not ended after {SECONDS} s")


INSIDE = (AttributeError, KeyError, UnboundLocalError, NameError, ZeroDivisionError, RecursionError, AssertionError,
          StopIteration, SystemError, Late, MemoryError, UnicodeError, FloatingPointError)
"""Errors that no wrong call may end in, unless PyTorch's does."""


def outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a call gives, its values computed, or what it raises."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            signal.alarm(SECONDS)
            try:
                return plainly(call()), None
            finally:
                signal.alarm(0)
        except (Exception, Late) as error:
            return None, error


def plainly(value: Any, depth: int = 0) -> Any:
    """Values as what can be compared: tensors as lists."""
    if isinstance(value, mt.Tensor | torch.Tensor):
        return ("tensor", str(value.dtype), value.detach().tolist())
    if isinstance(value, tuple | list) and depth < 3:
        return [plainly(v, depth + 1) for v in value]
    if isinstance(value, bool | int | float | str | type(None)):
        return value
    if isinstance(value, types.GeneratorType | itertools.chain):
        return [plainly(v, depth + 1) for v in itertools.islice(value, 5)]
    return ("some",)


def alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    if isinstance(ours, float | int) and isinstance(theirs, float | int):
        close = math.isclose(ours, theirs, rel_tol=1e-4, abs_tol=1e-5)
        return ours == theirs or close or (ours != ours and theirs != theirs)
    return bool(ours == theirs) or ("some",) in (ours, theirs)


OBSCURE = ("object is not", "has no len()", "not supported between", "unsupported operand", "object does not support",
           "cannot convert float", "must be real number", "object cannot be interpreted", "ufunc", "truth value of",
           "not enough values to unpack", "too many values to unpack", "has no attribute", "can only concatenate",
           "bad operand type", "argument must be", "not iterable", "is not subscriptable", "unhashable",
           "inhomogeneous", "could not convert string", "object too deep", "list index", "Python int too large")
"""Words of Python's and NumPy's own errors."""


def says(error: BaseException) -> bool:
    """Whether an error is in words of ours: raised by a `raise` of ours, not by Python or NumPy within."""
    frames = traceback.extract_tb(error.__traceback__)
    if "raise " in (frames[-1].line or "") and "microtrain" in frames[-1].filename:
        return True
    return not isinstance(error, IndexError) and not any(text in str(error) for text in OBSCURE)


RANDOM = ("rand", "bernoulli", "dropout", "Dropout", "uniform", "normal", "empty", "nn.", "seed", "init.", "manual",
          "new_empty", "Tensor.__deepcopy__", "data.random_split", "__format__", "Tensor.T", "Size")
"""Callables whose values are drawn, or mean nothing."""


def judge(target: Target, argument: str, wrong: str, comparable: bool) -> Verdict:
    """One wrong call, on microtrain and on PyTorch."""
    ours, mine = run(target, mt, argument, WRONG[wrong])
    theirs, its = run(target, torch, argument, WRONG[wrong]) if comparable else (None, None)
    told, its_told = (f"accepted {str(value)[:60]}" if error is None else f"{type(error).__name__}: {error}"[:160]
                      for value, error in ((ours, mine), (theirs, its)))
    kind = "fine"
    if allowed(target, argument, wrong):
        pass
    elif mine is not None:
        inside = isinstance(mine, INSIDE) and not (isinstance(mine, KeyError | AssertionError)
                                                   and (type(its) is type(mine) or says(mine)))
        if inside or (wrong != "function" and not says(mine)):      # which was called, and raised what it raises
            kind = "inside" if inside or isinstance(mine, IndexError) else "unsaid"
    elif wrong not in ("huge", "nan", "numpy int", "numpy float") and \
            target.signature.parameters[argument].default is not WRONG[wrong](mt):      # numbers like any
        if its is not None:
            kind = "silent"
        elif comparable and not any(word in target.name for word in RANDOM) and not alike(ours, theirs):
            kind = "differs"
    return Verdict(kind, target.name, argument, wrong, told.replace("\n", " "),
                   its_told.splitlines()[0] if comparable else "-")


def run(target: Target, T: Any, argument: str = "", wrong: Maker | None = None) -> tuple[Any, BaseException | None]:
    """A call of a target with one argument wrong; the modes are put back."""
    def call() -> Any:
        args, kwargs = base(target.name, target.signature, T, argument, wrong(T) if wrong else None)
        T.manual_seed(0)
        out = target.get(T)(*args, **kwargs)
        if out is NotImplemented:
            raise TypeError("Python says that the operand is not supported")
        return [out, *[a for a in args if isinstance(a, T.Tensor)]] if target.name.endswith("_") else out
    with kept(T):
        return outcome(call)


@contextlib.contextmanager
def kept(T: Any) -> Iterator[None]:
    """Modes and defaults as they were."""
    grad, dtype = T.is_grad_enabled(), T.get_default_dtype()
    precision = T.get_float32_matmul_precision()
    flags = [(flag, flag.value) for flag in vars(mt.settings).values() if isinstance(flag, mt.settings.Flag)]
    try:
        yield
    finally:
        T.set_grad_enabled(grad)
        T.set_default_dtype(dtype)
        T.set_float32_matmul_precision(precision)
        if T is mt:
            for flag, value in flags:
                flag.set(value)
        T.autograd.set_detect_anomaly(False)
        T.set_printoptions(profile="default")


def verdicts(every: int = 1, only: str = "") -> Iterator[Verdict]:
    """All wrong calls, or every so manyth; a callable without a valid call is one that is "unknown"."""
    count = itertools.count()
    for target in targets():
        if only not in target.name:
            continue
        _, error = run(target, mt)
        if error is not None and "no CUDA device" not in str(error):
            yield Verdict("unknown", target.name, "", "", f"its valid call raises {type(error).__name__}: {error}", "")
        comparable = error is None and exists(target) and run(target, torch)[1] is None
        for argument in [*target.signature.parameters][target.name.startswith("Tensor."):]:
            for wrong in WRONG:
                if next(count) % every == 0:
                    yield judge(target, argument, wrong, comparable)


def prepared(folder: Path) -> None:
    """The files that calls read, in the current folder."""
    # PyTorch imports a part of itself with its first optimizer: not in a call that may be ended half-way.
    torch.optim.SGD([torch.ones(1, requires_grad=True)]).step()
    signal.signal(signal.SIGALRM, _late)
    mt.train.checkpoint.save({"a": mt.ones(2)}, folder / "file.npz")
    parts = public_calls.TOGETHER["save_training"](mt)
    mt.train.checkpoint.save_training(**{name: value for name, value in parts.items() if name != "more"})
    (folder / "table.csv").write_text("a,b\n1,2\n3,4\n")


def exists(target: Target) -> bool:
    try:
        target.get(torch)
    except Exception:
        return False
    return not target.name.startswith("settings")


def options_of(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every so manyth call")
    parser.add_argument("--only", default="", help="only callables whose name has this word")
    return parser


def main() -> int:
    parser = options_of(__doc__)
    parser.add_argument("--list", default="inside,unsaid,silent,differs,unknown", help="kinds that are listed")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        prepared(Path())
        for verdict in verdicts(options.every, options.only):
            counts[verdict.kind] += 1
            if verdict.kind in options.list.split(","):
                print(verdict, flush=True)
    print(f"{sum(counts.values())} calls: " + ", ".join(f"{n} {kind}" for kind, n in counts.most_common()))
    return int(any(counts[kind] for kind in ("inside", "unsaid", "silent", "differs", "unknown")))


if __name__ == "__main__":
    sys.exit(main())
