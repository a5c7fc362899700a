"""Judging the inputs of the operator database that must raise: PyTorch's exception type, and a message that helps."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

from ..report import ERRORS, Tally
from ..running import Arguments, Library, on
from .operators import ErrorCase, find, tensors_in


@dataclass(frozen=True)
class Raised:
    """What a call with wrong arguments came to: what it raised, if anything, and what that lacks."""

    error: Exception | None
    lacks: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        if self.error is None:
            return "did not raise"
        said = f"{type(self.error).__name__}: {' '.join(str(self.error).split())}"
        return f"{' and '.join(self.lacks)}: {said}" if self.lacks else None


def raised(case: ErrorCase, device: str) -> Raised | None:
    """What microtrain makes of wrong arguments: PyTorch's exception type and a message that names the operation (or is
    PyTorch's own) and a value, a shape or a dtype of the arguments, or what of that is missing.

    None where PyTorch itself does not raise, and where microtrain has no such tensors (complex, sparse).
    Raises LookupError where microtrain has nothing of that name.
    """
    function = find(case.operation)
    if function is None:
        raise LookupError(f"microtrain has no {case.operation}")
    theirs, ours = on("torch"), on(device)
    try:
        given = case.arguments(theirs), case.arguments(ours)
    except Exception:
        return None
    if attempt(theirs, case.function, given[0]) is None:
        return None
    error = attempt(ours, function, given[1])
    if error is None:
        return Raised(None)
    message = " ".join(str(error).split())
    there = {"is not PyTorch's type": isinstance(error, case.error),
             "does not name the operation": names_it(case, message),
             "does not tell the offending value": tells(case, message)}
    return Raised(error, tuple(what for what, right in there.items() if not right))


def attempt(library: Library, function: Any, given: Arguments) -> Exception | None:
    """What a call raises, at once or when its value is computed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for tensor in tensors_in(function(*given.args, **given.kwargs)):
                library.array(tensor)
        except Exception as error:
            return error
    return None


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
    outcome = raised(case, device)
    if outcome is None:
        return Tally(case.operation, device, "", ERRORS, uncounted=1)
    said = [f"{case}: {outcome.problem}; PyTorch: {case.error.__name__} {case.pattern!r}"] if outcome.problem else []
    return Tally(case.operation, device, "", ERRORS, tried=1, passed=int(not said), failures=said)
