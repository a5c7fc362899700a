"""Threads that train, read and make tensors beside one another, each compared bit for bit with the same work alone.

    python -m tests.stress.threads                  # every job in 4 threads, 20 rounds, at a switch interval of 1 us
    python -m tests.stress.threads --rounds 3 --threads 8 sgd batch_norm
"""

from __future__ import annotations

import argparse
import copy
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import microtrain as mt
from microtrain import nn, optim
from microtrain.data import DataLoader, TensorDataset
from microtrain.engine.plans import plans
from microtrain.nn import functional as F

Values = list[np.ndarray]
Job = Callable[[int], Values]

STEPS = 12


def arrays(tensors: Any) -> Values:
    return [np.array(tensor.detach().cpu().numpy()) for tensor in tensors]


def data(seed: int, rows: int = 12, columns: int = 6) -> tuple[mt.Tensor, mt.Tensor]:
    """Samples and one target each."""
    rng = np.random.default_rng(seed)
    return (mt.tensor(rng.standard_normal((rows, columns)).astype(np.float32)),
            mt.tensor(rng.standard_normal((rows, 1)).astype(np.float32)))


def fill(model: nn.Module, seed: int) -> nn.Module:
    """Weights of the model's own, whatever the global generator has come to."""
    rng = np.random.default_rng(seed)
    with mt.no_grad():
        for parameter in model.parameters():
            parameter.copy_(mt.tensor(rng.standard_normal(parameter.shape).astype(np.float32) / 4))
    return model


def mlp(seed: int, *between: nn.Module) -> nn.Module:
    return fill(nn.Sequential(nn.Linear(6, 8), *between, nn.ReLU(), nn.Linear(8, 1)), seed)


def train(model: nn.Module, optimizer: Any, seed: int, steps: int = STEPS, read: bool = False) -> Values:
    """Parameters, buffers and the last loss."""
    x, y = data(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        if read:
            loss.item()
    return arrays([*model.parameters(), *model.buffers(), loss])


def sgd(seed: int) -> Values:
    model = mlp(seed)
    return train(model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), seed)


def adam(seed: int) -> Values:
    """Adam with a schedule, each loss read."""
    model = mlp(seed)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.StepLR(optimizer, 4)
    found = []
    for _ in range(3):
        found += train(model, optimizer, seed, 4, read=True)
        schedule.step()
    return found


def batch_norm(seed: int) -> Values:
    model = mlp(seed, nn.BatchNorm1d(8))
    return train(model, optim.SGD(model.parameters(), lr=0.05), seed)


def dropout(seed: int) -> Values:
    """A mask drawn in each step from a generator of the thread's own."""
    model, generator = mlp(seed), mt.Generator().manual_seed(100 + seed)
    for _ in range(5):                          # small numbers are part of a graph's structure
        generator.draw()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    x, y = data(seed)
    for _ in range(STEPS):
        optimizer.zero_grad()
        mask = (mt.rand(12, 6, generator=generator) > 0.3).to(mt.float32)
        F.mse_loss(model(x * mask), y).backward()
        optimizer.step()
    return arrays(model.parameters())


def states(seed: int) -> Values:
    """A state dict taken in each step, and taken back at the end."""
    model = mlp(seed)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    kept = []
    for _ in range(4):
        train(model, optimizer, seed, 2)
        kept.append({name: value.clone() for name, value in model.state_dict().items()})
    model.load_state_dict(kept[1])
    return [*train(model, optimizer, seed, 2), *arrays(kept[3].values())]


def large(seed: int) -> Values:
    """More operations than are recorded before what is pending is computed."""
    total, x = mt.zeros(3), data(seed)[0][0, :3]
    for n in range(3000):
        total = total + x * (n % 7)
    return arrays([total])


JOBS: dict[str, Job] = {job.__name__: job for job in (sgd, adam, batch_norm, dropout, states, large)}


