"""What a report holds figures against, and says: the package's ceilings, a launch and a graph's node besides."""

from __future__ import annotations

from abc import abstractmethod

from microtrain.bench.ceilings import HostCeilings
from microtrain.bench.gpu import COPIED, LARGE, TRIES, Gpu, GpuCeilings, repeated
from microtrain.bench.limits import Ceilings, Product
from microtrain.bench.timing import Contender, loop_clock

NODES = 256


class SuiteCeilings(Ceilings):
    """What the machine was seen to do at most. None where that could not be measured."""

    @abstractmethod
    def launch(self) -> float | None:
        """Microseconds that the driver takes for a launch."""

    @abstractmethod
    def document(self) -> dict[str, object]:
        """What was measured, for a report."""

    def written(self) -> list[dict[str, object]]:
        """The products that were measured."""
        return [{"format": format, "shape": list(product), "us": round(time, 4)}
                for (format, product), time in self.products.items() if time]


class SuiteHostCeilings(HostCeilings, SuiteCeilings):
    """The host's."""

    def launch(self) -> float | None:
        """None: nothing is launched."""
        return None

    def document(self) -> dict[str, object]:
        copy = self.rates.get("copy")
        return {"copy_GB_s": None if copy is None else round(copy / 1e3, 3), "products": self.written()}


class SuiteGpuCeilings(GpuCeilings, SuiteCeilings):
    """The GPU's."""

    def __init__(self, gpu: Gpu, copied: int = COPIED, large: Product = LARGE, seconds: float = 0.01) -> None:
        super().__init__(gpu, copied, large, seconds)
        self.raw: float | None = None
        self.reason = ""

    def launch(self) -> float | None:
        """As `SuiteCeilings`; None, its reason in the document, where Triton's or the driver's ways have changed."""
        if self.raw is None and not self.reason:
            try:
                from .launch_ways import RawLaunch
                raw = RawLaunch(self.gpu.torch, self.gpu.device)
                sampler = loop_clock(self.seconds).sampler(Contender(raw, raw.check, self.gpu.torch.cuda.synchronize))
                self.raw = sorted(sampler.take() for _ in range(TRIES))[TRIES // 2]
            except Exception as error:
                self.reason = f"{type(error).__name__}: {error}"
        return self.raw

    def node(self) -> float:
        """Microseconds of an empty node in a CUDA graph, its edge included."""
        replay = self.gpu.captured(repeated(NODES, self.gpu.sink.zero_))
        return sorted(self.gpu.timed(replay) / NODES for _ in range(TRIES))[TRIES // 2]

    def document(self) -> dict[str, object]:
        rates = {format: self.rate(format) for format in ("bfloat16", "tf32", "float32")}
        self.bandwidth()
        return {**{f"{name}_GB_s": round(rate / 1e3, 1) for name, rate in self.rates.items()},
                "matmul_TFLOP_s": {format: round(rate / 1e6, 2) for format, rate in rates.items() if rate},
                "launch_us": self.launch(), "launch_reason": self.reason or None,
                "graph_node_us": round(self.node(), 4),
                "l2_bytes": self.gpu.properties.L2_cache_size,
                "products": self.written()}
