"""A GPU's clocks and ceilings.

Kernels are timed apart from the host in two ways. Captured in a CUDA graph, which replays them without the host; and
one by one between two events, as Triton's `do_bench` does, for what a graph cannot hold. The former adds nothing to a
kernel but the edge to it (1.3 us on an H100); the latter a few microseconds, so that it overrates small kernels' times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .limits import Format, Product
from .timing import Clock, Contender, LoopClock, Sampler

WARM_UP = 3
"""Calls before a capture, as PyTorch's notes on CUDA graphs ask for: libraries set themselves up in them."""

CAPTURED = 32
"""Calls that a graph holds at most."""

BETWEEN_EVENTS = 8
"""Calls of a sample between events."""

FLUSHED = 2
"""Times the L2 that is read to displace what it holds."""

HEAD_START = 1 << 20
"""Clock cycles (half a millisecond) that the GPU waits before what is timed, so that the host has queued all of it when
it begins: otherwise a host that is slow counts as a kernel that is."""

RESOLUTION = 0.05
"""Microseconds: what a difference of two times is at least, noise or not."""

TRIES = 5
"""Measurements of a ceiling; their median counts, as the median of a workload's samples does."""

COPIED = 1 << 30
LARGE: Product = (4096, 4096, 4096)


@dataclass(frozen=True)
class Replay:
    """A captured graph, and the memory that it writes to."""

    graph: Any
    held: Any

    def __call__(self) -> None:
        self.graph.replay()


class Gpu:
    """One GPU of PyTorch's. `device` is where its tensors are made."""

    def __init__(self, torch: Any, device: str = "cuda") -> None:
        self.torch, self.device = torch, device
        self.properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        elements = FLUSHED * self.properties.L2_cache_size // 4
        self.shadow = torch.zeros(elements, device=device)
        self.sink = torch.zeros((), device=device)

    def clear(self) -> None:
        """Displace what L2 holds, by reading: written lines would have to be written back at the next call's cost."""
        self.torch.sum(self.shadow, 0, out=self.sink)

    def timed(self, body: Callable[[], Any], before: Callable[[], Any] | None = None) -> float:
        """Microseconds from before the first to after the last of what `body` queues, after `before`. The host is
        ahead of the GPU, see HEAD_START."""
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.torch.cuda._sleep(HEAD_START)
        if before is not None:
            before()
        start.record()
        held = body()
        end.record()
        end.synchronize()
        del held
        return float(start.elapsed_time(end)) * 1e3

    def captured(self, body: Callable[[], Any]) -> Callable[[], None]:
        """What `body` queues as one graph; a call replays it. Raises what the warm-up or the capture raises."""
        cuda = self.torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            body()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            held = body()
        graph.replay()
        cuda.synchronize()
        return Replay(graph, held)

    def calls(self, contender: Contender, seconds: float, most: int) -> int:
        """How many calls fill `seconds` of the GPU's time, `most` at most. Raises RuntimeError for a contender that
        queues elsewhere than on PyTorch's stream, where neither a graph nor events would see it."""
        if not contender.on_stream:
            raise RuntimeError("it runs on streams of its own")
        for _ in range(WARM_UP):
            held = contender.call()
        estimate = self.timed(contender.call)
        del held
        return max(1, min(most, int(seconds * 1e6 / max(estimate, RESOLUTION))))


def repeated(calls: int, *bodies: Callable[[], Any]) -> Callable[[], Any]:
    """All bodies in turn, `calls` times; the last result of the last one is returned, and so held."""
    def body() -> Any:
        held = None
        for _ in range(calls):
            for one in bodies:
                held = one()
        return held
    return body


