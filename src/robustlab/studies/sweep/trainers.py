"""Optimizers for training: the same network trained with each of several, and then attacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from robustlab.core import Metrics
from robustlab.runs.progress import Report
from robustlab.statistics.intervals import TInterval, t_interval
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.measures import accuracy, attacked
from robustlab.studies.claim_engine.network import Network, Sampled
from robustlab.studies.sweep.ledger import Ledger
from robustlab.studies.sweep.optimizers import (
    BASELINE,
    OPTIMIZERS,
    PER_DECADE,
    TRAINING_OPTIMIZERS,
    TRAINING_REGIMES,
    OptimizerSpec,
    Regime,
)
from robustlab.studies.sweep.precision import PUBLISHED, kept, trained_in
from robustlab.studies.sweep.rates import explored, rate
from robustlab.studies.sweep.unit import Found, Get, MissingError, Trial, published
from robustlab.training import DivergedError
from robustlab.training.settings import Precision

TUNING_SEED = 1000
"""Seed of the short trainings for the choice of rates; the reported ones have 0, 1, 2, ..."""
SEEDS = 3
WIDEN = 2
"""Largest number of rates to add at each end of the search, if the best one lies there."""
HELD_OUT = "held_out_accuracy"


@dataclass(frozen=True)
class Taught:
    """One optimizer, tuned and then measured with several seeds.

    Args:
        optimizer: its name.
        title: in tables.
        tuning: accuracy on held-out training images by rate, 0 where the training diverged.
        rate: the best of them.
        values: measures, one number for each seed, by name.
        open_end: True if the best rate was at an end of the search.
        seconds: of all runs.
    """

    optimizer: str
    title: str
    tuning: Mapping[float, float]
    rate: float
    values: Mapping[str, tuple[float, ...]]
    open_end: bool
    seconds: float

    def interval(self, name: str) -> TInterval:
        """Mean over the seeds, and its interval."""
        return t_interval(self.values[name])


@dataclass(frozen=True)
class Trainers:
    """Results of all optimizers in training.

    Args:
        regime: of the training.
        seeds: their number.
        taught: the optimizers.
        budget: name of the budget; only results of "full" are meaningful.
    """

    regime: Regime
    seeds: int
    taught: tuple[Taught, ...]
    budget: str = "full"

    def difference(self, one: Taught, name: str) -> TInterval:
        """Difference of an optimizer to SGD with momentum, paired by seed: same initial weights, same images."""
        other = next(t for t in self.taught if t.optimizer == BASELINE)
        return t_interval([a - b for a, b in zip(one.values[name], other.values[name], strict=True)])

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and numbers; None for an unknown bound."""
        optimizers = [
            {
                "optimizer": one.optimizer,
                "rate": one.rate,
                "open_end": one.open_end,
                "tuning": {f"{rate:g}": value for rate, value in one.tuning.items()},
                "measured": {name: self._numbers(one, name) for name in one.values},
                "seconds": one.seconds,
            }
            for one in self.taught
        ]
        return {"regime": self.regime.name, "budget": self.budget, "seeds": self.seeds, "optimizers": optimizers}

    def _numbers(self, one: Taught, name: str) -> dict[str, object]:
        mean, low, high = map(_finite, one.interval(name))
        over = dict(zip(("mean", "low", "high"), map(_finite, self.difference(one, name)), strict=True))
        return {"values": list(one.values[name]), "mean": mean, "low": low, "high": high, "over_momentum": over}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def trainers(
    regime: str = "standard",
    *,
    out: str | Path = "runs/sweep",
    seeds: int = SEEDS,
    budget: Budget = FULL,
    device: str = "auto",
    progress: Report | None = None,
) -> Trainers:
    """Trains the same network with each optimizer of ``TRAINING_OPTIMIZERS``, and attacks the trained networks.

    For each optimizer the learning rate is chosen by short trainings, on held-out training images; then it trains with
    several seeds. Finished runs are not repeated.

    Args:
        regime: "standard", "fast", or one that was added.
        out: directory of results, and under ``networks`` of trained networks.
        seeds: their number.
        budget: ``FULL``, or ``QUICK`` for a dry run with a folder of its own.
        device: "auto" takes the accelerator if there is one; or its name, or "cpu".
        progress: is called with the progress.

    Raises:
        ValueError: no such regime, or no seeds.
        RunError: the directory cannot be written, or belongs to another sweep.
        DivergedError: a training with the chosen rate fails.
    """
    chosen, home = named(regime), Path(out)
    if seeds < 1:
        raise ValueError(f"at least one seed is needed, got {seeds}")
    command = f"robustlab sweep trainers --recipe {regime}{'' if budget == FULL else ' --quick'}"
    optimizers = TRAINING_OPTIMIZERS.members()
    expected = sum(len(_places(optimizer, budget)) + seeds for optimizer in optimizers)
    ledger = Ledger(home, budget, command, device, expected, progress)
    lab = Lab(home / "networks", 0, budget, device, ledger.report)
    ledger.device = str(lab.place())
    return School(chosen, seeds, lab, kept(home, device), optimizers).done(ledger)


