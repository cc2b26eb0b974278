"""Optimizers as attackers: PGD with each of several step rules, each at its best learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from robustlab.attacks import trace
from robustlab.core import Attack, Examples, Metrics, frozen, misclassified
from robustlab.data import parts
from robustlab.runs.progress import Progress, Report
from robustlab.studies.claim_engine.budget import FULL, QUICK, Budget
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.sweep.ledger import Ledger
from robustlab.studies.sweep.outcome import NEAR, NEVER, Attackers, Passes, Swept, cost, left, spent
from robustlab.studies.sweep.precision import PUBLISHED, kept
from robustlab.studies.sweep.rates import explored, rate
from robustlab.studies.sweep.rules import PER_DECADE, RULES, STEP_RULES, Rule
from robustlab.studies.sweep.subject import SUBJECTS, Given, Own, Subject
from robustlab.studies.sweep.unit import Found, Get, MissingError, Part, Trial, published
from robustlab.training.settings import Precision

BATCH = 250
"""Images that are attacked together."""
TUNING_SEED = 0
"""Seed of the starts for the choice of rates; the reported ones have 1, 2, ..."""
SEEDS = 3


@dataclass(frozen=True)
class Spend:
    """Budget of a sweep of attackers.

    Args:
        budget: for the network that is attacked, if it is trained here.
        budgets: numbers of steps with separate rates, ascending; the last is the whole budget.
        tuning: number of tuning images.
        images: number of reported images per seed, disjoint from those.
        widen: largest number of rates to add at each end of the search.
    """

    budget: Budget = FULL
    budgets: tuple[int, ...] = (3, 5, 10, 20)
    tuning: int = 300
    images: int = 600
    widen: int = 6

    def __post_init__(self) -> None:
        if not self.budgets or min(self.budgets) < 1 or list(self.budgets) != sorted(set(self.budgets)):
            raise ValueError(f"numbers of steps must be at least 1 and rising, got {self.budgets}")
        if min(self.tuning, self.images) < 1 or self.widen < 0:
            raise ValueError(f"at least one image is needed for each part, got {self.tuning} and {self.images}")

    @property
    def steps(self) -> int:
        """Number of steps of the whole budget."""
        return self.budgets[-1]


QUICK_SPEND = Spend(QUICK, (2, 8), tuning=40, images=40, widen=0)
"""Shows that a sweep runs; its numbers mean little."""


def attackers(
    subject: Subject,
    *,
    out: str | Path = "runs/sweep",
    seeds: int = SEEDS,
    spend: Spend | None = None,
    device: str = "auto",
    progress: Report | None = None,
) -> Attackers:
    """Attacks a model by PGD with each step rule of ``STEP_RULES``: same threat, same starts, same budget of passes.

    For each rule and number of steps, the learning rate with the lowest robust accuracy on the tuning images is chosen.
    The reported accuracy is measured on other images, other ones for each seed, so that all seeds together are one
    sample. Finished runs are not repeated.

    Args:
        subject: the model.
        out: directory of results, and under ``networks`` of trained networks.
        seeds: number of reported samples.
        spend: the budget; None: the full one.
        device: "auto" takes the accelerator if there is one; or its name, or "cpu".
        progress: is called with the progress.

    Raises:
        ValueError: too few examples, no seed, or an eps that no sweep can use.
        RunError: the directory cannot be written, or belongs to another sweep.
    """
    amount, home = spend or Spend(), Path(out)
    if seeds < 1:
        raise ValueError(f"at least one seed is needed, got {seeds}")
    known = f" {subject.name}" if isinstance(subject, Given) else ""
    command = f"robustlab sweep attackers{known}{'' if amount.budget == FULL else ' --quick'}"
    rules = STEP_RULES.members()
    expected = sum(len(rule.places(subject.threat)) + seeds * len(amount.budgets) for rule in rules)
    ledger = Ledger(home, amount.budget, command, device, expected, progress)
    lab = Lab(home / "networks", 0, amount.budget, device, ledger.report)
    ledger.device = str(lab.place())
    precision = kept(home, device) if isinstance(subject, Own) else PUBLISHED
    return Sweep(subject, amount, seeds, lab, precision, rules).done(ledger)


def known_attackers(name: str) -> Attackers | None:
    """Published results on a network of ``SUBJECTS``; None: there are none yet."""
    subject = next(one for one in SUBJECTS if one.name == name)
    sweep = Sweep(subject, Spend(), SEEDS, Lab(Path(), 0))
    try:
        return sweep.done(published(sweep.study))
    except MissingError:
        return None


@dataclass(frozen=True)
class Sweep:
    """One subject, with all runs on it.

    Args:
        subject: the model.
        spend: the budget.
        seeds: number of reported samples.
        lab: place of the training of a network.
        precision: of that training.
        rules: step rules that are compared; by default those of the published results.
    """

    subject: Subject
    spend: Spend
    seeds: int
    lab: Lab
    precision: Precision = PUBLISHED
    rules: tuple[Rule, ...] = RULES

    @property
    def study(self) -> str:
        """Name of the sweep."""
        return re.sub(r"[^\w.-]+", "-", f"attackers-{self.subject.name}")

    def done(self, get: Get) -> Attackers:
        """All results, read or computed."""
        swept = tuple(self._rule(rule, get) for rule in self.rules)
        n, threat = self.seeds * self.spend.images, self.subject.threat
        text = f"{type(threat.norm).__name__} eps {threat.eps:g}"
        return Attackers(self.subject.name, text, n, self.spend.tuning, self.seeds, swept, self.spend.budget.name)

    def _rule(self, rule: Rule, get: Get) -> Swept:
        """Tunes one rule, then measures it."""
        seconds = list[float]()

        def run(part: Part, seed: int, place: int) -> Passes:
            unit = get(*self._trial(rule, part, seed, place))
            seconds.append(unit.seconds)
            return tuple(map(int, unit.passes.split()))

        evaluate = partial(run, "tuning", TUNING_SEED)
        tried = explored(rule.places(self.subject.threat), evaluate, is_open=self._open, most=self.spend.widen)
        best = {steps: _best(tried, steps) for steps in self.spend.budgets}
        reported = {
            rate(place, PER_DECADE): sum((run("reported", seed + 1, place) for seed in range(self.seeds)), start=())
            for place in sorted(set(best.values()))
        }
        tuning = {rate(place, PER_DECADE): passes for place, passes in tried.items()}
        chosen = {steps: rate(place, PER_DECADE) for steps, place in best.items()}
        at_end = best[self.spend.steps] in (min(tried), max(tried))
        return Swept(rule.name, rule.title, tuning, chosen, reported, at_end, math.fsum(seconds))

    def _open(self, tried: Mapping[int, Passes], end: int) -> bool:
        """True if a better rate may lie beyond this end, for some number of steps."""
        for steps in self.spend.budgets:
            if left(tried[end], steps) <= min(left(passes, steps) for passes in tried.values()) + NEAR:
                return True
        return False

    def _trial(self, rule: Rule, part: Part, seed: int, place: int) -> tuple[Trial, partial[Found]]:
        """A run and its function."""
        attack = rule.attack(self.subject.threat, self.spend.steps, place)
        sizes = (self.spend.tuning, self.spend.images) if part == "reported" else (self.spend.tuning,)
        definition = fingerprint(attack, self._prepared.essence(), self.spend.budget, *sizes)
        trial = Trial(self.study, part, rule.name, rate(place, PER_DECADE), seed, definition)
        return trial, partial(self._measured, attack, seed)

    def _measured(self, attack: Attack, seed: int) -> Found:
        """Attacks the images of a seed."""
        model, images = self._opened[0], self._parts[seed]
        passes, batches = list[int](), torch.arange(len(images)).split(BATCH)
        for number, ids in enumerate(batches):
            passes += fooled_after(attack, model, images, ids, seed=seed, steps=self.spend.steps)
            self.lab.report(Progress("attack", number + 1, len(batches), "batches"))
        outcomes = tuple(passes)
        if not any(outcomes):
            raise ValueError(
                f"{self.subject.name} gets none of {len(outcomes)} images right: there is nothing to attack"
            )
        metrics: Metrics = {"clean_accuracy": sum(one != 0 for one in outcomes) / len(outcomes)}
        metrics |= {"robust_accuracy": left(outcomes, self.spend.steps), "passes": spent(outcomes, self.spend.steps)}
        return Found(metrics, " ".join(map(str, outcomes)))

    @cached_property
    def _prepared(self) -> Subject:
        """The subject, with the precision of the sweep unless its network has one."""
        return self.subject.trained_in(self.precision) if isinstance(self.subject, Own) else self.subject

    @cached_property
    def _opened(self) -> tuple[nn.Module, Examples]:
        return self._prepared.opened(self.lab)

    @cached_property
    def _parts(self) -> list[Examples]:
        """Images for tuning, then those of each seed, all disjoint."""
        examples, spend = self._opened[1], self.spend
        needed = spend.tuning + self.seeds * spend.images
        if needed > len(examples):
            raise ValueError(
                f"{needed} images are needed, {spend.tuning} to choose rates by and {self.seeds} times {spend.images} "
                f"to report on, but {examples.name} has {len(examples)}: take fewer, or fewer seeds"
            )
        sizes = [spend.tuning] + [spend.images] * self.seeds
        shares = {("tuning" if not k else f"seed {k}"): size / len(examples) for k, size in enumerate(sizes)}
        return list(parts(examples, shares).values())


def fooled_after(
    attack: Attack, model: nn.Module, examples: Examples, ids: torch.Tensor, *, seed: int, steps: int
) -> list[int]:
    """Number of forward and backward passes with which an attack fools a model on each example.

    Args:
        attack: with one forward and one backward pass per step.
        model: attacked in eval mode.
        examples: source of the images.
        ids: their numbers (N,).
        seed: of the starts.
        steps: of the attack.

    Returns: for each example 0 if it is wrong without attack; 2 k + 1 if it is fooled after k steps, 0..steps, which
        takes one more forward pass to notice; -1 if it is still robust.
    """
    place = next((one.device for one in model.parameters()), ids.device)
    x, y, names = (part.to(place) for part in examples.batch(ids)[:3])
    with frozen(model, training=False):
        with torch.no_grad():
            right = (~misclassified(model(x), y)).nonzero()[:, 0]
        if not len(right):
            return [0] * len(ids)
        seen = trace(attack, model, x[right], y[right], seed=seed, ids=names[right])
    fooled = {row.id: cost(row.point) for row in seen.rows if row.finished and row.point <= steps}
    passes = [0] * len(ids)
    for number in right.tolist():
        passes[number] = fooled.get(int(names[number]), NEVER)
    return passes


def _best(tried: Mapping[int, Passes], steps: int) -> int:
    """The place with the lowest robust accuracy after so many steps; among equals the one with the fewest passes."""
    return min(tried, key=lambda place: (left(tried[place], steps), spent(tried[place], steps), place))
