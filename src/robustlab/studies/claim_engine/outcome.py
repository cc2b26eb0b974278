"""Outcome of a claim from all of its results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustlab.statistics.intervals import TInterval, t_interval
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.claim_engine.claim import Claim, Effect
from robustlab.studies.claim_engine.record import Unit, by_seed
from robustlab.studies.claim_engine.verdict import Verdict, combined, judged


@dataclass(frozen=True)
class Judged:
    """One effect over the seeds.

    Args:
        effect: the expected effect.
        values: one per seed; ratios are not logarithms.
        mean: of them; of ratios the geometric one. NaN if there is none.
        low: end of the 95 % interval, minus infinity (0 for a ratio) where there is none.
        high: its other end.
        verdict: on this effect.
    """

    effect: Effect
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True)
class Outcome:
    """State of a claim.

    Args:
        claim: the claim.
        effects: the measured effects.
        verdict: on all effects.
        seeds: those with all arms done.
        units: all results that count.
        budget: of the units; only the full one tests the claim.
    """

    claim: Claim
    effects: tuple[Judged, ...]
    verdict: Verdict
    seeds: tuple[int, ...]
    units: tuple[Unit, ...]
    budget: Budget = FULL

    @property
    def seconds(self) -> float:
        """Duration of all units with training, including networks that another claim has trained."""
        return math.fsum(unit.training_seconds + unit.measuring_seconds for unit in self.units)

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and finite numbers; None for unknown ones."""
        claim = self.claim
        effects = [
            {
                "what": one.effect.what,
                "smallest": one.effect.smallest,
                "values": [_finite(value) for value in one.values],
                **{name: _finite(getattr(one, name)) for name in ("mean", "low", "high")},
                "verdict": one.verdict,
            }
            for one in self.effects
        ]
        fixed = {"claim": claim.name, "statement": claim.statement, "paper": claim.paper, "published": claim.published}
        known = {"verdict": self.verdict, "seeds": list(self.seeds), "effects": effects, "seconds": self.seconds}
        return {**fixed, "ours": claim.ours, "budget": self.budget.name, **known}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def outcome(claim: Claim, home: Path, budget: Budget = FULL, seeds: int | None = None) -> Outcome:
    """Reads the results of a claim and judges them.

    Args:
        claim: the claim.
        home: directory of results.
        budget: of the results.
        seeds: only those from 0 up to this number; None: all.

    Raises: RunError for a damaged file.
    """
    found = {s: arms for s, arms in by_seed(home, claim, budget).items() if seeds is None or s < seeds}
    complete = {seed: arms for seed, arms in found.items() if len(arms) == len(claim.arms)}
    effects = tuple(_judged(effect, complete, among=len(claim.effects)) for effect in claim.effects)
    units = tuple(unit for arms in found.values() for unit in arms.values())
    return Outcome(claim, effects, combined([one.verdict for one in effects]), tuple(complete), units, budget)


def _judged(effect: Effect, found: Mapping[int, Mapping[str, Unit]], *, among: int) -> Judged:
    values = [effect.value({arm: unit.metrics for arm, unit in arms.items()}) for arms in found.values()]
    interval = TInterval(*map(effect.plain, t_interval(values)))
    plain = tuple(effect.plain(value) for value in values)
    return Judged(effect, plain, *interval, verdict=judged(values, effect.bar, among=among))