@dataclass(frozen=True)
class ColdGraphClock:
    """Calls in a graph with L2 cleared before each, less the same graph without the calls."""

    gpu: Gpu
    seconds: float

    name = "graph, cold L2"

    def sampler(self, contender: Contender) -> Sampler:
        """As `Clock`."""
        calls = self.gpu.calls(contender, self.seconds, CAPTURED)
        both = self.gpu.captured(repeated(calls, self.gpu.clear, contender.call))
        clears = self.gpu.captured(repeated(calls, self.gpu.clear))
        return Sampler(calls, lambda: max((self.gpu.timed(both) - self.gpu.timed(clears)) / calls, RESOLUTION))


@dataclass(frozen=True)
class WarmGraphClock:
    """Calls in a graph, one after the other: what fits L2 is found there."""

    gpu: Gpu
    seconds: float

    name = "graph, warm L2"

    def sampler(self, contender: Contender) -> Sampler:
        """As `Clock`."""
        calls = self.gpu.calls(contender, self.seconds, CAPTURED)
        replay = self.gpu.captured(repeated(calls, contender.call))
        return Sampler(calls, lambda: self.gpu.timed(replay) / calls)


@dataclass(frozen=True)
class EventClock:
    """Each call between two events, L2 cleared before it, the host ahead of it: `do_bench`'s way."""

    gpu: Gpu
    seconds: float

    name = "events, cold L2"

    def sampler(self, contender: Contender) -> Sampler:
        """As `Clock`."""
        calls = self.gpu.calls(contender, self.seconds, BETWEEN_EVENTS)
        return Sampler(calls, lambda: sum(self.gpu.timed(contender.call, self.gpu.clear) for _ in range(calls)) / calls)


def kernel_clocks(gpu: Gpu, seconds: float) -> Sequence[Clock]:
    """The clocks of a workload whose kernels count: the first that can time it gives the figure."""
    return (ColdGraphClock(gpu, seconds), EventClock(gpu, seconds), WarmGraphClock(gpu, seconds), LoopClock(seconds))


class GpuCeilings:
    """PyTorch's copy and its matrix products, each measured when it is first asked for."""

    def __init__(self, gpu: Gpu, copied: int = COPIED, large: Product = LARGE, seconds: float = 0.01) -> None:
        self.gpu, self.copied, self.large, self.seconds = gpu, copied, large, seconds
        self.products: dict[tuple[Format, Product], float] = {}
        self.rates: dict[str, float] = {}

    def bandwidth(self) -> float | None:
        """As `Ceilings`: of a copy or of a sum of two, whichever is faster. Memory that is written as often as it is
        read turns around more often: an H100 copied at 2.4 TB/s and ran a map of two inputs at 3.1."""
        if not self.rates:
            source = self.gpu.torch.zeros(self.copied // 4, device=self.gpu.device)
            other, target = self.gpu.torch.zeros_like(source), self.gpu.torch.empty_like(source)
            self.rates["copy"] = 2 * self.copied / self._median(lambda: target.copy_(source))
            self.rates["add"] = 3 * self.copied / self._median(lambda: self.gpu.torch.add(source, other, out=target))
        return max(self.rates.values())

    def product(self, format: Format, product: Product) -> float | None:
        """As `Ceilings`, of `torch.matmul`."""
        if (format, product) not in self.products:
            torch, (m, k, n) = self.gpu.torch, product
            dtype = torch.bfloat16 if format == "bfloat16" else torch.float32
            a = torch.randn(m, k, device=self.gpu.device).to(dtype)
            b = torch.randn(k, n, device=self.gpu.device).to(dtype)
            before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("high" if format == "tf32" else "highest")
            try:
                self.products[format, product] = self._median(lambda: torch.matmul(a, b))
            finally:
                torch.set_float32_matmul_precision(before)
        return self.products[format, product]

    def rate(self, format: Format) -> float | None:
        """As `Ceilings`."""
        time = self.product(format, self.large)
        m, k, n = self.large
        return 2 * m * k * n / time if time else None

    def _median(self, call: Callable[[], Any]) -> float:
        take = ColdGraphClock(self.gpu, self.seconds).sampler(Contender(call, lambda: None, lambda: None)).take
        return sorted(take() for _ in range(TRIES))[TRIES // 2]
