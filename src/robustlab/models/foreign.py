"""Weights in files of ``torch.save``, read without running code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

_CONTAINERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "params",
    "weights",
)
"""Keys of the weights in files of training scripts; of several the first counts."""
_DEEPEST = 4  # containers inside each other
_HEAD = 9  # bytes: length of the header of a safetensors file, and its first character
_INSTEAD = "save model.state_dict() with robustlab.models.save or torch.save in the program that made it"


def is_safetensors(file: Path) -> bool:
    """True if a file starts like safetensors, regardless of its name."""
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    return len(head) == _HEAD and head[-1:] == b"{" and int.from_bytes(head[:8], "little") < file.stat().st_size


def read(file: Path) -> dict[str, Tensor]:
    """The state dict in a file of ``torch.save``, from any of the usual containers.

    Raises: ValueError, to follow the name of the file, if there is none or reading it would run code.
    """
    _check_archive(file)
    found = _weights(_loaded(file), _DEEPEST)
    if found is None:
        raise ValueError(
            "does not hold a dictionary of tensors by name, nor one under 'state_dict', 'model', 'net' and the like: "
            f"{_INSTEAD}"
        )
    return found


def _check_archive(file: Path) -> None:
    """Refuses archives that hold code or were not written by ``torch.save``."""
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise ValueError("is truncated or damaged") from error
    names = {entry.filename.partition("/")[2] or entry.filename for entry in entries}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise ValueError(
            f"is a TorchScript archive, which is a program: {_INSTEAD}, or write a function that returns the "
            "module and give it as package.module:function"
        )
    if "data.pkl" not in names or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"is an archive, but not of weights as torch.save writes them: {_INSTEAD}")


def _loaded(file: Path) -> object:
    """Content of a file that torch reads without running code; other errors of torch are replaced."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cast(object, torch.load(file, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"holds more than weights, or is damaged; it is not unpickled, because that would run its code: {_INSTEAD}"
        ) from error
    except MemoryError as error:
        raise ValueError("needs more memory than available") from error
    except Exception as error:  # torch's reader raises nearly anything for a damaged file
        raise ValueError("is truncated or damaged, or not what torch.save writes") from error


def _weights(found: object, depth: int) -> dict[str, Tensor] | None:
    """The first state dict in a dictionary, or in the containers in it."""
    if not isinstance(found, Mapping) or not found:
        return None
    if all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()):
        return dict(found)
    inner = (_weights(found.get(one), depth - 1) for one in _CONTAINERS if depth)
    return next((weights for weights in inner if weights is not None), None)