def known_trainers(regime: str) -> Trainers | None:
    """Published results; None: there are none yet."""
    school = School(named(regime), SEEDS, Lab(Path(), 0))
    try:
        return school.done(published(school.study))
    except MissingError:
        return None


def named(name: str) -> Regime:
    """A regime by its name.

    Raises: ValueError for an unknown name.
    """
    return TRAINING_REGIMES.get(name)


@dataclass(frozen=True)
class School:
    """One regime with all optimizers.

    Args:
        regime: of the training.
        seeds: their number.
        lab: place of the training; its seed does not count.
        precision: of training.
        optimizers: that are compared; by default those of the published results.
    """

    regime: Regime
    seeds: int
    lab: Lab
    precision: Precision = PUBLISHED
    optimizers: tuple[OptimizerSpec, ...] = OPTIMIZERS

    @property
    def study(self) -> str:
        """Name of the sweep."""
        return f"trainers-{self.regime.name}"

    def done(self, get: Get) -> Trainers:
        """All results, read or computed."""
        taught = tuple(self._taught(optimizer, get) for optimizer in self.optimizers)
        return Trainers(self.regime, self.seeds, taught, self.lab.budget.name)

    def _taught(self, optimizer: OptimizerSpec, get: Get) -> Taught:
        seconds, budget = list[float](), self.lab.budget

        def evaluate(place: int) -> float:
            unit = get(self._tuning(optimizer, place), partial(self._tried, self._short(optimizer, place)))
            seconds.append(unit.seconds)
            return unit.metrics[HELD_OUT]

        def is_open(tried: Mapping[int, float], end: int) -> bool:
            return tried[end] >= max(tried.values())

        widen = WIDEN if budget == FULL else 0
        tried = explored(_places(optimizer, budget), evaluate, is_open=is_open, most=widen)
        best = max(tried, key=lambda place: (tried[place], -place))
        network = trained_in(self.regime.network(optimizer, best), self.precision)
        units = [
            get(self._reported(network, optimizer, best, seed), partial(self._measured, network, seed))
            for seed in range(self.seeds)
        ]
        seconds += [unit.seconds for unit in units]
        values = {name: tuple(unit.metrics[name] for unit in units) for name in units[0].metrics}
        tuning = {rate(place, PER_DECADE): value for place, value in tried.items()}
        at_end = best in (min(tried), max(tried))
        found = (optimizer.name, optimizer.title, tuning, rate(best, PER_DECADE), values)
        return Taught(*found, at_end, math.fsum(seconds))

    def _short(self, optimizer: OptimizerSpec, place: int) -> Network:
        """Network of the short training for the choice of rates."""
        return trained_in(self.regime.trial(optimizer, place), self.precision)

    def _tuning(self, optimizer: OptimizerSpec, place: int) -> Trial:
        definition = fingerprint(self._short(optimizer, place), self.regime.watch, self.lab.budget)
        return Trial(self.study, "tuning", optimizer.name, rate(place, PER_DECADE), TUNING_SEED, definition)

    def _reported(self, network: Network, optimizer: OptimizerSpec, place: int, seed: int) -> Trial:
        definition = fingerprint(network, self.regime.measures, self.lab.budget)
        return Trial(self.study, "reported", optimizer.name, rate(place, PER_DECADE), seed, definition)

    def _tried(self, network: Network) -> Found:
        """A short training and its accuracy on held-out training images."""
        lab = replace(self.lab, seed=TUNING_SEED)
        if not isinstance(network.data, Sampled):
            raise ValueError("rates are chosen on training images that a sample leaves out")
        held_out = network.data.held_out(lab)
        try:
            model = lab.trained(network).last
        except DivergedError:
            return Found({HELD_OUT: 0.0, "diverged": 1.0})
        if self.regime.watch is None:
            return Found({HELD_OUT: accuracy(model, held_out)})
        found = attacked(model, held_out, {"held-out": self.regime.watch}, lab)
        return Found({HELD_OUT: found.worst[-1].robust.value})

    def _measured(self, network: Network, seed: int) -> Found:
        """A whole training and its measures on the test images."""
        lab = replace(self.lab, seed=seed)
        trained = lab.trained(network)
        metrics: Metrics = {"training_seconds": round(trained.seconds, 2)}
        for measure in self.regime.measures:
            metrics |= measure(trained.last, lab)
        wanted = ("training_seconds", *(name for name, _ in self.regime.columns))
        return Found({name: metrics[name] for name in wanted})


def _places(optimizer: OptimizerSpec, budget: Budget) -> range:
    """First places of the search; two in a dry run."""
    return optimizer.places if budget == FULL else optimizer.places[1:3]
