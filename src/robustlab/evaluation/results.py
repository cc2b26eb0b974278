"""Result of a run, computed from its rows; the same rows give the same result, in one session or in many."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robustlab.core.finding import Finding
from robustlab.evaluation.manifest import Manifest
from robustlab.evaluation.metrics import ClassTally, ConfusionTally, FractionTally, SpreadTally
from robustlab.evaluation.queries import Reader, undefined_examples
from robustlab.evaluation.record import (
    WORST,
    AttackResult,
    CleanResult,
    Curve,
    CurvePoint,
    Evaluation,
    GalleryItem,
    Queries,
    Recheck,
    Sizes,
    StageResult,
    WorstCase,
)
from robustlab.evaluation.result_queries import (
    attack_cost,
    clean_answers,
    clean_seconds,
    digests,
    fooled_first,
    joined,
    outcome_counts,
    recheck_counts,
    robust_before,
    stage_costs,
    wall_seconds,
    worst_case,
)

_ORDER = {"serious": 0, "warning": 1, "info": 2}


def assemble(manifest: Manifest, reader: Reader) -> Evaluation:
    """Draws the result from the rows of a run, as yet without findings and pictures."""
    level = manifest.level
    clean = clean_result(reader, manifest.data.classes, level)
    cells = [(i, info.name, eps) for i, info in enumerate(manifest.attacks) for eps in manifest.eps[i]]
    results = tuple(_attack(reader, manifest, i, eps) for i, _, eps in cells)
    budgets = sorted({eps for _, _, eps in cells})
    worst = tuple(_worst(reader, manifest, eps, [name for _, name, e in cells if e == eps]) for eps in budgets)
    seconds, sessions = wall_seconds(reader)
    return Evaluation(
        model=manifest.model,
        data=replace(manifest.data, sha256=_content(reader)),
        threat=manifest.threat,
        run=replace(manifest.run, seconds=seconds, sessions=sessions),
        attacks=manifest.attacks,
        clean=clean,
        results=results,
        worst=worst,
        curves=_curves(reader, manifest, clean, results, worst),
        findings=(),
        gallery=(),
        caveats=_caveats(manifest),
    )


def _caveats(manifest: Manifest) -> tuple[str, ...]:
    """Caveats of a quick evaluation."""
    data, found = manifest.data, dict.fromkeys(info.left_out for info in manifest.attacks if info.left_out)
    others = f", and {data.population - data.n} of the {data.population} examples" if data.n < data.population else ""
    return tuple(
        f"A quick evaluation: it leaves out {' and '.join(left)} of AutoAttack standard{others}. So robust accuracy is "
        "an upper bound, and its interval covers the draw of the examples, not attacks that were not run."
        for left in found
    )


def completed(
    evaluation: Evaluation, reader: Reader, findings: Sequence[Finding], gallery: Sequence[GalleryItem]
) -> Evaluation:
    """The result with findings, serious first, pictures, and the time of the run."""
    run = replace(evaluation.run, seconds=wall_seconds(reader)[0])
    return replace(evaluation, findings=distinct(findings), gallery=tuple(gallery), run=run)


def distinct(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings, serious first; the last of each code, attack and eps."""
    by_code = {(f.code, str(f.evidence.get("attack")), str(f.evidence.get("eps"))): f for f in findings}
    return tuple(sorted(by_code.values(), key=lambda f: _ORDER[f.severity]))


def _content(reader: Reader) -> str:
    found = hashlib.sha256()
    for (some,) in digests(reader):
        found.update(b"".join(some))
    return found.hexdigest()


def clean_result(reader: Reader, names: Sequence[str], level: float) -> CleanResult:
    """The clean pass of a run of any kind."""
    fraction, classes, confusion, confidence = FractionTally(), ClassTally(), ConfusionTally(), SpreadTally()
    for label, prediction, correct, sure in clean_answers(reader):
        labels, predictions, hits = _whole(label), _whole(prediction), _flags(correct)
        fraction.update(hits)
        classes.update(labels, hits, hits)
        confusion.update(labels, predictions)
        confidence.update(_known(sure))
    counted = fraction.compute(level), classes.compute(names), confusion.compute(), confidence.compute().mean
    return CleanResult(*counted, undefined_examples(reader), clean_seconds(reader))


