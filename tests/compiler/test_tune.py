"""The search for a tile, on a GPU that is not there: a stub says how long each candidate takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microtrain import ops as g
from microtrain import settings
from microtrain.compiler import executable
from microtrain.compiler.schedule import schedule
from microtrain.compiler.templates.template import Kernel, Launch
from microtrain.compiler.tune import CANDIDATES, GAIN, folder, tile_of, tuned
from microtrain.engine import run
from microtrain.engine.plans import plans
from microtrain.graph import dtypes
from microtrain.graph.dtypes import DType
from microtrain.graph.node import Node, leaf
from microtrain.graph.spec import Device, Spec, spec
from microtrain.runtime import cuda
from tests.support.programs import program

Time = Callable[[Launch], float]


class Gpu:
    """A GPU on which a launch takes `time(launch)` seconds; memory is NumPy's."""

    arch = "sm_90"

    def __init__(self, time: Time, name: str = "stub") -> None:
        self.time, self.identity, self.timer = time, {"device": name}, self
        self.measured: list[Launch] = []
        self.given: list[tuple[np.ndarray, ...]] = []
        self.launched = 0

    def empty(self, of: Spec) -> np.ndarray:
        return np.empty(of.shape, of.dtype.numpy)

    def from_numpy(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def pointers(self, memory: list[Any], workspace: None, parts: Any) -> list[Any]:
        assert not parts
        return [*memory]

    def seconds(self, launch: Launch, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> float:
        self.measured.append(launch)
        self.given.append(pointers)
        return self.time(launch)

    def launch(self, launch: Launch, pointers: tuple[Any, ...], scalars: tuple[int, ...]) -> None:
        self.launched += 1


def x(*shape: int, dtype: DType = dtypes.float32) -> Node:
    return leaf(np.empty(shape, dtype.numpy), spec(shape, dtype, Device("cuda:0")))


def kernel_of(*outputs: Node) -> Kernel:
    made = schedule(program(*outputs)[0])
    group, = made
    return Kernel(group, made)


def product(m: int = 2048, k: int = 512) -> Kernel:
    return kernel_of(g.relu(g.matmul(x(m, k, dtype=dtypes.bfloat16), x(k, 2048, dtype=dtypes.bfloat16))))


KERNELS: dict[str, Callable[[], Kernel]] = {
    "map": lambda: kernel_of(g.exp(g.add(x(1 << 22), 2.0))),
    "row": lambda: kernel_of(g.softmax(x(4096, 1000), 1)),
    "reduce": lambda: kernel_of(g.sum(x(256, 1 << 16), (1,))),
    "matmul": product,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder().is_relative_to(tmp_path)
    return folder()


def preferring(tile: dict[str, int]) -> Time:
    """A GPU on which that tile takes half as long as any other."""
    return lambda launch: 1e-6 if tile_of(launch) == tile else 2e-6


@pytest.mark.parametrize("template", KERNELS)
def test_the_fastest_of_at_most_eight_is_chosen_and_found_again_without_measuring(template: str) -> None:
    kernel, gpu = KERNELS[template](), Gpu(lambda launch: 1.0)
    guess = tile_of(kernel.launch(gpu.arch))
    assert tile_of(tuned(kernel, gpu)) == guess
    tried = [tile_of(launch) for launch in gpu.measured]
    assert tried[0] == guess and 3 <= len(tried) <= CANDIDATES == 8
    assert len({json.dumps(tile) for tile in tried}) == len(tried), "no tile is measured twice"
    for wanted in tried[1:]:
        first = Gpu(preferring(wanted), name=str(wanted))
        assert tile_of(tuned(kernel, first)) == wanted and len(first.measured) == len(tried)
        second = Gpu(lambda launch: 1 / 0, name=str(wanted))
        assert tile_of(tuned(KERNELS[template](), second)) == wanted and not second.measured


def test_what_is_hardly_faster_is_noise() -> None:
    for part, changed in ((GAIN + 0.01, False), (GAIN - 0.01, True)):
        kernel = product()
        guess = tile_of(kernel.launch(Gpu.arch))
        gpu = Gpu(lambda launch, guess=guess, part=part: 1.0 if tile_of(launch) == guess else part, name=str(part))
        assert (tile_of(tuned(kernel, gpu)) != guess) is changed


@pytest.mark.parametrize("damage", [
    lambda text: "", lambda text: text[:len(text) // 2], lambda text: "[1, 2]", lambda text: "\x00\xff not JSON",
    lambda text: text.replace('"BLOCK_M": ', '"BLOCK_M": 7'), lambda text: json.dumps({"tile": None})])
def test_a_damaged_file_is_measured_anew_and_mended(damage: Callable[[str], str], cache: Path) -> None:
    kernel = product()
    tiles = Gpu(lambda launch: 1.0)
    tuned(kernel, tiles)
    wanted = tile_of(tiles.measured[-1])
    gpu = Gpu(preferring(wanted))
    file, = cache.iterdir()
    file.write_text(damage(file.read_text()))
    assert tile_of(tuned(kernel, gpu)) == wanted and len(gpu.measured) == len(tiles.measured)
    assert json.loads(file.read_text())["tile"] == wanted and list(cache.iterdir()) == [file]


def test_a_cache_that_cannot_be_written_keeps_nothing_and_hurts_nobody(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))
    gpu = Gpu(lambda launch: 1.0)
    tuned(product(), gpu)
    tuned(product(), gpu)
    assert len(gpu.measured) == 2 * len({json.dumps(tile_of(launch)) for launch in gpu.measured})


def test_each_shape_device_and_precision_has_a_choice_of_its_own(cache: Path) -> None:
    tuned(product(), Gpu(lambda launch: 1.0))
    tuned(product(), Gpu(lambda launch: 1.0))
    assert len(list(cache.iterdir())) == 1
    tuned(product(m=4096), Gpu(lambda launch: 1.0))
    tuned(product(k=1024), Gpu(lambda launch: 1.0))
    tuned(product(), Gpu(lambda launch: 1.0, name="another"))
    assert len(list(cache.iterdir())) == 4
    for word in ("highest", "high"):
        with settings.matmul_precision(word):
            tuned(kernel_of(g.matmul(x(512, 512), x(512, 512))), Gpu(lambda launch: 1.0))
    assert len(list(cache.iterdir())) == 6


def test_a_tile_that_cannot_be_launched_is_passed_over_and_its_error_raised_only_if_all_fail() -> None:
    def refuse(launch: Launch) -> float:
        if launch.options["num_warps"] == 8:
            raise RuntimeError("out of resource: shared memory")
        return 1.0
    assert product().launch("sm_90").options["num_warps"] == 8
    assert tuned(product(), Gpu(refuse)).options["num_warps"] != 8
    with pytest.raises(ZeroDivisionError):
        tuned(product(), Gpu(lambda launch: 1 / 0, name="broken"))


def test_scratch_memory_is_nobodys_and_indices_in_it_are_in_range() -> None:
    table, index = x(1000, 64), x(4096, dtype=dtypes.int64)
    gpu = Gpu(lambda launch: 1.0)
    kernel = kernel_of(g.mul(g.take(table, index), 0.3))
    tuned(kernel, gpu)
    for given in gpu.given:
        for node, memory in zip(kernel.pointers, given, strict=True):
            assert memory is not table.buffer and memory is not index.buffer
            assert memory.shape == node.shape and memory.dtype == node.dtype.numpy
            if node.primitive.name == "buffer":
                assert np.all((memory >= 0) & (memory < 1)), "0 for integers"


# ------------------------------------------------------------------------------------------------------ when it is done

def computed(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    """Compute one structure on "cuda", `times` times."""
    monkeypatch.setattr(executable, "kernel_backend", lambda kind, index: gpu)
    for _ in range(times):
        run.compute([g.exp(g.matmul(x(512, 256), x(256, 512)))], Device("cuda:0"))


def test_only_a_new_plan_is_tuned_and_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "known", {})
    monkeypatch.setattr(plans, "recent", {})
    gpu = Gpu(lambda launch: 1.0)
    computed(gpu, monkeypatch, times=2)
    assert gpu.launched == 2 and not gpu.measured, "nobody asked"
    with settings.tune(True):
        computed(gpu, monkeypatch)
        measured = len(gpu.measured)
        assert 1 < measured <= CANDIDATES and gpu.launched == 3
        computed(gpu, monkeypatch, times=5)
        assert len(gpu.measured) == measured and gpu.launched == 8, "a plan that is run again is not measured"


# -------------------------------------------------------------------------------------------- what the cuda device says

class FakeCuda:
    """`torch.cuda` of an H100 whose events are `times` milliseconds apart."""

    def __init__(self, times: list[float]) -> None:
        self.times, self.entered = iter(times), 0

    @contextmanager
    def device(self, index: int) -> Iterator[None]:
        self.entered += 1
        yield

    def Event(self, enable_timing: bool) -> Any:
        assert enable_timing
        return SimpleNamespace(record=lambda: None, synchronize=lambda: None,
                               elapsed_time=lambda end: next(self.times))

    def get_device_capability(self, index: int) -> tuple[int, int]:
        return (9, 0)

    def get_device_name(self, index: int) -> str:
        return "NVIDIA H100"

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(gcnArchName="gfx942:sramecc+:xnack-")


def backend_on(fake: FakeCuda, hip: str | None = None) -> Any:
    made = object.__new__(cuda.CudaBackend)
    made.torch, made.index = SimpleNamespace(cuda=fake, version=SimpleNamespace(cuda="12.8", hip=hip)), 1
    return made


def test_a_gpu_names_its_architecture_and_what_decides_its_speed() -> None:
    gpu = backend_on(FakeCuda([]))
    assert gpu.arch == "sm_90" and gpu.identity["device"] == "NVIDIA H100" and set(gpu.identity) > {"cuda", "triton"}
    assert backend_on(FakeCuda([]), hip="6.4").arch == "gfx942"


def test_the_time_of_a_launch_is_the_least_of_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, launches = FakeCuda([5.0, 4.0, 3.0, 9.0, 8.0]), []
    gpu = backend_on(fake)
    monkeypatch.setattr(cuda.CudaBackend, "launch", lambda self, *given: launches.append(given))
    launch: Any = object()
    assert gpu.seconds(launch, ("memory",), (1,)) == pytest.approx(3.0 / 10 * 1e-3)
    assert launches == [(launch, ("memory",), (1,))] * 51 and fake.entered == 1
