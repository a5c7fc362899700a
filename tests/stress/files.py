"""Is anything lost when a process is killed, while it saves a model and while it trains with a checkpoint?

    python -m tests.stress.files                            # 100 kills of each, 40 signals
    python -m tests.stress.files --saving 5 --training 5 --signals 2

Saving: a process saves one state after another over the same file and says each time that it has. It is killed
(SIGKILL) at a random moment; the file must hold one whole state, the last that was told of or the next. Training: a run
with dropout, shuffling, batch statistics, momenta and a schedule is killed at random moments and started again until
it ends; weights, moments, losses and random state must be those of a run that nobody killed, bit for bit. Signals: a
command gets SIGINT or SIGTERM at a random moment from its start to its end; it says a line and ends with 130 or 143,
and the model that it would have replaced is whole. Exits with 1, saying what was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import microtrain as mt
from microtrain import data, nn, optim
from microtrain.train import checkpoint, fit
from tests.stress import forked

ROOT = Path(__file__).resolve().parents[2]
VERSION = struct.Struct("q")
EPOCHS = 8

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01, amsgrad=True),
    "SGD with momentum": lambda parameters: optim.SGD(parameters, lr=0.05, momentum=0.9),
}


def killed(work: Callable[[], None], seconds: float) -> bool:
    """Do some work in a process of its own and kill it after so long. Whether that was before its end."""
    pid = forked(work)
    until = time.monotonic() + seconds
    while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < until:
        time.sleep(min(0.001, seconds / 10))
    if not ended[0]:
        os.kill(pid, signal.SIGKILL)
        ended = os.waitpid(pid, 0)
    status = ended[1]
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"a process ended with status {status}")
    return status != 0


# ---------------------------------------------------------------------------------------------------------- saving

def state_of(version: int) -> dict[str, Any]:
    """A state all of whose numbers are `version`; nested for every second one."""
    flat = {f"layer.{i}": mt.full((64, 64), float(version)) for i in range(4)} | {"step": mt.tensor(version)}
    return flat if version % 2 else {"model": flat, "version": version}


def version_in(path: Path) -> int:
    """The version of the state in a file. Raises AssertionError where its parts are of several."""
    state = checkpoint.load(path)
    versions = {state.get("version", int(state.get("step", mt.tensor(0)).item()))}
    for value in state.get("model", state).values():
        versions |= set(np.unique(value.numpy()).tolist())
    assert len(versions) == 1, f"a file holds parts of the versions {versions}"
    return int(versions.pop())


def save_on_and_on(path: Path, version: int, tell: int) -> None:
    while True:
        version += 1
        checkpoint.save(state_of(version), path)
        os.write(tell, VERSION.pack(version))


def kill_while_saving(folder: Path, kills: int, chance: random.Random) -> int:
    """Kill so many times; the number of states that were saved meanwhile."""
    names = [f"model{suffix}" for suffix in checkpoint.SUFFIXES]
    known = dict.fromkeys(names, 0)
    for name in names:
        checkpoint.save(state_of(0), folder / name)
    for number in range(kills):
        name = names[number % len(names)]
        read, write = os.pipe()
        os.set_blocking(read, False)
        killed(partial(save_on_and_on, folder / name, known[name], write), chance.uniform(0.0, 0.05))
        os.close(write)
        with open(read, "rb") as pipe:
            told = pipe.read() or b""
        last = VERSION.unpack(told[-VERSION.size:])[0] if told else known[name]
        found = version_in(folder / name)
        assert last <= found <= last + 1, f"version {last} was saved, and the file holds {found}"
        known[name] = found
    checkpoint.save(state_of(0), folder / names[0])
    left = sorted(os.listdir(folder))
    assert left == sorted(names), f"left lying: {left}"
    return sum(known.values())


# -------------------------------------------------------------------------------------------------------- training

def train(path: Path, optimizer: str, own_order: bool) -> None:
    """Train a small network for EPOCHS epochs, or from where the file has it."""
    mt.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
    x = mt.tensor(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32))
    loader = data.DataLoader(data.TensorDataset(x, x.sum(1, keepdim=True)), 16, shuffle=True,
                             generator=7 if own_order else None)
    steps = OPTIMIZERS[optimizer](model.parameters())
    fit(model, nn.MSELoss(), steps, loader, loader, epochs=EPOCHS, patience=6, progress=False, checkpoint=path,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(steps, EPOCHS))


def bits(value: Any) -> Any:
    """A state with the bytes of its tensors, to compare; times are left out."""
    if isinstance(value, mt.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items() if key != "seconds"}
    return [bits(item) for item in value] if isinstance(value, list | tuple) else value


def kill_while_training(folder: Path, kills: int, chance: random.Random) -> int:
    """Kill so many times; the number of runs that came to their end."""
    variants = [(name, own) for name in OPTIMIZERS for own in (True, False)]
    wanted, seconds = {}, 0.0
    for number, variant in enumerate(variants):
        start = time.perf_counter()
        train(folder / f"whole-{number}.npz", *variant)
        seconds = time.perf_counter() - start
        wanted[variant] = bits(checkpoint.load(folder / f"whole-{number}.npz"))
    ended, path, variant = 0, folder / "run.safetensors", variants[0]
    while kills > 0 or path.exists():
        # Once enough were killed, the last run is left to its end.
        patience = chance.uniform(0.0, seconds) if kills > 0 else 60 * seconds
        if killed(partial(train, path, *variant), patience):
            kills -= 1
            continue
        found = bits(checkpoint.load(path))
        assert found == wanted[variant], f"a run that was killed, {variant}, ended with other bits"
        path.unlink()
        ended += 1
        variant = variants[ended % len(variants)]
        if kills <= 0:
            break
    return ended


# --------------------------------------------------------------------------------------------------------- signals

def interrupt_commands(folder: Path, count: int, chance: random.Random) -> int:
    """Interrupt so many commands; the number of those that had come to their end."""
    command = [sys.executable, "-m", "microtrain", "train", "perceptron", "--save", "model.npz", "--plot", "p.png"]
    path = checkpoint.save(state_of(0), folder / "model.npz")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start, ended = time.perf_counter(), 0
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    for _ in range(count):
        number = chance.choice((signal.SIGINT, signal.SIGTERM))
        process = subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        time.sleep(chance.uniform(0.1, max(seconds, 0.2)))
        process.send_signal(number)
        _, said = process.communicate()
        word = "interrupted" if number == signal.SIGINT else "terminated"
        told = f"microtrain: {word}\n"
        # A signal may come before Python has begun with the package; and Python itself ends by the signal (which shells
        # call 130) where it came in a string that was executed.
        early = process.returncode == -number and "microtrain" not in said
        found = process.returncode, said
        assert early or found in ((128 + number, told), (-number, told), (0, "")), found
        ended += process.returncode == 0
        assert set(checkpoint.load(path)) in ({"weight", "bias"}, {"model", "version"})
        left = set(os.listdir(folder))
        assert left <= {"model.npz", "p.png"}, f"left lying: {left}"
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills processes that write files.")
    parser.add_argument("--saving", type=int, default=100, metavar="KILLS")
    parser.add_argument("--training", type=int, default=100, metavar="KILLS")
    parser.add_argument("--signals", type=int, default=40, metavar="COUNT")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)    # the background of a shell ignores it, and its children
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b, tempfile.TemporaryDirectory() as c:
        saved = kill_while_saving(Path(a), arguments.saving, chance)
        ended = kill_while_training(Path(b), arguments.training, chance)
        whole = interrupt_commands(Path(c), arguments.signals, chance)
    print(json.dumps({"kills while saving": arguments.saving, "states saved": saved,
                      "kills while training": arguments.training, "runs ended, bit for bit": ended,
                      "commands interrupted": arguments.signals - whole, "commands that had ended": whole}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
