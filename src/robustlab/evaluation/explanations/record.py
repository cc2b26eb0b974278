"""Record of an evaluation of explanations: frozen values, written to and read from ``explanations.json``.

A run directory holds

    manifest.json            models, data, versions and settings: enough to run it again
    answers/*.safetensors    of each model to each batch: ids, label, prediction, confidence
    maps/*.safetensors       of each model and method: ids, target, maps (N, ...)
    numbers/*.safetensors    of each model and method: ids, and a value per example for each number
    checks/*.safetensors     of each model and method: findings and curves as JSON
    attacks/*.safetensors    of each model: attacked images, their maps before and after, and distances of maps
    explanations.json        ``Explanations.to_json()``

A number that is undefined for an example, or over no examples, is NaN in Python and null in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustlab.core.finding import Finding
from robustlab.evaluation.record import DataInfo, ModelInfo, RunInfo
from robustlab.explain.checks import CheckCurve
from robustlab.runs.codec import decode, encode
from robustlab.statistics.estimate import Estimate
from robustlab.statistics.intervals import Interval

EXPLANATION_SCHEMA = 1


@dataclass(frozen=True)
class InstrumentInfo:
    """A method, number or check of the run."""

    name: str
    repr: str
    """The instrument as a value."""
    help: str = ""
    better: str = ""
    """Direction of a number that is better: "higher" or "lower"; empty: neither."""


@dataclass(frozen=True)
class MethodResult:
    """The maps of one model by one method."""

    model: int
    method: str
    seconds: float
    gap: float | None
    """Largest distance of the sum of a map from what it promises, relative to that or 1; None: nothing is promised."""
    nonfinite: int
    """Maps with a NaN or infinite value."""
    zero: int
    """Maps that are 0 everywhere."""


@dataclass(frozen=True)
class NumberResult:
    """One number of the maps of one model by one method, as a mean over examples."""

    model: int
    method: str
    """Empty: the number is of the model alone."""
    number: str
    mean: Estimate
    """Over the examples where it is defined."""
    undefined: int
    """Examples where it is not."""


@dataclass(frozen=True)
class NumberDifference:
    """One number of the second model less that of the first, paired image by image."""

    method: str
    number: str
    difference: Estimate
    p_value: float
    corrected: float
    """p-value after correction for all numbers of the run (Holm)."""


@dataclass(frozen=True)
class CheckResult:
    """Checks of the maps of one model by one method."""

    model: int
    method: str
    n: int
    """Images whose maps were checked."""
    curves: dict[str, CheckCurve]
    """Numbers behind a check, by its code."""
    skipped: dict[str, str]
    """Reasons for which a check could not be made, by its code."""


@dataclass(frozen=True)
class MapFinding:
    """A finding, with the model and the method that it is about."""

    model: int
    method: str
    """Empty: the finding is about model and data."""
    finding: Finding


@dataclass(frozen=True)
class ExplainedPicture:
    """One image of a report, and the answers of the models to it."""

    id: int
    label: int
    predictions: tuple[int, ...]
    confidences: tuple[float, ...]


@dataclass(frozen=True)
class Explanations:
    """The result of ``evaluate_explanations``: everything that a report draws."""

    models: tuple[ModelInfo, ...]
    """One, or two that were compared."""
    data: DataInfo
    run: RunInfo
    target: str
    """The explained class: "prediction" or "label"."""
    score: str
    methods: tuple[InstrumentInfo, ...]
    numbers: tuple[InstrumentInfo, ...]
    level: float
    """Level of all intervals."""
    accuracy: tuple[Interval, ...]
    """Accuracy of each model on the explained images."""
    maps: tuple[MethodResult, ...]
    results: tuple[NumberResult, ...]
    differences: tuple[NumberDifference, ...]
    checks: tuple[InstrumentInfo, ...]
    checked: tuple[CheckResult, ...]
    attack: InstrumentInfo | None
    """Attack on maps; None: there was none."""
    attacked: int
    """Images whose maps were attacked."""
    found: tuple[MapFinding, ...]
    """Findings, serious ones first."""
    pictures: tuple[ExplainedPicture, ...]
    schema: int = EXPLANATION_SCHEMA
    directory: Path | None = field(default=None, compare=False)
    """The run directory; not written to JSON."""

    @property
    def model(self) -> ModelInfo:
        """The first model, whose answers are explained."""
        return self.models[0]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings, serious ones first."""
        return tuple(one.finding for one in self.found)

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and finite numbers; NaN becomes None."""
        return encode(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object], directory: Path | None = None) -> Explanations:
        """Reads the output of ``to_json``.

        Raises: ValueError for another schema version, or where something is missing.
        """
        if data.get("schema") != EXPLANATION_SCHEMA or "maps" not in data:
            raise ValueError(
                f"the result has schema {data.get('schema')!r}, this version of robustlab reads {EXPLANATION_SCHEMA}"
            )
        found = decode(cls, data)
        if not found.models or len(found.accuracy) != len(found.models):
            raise ValueError("its models and accuracies do not belong together")
        return replace(found, directory=directory)

    def result(self, number: str, method: str = "", model: int = 0) -> NumberResult:
        """One number.

        Raises: ValueError if it was not measured.
        """
        for one in self.results:
            if (one.number, one.method, one.model) == (number, method, model):
                return one
        known = ", ".join(dict.fromkeys(f"{one.number} of {one.method or 'the model'}" for one in self.results))
        raise ValueError(
            f"{number!r} of {method or 'the model'!r} was not measured for model {model}; there are {known}"
        )
