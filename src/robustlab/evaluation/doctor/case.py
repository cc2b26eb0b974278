"""What the probes of the doctor share: one attack at one eps, its outcomes, and exact statistics on a few examples."""

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
STANDING = 0.05
"""Share of examples that may stand, or lack a gradient, by chance where none should."""
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
    """What an attack did to some examples, both (M,) bool."""

    fooled: Tensor
    undefined: Tensor
    """Logits at x_adv are NaN or infinite; such an example is fooled."""


@dataclass(frozen=True)
class Case:
    """What the doctor looks at: one attack at one eps.

    Args:
        subject: the model, in eval mode, and its examples.
        attack: the strongest that was run.
        ids: all examples that were evaluated (N,).
        correct: on clean inputs, (N,) bool.
        fooled: by this attack, (N,) bool.
        settings: of the evaluation.
        rivals: what else was run at this eps.
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
    def standing(self) -> Tensor:
        """What the attack left standing, (N,) bool."""
        return self.correct & ~self.fooled

    @property
    def lead(self) -> Attack:
        """The attack, or the first with gradients of the several that it is made of: what a probe runs again."""
        return _lead(self.attack)

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
        """Whether the attack fooled these examples, as recorded, (M,) bool."""
        return torch.isin(ids, self.ids[self.fooled])

    def run(self, attack: Attack, ids: Tensor, stop: Stop = "success", *, again: int = 0) -> Tensor:
        """Whether the model is wrong after another attack, (M,) bool; what breaks the budget never counts as found.

        Args:
            attack: any.
            ids: of the examples (M,).
            stop: as for any attack.
            again: above 0 for other random draws than the evaluation's.
        """
        return self.attacked(attack, ids, stop, again=again).fooled

    def fell(self, attack: Attack, ids: Tensor, *, again: int = 0) -> Tensor:
        """As ``run``, (M,) bool; nobody, if nobody does among every other example: a sound model costs half."""
        found = torch.zeros(len(ids), dtype=torch.bool)
        found[::2] = self.run(attack, ids[::2], again=again)
        if bool(found.any()):
            found[1::2] = self.run(attack, ids[1::2], again=again)
        return found

    def attacked(self, attack: Attack, ids: Tensor, stop: Stop = "success", *, again: int = 0) -> Outcome:
        """The same, and where logits were undefined."""
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

    def loss(self, fell: int, n: int) -> float:
        """Robust accuracy that is lost for certain if ``fell`` of ``n`` standing examples fall after all."""
        return float(self.standing.double().mean()) * clopper_pearson(fell, n).low


def _lead(attack: Attack) -> Attack:
    several: tuple[Attack, ...] = getattr(attack, "attacks", ())
    if not several:
        return attack
    return _lead(next((one for one in several if not gradient_free(one)), several[0]))


def may_be_chance(count: int, n: int, share: float) -> bool:
    """Whether a true share no larger than this is compatible with the count, at the two-sided level of 95 %."""
    return clopper_pearson(count, n).low <= share


def ahead(theirs_alone: int, ours_alone: int, n: int) -> float:
    """By how large a share of n pairs they are ahead of us for certain: one exact bound less the other, below 0: none.

    Args:
        theirs_alone: pairs that only they have.
        ours_alone: pairs that only we have.
        n: all pairs.
    """
    return clopper_pearson(theirs_alone, n).low - clopper_pearson(ours_alone, n).high
