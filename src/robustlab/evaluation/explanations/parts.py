"""Parts of a run on disk: each is one signed file of tensors, written whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.runs.files import digest
from robustlab.runs.json_files import parsed
from robustlab.runs.tensors import read_tensors, write_tensors

Tensors = Mapping[str, Tensor]
CHECK = "check"


@dataclass(frozen=True)
class Part:
    """One piece of work and its file.

    Args:
        kind: "answers", "maps", "numbers", "checks", "attacks" or "pictures": the folder of its file.
        model: 0, or 1 for the model that it is compared with.
        name: of the method, check or attack; empty for answers.
        number: of the batch.
        count: examples, for the progress.
        work: computes its tensors.
    """

    kind: str
    model: int
    name: str
    number: int
    count: int
    work: Callable[[], Tensors]

    @property
    def path(self) -> str:
        """Path of the file, relative to the run directory; different parts have different paths."""
        return path_of(self.kind, self.model, self.name, self.number)

    @property
    def words(self) -> str:
        """Name of the work in progress bars."""
        return f"{self.kind} {self.name}".strip()


def path_of(kind: str, model: int, name: str, number: int) -> str:
    """Path of the file of a part, relative to the run directory."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain != name:
        plain = f"{plain}-{digest(name.encode()).hex()[:8]}"
    return f"{kind}/{model}-{plain + '-' if name else ''}{number:05d}.safetensors"


@dataclass(frozen=True)
class Parts:
    """Files of a run.

    Args:
        directory: of the run.
        run: id of the run, which every file is signed with.
    """

    directory: Path
    run: str

    def write(self, path: str, tensors: Tensors) -> None:
        """Writes a file, whole or not at all."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_tensors(self.directory / path, {**plain, CHECK: self._check(path, plain)})

    def read(self, path: str) -> dict[str, Tensor] | None:
        """The tensors of a file; None if it is missing, damaged, or of another run, and must be computed again."""
        if not (self.directory / path).is_file():
            return None
        try:
            tensors = read_tensors(self.directory / path, CHECK)
        except RunError:
            return None
        check = tensors.pop(CHECK)
        return tensors if torch.equal(check, self._check(path, tensors)) else None

    def known(self, path: str) -> dict[str, Tensor]:
        """The tensors of a file that must be there.

        Raises: RunError if it is missing or damaged.
        """
        found = self.read(path)
        if found is None:
            raise RunError(
                f"{self.directory / path} is missing, or not what this run wrote: run the evaluation again with the "
                "same arguments to write it anew"
            )
        return found

    def _check(self, path: str, tensors: Tensors) -> Tensor:
        """Digest of the content of a file (16,), uint8."""
        heads = [(name, str(tensors[name].dtype), tuple(tensors[name].shape)) for name in sorted(tensors)]
        content = repr((self.run, path, heads)).encode()
        content += b"".join(tensors[name].flatten().view(torch.uint8).numpy().tobytes() for name, *_ in heads)
        return torch.frombuffer(bytearray(digest(content)), dtype=torch.uint8)


def packed(value: object) -> Tensor:
    """A JSON value as bytes (B,), uint8."""
    return torch.frombuffer(bytearray(json.dumps(value, allow_nan=False).encode()), dtype=torch.uint8)


def unpacked(content: Tensor) -> object:
    """The JSON value in bytes that ``packed`` made."""
    return parsed(bytes(content.numpy().tobytes()).decode())