@dataclass
class _Tallies:
    """Counts over the outcomes of one attack at one eps."""

    robust: FractionTally = field(default_factory=FractionTally)
    success: FractionTally = field(default_factory=FractionTally)
    reached: FractionTally = field(default_factory=FractionTally)
    classes: ClassTally = field(default_factory=ClassTally)
    confusion: ConfusionTally = field(default_factory=ConfusionTally)
    confidence: SpreadTally = field(default_factory=SpreadTally)
    sizes: tuple[SpreadTally, ...] = field(default_factory=lambda: (SpreadTally(), SpreadTally(), SpreadTally()))

    def update(self, columns: tuple[tuple[object, ...], ...]) -> None:
        label, correct, before, fooled, after, sure, target, *sizes = columns
        labels, clean, hit = _whole(label), _flags(correct), _flags(fooled)
        predictions = np.where(hit, _whole(after), _whole(before))
        self.robust.update(clean & ~hit)
        self.success.update(hit[clean])
        self.reached.update((hit & (predictions == _whole(target)))[clean])
        self.classes.update(labels, clean, clean & ~hit)
        self.confusion.update(labels, predictions)
        self.confidence.update(_known(np.asarray(sure, np.float64)[hit]))
        for tally, values in zip(self.sizes, sizes, strict=True):
            tally.update(np.asarray(values, np.float64)[hit])


def _attack(reader: Reader, manifest: Manifest, attack: int, eps: float) -> AttackResult:
    tallies, level = _Tallies(), manifest.level
    for columns in joined(reader, attack, eps):
        tallies.update(columns)
    info = manifest.attacks[attack]
    attacked, reused, undefined, outside = outcome_counts(reader, attack, eps)
    forward, backward, seconds = attack_cost(reader, attack, eps)
    linf, l2, l1 = (tally.compute() for tally in tallies.sizes)
    return AttackResult(
        attack=info.name,
        eps=eps,
        robust=tallies.robust.compute(level),
        success=tallies.success.compute(level),
        target_reached=tallies.reached.compute(level) if info.targeted else None,
        attacked=attacked,
        reused=reused,
        nonfinite=undefined,
        outside=outside,
        sizes=Sizes(linf, l2, l1, tallies.success.count),
        queries=Queries(forward / max(attacked, 1), backward / max(attacked, 1)),
        seconds=seconds,
        per_class=tallies.classes.compute(manifest.data.classes),
        confusion=tallies.confusion.compute(),
        mean_confidence=tallies.confidence.compute().mean,
        stages=_stages(reader, manifest.parts[attack], attack, eps),
    )


def _stages(reader: Reader, names: Sequence[str], attack: int, eps: float) -> tuple[StageResult, ...]:
    if len(names) < 2:
        return ()
    rows, first = stage_costs(reader, attack, eps), fooled_first(reader, attack, eps)
    still_robust, found = robust_before(reader, attack, eps), []
    for name, (n, forward, backward, seconds, *place) in zip(names, rows, strict=False):
        fooled = first.get(tuple(place), 0)
        still_robust -= fooled
        found.append(StageResult(name, n, fooled, still_robust, Queries(forward / n, backward / n), seconds))
    # A stage without examples has no rows; those come last.
    late = [StageResult(name, 0, 0, still_robust, Queries(0.0, 0.0), 0.0) for name in names[len(rows) :]]
    return (*found, *late)


def _worst(reader: Reader, manifest: Manifest, eps: float, names: Sequence[str]) -> WorstCase:
    robust, success, classes = FractionTally(), FractionTally(), ClassTally()
    for label, correct, fooled in worst_case(reader, eps):
        clean, hit = _flags(correct), _flags(fooled)
        robust.update(clean & ~hit)
        success.update(hit[clean])
        classes.update(_whole(label), clean, clean & ~hit)
    level = manifest.level
    return WorstCase(
        eps, tuple(names), robust.compute(level), success.compute(level), classes.compute(manifest.data.classes)
    )


def _curves(
    reader: Reader,
    manifest: Manifest,
    clean: CleanResult,
    results: Sequence[AttackResult],
    worst: Sequence[WorstCase],
) -> tuple[Curve, ...]:
    start = CurvePoint(0.0, clean.accuracy, 0)
    curves = []
    for i, info in enumerate(manifest.attacks):
        own = [r for r in results if r.attack == info.name]
        points = [CurvePoint(r.eps, r.robust, r.reused, _recheck(reader, manifest, i, r.eps)) for r in own]
        curves.append(Curve(info.name, (start, *points)))
    if len(curves) > 1:
        curves.append(Curve(WORST, (start, *(CurvePoint(w.eps, w.robust, 0) for w in worst))))
    return tuple(curves)


def _recheck(reader: Reader, manifest: Manifest, attack: int, eps: float) -> Recheck | None:
    n, disagreements = recheck_counts(reader, attack, eps, targeted=manifest.attacks[attack].targeted)
    return Recheck(n, disagreements) if n else None


def _whole(values: object) -> NDArray[np.int64]:
    return np.asarray(values, np.int64)


def _flags(values: object) -> NDArray[np.bool_]:
    return np.asarray(values, np.bool_)


def _known(values: object) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    return numbers[~np.isnan(numbers)]
