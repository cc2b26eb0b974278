"""Result of a run under corruptions, computed from the answers; the same answers give the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.evaluation.corruptions.answers import CLEAN, AllAnswers
from robustlab.evaluation.corruptions.baseline import Baseline
from robustlab.evaluation.corruptions.corrupted_set import READY, Cell
from robustlab.evaluation.corruptions.manifest import CorruptionManifest
from robustlab.evaluation.corruptions.metrics import CorruptionErrors, corruption_errors
from robustlab.evaluation.corruptions.record import (
    CellResult,
    CorruptedClass,
    CorruptionEvaluation,
    CorruptionInfo,
    FamilyResult,
    SeverityResult,
    SubsetResult,
    correct,
)
from robustlab.evaluation.metrics import ClassTally, ConfusionTally
from robustlab.evaluation.record import CleanResult
from robustlab.evaluation.subject import UNDEFINED
from robustlab.statistics.intervals import clopper_pearson

_VALIDATION = 50_000
Wrong = dict[Cell, NDArray[np.bool_]]


def assemble(
    manifest: CorruptionManifest,
    found: AllAnswers,
    *,
    baseline: tuple[Baseline | None, str],
    subsets: Mapping[str, Tensor],
    level: float,
) -> CorruptionEvaluation:
    """Draws the result from the answers, as yet without findings and pictures.

    Args:
        manifest: of the run.
        found: answers of the model.
        baseline: the errors that corruption errors are divided by, and the phrase for reports.
        subsets: ids of examples that get a line of their own, by name.
        level: of the intervals.
    """
    clean = _clean(found, manifest.data.classes, level) if CLEAN in found.prediction else None
    wrong = _wrong(found)
    right = None if clean is None else ~found.right(CLEAN).numpy()
    errors = corruption_errors(wrong, clean=right, baseline=baseline[0], level=level)
    return CorruptionEvaluation(
        model=manifest.model,
        data=replace(manifest.data, sha256=hashlib.sha256(found.digest.numpy().tobytes()).hexdigest()),
        run=manifest.run,
        corruptions=manifest.corruptions,
        variant=manifest.variant,
        clean=clean,
        cells=tuple(_cell(found, cell, level) for cell in wrong),
        errors=errors,
        normalised_by=baseline[1],
        severities=tuple(_severity(wrong, errors, s, level) for s in errors.severities),
        families=tuple(_families(wrong, manifest.corruptions, level)),
        per_class=tuple(_classes(found, manifest, list(wrong))),
        subsets=tuple(_subset(found, wrong, errors, one, level) for one in subsets.items()),
        findings=(),
        gallery=(),
        caveats=tuple(_caveats(manifest, baseline)),
    )


def _wrong(found: AllAnswers) -> Wrong:
    """Misclassified examples, by corruption and severity."""
    return {cell: ~found.right(cell).numpy() for cell in found.prediction if cell != CLEAN}


def _clean(found: AllAnswers, names: Sequence[str], level: float) -> CleanResult:
    labels, answers = found.label.numpy(), found.prediction[CLEAN].numpy()
    right = labels == answers
    classes, confusion = ClassTally(), ConfusionTally()
    classes.update(labels, right, right)
    confusion.update(labels, answers)
    return CleanResult(
        accuracy=clopper_pearson(int(right.sum()), right.size, level),
        per_class=classes.compute(names),
        confusion=confusion.compute(),
        mean_confidence=_mean(found.confidence[CLEAN]),
        nonfinite=int((answers == UNDEFINED).sum()),
        seconds=found.seconds[CLEAN],
    )


def _cell(found: AllAnswers, cell: Cell, level: float) -> CellResult:
    right = found.right(cell)
    return CellResult(
        corruption=cell[0],
        severity=cell[1],
        accuracy=clopper_pearson(int(right.sum()), len(right), level),
        mean_confidence=_mean(found.confidence[cell]),
        nonfinite=int((found.prediction[cell] == UNDEFINED).sum()),
        seconds=found.seconds[cell],
    )


def _mean(confidence: Tensor) -> float:
    """Over those that are numbers; NaN over none."""
    return float(confidence.double().nanmean())


def _severity(wrong: Wrong, errors: CorruptionErrors, severity: int, level: float) -> SeverityResult:
    chosen = {cell: rows for cell, rows in wrong.items() if cell[1] == severity and cell[0] in errors.over}
    return SeverityResult(severity, correct(corruption_errors(chosen, level=level).mean_error))


def _families(wrong: Wrong, infos: Sequence[CorruptionInfo], level: float) -> list[FamilyResult]:
    results = []
    for family in dict.fromkeys(info.family for info in infos):
        names = tuple(info.name for info in infos if info.family == family)
        chosen = {cell: rows for cell, rows in wrong.items() if cell[0] in names}
        results.append(FamilyResult(family, names, correct(corruption_errors(chosen, level=level).mean_error)))
    return results


def _classes(found: AllAnswers, manifest: CorruptionManifest, cells: Sequence[Cell]) -> list[CorruptedClass]:
    """Accuracy of each class, and the corruption that harms it most."""
    names = [info.name for info in manifest.corruptions]
    rights = {name: _fraction_right(found, [c for c in cells if c[0] == name]) for name in names}
    every = torch.stack(list(rights.values())).mean(dim=0)
    results = []
    for label in found.label.unique().tolist():
        rows = found.label == label
        means = {name: float(right[rows].mean()) for name, right in rights.items()}
        worst = min(means, key=means.__getitem__)
        classes = manifest.data.classes
        results.append(
            CorruptedClass(
                label=label,
                name=classes[label] if label < len(classes) else str(label),
                n=int(rows.sum()),
                clean=int(found.right(CLEAN)[rows].sum()) if CLEAN in found.prediction else None,
                corrupted=float(every[rows].mean()),
                worst=worst,
                worst_accuracy=means[worst],
            )
        )
    return results


def _fraction_right(found: AllAnswers, cells: Sequence[Cell]) -> Tensor:
    """Fraction of the cells in which each example is classified correctly (N,), float64."""
    return torch.stack([found.right(cell) for cell in cells]).double().mean(dim=0)


def _subset(
    found: AllAnswers, wrong: Wrong, errors: CorruptionErrors, subset: tuple[str, Tensor], level: float
) -> SubsetResult:
    """Some examples by themselves."""
    name, ids = subset
    rows = torch.isin(found.ids, ids)
    chosen = {cell: verdicts[rows.numpy()] for cell, verdicts in wrong.items() if cell[0] in errors.over}
    known = CLEAN in found.prediction
    n = int(rows.sum())
    clean = clopper_pearson(int(found.right(CLEAN)[rows].sum()), n, level) if known else None
    return SubsetResult(name, n, clean, correct(corruption_errors(chosen, level=level).mean_error))


def _caveats(manifest: CorruptionManifest, baseline: tuple[Baseline | None, str]) -> list[str]:
    """Limits of a comparison of the numbers with others."""
    against: dict[str, list[str]] = {}
    for info in manifest.corruptions:
        if info.not_comparable:
            against.setdefault(info.not_comparable, []).append(info.name)
    found = [
        f"Not comparable with published numbers, nor are means that hold it: {', '.join(names)}, as {why}."
        for why, names in against.items()
    ]
    if baseline[0] is None:
        found.append("Errors are plain means, divided by no other model's: this is not the mCE of ImageNet-C.")
    elif baseline[1].startswith("AlexNet"):
        found += _unlike_published(manifest)
    data = manifest.data
    if data.n < data.population:
        found.append(f"A sample: {data.population - data.n} of the {data.population} examples were left out.")
    return found


def _unlike_published(manifest: CorruptionManifest) -> list[str]:
    """Differences between these images and those of AlexNet's errors."""
    found = []
    if manifest.variant != READY:
        found.append("Corrupted in memory: the published images were saved as JPEG at quality 85 after corruption.")
    if manifest.data.population != _VALIDATION:
        found.append(
            f"AlexNet's errors are of ImageNet's {_VALIDATION:,} validation images; of these "
            f"{manifest.data.population} others an mCE is not comparable with published ones."
        )
    return found
