"""Pictures of the same few images under every corruption, chosen by a hash, never by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.corruptions.answers import CLEAN, AllAnswers
from robustlab.evaluation.corruptions.corrupted_set import Cell, CorruptedSets
from robustlab.evaluation.corruptions.manifest import CorruptionManifest, read_corruption_manifest
from robustlab.evaluation.corruptions.record import CorruptionEvaluation, CorruptionPicture
from robustlab.evaluation.input_checks import fetched
from robustlab.evaluation.plan import ranked
from robustlab.evaluation.sealed import check_file
from robustlab.runs.disk import disk
from robustlab.runs.tensors import read_tensors, write_tensors

IMAGES = 4
FILE = "gallery.safetensors"
_USUAL = 3


def select_pictures(
    sets: CorruptedSets, found: AllAnswers, manifest: CorruptionManifest, directory: Path
) -> tuple[CorruptionPicture, ...]:
    """Writes a few images under every corruption, at one severity, into a file of the run directory.

    Args:
        sets: the images.
        found: answers of the model.
        manifest: of the run.
        directory: of the run.

    Returns: an item for each picture, clean ones first.
    """
    ids = ranked(found.ids, "gallery", manifest.run.seed)[:IMAGES]
    severity = _USUAL if _USUAL in manifest.severities else manifest.severities[len(manifest.severities) // 2]
    clean = fetched(sets.examples, ids)
    cells = [*([CLEAN] if manifest.clean else []), *((info.name, severity) for info in manifest.corruptions)]
    x = torch.cat([clean.x if cell == CLEAN else sets.batch(cell, clean).x for cell in cells])
    with disk(directory):
        write_tensors(directory / FILE, {"x": x.mul(255).round().to(torch.uint8)})
    return tuple(
        _picture(found, cell, place, number, len(ids) * row + place)
        for row, cell in enumerate(cells)
        for place, number in enumerate(ids.tolist())
    )


def _picture(found: AllAnswers, cell: Cell, place: int, number: int, row: int) -> CorruptionPicture:
    at = int((found.ids == number).nonzero()[0, 0])
    return CorruptionPicture(
        corruption="" if cell == CLEAN else cell[0],
        severity=cell[1],
        image=place,
        id=number,
        label=int(found.label[at]),
        prediction=int(found.prediction[cell][at]),
        confidence=float(found.confidence[cell][at]),
        row=row,
    )


@typed
def corruption_pictures(evaluation: CorruptionEvaluation, items: Sequence[CorruptionPicture]) -> Tensor:
    """The images of gallery items, float32 (G, C, H, W) in [0, 1].

    Raises: RunError if the evaluation has no run directory, or the pictures are missing or of another run.
    """
    if evaluation.directory is None:
        raise RunError("this evaluation has no run directory, so it has no pictures: read it with read_corruptions")
    if (evaluation.directory / "manifest.json").exists():
        check_file(evaluation.directory, FILE, read_corruption_manifest(evaluation.directory).sealed)
    x = read_tensors(evaluation.directory / FILE, "x")["x"]
    rows = torch.tensor([item.row for item in items], dtype=torch.int64)
    if x.ndim != 4 or bool(((rows < 0) | (rows >= len(x))).any()):
        raise RunError(f"{evaluation.directory / FILE} does not hold this run's pictures: run the evaluation again")
    return x[rows] / 255
