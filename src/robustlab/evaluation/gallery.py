"""Pictures for a report: some fooled examples of each attack and eps, chosen by a hash, never by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.manifest import Manifest, read_manifest
from robustlab.evaluation.plan import ranked
from robustlab.evaluation.queries import Reader
from robustlab.evaluation.record import Evaluation, GalleryItem
from robustlab.evaluation.result_queries import file_names, file_of, fooled_rows
from robustlab.evaluation.sealed import check_file
from robustlab.evaluation.store import Store
from robustlab.evaluation.subject import Subject
from robustlab.runs.disk import inside
from robustlab.runs.tensors import read_row, read_tensors

CANDIDATES = 100
"""Examples whose x_adv are kept for pictures if not all are."""
FILE = "adversarial/gallery.safetensors"
_PER_CELL = 8
_BYTES = 64 << 20  # of all pictures together


class _Candidate(NamedTuple):
    """A fooled example and the file of its x_adv."""

    item: GalleryItem
    file: str


def select_pictures(subject: Subject, manifest: Manifest, store: Store, ids: Tensor) -> tuple[GalleryItem, ...]:
    """Chooses pictures and writes them into one file of the run directory.

    Args:
        subject: for the clean inputs.
        manifest: of the run.
        store: of the run.
        ids: of all examples of the run.

    Returns: the items, in the order of attacks and eps.
    """
    cells = [(i, eps) for i, budgets in enumerate(manifest.eps) for eps in budgets]
    pair = 2 * 4 * max(1, torch.Size(manifest.data.shape).numel())
    per_cell = max(1, min(_PER_CELL, _BYTES // (pair * max(1, len(cells)))))
    files = file_names(store.reader)
    order = {i: rank for rank, i in enumerate(candidates(ids, manifest).tolist())}
    found = [one for cell in cells for one in _cell(store.reader, manifest, cell, order)[:per_cell]]
    if not found:
        return ()
    x_adv = torch.stack([read_row(store.directory / one.file, one.item.id) for one in found])
    x = subject.load(torch.tensor([one.item.id for one in found])).x
    store.put(FILE, {"x": x, "x_adv": x_adv})
    return tuple(replace(one.item, row=row, source=files.get(one.item.id, "")) for row, one in enumerate(found))


def candidates(ids: Tensor, manifest: Manifest) -> Tensor:
    """The examples that may become pictures, in the order of their hash."""
    order = ranked(ids, "gallery", manifest.run.seed)
    return order if manifest.essentials["kept"] == "all" else order[:CANDIDATES]


def _cell(reader: Reader, manifest: Manifest, cell: tuple[int, float], order: dict[int, int]) -> list[_Candidate]:
    """The first fooled examples of one attack and eps whose x_adv was kept."""
    rows = [row for row in fooled_rows(reader, *cell) if row[0] in order]
    name, found = manifest.attacks[cell[0]].name, []
    for number, stage, restart, *values in sorted(rows, key=lambda row: order[row[0]])[:_PER_CELL]:
        file = file_of(reader, (*cell, number, stage, restart))
        if file is not None:
            found.append(_Candidate(_item(name, cell[1], number, values), file))
    return found


def _item(attack: str, eps: float, number: int, values: list[Any]) -> GalleryItem:
    label, before, sure_before, after, sure_after, linf, l2, l1, target = values
    confidences = (math.nan if sure is None else sure for sure in (sure_before, sure_after))
    clean_confidence, confidence = confidences
    return GalleryItem(
        file=FILE,
        row=0,
        id=number,
        attack=attack,
        eps=eps,
        label=label,
        clean_prediction=before,
        clean_confidence=clean_confidence,
        prediction=after,
        confidence=confidence,
        linf=linf,
        l2=l2,
        l1=l1,
        target=target,
    )


@typed
def pictures(evaluation: Evaluation, items: Sequence[GalleryItem]) -> tuple[Tensor, Tensor]:
    """Clean and adversarial inputs of gallery items, both (G, ...).

    Raises: RunError if the evaluation has no run directory, or the pictures are missing or of another run.
    """
    if evaluation.directory is None:
        raise RunError("this evaluation has no run directory, so it has no pictures: read it with read_run(directory)")
    if not items:
        return torch.empty(0), torch.empty(0)
    home, file = Path(evaluation.directory), items[0].file
    path = inside(home, file)
    tensors = read_tensors(path, "x", "x_adv")
    if (home / "manifest.json").exists():
        check_file(home, file, read_manifest(home).sealed)
    rows = torch.tensor([item.row for item in items])
    x, x_adv = tensors["x"], tensors["x_adv"]
    if x.shape != x_adv.shape or not x.ndim or int(rows.min()) < 0 or int(rows.max()) >= len(x):
        raise RunError(f"{path} does not hold the pictures of this run: run the evaluation again to have them anew")
    return x[rows], x_adv[rows]
