"""Result of a run on texts, computed from its rows; the same rows give the same result, in one session or in many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from robustlab.evaluation.metrics import ClassTally, FractionTally, SpreadTally
from robustlab.evaluation.queries import Reader
from robustlab.evaluation.record import ClassResult
from robustlab.evaluation.result_queries import text_cost, text_outcomes, texts_right, wall_seconds
from robustlab.evaluation.results import clean_result
from robustlab.evaluation.text.manifest import TextManifest
from robustlab.evaluation.text.record import (
    QUANTILES,
    MeaningAudit,
    MeaningInfo,
    RecipePair,
    RecipeResult,
    TextCosts,
    TextEvaluation,
    TextQueries,
    WordsChanged,
)
from robustlab.statistics.intervals import clopper_pearson
from robustlab.statistics.paired import holm, mcnemar, paired_difference

Flags = NDArray[np.bool_]
Real = NDArray[np.float64]
SUCCESSFUL, SKIPPED = "successful", "skipped"


def assemble(manifest: TextManifest, reader: Reader, meaning: MeaningInfo) -> TextEvaluation:
    """Draws the result from the rows of a run, as yet without findings and gallery."""
    level = manifest.level
    seconds, sessions = wall_seconds(reader)
    right = [texts_right(reader, number).numpy() for number in range(len(manifest.recipes))]
    held = np.logical_and.reduce(right)
    return TextEvaluation(
        model=manifest.model,
        data=manifest.data,
        run=replace(manifest.run, seconds=seconds, sessions=sessions),
        recipes=manifest.recipes,
        queries=manifest.queries,
        resources=manifest.resources,
        clean=clean_result(reader, manifest.data.classes, level),
        results=tuple(_recipe(reader, manifest, number, meaning) for number in range(len(manifest.recipes))),
        worst=clopper_pearson(int(held.sum()), held.size, level),
        pairs=tuple(_pairs(manifest, right)),
        meaning=meaning,
        findings=(),
        gallery=(),
        caveats=tuple(_caveats(manifest, meaning)),
    )


@dataclass
class _Tallies:
    """Counts over the outcomes of one recipe."""

    accuracy: FractionTally = field(default_factory=FractionTally)
    success: FractionTally = field(default_factory=FractionTally)
    broken: FractionTally = field(default_factory=FractionTally)
    """Successful or skipped."""
    classes: ClassTally = field(default_factory=ClassTally)
    confidence: SpreadTally = field(default_factory=SpreadTally)
    requested: SpreadTally = field(default_factory=SpreadTally)
    sent: SpreadTally = field(default_factory=SpreadTally)
    fractions: list[Real] = field(default_factory=list)
    changed: SpreadTally = field(default_factory=SpreadTally)
    turned: list[Real] = field(default_factory=list)
    similarity: list[Real] = field(default_factory=list)

    def update(self, columns: tuple[tuple[object, ...], ...]) -> None:
        """Adds rows of ``text_outcomes``."""
        label, correct, status, prediction, confidence, requested, sent, changed, words, turned, similarity = columns
        labels, clean, states = np.asarray(label, np.int64), np.asarray(correct, np.bool_), np.asarray(status)
        won, attacked = states == SUCCESSFUL, states != SKIPPED
        right = clean & (np.asarray(prediction, np.int64) == labels)
        self.accuracy.update(right)
        self.success.update(won[attacked])
        self.broken.update(won | ~attacked)
        self.classes.update(labels, clean, right)
        self.confidence.update(_real(confidence)[won])
        self.requested.update(_real(requested)[attacked])
        self.sent.update(_real(sent)[attacked])
        self.changed.update(_real(changed)[won])
        self.fractions.append((_real(changed) / np.maximum(_real(words), 1))[won])
        self.turned.append(_real(turned)[won])
        self.similarity.append(_real(similarity)[won])


def _recipe(reader: Reader, manifest: TextManifest, number: int, meaning: MeaningInfo) -> RecipeResult:
    tallies, level = _Tallies(), manifest.level
    for columns in text_outcomes(reader, number):
        tallies.update(columns)
    success, broken = tallies.success.compute(level), tallies.broken.compute(level)
    return RecipeResult(
        recipe=manifest.recipes[number].name,
        accuracy=tallies.accuracy.compute(level),
        success=success,
        success_or_wrong=broken,
        skipped=broken.n - success.n,
        successful=success.count,
        failed=success.n - success.count,
        changed=_changed(np.concatenate(tallies.fractions), tallies.changed.compute().mean),
        queries=TextQueries(tallies.requested.compute(), tallies.sent.compute()),
        costs=TextCosts(*text_cost(reader, number)),
        per_class=classes_of(tallies.classes, manifest),
        mean_confidence=tallies.confidence.compute().mean,
        audit=_audit(np.concatenate(tallies.turned), np.concatenate(tallies.similarity), meaning, level),
    )


def classes_of(tally: ClassTally, manifest: TextManifest) -> tuple[ClassResult, ...]:
    """Results by class, with the names of the data."""
    return tally.compute(manifest.data.classes)


def _changed(fractions: Real, mean: float) -> WordsChanged:
    if not fractions.size:
        return WordsChanged(math.nan, (math.nan,) * len(QUANTILES), math.nan)
    return WordsChanged(float(fractions.mean()), tuple(np.quantile(fractions, QUANTILES).tolist()), mean)


def _audit(turned: Real, similarity: Real, meaning: MeaningInfo, level: float) -> MeaningAudit:
    signs = None if not meaning.opinion or np.isnan(turned).any() else turned == 1
    far = None if not meaning.encoder or np.isnan(similarity).any() else similarity < meaning.bound
    spread = SpreadTally()
    spread.update(similarity)

    def fraction(flags: Flags | None) -> object:
        return None if flags is None else clopper_pearson(int(flags.sum()), flags.size, level)

    both = None if signs is None or far is None else signs | far
    found = {"turned": fraction(signs), "apart": fraction(far), "either": fraction(both)}
    return MeaningAudit(**found, similarity=None if far is None else spread.compute())  # type: ignore[arg-type]


def _pairs(manifest: TextManifest, right: Sequence[Flags]) -> Iterator[RecipePair]:
    infos, found = manifest.recipes, []
    for a, b in combinations(range(len(infos)), 2):
        only_a, only_b = int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())
        difference = paired_difference(only_a, only_b, right[a].size, manifest.level)
        p, differs = mcnemar(only_a, only_b), infos[a].differs(infos[b])
        found.append(RecipePair(infos[a].name, infos[b].name, only_a, only_b, *difference, p, p, differs))
    for pair, corrected in zip(found, holm([one.p_value for one in found]), strict=True):
        yield replace(pair, corrected=corrected)


def _caveats(manifest: TextManifest, meaning: MeaningInfo) -> Iterator[str]:
    if meaning.missing:
        what = "whether opinions are turned" if meaning.encoder else "whether the meaning is kept"
        if meaning.opinion:
            what = "the similarity of sentences"
        yield f"Not measured: {what}. To measure it: {'; '.join(meaning.missing)}, then the same command again."
    if manifest.queries is not None:
        yield f"At most {manifest.queries} queries for each text: more would find more adversarial texts."
    for info in manifest.recipes:
        if info.difference:
            yield f"{info.name} differs from its source: {info.difference.removesuffix('.')}."
    data = manifest.data
    if data.n < data.population:
        yield f"A sample: {data.population - data.n} of the {data.population} texts were left out."


def _real(values: object) -> Real:
    return np.asarray(values, np.float64)
