"""Judging the inputs of the operator database that must raise: PyTorch's exception type, and a message that helps."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

from ..report import ERRORS, Tally
from ..running import Library, on
from .operators import ErrorCase, find, tensors_in


@dataclass(frozen=True)
class Raised:
    """What a call with wrong arguments came to.

    `right` says that PyTorch's exception type was raised, `named` that the message names the operation (or is
    PyTorch's own), `told` that it holds a value, a shape or a dtype of the arguments.
    """

    error: Exception | None
    right: bool = False
    named: bool = False
    told: bool = False

    @property
    def problem(self) -> str | None:
        """What is wrong with it."""
        if self.error is None:
            return "did not raise"
        said = f"{type(self.error).__name__}: {' '.join(str(self.error).split())}"
        missing = [what for what, there in (("is not PyTorch's type", self.right),
                                            ("does not name the operation", self.named),
                                            ("does not tell the offending value", self.told)) if not there]
        return f"{' and '.join(missing)}: {said}" if missing else None


def attempt(library: Library, function: Any, case: ErrorCase) -> Exception | None:
    """What a call raises, at once or when its value is computed."""
    try:
        given = case.arguments(library)
    except Exception as error:
        raise InexpressibleError(f"{error}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for tensor in tensors_in(function(*given.args, **given.kwargs)):
                library.array(tensor)
        except Exception as error:
            return error
    return None


class InexpressibleError(Exception):
    """The arguments themselves cannot be made: complex numbers, sparse tensors."""


def raised(case: ErrorCase, device: str) -> Raised | None:
    """What microtrain makes of wrong arguments.

    None where PyTorch itself does not raise, and where the arguments hold what microtrain has no tensors of.
    Raises LookupError where microtrain has nothing of that name.
    """
    function = find(case.operation)
    if function is None:
        raise LookupError(f"microtrain has no {case.operation}")
    try:
        if attempt(on("torch"), case.function, case) is None:
            return None
        error = attempt(on(device), function, case)
    except InexpressibleError:
        return None
    if error is None:
        return Raised(None)
    message = " ".join(str(error).split())
    return Raised(error, isinstance(error, case.error), names_it(case, message), tells(case, message))


def names_it(case: ErrorCase, message: str) -> bool:
    """Whether a message names the operation, or is PyTorch's own for the case."""
    word = case.operation.rpartition(".")[2].strip("_")
    return bool(re.search(case.pattern, message)) or bool(re.search(rf"(?<![A-Za-z]){word}(?![a-z])", message))


def tells(case: ErrorCase, message: str) -> bool:
    """Whether a message holds one of the argument's values: a number, a text, a type; a size, rank or dtype."""
    return bool(set(re.findall(r"-?\w+(?:\.\w+)*", message)) & set(offered(case)))


def offered(case: ErrorCase) -> list[str]:
    """The words by which a message may point at an argument."""
    words = []
    pending = [*case.args, *case.kwargs.values()]
    for value in pending:       # grows as it is walked
        if isinstance(value, list | tuple):
            pending.extend(value)
            words += [type(value).__name__, str(len(value))]
        elif hasattr(value, "requires_grad"):
            dtype = str(value.dtype).removeprefix("torch.")
            words += [dtype, f"torch.{dtype}", dtype.capitalize(), *map(str, value.shape), f"{value.ndim}",
                      f"{value.ndim}D", str(value.numel())]
            words += [str(number) for number in value.flatten().tolist()] if value.numel() <= 64 else []
        else:
            words += [type(value).__name__, *re.findall(r"-?\w+(?:\.\w+)*", str(value))]
    return words


def judge_error(case: ErrorCase, device: str) -> Tally:
    """A tally of one case: passed when it raises PyTorch's exception type and the message helps."""
    tally = Tally(case.operation, device, "", ERRORS)
    outcome = raised(case, device)
    if outcome is None:
        tally.uncounted = 1
        return tally
    tally.tried = 1
    if outcome.problem is None:
        tally.passed = 1
    else:
        tally.failures.append(f"{case}: {outcome.problem}; PyTorch: {case.error.__name__} {case.pattern!r}")
    return tally

