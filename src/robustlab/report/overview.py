"""Accuracies under corruptions, on hard examples and under attack in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustlab.evaluation.corruptions.record import CorruptionEvaluation, correct
from robustlab.evaluation.record import Evaluation
from robustlab.report.heat import family_name, spoken
from robustlab.report.words import Fraction, budget, count


@dataclass(frozen=True)
class OverviewRow:
    """One kind of robustness: an accuracy per model, None where it was not measured."""

    name: str
    detail: str
    fractions: tuple[Fraction | None, ...]


def overview(evaluations: Sequence[CorruptionEvaluation], attacked: Sequence[Evaluation]) -> list[OverviewRow]:
    """Rows on clean and corrupted images and on hard examples, then rows on attacks."""
    first = evaluations[0]
    over = f"{len(first.errors.over)} corruptions, {_listed(first.errors.severities)}"
    rows = [
        OverviewRow("Clean", "", tuple(e.clean.accuracy if e.clean else None for e in evaluations)),
        OverviewRow("Corrupted, mean", over, tuple(e.mean_accuracy for e in evaluations)),
    ]
    for family in dict.fromkeys(f.family for e in evaluations for f in e.families):
        families = [next((f for f in e.families if f.family == family), None) for e in evaluations]
        names = next(f.corruptions for f in families if f)
        fractions = tuple(f.accuracy if f else None for f in families)
        rows.append(OverviewRow(f"Corrupted, {family_name(family).lower()}", ", ".join(map(_short, names)), fractions))
    worst = [max(e.errors.each, key=lambda one: one.error.value) for e in evaluations]
    named = " / ".join(dict.fromkeys(spoken(w.corruption) for w in worst))
    rows.append(OverviewRow("Corrupted, the worst", named, tuple(correct(w.error) for w in worst)))
    for name in dict.fromkeys(s.name for e in evaluations for s in e.subsets):
        some = [next((s for s in e.subsets if s.name == name), None) for e in evaluations]
        n = next(s.n for s in some if s)
        detail = f"{count(n)} real example{'s' if n != 1 else ''}, unchanged"
        rows.append(OverviewRow(name, detail, tuple(s.clean if s else None for s in some)))
    return [*rows, *_attacked(evaluations, attacked)]


def _listed(severities: Sequence[int]) -> str:
    if len(severities) == 1:
        return f"severity {severities[0]}"
    whole = list(severities) == list(range(severities[0], severities[-1] + 1))
    return (
        f"severities {severities[0]} to {severities[-1]}" if whole else f"severities {', '.join(map(str, severities))}"
    )


def _short(corruption: str) -> str:
    return spoken(corruption).replace(" noise", "").replace(" blur", "").replace(" compression", "")


def _attacked(evaluations: Sequence[CorruptionEvaluation], attacked: Sequence[Evaluation]) -> list[OverviewRow]:
    """Robust accuracy at each eps, by the weights of the model."""
    models = {e.model.sha256 for e in evaluations}
    for one in attacked:
        if one.model.sha256 not in models:
            raise ValueError(
                f"the evaluation under attack of {one.model.name} is of other weights than those evaluated under "
                "corruptions: give the run of the same model"
            )
    robust: dict[tuple[str, float, str], dict[str, Fraction]] = {}
    for one in attacked:
        for worst in one.worst:
            key = (one.threat.norm, worst.eps, ", ".join(worst.attacks))
            robust.setdefault(key, {})[one.model.sha256] = worst.robust
    return [
        OverviewRow(f"Attacked, {norm} eps {budget(eps)}", names, tuple(one.get(e.model.sha256) for e in evaluations))
        for (norm, eps, names), one in sorted(robust.items(), key=lambda item: item[0][:2])
    ]
