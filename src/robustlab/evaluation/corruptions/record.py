"""Record of an evaluation under corruptions: frozen values, written to and read from ``corruptions.json``.

A run directory holds

    manifest.json           model, data, versions and settings: enough to run it again
    answers/*.safetensors   while it goes on: answers of the model, a file per batch and cell (corruption and severity)
    answers.safetensors     once it is finished: all of them
    gallery.safetensors     the same few images under every corruption
    corruptions.json        ``CorruptionEvaluation.to_json()``

Fractions are between 0 and 1. A number over no examples is NaN in Python and null in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustlab.core.finding import Finding
from robustlab.evaluation.corruptions.metrics import CorruptionErrors
from robustlab.evaluation.record import CleanResult, DataInfo, ModelInfo, RunInfo
from robustlab.runs.codec import decode, encode
from robustlab.statistics.estimate import Estimate
from robustlab.statistics.intervals import Interval

CORRUPTION_SCHEMA = 1


@dataclass(frozen=True)
class CorruptionInfo:
    """One corruption of the evaluation."""

    name: str
    family: str
    """noise, blur, weather, digital or extra; "own" for one that is not ours."""
    repr: str
    """The corruption as a value; of ready-made images, their source."""
    not_comparable: str = ""
    """Reason that its numbers are not comparable with published ones, as a sentence; empty: none is known."""


@dataclass(frozen=True)
class CellResult:
    """One corruption at one severity."""

    corruption: str
    severity: int
    accuracy: Interval
    mean_confidence: float
    """Mean softmax probability of the predicted class."""
    nonfinite: int
    """Images with a NaN or infinite logit; they count as wrong."""
    seconds: float


@dataclass(frozen=True)
class SeverityResult:
    """All corruptions of one severity, those that means are over (``CorruptionErrors.over``)."""

    severity: int
    accuracy: Estimate


@dataclass(frozen=True)
class FamilyResult:
    """All corruptions of one family, at all severities."""

    family: str
    corruptions: tuple[str, ...]
    accuracy: Estimate


@dataclass(frozen=True)
class CorruptedClass:
    """One class: how often it is recognised, clean and corrupted."""

    label: int
    name: str
    n: int
    clean: int | None
    """Correct on clean images; None: there were none."""
    corrupted: float
    """Mean accuracy over all corruptions and severities."""
    worst: str
    """The corruption that harms it most, averaged over severities."""
    worst_accuracy: float


@dataclass(frozen=True)
class SubsetResult:
    """Some of the examples by themselves, such as those that were mined because they are hard."""

    name: str
    n: int
    clean: Interval | None
    corrupted: Estimate
    """Mean accuracy over corruptions and severities."""


@dataclass(frozen=True)
class CorruptionPicture:
    """Answer of the model to one picture of the gallery."""

    corruption: str
    """Empty: the clean image."""
    severity: int
    image: int
    """Position among the images of the gallery."""
    id: int
    label: int
    prediction: int
    confidence: float
    row: int
    """Row of the tensor ``x``, uint8 (R, C, H, W), in the file of the gallery."""


@dataclass(frozen=True)
class CorruptionEvaluation:
    """The result of ``evaluate_corruptions``: everything that a report draws."""

    model: ModelInfo
    data: DataInfo
    run: RunInfo
    corruptions: tuple[CorruptionInfo, ...]
    variant: str
    """Variant of the corruptions: "imagenet-c", "corrected", "cifar-c", "imagecorruptions", "ready-made"."""
    clean: CleanResult | None
    """None: there were no clean images."""
    cells: tuple[CellResult, ...]
    """By corruption in the order of ``corruptions``, then by severity ascending."""
    errors: CorruptionErrors
    """Mean error, and with a baseline corruption errors, mCE and relative mCE."""
    normalised_by: str
    """Denominator of corruption errors, in words; empty: none, only mean errors are given."""
    severities: tuple[SeverityResult, ...]
    families: tuple[FamilyResult, ...]
    per_class: tuple[CorruptedClass, ...]
    subsets: tuple[SubsetResult, ...]
    findings: tuple[Finding, ...]
    gallery: tuple[CorruptionPicture, ...]
    caveats: tuple[str, ...]
    """Limits of the numbers in sentences, such as that frost is not comparable."""
    schema: int = CORRUPTION_SCHEMA
    directory: Path | None = field(default=None, compare=False)
    """The run directory; not written to JSON."""

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and finite numbers; NaN becomes None."""
        return encode(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object], directory: Path | None = None) -> CorruptionEvaluation:
        """Reads the output of ``to_json``.

        Raises: ValueError for another schema version, or where something is missing.
        """
        if data.get("schema") != CORRUPTION_SCHEMA or "cells" not in data:
            raise ValueError(
                f"the result has schema {data.get('schema')!r}, this version of robustlab reads {CORRUPTION_SCHEMA}"
            )
        found = decode(cls, data)
        _check_whole(found)
        return replace(found, directory=directory)

    @property
    def mean_accuracy(self) -> Estimate:
        """Accuracy averaged over corruptions and severities: one less the mean error."""
        return correct(self.errors.mean_error)

    def cell(self, corruption: str, severity: int) -> CellResult:
        """The result at one corruption and severity.

        Raises: ValueError if there is none.
        """
        for one in self.cells:
            if (one.corruption, one.severity) == (corruption, severity):
                return one
        names = ", ".join(info.name for info in self.corruptions)
        raise ValueError(f"{corruption!r} at severity {severity} was not evaluated; there are {names}")


def _check_whole(found: CorruptionEvaluation) -> None:
    """Checks that every corruption was measured at every severity.

    Raises: ValueError if not: the file was changed.
    """
    names = {info.name for info in found.corruptions}
    expected = {(name, severity) for name in names for severity in found.errors.severities}
    each = {error.corruption for error in found.errors.each}
    if not expected or {(one.corruption, one.severity) for one in found.cells} != expected or each != names:
        raise ValueError("its corruptions, cells and errors do not belong together")


def correct(error: Estimate) -> Estimate:
    """The accuracy that belongs to an error."""
    return replace(error, value=1 - error.value, low=1 - error.high, high=1 - error.low)
