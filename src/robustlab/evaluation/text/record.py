"""Record of an evaluation on texts: frozen values, written to and read from ``report.json``.

A run directory holds

    manifest.json     victim, data, recipes, versions and settings: enough to run it again
    outcomes.sqlite   a row per example and recipe (table ``texts`` of ``schema.SCHEMA``)
    report.json       ``TextEvaluation.to_json()``

Fractions are between 0 and 1. A fraction of no examples is NaN in Python and null in JSON. Texts are JSON themselves,
so that no character of them is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from robustlab.core.finding import Finding
from robustlab.evaluation.record import ClassResult, CleanResult, DataInfo, ModelInfo, RunInfo, Spread
from robustlab.evaluation.text.recipe_info import RecipeInfo
from robustlab.runs.codec import decode, encode
from robustlab.statistics.intervals import Interval

TEXT_SCHEMA = 1
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
Status: TypeAlias = Literal["skipped", "successful", "failed"]


@dataclass(frozen=True)
class WordsChanged:
    """Words that successful attacks changed."""

    mean_fraction: float
    """Mean fraction of the words of a text; NaN without a success."""
    fraction_quantiles: tuple[float, ...]
    """Quantiles of these fractions, at ``QUANTILES``."""
    mean: float
    """Mean number of words."""


@dataclass(frozen=True)
class TextQueries:
    """Queries of the attacks on the examples that were not skipped."""

    requested: Spread
    """Texts that a search wanted scored, repeats included."""
    sent: Spread
    """Different texts among these."""


@dataclass(frozen=True)
class TextCosts:
    """Cost of one recipe over all examples."""

    texts: int
    """Texts that the victim scored; repeats, also of other recipes, came from memory."""
    victim_seconds: float
    service_seconds: float
    """In other models, such as a sentence encoder."""
    seconds: float
    """All of it."""


@dataclass(frozen=True)
class MeaningAudit:
    """Change of the meaning of texts by successful attacks; None: not measured."""

    turned: Interval | None
    """Successes that turn the sign of an opinion word."""
    apart: Interval | None
    """Successes whose sentence similarity is below the bound."""
    either: Interval | None
    """Successes with one of the two; None unless both were measured."""
    similarity: Spread | None
    """Sentence similarity of the successes; its ``max`` is the largest."""


@dataclass(frozen=True)
class RecipeResult:
    """One recipe on all examples."""

    recipe: str
    accuracy: Interval
    """Correct before and after the attack, of all examples."""
    success: Interval
    """Successful, of the examples that were attacked; skipped ones do not count."""
    success_or_wrong: Interval
    """Successful or skipped, of all examples."""
    skipped: int
    successful: int
    failed: int
    changed: WordsChanged
    queries: TextQueries
    costs: TextCosts
    per_class: tuple[ClassResult, ...]
    mean_confidence: float
    """Mean probability of the predicted class over the successes; NaN if none."""
    audit: MeaningAudit


@dataclass(frozen=True)
class RecipePair:
    """Two recipes on the same examples, paired: the accuracy under the second less that under the first."""

    a: str
    b: str
    only_a: int
    """Examples correct under the first recipe alone."""
    only_b: int
    difference: float
    low: float
    high: float
    p_value: float
    """Exact McNemar test of "both leave equally many correct", two-sided."""
    corrected: float
    """After Holm, for all pairs of the evaluation."""
    differs: tuple[str, ...]
    """Parts in which the recipes differ: those that differ in more than the search are different threats."""


@dataclass(frozen=True)
class TextItem:
    """One example of the gallery."""

    recipe: str
    id: int
    status: Status
    label: int
    before: int
    prediction: int
    confidence: float
    original: str
    """JSON: a text, or a list of fields."""
    adversarial: str
    changed: int
    words: int
    requested: int
    turned: bool | None = None
    """True if an opinion word's sign is turned; None: not measured."""
    similarity: float = float("nan")
    """Similarity of the sentences; NaN: not measured."""


@dataclass(frozen=True)
class MeaningInfo:
    """Instruments of the meaning audit."""

    opinion: str = ""
    """Version of the opinion words; empty: not there."""
    encoder: str = ""
    """Version of the sentence encoder; empty: not there."""
    bound: float = 0.0
    """Similarity below which a text left the bound."""
    missing: tuple[str, ...] = ()
    """Commands that bring what is not there."""


@dataclass(frozen=True)
class TextEvaluation:
    """The result of ``evaluate_text``: everything that a report draws."""

    model: ModelInfo
    """The victim; ``sha256`` is its digest."""
    data: DataInfo
    run: RunInfo
    recipes: tuple[RecipeInfo, ...]
    queries: int | None
    """Query budget of one example; None: any number."""
    resources: dict[str, str]
    """Versions of the resources that recipes use, by name."""
    clean: CleanResult
    results: tuple[RecipeResult, ...]
    """In the order of ``recipes``."""
    worst: Interval
    """Correct before and after every attack, of all examples."""
    pairs: tuple[RecipePair, ...]
    meaning: MeaningInfo
    findings: tuple[Finding, ...]
    """Serious first."""
    gallery: tuple[TextItem, ...]
    caveats: tuple[str, ...] = ()
    schema: int = TEXT_SCHEMA
    measures: Literal["texts"] = "texts"
    directory: Path | None = field(default=None, compare=False)
    """The run directory; not written to JSON."""

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and finite numbers; NaN becomes None."""
        return encode(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object], directory: Path | None = None) -> TextEvaluation:
        """Reads the output of ``to_json``.

        Raises: ValueError for another schema version, or where something is missing.
        """
        found = decode(cls, upgraded(data))
        if not found.results or [one.recipe for one in found.results] != [one.name for one in found.recipes]:
            raise ValueError("its results do not belong to its recipes")
        return replace(found, directory=directory)

    def result(self, recipe: str) -> RecipeResult:
        """The result of a recipe by name.

        Raises: ValueError if there is none.
        """
        for one in self.results:
            if one.recipe == recipe:
                return one
        raise ValueError(f"there is no result of {recipe!r}; there are {', '.join(r.name for r in self.recipes)}")


def upgraded(data: Mapping[str, object]) -> Mapping[str, object]:
    """A result as ``TextEvaluation.to_json`` writes it now; results of older versions are changed to it here.

    Raises: ValueError for a version that cannot be read.
    """
    if data.get("measures") != "texts" or data.get("schema") != TEXT_SCHEMA:
        raise ValueError(
            f"the result has schema {data.get('schema')!r} of {data.get('measures', 'attacks on inputs')!r}, this "
            f"version of robustlab reads {TEXT_SCHEMA} of 'texts'"
        )
    return data