@contextmanager
def switching(interval: float = 1e-6) -> Iterator[None]:
    """Threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def repeated(count: int, work: Any) -> Any:
    def several() -> None:
        for _ in range(count):
            work()
    return several


def together(works: list[Callable[[], Any]], patience: float = 120) -> list[Any]:
    """What each work gives, all of them in threads of their own. Raises what one of them raised, or for a deadlock."""
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(k: int) -> None:
        try:
            start.wait(patience)
            results[k] = works[k]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,), daemon=True) for k in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
        assert not thread.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]
    return results


def same(found: Values, expected: Values) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def check(jobs: list[Job], threads: int, rounds: int) -> int:
    """Each thread does every job, each begins with another. How many results were compared.

    Raises AssertionError where a value differs from that of the thread alone, or a plan was compiled that is not then.
    """
    def work(seed: int) -> list[Values]:
        order = [*range(seed % len(jobs), len(jobs)), *range(seed % len(jobs))]
        done = {k: jobs[k](seed) for k in order}
        return [done[k] for k in range(len(jobs))]

    for _ in range(2):          # a plan is made for what was left by the work before, too
        expected = [together([lambda seed=seed: work(seed)])[0] for seed in range(threads)]
    before, compared = len(plans.known), 0
    with switching():
        for _ in range(rounds):
            for seed, found in enumerate(together([lambda seed=seed: work(seed) for seed in range(threads)])):
                for one, wanted in zip(found, expected[seed], strict=True):
                    same(one, wanted)
                    compared += 1
    assert len(plans.known) == before, f"{len(plans.known) - before} plans more than in a thread alone"
    return compared


def one_model(threads: int, rounds: int) -> int:
    """One model that nobody has computed yet, read by several threads, and differentiated in each."""
    def read(model: nn.Module, x: mt.Tensor) -> Values:
        with mt.no_grad():
            out = model(x)
        weight = next(iter(model.parameters()))
        return arrays([out, *mt.autograd.grad(model(x).sum(), [weight])])

    x, compared = data(0)[0], 0
    with switching():
        for seed in range(rounds):
            mt.manual_seed(seed)
            expected = read(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)), x)
            mt.manual_seed(seed)
            model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
            for found in together([lambda model=model: read(model, x)] * threads):
                same(found, expected)
                compared += 1
    return compared


def loader_beside(rounds: int) -> int:
    """Batches made in another thread, by operations that are pending there, trained on in this one."""
    import queue

    x, y = data(3, 32)

    def batches() -> Iterator[tuple[mt.Tensor, mt.Tensor]]:
        for _ in range(4):
            for a, b in DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, generator=5):
                yield (a - a.mean(0)) / (a.std(0) + 1), b

    def fit(source: Any) -> Values:
        model = mlp(1)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        for a, b in source:
            optimizer.zero_grad()
            F.mse_loss(model(a), b).backward()
            optimizer.step()
        return arrays(model.parameters())

    expected = fit(batches())
    with switching():
        for _ in range(rounds):
            made: queue.Queue[Any] = queue.Queue(2)

            def load(made: Any = made) -> None:
                for batch in batches():
                    made.put(batch)
                made.put(None)
            results = together([load, lambda made=made: fit(iter(made.get, None))])
            same(results[1], expected)
    return rounds


def at_each_point(setup: Callable[[], Any], work: Callable[[Any], Any], other: Callable[[Any], Any]) -> Iterator[Any]:
    """What `setup` gives after some work on it, with another thread's done in the middle: at the first point where
    Python may switch threads, at the second, and so on; last, after it. Where the other has to wait it ends later.
    """
    def run(point: int) -> tuple[Any, bool]:
        state, left, errors, due = setup(), point, list[BaseException](), threading.Event()

        def begin() -> None:
            due.wait()
            try:
                other(state)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=begin, daemon=True)
        thread.start()

        def called(frame: Any, event: str, argument: Any) -> None:
            nonlocal left
            if left and event in ("call", "c_return") and "microtrain" in frame.f_code.co_filename:
                left -= 1
                if not left:
                    sys.setprofile(None)
                    due.set()
                    thread.join(0.001)

        sys.setprofile(called)
        try:
            work(state)
        finally:
            sys.setprofile(None)
        due.set()
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"
        if errors:
            raise errors[0]
        return state, left > 0

    point, ended = 0, False
    while not ended:
        point += 1
        state, ended = run(point)
        yield state


ALIASES: list[Callable[[mt.Tensor], mt.Tensor]] = [
    lambda t: t.detach(), lambda t: t.data, lambda t: t[:], lambda t: t.T, lambda t: t.view(*t.shape), copy.copy,
    lambda t: t.unsqueeze(0).squeeze(0), lambda t: nn.Parameter(t, requires_grad=False)]
"""Ways to another tensor of the same memory."""

CHANGES: list[Callable[[mt.Tensor], Any]] = [
    lambda t: t.add_(1), lambda t: t.add_(mt.ones(*t.shape)), lambda t: t.sub_(-1), lambda t: t.__iadd__(1),
    lambda t: t[:].T.add_(1)]
"""Ways to add 1 to each element."""

COPIES: list[Callable[[mt.Tensor], mt.Tensor]] = [
    lambda t: t.clone(), copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t)), lambda t: t + 0]


def aliases(seed: int, threads: int, steps: int = 40) -> int:
    """Tensors of one memory, made, changed, copied and dropped by several threads: how many changes were made.

    Raises AssertionError where one was lost, or a copy was not of one time.
    """
    whole = mt.zeros(5, 4, 4)
    shared = [whole[2]]

    def work(number: int) -> int:
        choose, changes = random.Random(1000 * seed + number), 0
        for _ in range(steps):
            one, what = choose.choice(shared), choose.randrange(8)
            if what < 3:
                with mt.set_grad_enabled(choose.random() < 0.5):
                    choose.choice(CHANGES)(one)
                changes += 1
            elif what < 6:
                shared.append(choose.choice(ALIASES)(one))
                if len(shared) > 12:
                    del shared[choose.randrange(1, 8)]
            else:
                values = arrays([choose.choice(COPIES)(one)])[0]
                assert (values == values[0, 0]).all(), values
        return changes

    changes = sum(together([lambda number=number: work(number) for number in range(threads)]))
    whole[1:4].add_(1)
    for tensor in shared:
        np.testing.assert_array_equal(arrays([tensor])[0], np.full((4, 4), changes + 1.0))
    assert whole.sum(2).sum(1).tolist() == [0, 16, 16 * (changes + 1), 16, 0]
    return changes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(JOBS)}; all of them unless given")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    jobs = [JOBS[name] for name in given.jobs or JOBS]
    print(f"{check(jobs, given.threads, given.rounds)} results of {len(jobs)} jobs in {given.threads} threads, "
          f"{one_model(given.threads, 5 * given.rounds)} of one model, {loader_beside(given.rounds)} with a loader's "
          "thread: each bit for bit that of the work alone, by the same plans")
    with switching():
        changes = sum(aliases(seed, given.threads) for seed in range(10 * given.rounds))
    print(f"{changes} changes of shared memories, none lost")


if __name__ == "__main__":
    main()
