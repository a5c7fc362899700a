"""The search that MICROTRAIN_TUNE=1 asks for: which of a few tiles is fastest on this GPU, measured once, kept on disk.

It runs when a plan is made, never when one is run, on memory of its own: nobody's values are read or changed. Whatever
tile is chosen, a kernel computes the same sums; their order, and with it the last bits, may be another tile's.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..errors import AcceleratorError
from ..files import cache_folder, replacing
from ..graph.spec import Spec
from ..runtime.backend import Buffer, Timer
from .templates.template import Kernel, Launch, encoded

CANDIDATES = 8  # Tiles measured for a kernel, the best guess among them
GAIN = 0.97  # The part of the guess's time that another tile must stay below: a smaller gain is noise
BLOCK = 1 << 20  # Random numbers that scratch memory repeats: the host takes 5 ms for them


def tuned(kernel: Kernel, device: Timer) -> Launch:
    """The launch of a kernel with the fastest of its tiles on a device.

    Raises what the guess raises where no tile can be launched.
    """
    launches = kernel.launches(device.arch, CANDIDATES)
    if len(launches) == 1:
        return launches[0]
    tiles = [tile_of(launch) for launch in launches]
    name = file_of(kernel, launches[0], tiles, device)
    known = kept(name)
    if known in tiles:
        return launches[tiles.index(known)]
    times = measured(kernel, launches, device)
    fastest = min(range(len(times)), key=times.__getitem__)
    best = fastest if times[fastest] < GAIN * times[0] else 0
    keep(name, tiles[best], {json.dumps(tile): time for tile, time in zip(tiles, times, strict=True)})
    return launches[best]


def tile_of(launch: Launch) -> dict[str, int]:
    """What tells one candidate from another: its blocks, warps and stages."""
    blocks = {name: value for name, value in launch.constexprs.items() if name.startswith("BLOCK")}
    return blocks | {name: launch.options[name] for name in ("num_warps", "num_stages")}


# -------------------------------------------------------------------------------------------------------- measuring

def measured(kernel: Kernel, launches: list[Launch], device: Timer) -> list[float]:
    """The seconds that each takes, infinite for one that cannot be launched on this device."""
    stores = set(kernel.group.stores)
    memory = [device.empty(value.spec) if value in stores else scratch(value.spec, device) for value in kernel.pointers]
    pointers = tuple(device.pointers(memory, None, ()))
    scalars = tuple([encoded(1, value.dtype) for value in kernel.scalars])
    times, errors = [], []
    for launch in launches:
        try:
            times.append(device.seconds(launch, pointers, scalars))
        except AcceleratorError:
            raise
        except Exception as error:          # too much shared memory, say: a tile that is none here
            times.append(float("inf"))
            errors.append(error)
    if len(errors) == len(launches):
        raise errors[0]
    return times


def scratch(spec: Spec, device: Timer) -> Buffer:
    """Memory that nobody owns: integers 0, for they may be indices, floats between 0 and 1, so that nothing is NaN."""
    if not spec.dtype.is_floating_point:
        return device.from_numpy(np.zeros(spec.shape, spec.dtype.numpy))
    block = np.random.default_rng(0).random(min(max(spec.numel, 1), BLOCK)).astype(spec.dtype.numpy)
    return device.from_numpy(np.resize(block, spec.shape))


# ----------------------------------------------------------------------------------------------------------- on disk

def folder() -> Path:
    """Where choices are kept: microtrain/tiles in the user's cache folder. Raises OSError as `cache_folder`."""
    return cache_folder() / "tiles"


def file_of(kernel: Kernel, launch: Launch, tiles: list[dict[str, int]], device: Timer) -> str:
    """The file of a kernel's choice, named by a hash of all that it may depend on."""
    key = {"functions": [function.source for function in kernel.emitted],
           "template": inspect.getsource(launch.function.fn),
           "constants": {name: str(constant) for name, constant in kernel.constants.items()},
           "options": {name: str(launch.constexprs.get(name)) for name in ("PRECISION", "INDEX", "OPERAND")},
           "sizes": launch.sizes, "buffers": [str(value.spec) for value in kernel.pointers], "tiles": tiles,
           "device": device.identity}
    return f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()}.json"


def kept(name: str) -> object:
    """The tile that a file holds; None where there is no such file, or none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return json.loads((folder() / name).read_text())["tile"]
    return None


def keep(name: str, tile: dict[str, int], seconds: dict[str, float]) -> None:
    """Write a choice and the times behind it, whole or not at all. A folder that cannot be written to keeps nothing."""
    with suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        with replacing(folder() / name) as temporary:
            temporary.write_text(json.dumps({"tile": tile, "seconds": seconds}))
