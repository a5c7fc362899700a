"""Where a workload's arrays live: NumPy's on the cpu device, PyTorch's where Triton's kernels run.

PyTorch's are drawn on the device, and results are judged there too: 2^28 elements never cross to the host.
"""

from __future__ import annotations

import gc
from typing import Any, Protocol

import numpy as np

import microtrain
from microtrain.bench.ceilings import gpu_started
from microtrain.engine.run import realize
from microtrain.graph.dtypes import from_name
from microtrain.graph.node import leaf
from microtrain.graph.spec import Device, spec
from microtrain.runtime import kernel_backend
from microtrain.tensor import Tensor
from microtrain.tensor.storage import wrap

from .draws import Draw, NumpyDraw, TorchDraw
from .workload import Instance, Values, Workload, by_hand, results

STILL_HELD = 1 << 32
"""Bytes above which cycles are looked for: that takes a process with PyTorch's compiler in it half a second."""


class Memory(Protocol):
    """Arrays of one library."""

    def draw(self, seed: int) -> Draw:
        """A source of random arrays."""

    def inputs(self, workload: Workload, seed: int = 0) -> Values:
        """A workload's inputs, rounded to its dtype."""

    def nudged(self, values: Values, seed: int, by: float) -> Values:
        """The same with every floating-point element off by up to a relative `by`."""

    def tensors(self, workload: Workload, values: Values, device: str) -> dict[str, Tensor]:
        """microtrain's tensors of them."""

    def right(self, workload: Workload, values: Values) -> Values:
        """The right results, in float64."""

    def wide(self, value: Any) -> Any:
        """An array, or a tensor of any package, as an array of this library in float64."""

    def largest(self, value: Any) -> float:
        """The largest absolute value."""

    def free(self) -> None:
        """Give memory back that nothing holds any more."""


class HostMemory:
    """NumPy's arrays; the right results are those by hand."""

    def draw(self, seed: int) -> Draw:
        return NumpyDraw(seed)

    def inputs(self, workload: Workload, seed: int = 0) -> Values:
        dtype = from_name(workload.dtype).numpy
        found = {name: np.asarray(value) for name, value in workload.inputs(self.draw(seed)).items()}
        return {name: value.astype(dtype) if value.dtype.kind == "f" else value for name, value in found.items()}

    def nudged(self, values: Values, seed: int, by: float) -> Values:
        rng = np.random.default_rng(seed)
        return {name: value if value.dtype.kind in "iu" else
                np.asarray(value * (1 + by * rng.uniform(-1, 1, value.shape)), value.dtype)
                for name, value in values.items()}

    def tensors(self, workload: Workload, values: Values, device: str) -> dict[str, Tensor]:
        return {name: microtrain.tensor(value, device=device) for name, value in values.items()}

    def right(self, workload: Workload, values: Values) -> Values:
        return results(self.in_float64(workload, values), workload.steps)

    def in_float64(self, workload: Workload, values: Values) -> Instance:
        """The workload by hand."""
        wide = {name: value if value.dtype.kind in "iu" else value.astype(np.float64)
                for name, value in values.items()}
        return by_hand(workload, np, wide)

    def wide(self, value: Any) -> np.ndarray:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.double().numpy() if not isinstance(value, Tensor) else value.numpy()
        return np.array(value, np.float64)

    def largest(self, value: Any) -> float:
        return float(np.abs(value).max(initial=0.0))

    def free(self) -> None:
        """Nothing to do."""


class TorchArrays:
    """PyTorch's tensors on one of its devices; the right results are PyTorch's own in float64.

    That is what a host would take minutes for. The suite holds PyTorch's float64 against the workloads by hand.
    """

    def __init__(self, torch: Any, device: str) -> None:
        self.torch, self.device = torch, device

    def draw(self, seed: int) -> Draw:
        return TorchDraw(self.torch, self.device, seed)

    def inputs(self, workload: Workload, seed: int = 0) -> Values:
        dtype = getattr(self.torch, workload.dtype)
        return {name: value.to(dtype) if value.is_floating_point() else value
                for name, value in workload.inputs(self.draw(seed)).items()}

    def nudged(self, values: Values, seed: int, by: float) -> Values:
        draw = self.draw(seed)
        return {name: (value * (1 + draw.uniform(by, *value.shape))).to(value.dtype) if value.is_floating_point()
                else value for name, value in values.items()}

    def tensors(self, workload: Workload, values: Values, device: str) -> dict[str, Tensor]:
        """As `Memory`: copies, in memory as the device makes it, without a way round by the host."""
        where = Device(device).resolved
        found = {}
        for name, value in values.items():
            of = spec(tuple(value.shape), from_name(str(value.dtype).rpartition(".")[2]), where)
            buffer: Any = kernel_backend(where.type, where.index).empty(of)
            buffer.copy_(value)
            found[name] = wrap(leaf(buffer, of))
        return found

    def right(self, workload: Workload, values: Values) -> Values:
        from .peers.torch_peers import eager

        wide = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
        return {name: value.detach() for name, value in
                results(eager(workload, wide, self.device), workload.steps).items()}

    def wide(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            value = realize(value.detach().node)
        if not isinstance(value, self.torch.Tensor):
            value = self.torch.from_numpy(np.array(value, np.float64))
        return value.detach().to(device=self.device, dtype=self.torch.float64)

    def largest(self, value: Any) -> float:
        """As `Memory`. NaN where there is one."""
        return float(value.abs().max()) if value.numel() else 0.0

    def free(self) -> None:
        if gpu_started():
            if self.torch.cuda.memory_allocated() > STILL_HELD:
                gc.collect()
            self.torch.cuda.empty_cache()
