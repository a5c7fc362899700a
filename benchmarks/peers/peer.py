"""What another package that runs the workloads is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..workload import Instance, Values, Workload

Build = Callable[[Workload, Values], Instance]


def always(workload: Workload) -> bool:
    """Every workload."""
    return True


@dataclass(frozen=True)
class Peer:
    """Another package: how it runs a workload, and which ones."""

    build: Build
    runs: Callable[[Workload], bool] = always


@dataclass(frozen=True)
class Peers:
    """Peers by name, and the notes that explain who is missing."""

    builders: Mapping[str, Peer]
    notes: tuple[str, ...] = ()

    def of(self, workload: Workload) -> dict[str, Build]:
        """Those that run a workload."""
        return {name: peer.build for name, peer in self.builders.items() if peer.runs(workload)}

    def only(self, names: Sequence[str]) -> Peers:
        """Those of these names. Raises ValueError for one that is not here; the message lists those that are."""
        unknown = [name for name in names if name not in self.builders]
        if unknown:
            raise ValueError(f"no peer '{unknown[0]}'; there are {', '.join(self.builders) or 'none'}")
        return Peers({name: self.builders[name] for name in names}, self.notes)
