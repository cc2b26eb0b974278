"""Tables of sweeps, for the terminal and the guide."""

from __future__ import annotations

import math
from typing import NamedTuple

from robustlab.report.words import NOTHING, number, p_value, percent, points
from robustlab.statistics.intervals import TInterval
from robustlab.studies.sweep.optimizers import BASELINE
from robustlab.studies.sweep.outcome import CLOSE, NEAR, Attackers, Swept, cost
from robustlab.studies.sweep.rules import SIGN
from robustlab.studies.sweep.trainers import Taught, Trainers

SURE = 0.05
"""Corrected p-values below this count as differences."""
NEARLY = f"{100 * NEAR:.0f}"
"""Points of robust accuracy within which a rate counts as working."""


class Table(NamedTuple):
    """A table of texts."""

    title: str
    head: list[str]
    rows: list[list[str]]


def attackers_tables(found: Attackers) -> list[Table]:
    """Tables of robust accuracy for each rule and budget, of comparisons with the sign rule, and of rates."""
    budgets = list(found.swept[0].chosen)
    last = budgets[-1]
    strength = [[one.title, *(_fraction(one, steps) for steps in budgets)] for one in found.swept]
    against = [[one.title, *_against(found, one, last), *_passes(one), _broken(found, one)] for one in found.swept]
    rates = [[one.title, _rate(one), *_range(one)] for one in found.swept]
    head = [f"{steps} step{'s' * (steps > 1)}" for steps in budgets]
    title = f"Robust accuracy of {found.subject}, {found.threat}, in per cent, each rule at its best rate"
    compared = ["step rule", "over sign", "p", "p corrected", "passes an image", "until success", "to the lowest"]
    return [
        Table(title, ["step rule", *head], strength),
        Table(f"After {last} steps: points above the sign rule, and how many passes it took", compared, against),
        Table(
            f"Best rates, and the range about them that comes within {NEARLY} points",
            ["step rule", "best rate", "from", "to", "factor"],
            rates,
        ),
    ]


def _fraction(one: Swept, steps: int) -> str:
    fraction = one.robust(steps)
    return f"{100 * fraction.value:.1f} [{100 * fraction.low:.1f}, {100 * fraction.high:.1f}]"


def _passes(one: Swept) -> list[str]:
    success = one.until_success()
    return [f"{one.spent():.1f}", NOTHING if math.isnan(success) else f"{success:.1f}"]


def _broken(found: Attackers, one: Swept) -> str:
    passes = one.passes_to(found.lowest + CLOSE)
    return "never" if passes is None else str(passes)


def _rate(one: Swept) -> str:
    return f"{one.chosen[one.steps]:g}{' (end)' if one.open_end else ''}"


def _against(found: Attackers, one: Swept, steps: int) -> list[str]:
    if one.rule == SIGN.name:
        return [NOTHING] * 3
    seen = found.compared(one, steps)
    difference = f"{points(seen.difference)} [{points(seen.low)}, {points(seen.high)}]"
    return [difference, p_value(seen.p_value), p_value(found.corrected(steps)[one.rule])]


def _range(one: Swept) -> list[str]:
    low, high = one.working()
    ends = (low == min(one.tuning), high == max(one.tuning))
    size = f"{'at least ' if any(ends) else ''}{number(round(high / low))}"
    return [f"{'<= ' if ends[0] else ''}{low:g}", f"{'>= ' if ends[1] else ''}{high:g}", size]


def attackers_sentences(found: Attackers) -> list[str]:
    """Results in sentences."""
    last = found.swept[0].steps
    strongest = min(found.swept, key=lambda one: (one.course()[-1], one.spent()))
    quickest = min(found.swept, key=lambda one: (one.passes_to(found.lowest + CLOSE) or math.inf, one.spent()))
    within = quickest.passes_to(found.lowest + CLOSE)
    sure = [
        f"{one.title} {points(found.compared(one, last).difference)}"
        for one in found.swept
        if one.rule != SIGN.name and found.corrected(last)[one.rule] < SURE
    ]
    lines = [
        f"The lowest robust accuracy after {last} steps ({cost(last)} passes) is that under {strongest.title}: "
        f"{percent(strongest.course()[-1])} of {found.n} images, of which {percent(found.clean.value)} are right "
        "without attack.",
        f"The first to come within {100 * CLOSE:.0f} point of it is {quickest.title}, with {within} passes.",
    ]
    if sure:
        return [
            *lines,
            f"Points of robust accuracy over the sign rule, where p corrected is below {SURE:g}: {', '.join(sure)}.",
        ]
    return [*lines, f"After {last} steps no rule differs significantly from the sign rule on these images."]


def trainers_tables(found: Trainers) -> list[Table]:
    """Tables of accuracy for each optimizer, and of differences to SGD with momentum."""
    columns = found.regime.columns
    means = [
        [one.title, f"{one.rate:g}{' (end)' if one.open_end else ''}", *(_mean(one, name) for name, _ in columns)]
        for one in found.taught
    ]
    over = [
        [one.title, *(_difference(found.difference(one, name)) for name, _ in columns)]
        for one in found.taught
        if one.optimizer != BASELINE
    ]
    titles = [title for _, title in columns]
    seeds = f"mean of {found.seeds} seed{'s' * (found.seeds > 1)} and 95 % t-interval"
    return [
        Table(f"Accuracy in per cent, {found.regime.description}: {seeds}", ["optimizer", "rate", *titles], means),
        Table("Points above SGD with momentum, paired by seed", ["optimizer", *titles], over),
    ]


def _mean(one: Taught, name: str) -> str:
    mean, low, high = one.interval(name)
    inside = f" [{100 * max(low, 0.0):.1f}, {100 * min(high, 1.0):.1f}]" if math.isfinite(low) else ""
    return f"{100 * mean:.1f}{inside}"


def _difference(one: TInterval) -> str:
    if not math.isfinite(one.low):
        return points(one.mean)
    return f"{points(one.mean)} [{points(one.low)}, {points(one.high)}]{' *' if one.low > 0 or one.high < 0 else ''}"


def trainers_sentences(found: Trainers) -> list[str]:
    """Results in sentences."""
    lines = []
    for name, title in found.regime.columns:
        best, worst = (pick(found.taught, key=lambda one: one.interval(name).mean) for pick in (max, min))
        high, low = best.interval(name).mean, worst.interval(name).mean
        lines.append(f"{title}: from {percent(low)} ({worst.title}) to {percent(high)} ({best.title}).")
    return lines


def tuning_table(found: Attackers | Trainers) -> Table:
    """Table of the curve of each search, as percentages by rate."""
    if isinstance(found, Attackers):
        curves = [(one.title, one.curve()) for one in found.swept]
        title = f"Robust accuracy of the {found.tuned_on} tuning images by rate, in per cent, after all steps"
        return Table(title, ["step rule", "curve"], [[name, _curve(curve)] for name, curve in curves])
    rows = [[one.title, _curve(dict(one.tuning))] for one in found.taught]
    return Table("Accuracy on held-out training images by rate, in per cent", ["optimizer", "curve"], rows)


def _curve(curve: dict[float, float]) -> str:
    return ", ".join(f"{rate:g}: {100 * accuracy:.1f}" for rate, accuracy in sorted(curve.items()))
