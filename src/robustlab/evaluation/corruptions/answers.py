"""Answers of a model under each corruption, on disk: a small file per batch and cell, and one of all in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.runs.files import digest
from robustlab.runs.tensors import read_tensors, write_tensors

FILE = "answers.safetensors"
CLEAN = ("clean", 0)
"""The cell of the images before they were corrupted."""
_PARTS = "answers"


class BatchAnswers(NamedTuple):
    """Answers of the model to one batch of one cell."""

    ids: Tensor
    """Numbers of the examples (N,), int64."""
    prediction: Tensor
    """(N,), int64; -1 where the logits were not finite."""
    confidence: Tensor
    """(N,), float32; NaN where the logits were not finite."""
    seconds: float
    """Time to corrupt the batch and to run the model."""
    label: Tensor | None = None
    """(N,), int64; with the first cell only."""
    digest: Tensor | None = None
    """Digest of each image and its label (N, 24), uint8; with the first cell only."""


@dataclass(frozen=True)
class AllAnswers:
    """Answers of the model to all examples in all cells."""

    ids: Tensor
    """(N,), int64, ascending."""
    label: Tensor
    """(N,), int64."""
    digest: Tensor
    """(N, 24), uint8."""
    prediction: Mapping[tuple[str, int], Tensor]
    """By cell, "clean" at severity 0 among them if there were clean images: (N,), int64."""
    confidence: Mapping[tuple[str, int], Tensor]
    """By cell: (N,), float32."""
    seconds: Mapping[tuple[str, int], float]

    def right(self, cell: tuple[str, int]) -> Tensor:
        """Correctness of each example (N,), bool."""
        return self.prediction[cell] == self.label


@dataclass
class Parts:
    """The files of a run that goes on.

    Args:
        directory: of the run.
        batches: ids of each batch.
        first: the cell whose files hold labels and digests too.
        run: id of the run, which every file is signed with.
    """

    directory: Path
    batches: Sequence[Tensor]
    first: tuple[str, int]
    run: str

    def path(self, cell: tuple[str, int], number: int) -> Path:
        """Path of the answers to one batch of one cell."""
        return self.directory / _PARTS / f"{cell[0]}-{cell[1]}-{number:05d}.safetensors"

    def write(self, cell: tuple[str, int], number: int, found: BatchAnswers) -> None:
        """Writes the answers to one batch of one cell, whole or not at all."""
        tensors = {"ids": found.ids, "prediction": found.prediction, "confidence": found.confidence}
        tensors["seconds"] = torch.tensor(found.seconds, dtype=torch.float64)
        if found.label is not None and found.digest is not None:
            tensors |= {"label": found.label, "digest": found.digest}
        write_tensors(self.path(cell, number), {**tensors, "check": _check(tensors, self.run)})

    def read(self, cell: tuple[str, int], number: int) -> BatchAnswers | None:
        """The answers to one batch of one cell; None if they are missing or damaged, and must be computed again."""
        path = self.path(cell, number)
        if not path.is_file():
            return None
        try:
            tensors = read_tensors(path)
        except RunError:
            return None
        check = tensors.pop("check", None)
        whole = check is not None and torch.equal(check, _check(tensors, self.run))
        usual = {"ids", "prediction", "confidence", "seconds"}
        if not whole or tensors.keys() not in (usual, usual | {"label", "digest"}):
            return None
        if cell == self.first and "label" not in tensors:
            return None
        ids, seconds = tensors["ids"], tensors["seconds"]
        if not torch.equal(ids, self.batches[number]) or seconds.numel() != 1:
            return None
        if any(len(rows) != len(ids) for name, rows in tensors.items() if name != "seconds"):
            return None
        return BatchAnswers(**{**tensors, "seconds": float(tensors["seconds"])})  # type: ignore[arg-type]  # by name

    def missing(self, cells: Iterable[tuple[str, int]], number: int) -> list[tuple[str, int]]:
        """The cells without answers to a batch."""
        return [cell for cell in cells if self.read(cell, number) is None]

    def everything(self, cells: Sequence[tuple[str, int]]) -> AllAnswers:
        """All answers together.

        Raises: RunError if a file was removed or damaged meanwhile.
        """
        found = {cell: [self._known(cell, number) for number in range(len(self.batches))] for cell in cells}
        first = found[self.first]
        return AllAnswers(
            ids=torch.cat(list(self.batches)),
            label=torch.cat([one.label for one in first if one.label is not None]),
            digest=torch.cat([one.digest for one in first if one.digest is not None]),
            prediction={cell: torch.cat([one.prediction for one in parts]) for cell, parts in found.items()},
            confidence={cell: torch.cat([one.confidence for one in parts]) for cell, parts in found.items()},
            seconds={cell: sum(one.seconds for one in parts) for cell, parts in found.items()},
        )

    def _known(self, cell: tuple[str, int], number: int) -> BatchAnswers:
        found = self.read(cell, number)
        if found is None:
            raise RunError(
                f"{self.path(cell, number)} is missing or damaged: run the evaluation again to write it anew"
            )
        return found

    def remove(self) -> None:
        """Removes the files of the batches, once all answers are in one."""
        folder = self.directory / _PARTS
        for path in folder.glob("*"):
            path.unlink(missing_ok=True)
        if folder.is_dir():
            folder.rmdir()


def _check(tensors: Mapping[str, Tensor], run: str) -> Tensor:
    """Digest of the content of a file of a run (16,), uint8."""
    content = run.encode() + b"".join(
        name.encode() + tensors[name].contiguous().numpy().tobytes() for name in sorted(tensors)
    )
    return torch.frombuffer(bytearray(digest(content)), dtype=torch.uint8)


def write_answers(directory: Path, found: AllAnswers, run: str) -> None:
    """Writes all answers into one file of the run directory, cells as rows, signed with the id of the run."""
    cells = list(found.prediction)
    tensors = {
        "ids": found.ids,
        "label": found.label,
        "digest": found.digest,
        "prediction": torch.stack([found.prediction[cell] for cell in cells]).int(),
        "confidence": torch.stack([found.confidence[cell] for cell in cells]),
        "seconds": torch.tensor([found.seconds[cell] for cell in cells], dtype=torch.float64),
    }
    write_tensors(directory / FILE, {**tensors, "check": _check(tensors, run)})


def read_answers(directory: Path, cells: Sequence[tuple[str, int]], run: str, *, signed: bool) -> AllAnswers:
    """Reads the output of ``write_answers``, for the cells in the same order.

    Args:
        directory: of the run.
        cells: of the run.
        run: its id.
        signed: whether the file must be signed; those of older versions are not.

    Raises: RunError if the file is missing, damaged, of another run or of other cells.
    """
    path = directory / FILE
    tensors = read_tensors(path, "ids", "label", "digest", "prediction", "confidence", "seconds")
    shape = (len(cells), tensors["ids"].numel())
    check = tensors.pop("check", None)
    if (check is None and signed) or (check is not None and not torch.equal(check, _check(tensors, run))):
        raise RunError(
            f"{path} is not what this run wrote: run the evaluation again with the same arguments to write it anew"
        )
    if len(tensors["prediction"]) != len(cells):
        raise RunError(f"{path} holds {len(tensors['prediction'])} cells, the run has {len(cells)}")
    shapes = {"label": shape[1:], "prediction": shape, "confidence": shape, "seconds": shape[:1]}
    if any(tuple(tensors[name].shape) != expected for name, expected in shapes.items()):
        raise RunError(f"{path} does not fit the run: run the evaluation again to write it anew")
    rows = {name: dict(zip(cells, tensors[name], strict=True)) for name in ("prediction", "confidence", "seconds")}
    return AllAnswers(
        ids=tensors["ids"],
        label=tensors["label"],
        digest=tensors["digest"],
        prediction={cell: row.long() for cell, row in rows["prediction"].items()},
        confidence=rows["confidence"],
        seconds={cell: float(row) for cell, row in rows["seconds"].items()},
    )
