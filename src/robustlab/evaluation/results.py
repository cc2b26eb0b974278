"""From the rows of a run to its result; the same rows give the same result, in one session or in many."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robustlab.evaluation.manifest import Manifest
from robustlab.evaluation.metrics import ClassTally, ConfusionTally, ShareTally, SpreadTally
from robustlab.evaluation.queries import Reader
from robustlab.evaluation.record import (
    WORST,
    AttackResult,
    CleanResult,
    Curve,
    CurvePoint,
    Evaluation,
    Finding,
    GalleryItem,
    Queries,
    Recheck,
    Sizes,
    StageResult,
    WorstCase,
)
from robustlab.evaluation.schema import COUNTED, finished, outcomes

_ORDER = {"serious": 0, "warning": 1, "info": 2}


def assemble(manifest: Manifest, reader: Reader) -> Evaluation:
    """Draws the result from the rows of a run, as yet without findings and pictures."""
    level = manifest.level
    clean = _clean(reader, manifest.data.classes, level)
    cells = [(i, info.name, eps) for i, info in enumerate(manifest.attacks) for eps in manifest.eps[i]]
    results = tuple(_attack(reader, manifest, i, eps) for i, _, eps in cells)
    budgets = sorted({eps for _, _, eps in cells})
    worst = tuple(_worst(reader, manifest, eps, [name for _, name, e in cells if e == eps]) for eps in budgets)
    seconds, sessions = _seconds(reader)
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
    """What a quick look leaves out."""
    data, found = manifest.data, dict.fromkeys(info.left_out for info in manifest.attacks if info.left_out)
    others = f", and {data.population - data.n} of the {data.population} examples" if data.n < data.population else ""
    return tuple(
        f"A quick look: it leaves out {' and '.join(left)} of AutoAttack standard{others}. So robust accuracy is an "
        "upper bound, and its interval speaks of the draw of the examples, not of attacks that were not run."
        for left in found
    )


def completed(
    evaluation: Evaluation, reader: Reader, findings: Sequence[Finding], gallery: Sequence[GalleryItem]
) -> Evaluation:
    """The result with what came after the last batch: findings, serious first, pictures, and the time it took."""
    by_code = {(f.code, str(f.evidence.get("attack")), str(f.evidence.get("eps"))): f for f in findings}
    ordered = sorted(by_code.values(), key=lambda f: _ORDER[f.severity])
    run = replace(evaluation.run, seconds=_seconds(reader)[0])
    return replace(evaluation, findings=tuple(ordered), gallery=tuple(gallery), run=run)


def _seconds(reader: Reader) -> tuple[float, int]:
    """Wall seconds of all sessions, and how many there were."""
    seconds, sessions = reader.one("SELECT coalesce(sum(seconds), 0.0), count(*) FROM sessions")
    return seconds, sessions


def _content(reader: Reader) -> str:
    found = hashlib.sha256()
    for (digests,) in reader.stream("SELECT digest FROM examples ORDER BY id"):
        found.update(b"".join(digests))
    return found.hexdigest()


def _clean(reader: Reader, names: Sequence[str], level: float) -> CleanResult:
    share, classes, confusion, confidence = ShareTally(), ClassTally(), ConfusionTally(), SpreadTally()
    query = "SELECT label, prediction, correct, confidence FROM examples ORDER BY id"
    for label, prediction, correct, sure in reader.stream(query):
        labels, predictions, hits = _whole(label), _whole(prediction), _flags(correct)
        share.update(hits)
        classes.update(labels, hits, hits)
        confusion.update(labels, predictions)
        confidence.update(_known(sure))
    undefined = reader.one("SELECT count(*) FROM examples WHERE prediction < 0")[0]
    seconds = reader.one("SELECT coalesce(sum(seconds), 0) FROM batches WHERE attack < 0")[0]
    return CleanResult(
        share.compute(level), classes.compute(names), confusion.compute(), confidence.compute().mean, undefined, seconds
    )


@dataclass
class _Tallies:
    """What is counted over the outcomes of one attack at one eps."""

    robust: ShareTally = field(default_factory=ShareTally)
    success: ShareTally = field(default_factory=ShareTally)
    reached: ShareTally = field(default_factory=ShareTally)
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


_JOINED = (
    "SELECT e.label, e.correct, e.prediction, coalesce(o.fooled, 0), coalesce(o.prediction, 0), o.confidence, "
    f"coalesce(o.target, -2), o.linf, o.l2, o.l1 FROM examples e LEFT JOIN ({outcomes()}) o ON o.id = e.id "
    "ORDER BY e.id"
)


def _attack(reader: Reader, manifest: Manifest, attack: int, eps: float) -> AttackResult:
    tallies, level = _Tallies(), manifest.level
    for columns in reader.stream(_JOINED, attack, eps):
        tallies.update(columns)
    info, cell = manifest.attacks[attack], "FROM outcomes WHERE attack = ? AND eps = ? AND kind"
    attacked = reader.one(f"SELECT count(DISTINCT id) {cell} = 'run'", attack, eps)[0]
    reused = reader.one(f"SELECT count(*) {cell} = 'reused'", attack, eps)[0]
    undefined = reader.one(f"SELECT count(DISTINCT id) {cell} = 'run' AND prediction < 0", attack, eps)[0]
    outside = reader.one(f"SELECT count(DISTINCT id) {cell} = 'run' AND inside = 0", attack, eps)[0]
    forward, backward, seconds = reader.one(
        "SELECT coalesce(sum(forward), 0), coalesce(sum(backward), 0), coalesce(sum(seconds), 0.0) FROM batches "
        "WHERE attack = ? AND eps = ? AND kind = 'run'",
        attack,
        eps,
    )
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
    where = "WHERE attack = ? AND eps = ? AND kind = 'run' GROUP BY stage, restart ORDER BY stage, restart"
    rows = reader.all(
        f"SELECT sum(n), sum(forward), sum(backward), sum(seconds), stage, restart FROM batches {where}", attack, eps
    )
    first = reader.all(
        "SELECT stage, restart, count(*) FROM (SELECT id, min(stage * 1000 + restart), stage, restart FROM outcomes "
        "WHERE attack = ? AND eps = ? AND kind = 'run' AND fooled = 1 GROUP BY id) GROUP BY stage, restart",
        attack,
        eps,
    )
    fallen = {(stage, restart): count for stage, restart, count in first}
    standing, found = _beforehand(reader, attack, eps), []
    for name, (n, forward, backward, seconds, *place) in zip(names, rows, strict=False):
        fooled = fallen.get(tuple(place), 0)
        standing -= fooled
        found.append(StageResult(name, n, fooled, standing, Queries(forward / n, backward / n), seconds))
    # A stage that nobody is left for has no rows; those come last.
    late = [StageResult(name, 0, 0, standing, Queries(0.0, 0.0), 0.0) for name in names[len(rows) :]]
    return (*found, *late)


def _beforehand(reader: Reader, attack: int, eps: float) -> int:
    """How many stand before the first stage: correct on x, and not fooled at a smaller eps already."""
    return int(
        reader.one(
            "SELECT (SELECT count(*) FROM examples WHERE correct = 1) - (SELECT count(*) FROM outcomes "
            "WHERE attack = ? AND eps = ? AND kind = 'reused')",
            attack,
            eps,
        )[0]
    )


def _worst(reader: Reader, manifest: Manifest, eps: float, names: Sequence[str]) -> WorstCase:
    robust, success, classes = ShareTally(), ShareTally(), ClassTally()
    query = (
        "SELECT e.label, e.correct, coalesce(o.fooled, 0) FROM examples e LEFT JOIN (SELECT id, max(fooled) AS fooled "
        f"FROM outcomes WHERE eps = ? AND {COUNTED} GROUP BY id) o ON o.id = e.id ORDER BY e.id"
    )
    for label, correct, fooled in reader.stream(query, eps):
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
    done = finished(targeted=manifest.attacks[attack].targeted)
    query = (
        f"SELECT count(*), coalesce(sum(1 - done), 0) FROM (SELECT max({done}) AS done FROM outcomes "
        "WHERE attack = ? AND eps = ? AND kind = 'recheck' GROUP BY id)"
    )
    n, disagreements = reader.one(query, attack, eps)
    return Recheck(n, disagreements) if n else None


def _whole(values: object) -> NDArray[np.int64]:
    return np.asarray(values, np.int64)


def _flags(values: object) -> NDArray[np.bool_]:
    return np.asarray(values, np.bool_)


def _known(values: object) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    return numbers[~np.isnan(numbers)]
