"""Running cases of the operator database on a device and counting what comes of them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from importlib import metadata

import microtrain

from ... import settings
from ..report import SECOND, ParityReport
from .judge import judge
from .operators import DTYPES, Case, cases, error_cases, find, spread
from .raising import judge_error

Choose = Callable[[list[Case]], list[Case]]


def at_most(count: int) -> Choose:
    """So many of an operator's cases in a dtype, the smaller half evenly; see `operators.spread`."""
    return lambda found: spread(found, count)


def parity(names: Iterable[str], device: str, dtypes: Sequence[str] = DTYPES, order: int = SECOND,
           choose: Choose = list, errors: bool = False) -> ParityReport:
    """Judge operators on a device against PyTorch, all cases or chosen ones; with `errors`, wrong arguments too.

    Names that microtrain does not have are in the report's `absent`. Raises ImportError where PyTorch's database cannot
    be loaded, RuntimeError where the device cannot be used.
    """
    report = ParityReport()
    with settings.device(device):
        for name in names:
            if find(name) is None:
                report.absent[name] = why_absent(name)
                continue
            for dtype in dtypes:
                for case in choose(list(cases(name, dtype))):
                    report.add(*judge(case, device, order))
            report.add(*[judge_error(wrong, device) for wrong in (error_cases(name) if errors else ())])
    return report


def why_absent(name: str) -> str:
    """What is said where a name is asked for that is not there."""
    try:
        reduce(getattr, name.split("."), microtrain)
    except AttributeError as error:
        return str(error)
    raise LookupError(f"microtrain.{name} is there")


def about(devices: Sequence[str]) -> dict[str, str]:
    """Devices and versions, for a report."""
    found = {"device": ", ".join(devices), "python": platform.python_version(), "microtrain": microtrain.__version__}
    packages = ("torch", "numpy", *(("triton",) if set(devices) != {"cpu"} else ()))
    return found | {package: metadata.version(package) for package in packages}
