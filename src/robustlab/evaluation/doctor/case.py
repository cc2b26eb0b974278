"""Case of the doctor: one attack at one eps, its outcomes, and exact statistics on a few examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.attacks import threat_of
from robustlab.attacks.facts import gradient_free
from robustlab.core import Attack, Batch, Model, Stop, ThreatModel, Twin, fold_in
from robustlab.evaluation.plan import Settings, batches, chosen
from robustlab.evaluation.subject import Subject
from robustlab.statistics.intervals import clopper_pearson

PROBED = 64
"""Examples for a cheap probe."""
PROBED_DEEPLY = 32
"""Examples for a probe of many steps."""
ROBUST = 0.05
"""Fraction of examples that may stay robust, or lack a gradient, by chance where none should."""
LOSS = (0.03, 0.05)
"""Robust accuracy lost for certain: worth a warning, serious."""


@dataclass(frozen=True)
class Rival:
    """Another attack of the same evaluation, at the same eps.

    Args:
        name: in the evaluation.
        attack: as it was run.
        fooled: by it, (N,) bool, in the order of the case's ids.
    """

    name: str
    attack: Attack
    fooled: Tensor


class Outcome(NamedTuple):
    """Outcome of an attack on some examples, both (M,) bool."""

    fooled: Tensor
    undefined: Tensor
    """Logits at x_adv are NaN or infinite; such an example is fooled."""


@dataclass(frozen=True)
class Case:
    """One attack at one eps, for the probes of the doctor.

    Args:
        subject: the model, in eval mode, and its examples.
        attack: the strongest that was run.
        ids: all examples that were evaluated (N,).
        correct: on clean inputs, (N,) bool.
        fooled: by this attack, (N,) bool.
        settings: of the evaluation.
        rivals: the other attacks at this eps.
    """

    subject: Subject
    attack: Attack
    ids: Tensor
    correct: Tensor
    fooled: Tensor
    settings: Settings
    rivals: tuple[Rival, ...] = field(default=(), kw_only=True)
    surrogate: Model | None = field(default=None, kw_only=True)
    """Another model for the same task, whose adversarial inputs may fool this one."""

    @property
    def threat(self) -> ThreatModel:
        """Norm, eps and bounds of the attack."""
        return threat_of(self.attack)

    @property
    def still_robust(self) -> Tensor:
        """Examples that the attack left robust, (N,) bool."""
        return self.correct & ~self.fooled

    @property
    def main(self) -> Attack:
        """The attack that a probe runs again: of several in one, the first with gradients."""
        return _main(self.attack)

    @cached_property
    def clean(self) -> Batch | None:
        """Some examples that the model gets right, loaded once for all probes; None if there are none."""
        ids = self.some(self.correct, PROBED)
        return self.subject.load(ids) if ids.numel() else None

    @property
    def own(self) -> Twin:
        """The user's own model, with gradients of its own, in pieces that fit the cache."""
        twin = self.subject.twin
        return Twin(twin.model, twin.model, twin.rows)

    def some(self, among: Tensor, count: int) -> Tensor:
        """A simple random sample of the examples where the mask is true."""
        return chosen(self.ids[among], count, "doctor", self.settings.seed)

    def known(self, ids: Tensor) -> Tensor:
        """Recorded success of the attack on these examples, (M,) bool."""
        return torch.isin(ids, self.ids[self.fooled])

    def run(self, attack: Attack, ids: Tensor, stop: Stop = "success", *, again: int = 0) -> Tensor:
        """Success of another attack, (M,) bool; an x_adv that breaks the budget never counts.

        Args:
            attack: any.
            ids: of the examples (M,).
            stop: as for any attack.
            again: above 0 for other random draws than the evaluation's.
        """
        return self.attacked(attack, ids, stop, again=again).fooled

    def run_by_halves(self, attack: Attack, ids: Tensor, *, again: int = 0) -> Tensor:
        """Success as of ``run``, (M,) bool; none if every other example is robust: a sound model costs half."""
        found = torch.zeros(len(ids), dtype=torch.bool)
        found[::2] = self.run(attack, ids[::2], again=again)
        if bool(found.any()):
            found[1::2] = self.run(attack, ids[1::2], again=again)
        return found

    def attacked(self, attack: Attack, ids: Tensor, stop: Stop = "success", *, again: int = 0) -> Outcome:
        """Success as of ``run``, and the examples whose logits were undefined."""
        none = torch.empty(0, dtype=torch.bool)
        found = [Outcome(none, none)]
        seed = fold_in(self.settings.seed, again) if again else self.settings.seed
        for part in batches(ids, self.settings.batch_size):
            batch = self.subject.load(part)
            x_adv, _ = self.subject.attacked(attack, batch, seed, stop)
            judged = self.subject.judged(threat_of(attack), batch, x_adv)
            fooled = judged.fooled | ~judged.inside if stop == "never" else judged.fooled
            found.append(Outcome(fooled.cpu(), judged.answers.undefined.cpu()))
        return Outcome(*(torch.cat(column) for column in zip(*found, strict=True)))

    def loss(self, fooled: int, n: int) -> float:
        """Robust accuracy that is lost for certain if ``fooled`` of ``n`` robust examples are fooled after all."""
        return float(self.still_robust.double().mean()) * clopper_pearson(fooled, n).low


def _main(attack: Attack) -> Attack:
    several: tuple[Attack, ...] = getattr(attack, "attacks", ())
    if not several:
        return attack
    return _main(next((one for one in several if not gradient_free(one)), several[0]))


def may_be_chance(count: int, n: int, fraction: float) -> bool:
    """Tests that a true fraction no larger than this is compatible with the count, at the two-sided level of 95 %."""
    return clopper_pearson(count, n).low <= fraction


def ahead(theirs_alone: int, ours_alone: int, n: int) -> float:
    """Fraction of n pairs by which they are ahead of us for certain: one exact bound less the other, below 0: none.

    Args:
        theirs_alone: pairs that only they have.
        ours_alone: pairs that only we have.
        n: all pairs.
    """
    return clopper_pearson(theirs_alone, n).low - clopper_pearson(ours_alone, n).high
