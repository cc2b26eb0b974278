"""Results of a sweep of attackers: curves, intervals, paired tests, and sensitivity of each rule to its rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from robustlab.statistics import Interval, clopper_pearson, holm, mcnemar, paired_difference
from robustlab.studies.sweep.rates import near_best
from robustlab.studies.sweep.rules import SIGN

NEAR = 0.02
"""Difference of robust accuracy: rates this close to the best one count as working."""
CLOSE = 0.01
"""Difference of robust accuracy to the lowest of all rules that counts as reaching it."""
NEVER = -1

Passes = tuple[int, ...]
"""Passes until each image is fooled: 0 if it is wrong from the beginning, -1 if it is still robust at the end."""


def cost(steps: int) -> int:
    """Passes for the result of an image after so many steps: two per step, and one more to check."""
    return 2 * steps + 1


def still_robust(passes: Passes, steps: int) -> list[bool]:
    """Images that are still robust after so many steps."""
    return [one == NEVER or one > cost(steps) for one in passes]


def left(passes: Passes, steps: int) -> float:
    """Robust accuracy after some number of steps."""
    return sum(still_robust(passes, steps)) / len(passes)


def spent(passes: Passes, steps: int) -> float:
    """Mean number of passes per image that is right at first; one that is still robust takes the whole budget."""
    attacked = [min(one, cost(steps)) if one != NEVER else cost(steps) for one in passes if one]
    return sum(attacked) / len(attacked) if attacked else math.nan


class Compared(NamedTuple):
    """Comparison of a rule with the sign rule, on the same images from the same starts."""

    steps: int
    difference: float
    """Difference of robust accuracy, the rule minus the sign rule: below 0 the rule is the stronger attack."""
    low: float
    high: float
    only_sign: int
    """Images that stand only against the sign rule."""
    only_rule: int
    p_value: float
    """p-value of McNemar's exact test."""


@dataclass(frozen=True)
class Swept:
    """One step rule, tuned on some images and reported on others.

    Args:
        rule: its name.
        title: in tables.
        tuning: passes of the tuning images, by rate.
        chosen: the best rate for each number of steps, by the tuning images.
        reported: passes of the reported images of all seeds, by rate.
        open_end: True if the best rate for all steps was at an end of the search.
        seconds: of all runs.
    """

    rule: str
    title: str
    tuning: Mapping[float, Passes]
    chosen: Mapping[int, float]
    reported: Mapping[float, Passes]
    open_end: bool
    seconds: float

    @property
    def steps(self) -> int:
        """Number of steps of the whole budget."""
        return max(self.chosen)

    def robust(self, steps: int) -> Interval:
        """Robust accuracy of the reported images after some number of steps, at the rate chosen for it."""
        now = still_robust(self.reported[self.chosen[steps]], steps)
        return clopper_pearson(sum(now), len(now))

    def course(self) -> tuple[float, ...]:
        """Robust accuracy after 0, 1, ... steps at the rate for the whole budget."""
        return tuple(left(self.reported[self.chosen[self.steps]], steps) for steps in range(self.steps + 1))

    def spent(self) -> float:
        """Mean number of passes per image within the whole budget."""
        return spent(self.reported[self.chosen[self.steps]], self.steps)

    def until_success(self) -> float:
        """Mean number of passes of the fooled images; NaN if there are none."""
        fell = [one for one in self.reported[self.chosen[self.steps]] if one > 0]
        return sum(fell) / len(fell) if fell else math.nan

    def passes_to(self, accuracy: float) -> int | None:
        """Number of passes until robust accuracy is this low; None: never."""
        return next((cost(k) for k, now in enumerate(self.course()) if now <= accuracy + 1e-12), None)

    def curve(self, steps: int | None = None) -> dict[float, float]:
        """Robust accuracy of the tuning images by rate."""
        return {rate: left(passes, steps or self.steps) for rate, passes in self.tuning.items()}

    def working(self) -> tuple[float, float]:
        """The range of rates around the best within ``NEAR`` of it, on the tuning images."""
        return near_best(self.curve(), self.chosen[self.steps], NEAR)


@dataclass(frozen=True)
class Attackers:
    """Results of all step rules against one model.

    Args:
        subject: its name.
        threat: of the attacks.
        n: number of reported images, of all seeds.
        tuned_on: number of tuning images.
        seeds: their number; each has its own images and starts.
        swept: the rules, the sign rule first.
        budget: name of the budget; only results of "full" are meaningful.
    """

    subject: str
    threat: str
    n: int
    tuned_on: int
    seeds: int
    swept: tuple[Swept, ...]
    budget: str = "full"

    @property
    def clean(self) -> Interval:
        """Accuracy before any attack."""
        passes = next(iter(self.swept[0].reported.values()))
        return clopper_pearson(sum(one != 0 for one in passes), len(passes))

    @property
    def lowest(self) -> float:
        """Robust accuracy under the strongest rule with the whole budget."""
        return min(one.course()[-1] for one in self.swept)

    def compared(self, one: Swept, steps: int) -> Compared:
        """Comparison of a rule with the sign rule, each at its best for some number of steps."""
        sign = next(other for other in self.swept if other.rule == SIGN.name)
        a, b = (still_robust(s.reported[s.chosen[steps]], steps) for s in (sign, one))
        only_sign = sum(x and not y for x, y in zip(a, b, strict=True))
        only_rule = sum(y and not x for x, y in zip(a, b, strict=True))
        difference = paired_difference(only_sign, only_rule, len(a))
        return Compared(steps, *difference, only_sign, only_rule, mcnemar(only_sign, only_rule))

    def corrected(self, steps: int) -> dict[str, float]:
        """p-values of all rules against the sign rule by name, corrected for multiple tests."""
        others = [one for one in self.swept if one.rule != SIGN.name]
        found = holm([self.compared(one, steps).p_value for one in others])
        return {one.rule: p for one, p in zip(others, found, strict=True)}

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and numbers."""
        rules = [self._numbers(one) for one in self.swept]
        known = {"subject": self.subject, "threat": self.threat, "budget": self.budget, "n": self.n}
        return {**known, "tuned_on": self.tuned_on, "seeds": self.seeds, "clean": asdict(self.clean), "rules": rules}

    def _numbers(self, one: Swept) -> dict[str, object]:
        budgets = {
            str(steps): {
                "rate": rate,
                "robust": asdict(one.robust(steps)),
                "against_sign": self.compared(one, steps)._asdict(),
                "p_corrected": self.corrected(steps).get(one.rule),
            }
            for steps, rate in one.chosen.items()
        }
        tuning = {f"{rate:g}": accuracy for rate, accuracy in one.curve().items()}
        low, high = one.working()
        known = {"rule": one.rule, "steps": budgets, "tuning": tuning, "working": [low, high]}
        ends = {"open_end": one.open_end, "passes_to_lowest": one.passes_to(self.lowest + CLOSE)}
        success = one.until_success()
        passes = {"passes": one.spent(), "passes_until_success": None if math.isnan(success) else success}
        return {**known, **ends, **passes, "course": list(one.course()), "seconds": one.seconds}
