"""Examples of a run on texts for its report: some successes of each recipe, and some failures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from robustlab.evaluation.plan import chosen
from robustlab.evaluation.queries import Reader, Row
from robustlab.evaluation.result_queries import text_rows
from robustlab.evaluation.text.manifest import TextManifest
from robustlab.evaluation.text.record import Status, TextItem

SHOWN: dict[Status, int] = {"successful": 8, "failed": 2}
"""Examples of each recipe, drawn at random."""


def gallery(manifest: TextManifest, reader: Reader) -> Iterator[TextItem]:
    """A simple random sample of the outcomes of each recipe: by recipe, successes first, then by id."""
    for number, info in enumerate(manifest.recipes):
        rows = {row[0]: row for row in text_rows(reader, number)}
        for status, count in SHOWN.items():
            ids = torch.tensor([i for i, row in rows.items() if row[1] == status], dtype=torch.int64)
            for i in chosen(ids, count, "gallery", manifest.run.seed).tolist():
                yield _item(info.name, rows[i])


def _item(recipe: str, row: Row) -> TextItem:
    id_, status, label, _, before, prediction, confidence, _, requested, _, changed, words, *rest = row
    original, adversarial, _, turned, similarity = rest
    return TextItem(
        recipe=recipe,
        id=id_,
        status=status,
        label=label,
        before=before,
        prediction=prediction,
        confidence=confidence,
        original=original,
        adversarial=adversarial,
        changed=changed,
        words=words,
        requested=requested,
        turned=None if turned is None else bool(turned),
        similarity=math.nan if similarity is None else similarity,
    )
