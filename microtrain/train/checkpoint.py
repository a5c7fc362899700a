"""State dicts on disk: safetensors, or NumPy's .npz where safetensors is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from microtrain.tensor import Tensor, from_numpy
from microtrain.train.atomic import check_destination, replacing

SUFFIXES = (".safetensors", ".npz")


def default_suffix() -> str:
    """``.safetensors`` where that package is installed, else ``.npz``."""
    return SUFFIXES[0] if importlib.util.find_spec("safetensors") else SUFFIXES[1]


def check_checkpoint_path(path: str | Path) -> Path:
    """Checks that :func:`save` can write to ``path``; without a suffix it gets the default one.

    Raises:
        ValueError: another suffix than .safetensors and .npz.
        ImportError: .safetensors without the package.
        OSError: the folder is missing or cannot be written to.
    """
    path = Path(path)
    if not path.suffix:
        path = path.with_suffix(default_suffix())
    _check_suffix(path)
    return check_destination(path)


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: a checkpoint ends in {' or '.join(SUFFIXES)}")
    if path.suffix == ".safetensors" and not importlib.util.find_spec("safetensors"):
        raise ImportError(
            f"{path} needs safetensors: pip install 'microtrain[io]', or end the name in .npz, which needs nothing"
        )


def save(state_dict: Mapping[str, Tensor], path: str | Path) -> Path:
    """Writes a state dict, whole or not at all.

    Args:
        state_dict: names to tensors, as ``Module.state_dict`` gives.
        path: ends in .safetensors or .npz; without a suffix it gets the default one.

    Returns:
        The path written.

    Raises:
        TypeError: a value that is not a tensor; bfloat16 in an .npz, which has no such type.
        ValueError, ImportError, OSError: as :func:`check_checkpoint_path`.
    """
    path = check_checkpoint_path(path)
    arrays = {}
    for name, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"state dict entry '{name}' is a {type(value).__name__}, not a Tensor")
        # safetensors writes the memory of a non-contiguous array as it lies, in the wrong order, without a word.
        arrays[name] = np.ascontiguousarray(value.detach().cpu().numpy()).reshape(tuple(value.shape))
    with replacing(path) as temporary:
        if path.suffix == ".npz":
            _refuse_bfloat16(arrays)
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        else:
            from safetensors.numpy import save_file

            save_file(arrays, str(temporary))
    return path


def _refuse_bfloat16(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.dtype.name == "bfloat16":
            raise TypeError(f"'{name}' is bfloat16, which .npz cannot hold: save as .safetensors, or .float() first")


def load(path: str | Path) -> dict[str, Tensor]:
    """Reads a state dict written by :func:`save`, onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, or a file that is not what its suffix says.
        ImportError: .safetensors without the package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    _check_suffix(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        else:
            from safetensors.numpy import load_file

            arrays = load_file(path)
    except Exception as error:
        raise ValueError(f"{path} is not a readable {path.suffix} checkpoint: {error}") from error
    return {name: from_numpy(array) for name, array in arrays.items()}
