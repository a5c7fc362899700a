"""The launch of a kernel of four arguments: by the driver alone, by Triton and by microtrain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microtrain.bench.timing import Contender

from ..limits import Limit
from ..workload import Subject

DRIVER = "driver"
TRITON = "triton kernel[grid]"


class Launch(Subject):
    """x + y over 1,024 elements: all of its time is the launch."""


def launch() -> Launch:
    """The subject."""
    return Launch(family="launch", name="launch of 4 arguments", about="queue a kernel that adds 1,024 numbers",
                  limit=Limit(launches=1), loop=True)


def contenders(first: str, torch: Any, torch_device: str, device: str, wait: Callable[[], Any]
               ) -> dict[str, Callable[[], Contender]]:
    """microtrain's launch, under the name `first`, and the others. `device` is microtrain's."""
    from ..launch_ways import Addition, OwnLaunch, RawLaunch, TritonLaunch

    def contender(addition: Addition) -> Contender:
        return Contender(addition, addition.check, wait)

    return {first: lambda: contender(OwnLaunch(torch, torch_device, device)),
            DRIVER: lambda: contender(RawLaunch(torch, torch_device)),
            TRITON: lambda: contender(TritonLaunch(torch, torch_device))}
