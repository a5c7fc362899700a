"""State dicts and whole training runs on disk, as safetensors or as NumPy's .npz.

    checkpoint.save(model.state_dict(), "model.safetensors")
    model.load_state_dict(checkpoint.load("model.safetensors"))

A run that is to go on after it was interrupted as if it had not been:

    checkpoint.save_training("run.npz", model, optimizer, scheduler=scheduler, loaders=[loader], epoch=epoch)
    epoch = checkpoint.load_training("run.npz", model, optimizer, scheduler=scheduler, loaders=[loader])["epoch"]

(`fit(..., checkpoint="run.npz")` does both.) A file is written whole or not at all (`microtrain.files`). It carries a
checksum, so that one that has been damaged is refused and not trained on. Nothing that a file holds is ever run: there
are no pickles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import shown
from ..files import check_destination, replacing
from ..nn import Module
from ..nn.state import snapshot
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..tensor import Generator, Tensor, default_generator
from . import npz, safetensors
from .entries import CHECKSUM, FORM, VERSION, Entry, Notes, checksum, put_together, taken_apart

FORMATS = {".safetensors": safetensors, ".npz": npz}
SUFFIXES = tuple(FORMATS)

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
NO_PICKLES = ("a pickle may run any code and is never loaded; in PyTorch, write the state dict with "
              "safetensors.torch.save_file")


def check_checkpoint_path(path: str | Path) -> Path:
    """Checks that `save` can write to `path`; without a suffix it gets .safetensors. Errors as of `save`."""
    return check_destination(_named(path))


def _named(path: str | Path) -> Path:
    path = Path(path)
    if not path.suffix and path.name:
        path = path.with_suffix(SUFFIXES[0])
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: a checkpoint ends in {' or '.join(SUFFIXES)}"
                         + (f"; {NO_PICKLES}" if path.suffix in PICKLES else ""))
    return path


def save(state_dict: Mapping[Any, Any], path: str | Path) -> Path:
    """Writes a state dict, whole or not at all.

    Args:
        state_dict: names to tensors, as `Module.state_dict` gives; or nested, with numbers, strings, None, arrays,
            lists and tuples: `{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}`.
        path: ends in .safetensors or .npz; without a suffix it gets .safetensors. Both hold every dtype and any name.

    Returns:
        The path written. TypeError for what is no dict, or a value of another type, naming it; ValueError for another
        suffix, or a name that the format cannot hold; OSError where the file cannot be written: it is as it was then.
    """
    path = check_checkpoint_path(path)
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict should be a dict of Tensors such as model.state_dict(), but got "
                        f"{type(state_dict).__name__}")
    tensors: dict[str, Tensor] = {}
    form = taken_apart(state_dict, tensors)
    for name in tensors:
        if name.encode(errors="replace").decode() != name:
            raise ValueError(f"'{shown(name)}' is no name for a tensor: it has half of a surrogate pair")
    flat = list(tensors) == list(state_dict) and all(isinstance(value, Tensor) for value in state_dict.values())
    # PyTorch's names and layouts: readers of safetensors ask for the format.
    notes: Notes = {"format": "pt", VERSION: "1"} | ({} if flat else {FORM: json.dumps(form)})
    entries = {name: Entry.of(value) for name, value in tensors.items()}
    notes[CHECKSUM] = checksum(entries, notes)
    with replacing(path) as temporary, temporary.open("wb") as file:
        FORMATS[path.suffix].write(file, entries, notes)
    return path


def load(path: str | Path) -> dict[Any, Any]:
    """Reads what `save` wrote, or another program's file of either format; tensors are on the CPU. OSError where there
    is no such file, or it cannot be read; ValueError for another suffix and for a file that is not what its suffix
    says, is cut short, or does not have the checksum that it carries; ImportError for bfloat16 without ml_dtypes."""
    path = _named(path)
    if path.is_dir():
        raise IsADirectoryError(f"cannot read {path}: it is a folder")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}" if not path.exists() else f"{path} is not a file")
    with path.open("rb") as file:
        try:
            entries, notes = FORMATS[path.suffix].read(file)
            if (CHECKSUM in notes or VERSION in notes) and notes.get(CHECKSUM) != checksum(entries, notes):
                raise ValueError("its checksum does not hold: it was damaged, or changed by a program that kept its "
                                 "notes")
            form = json.loads(notes[FORM]) if FORM in notes else {"dict": [[key, {"tensor": key}] for key in entries]}
            state: dict[Any, Any] = put_together(form, lambda name: entries[name].tensor())
        except ImportError as error:
            raise ImportError(f"{path}: {error}") from error
        except Exception as error:
            what = _kind(path) or str(error) or type(error).__name__
            raise ValueError(f"{path} is not a readable {path.suffix} checkpoint: {what}") from error
    return state


def save_training(path: str | Path, model: Module, optimizer: Optimizer, *, scheduler: LRScheduler | None = None,
                  loaders: Sequence[Any] = (), **more: Any) -> Path:
    """Writes all that a run needs to go on, between two epochs, with the same bits as if it had never been interrupted.
    That is: the state dicts of model, optimizer and scheduler, if there is one; the order in which `loaders` that
    shuffle will do so; the state of the default random generator, which dropout draws from; and `more` plain values by
    name, as `save` takes them: `epoch=3`. Generators that a program has made beside it are its own to keep. Returns the
    path written; errors as of `save`."""
    return save({**_running(model, optimizer, scheduler, loaders), "more": more}, path)


def load_training(path: str | Path, model: Module, optimizer: Optimizer, *, scheduler: LRScheduler | None = None,
                  loaders: Sequence[Any] = ()) -> dict[str, Any]:
    """Puts a run back to where `save_training` wrote it, all of it or nothing. Model, optimizer and scheduler are of
    the same form as those that were saved, loaders as many, in the same order. Returns the further values that were
    saved. ValueError for a file that holds no run, or one with other parts; RuntimeError or ValueError for parts that
    do not fit; and errors as of `load`."""
    before = _running(model, optimizer, scheduler, loaders)
    state = load(path)
    if set(state) != {*before, "more"}:
        raise ValueError(f"{path} holds no run that save_training wrote")
    if (state["scheduler"] is None) != (scheduler is None):
        raise ValueError(f"{path} holds " + ("no scheduler, and one is given" if scheduler is not None else
                                             "a scheduler, and none is given"))
    if len(state["loaders"]) != len(loaders):
        raise ValueError(f"{path} holds {len(state['loaders'])} loaders, and {len(loaders)} are given")
    before["model"] = snapshot(before["model"])
    try:
        _go_on(state, model, optimizer, scheduler, loaders)
    except BaseException:
        _go_on(before, model, optimizer, scheduler, loaders)
        raise
    more: dict[str, Any] = state["more"]
    return more


def _running(model: Module, optimizer: Optimizer, scheduler: LRScheduler | None, loaders: Sequence[Any]
             ) -> dict[str, Any]:
    orders = [_order(getattr(loader, "generator", None)) for loader in loaders]
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
            "scheduler": None if scheduler is None else scheduler.state_dict(),
            "loaders": orders, "random": default_generator().get_state()}


def _order(generator: Generator | np.random.Generator | None) -> Any:
    """The state of a loader's generator: a tensor of ours, a dict of NumPy's."""
    if isinstance(generator, Generator):
        return generator.get_state()
    return None if generator is None else generator.bit_generator.state


def _go_on(state: dict[str, Any], model: Module, optimizer: Optimizer, scheduler: LRScheduler | None,
           loaders: Sequence[Any]) -> None:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if scheduler is not None:
        scheduler.load_state_dict(state["scheduler"])
    for loader, order in zip(loaders, state["loaders"], strict=True):
        generator = getattr(loader, "generator", None)
        if type(order) is not type(_order(generator)):
            raise ValueError("a loader has a generator of its own, and the one that was saved had none, or one of "
                             "another kind, or the other way round")
        if isinstance(generator, Generator):
            generator.set_state(order)
        elif generator is not None:
            generator.bit_generator.state = order
    default_generator().set_state(state["random"])


def _kind(path: Path) -> str | None:
    """What a file is that is not what its suffix says, if its beginning tells."""
    with path.open("rb") as file:
        head = file.read(300)
    zipped = head.startswith(b"PK\3\4")
    return next((what for found, what in (
        (not head, "it is empty"),
        (head[:1] == b"\x80" and b"\2" <= head[1:2] <= b"\5", f"it is a pickle: {NO_PICKLES}"),
        (head.startswith(b"\x93NUMPY"), "it is one array (.npy): numpy.load reads it"),
        (head[8:10] == b'{"' and path.suffix != ".safetensors", "it is a safetensors file: let its name end in "
                                                                ".safetensors"),
        (zipped and b"data.pkl" in head, f"it is a pickle of PyTorch's: {NO_PICKLES}"),     # the first member's name
        (zipped and path.suffix != ".npz", "it is a zip file, as an .npz is")) if found), None)
