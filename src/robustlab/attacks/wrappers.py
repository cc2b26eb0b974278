"""Attacks made of attacks: restarts, the worst of several, a rule for targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from robustlab.attacks import facts
from robustlab.attacks.call import Call, checked_inputs, craft
from robustlab.attacks.maximise import Best
from robustlab.attacks.parts import part_seed, threats_of
from robustlab.core import Attack, Model, Streams, as_twin, frozen
from robustlab.core.kinds import typed
from robustlab.core.rows import all_rows
from robustlab.core.targets import least_likely_class, likeliest_class, next_class, random_class

TargetRule = Literal["random", "next", "least_likely", "second_likely"]


@typed
@dataclass(frozen=True)
class WorstOf:
    """The worst of several attacks for each example.

    With ``stop="success"`` each attack is run only on examples that are still robust. The best result is decided by the
    margin of the user's own model.

    Args:
        attacks: at least one.
    """

    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        if not self.attacks:
            raise ValueError("WorstOf needs at least one attack")

    @property
    def label(self) -> str:
        """Short name in reports."""
        return "worst of " + ", ".join(map(facts.label, self.attacks))

    @property
    def stages(self) -> tuple[facts.Stage, ...]:
        """The attacks in turn, under their own labels."""
        return tuple(facts.Stage("", attack) for attack in self.attacks)

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call, by the attacks in their order."""
        rows, best, judge = all_rows(call.x), Best.of(call.x), call.judge()
        for number, attack in enumerate(self.attacks):
            x_adv = call.by(attack, rows, seed=part_seed(self, call.streams.seed, number))
            score, finished = judge.take(rows)(x_adv)
            best.update(rows, x_adv, score, finished)
            rows = rows[~finished] if call.stop == "success" else rows
            if not rows.numel():
                break
        return best.x_adv

    __call__ = craft


@typed
@dataclass(frozen=True)
class Restarts:
    """An attack run several times with other random draws; each example keeps its worst.

    Args:
        attack: the attack.
        count: number of runs, >= 1; the first run has the seed of the call, so more restarts are never worse.
    """

    attack: Attack
    count: int

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"count must be a whole number >= 1, got {self.count}")

    @property
    def label(self) -> str:
        """Short name in reports."""
        return f"{facts.label(self.attack)} x{self.count}"

    @property
    def targeted(self) -> bool:
        """True if the attack inside is targeted."""
        return facts.targeted(self.attack)

    @property
    def runs(self) -> tuple[Attack, ...]:
        """The attack, once per run."""
        return (self.attack,) * self.count

    def passes_needed(self, classes: int) -> int:
        """Passes of all runs."""
        return self.count * facts.passes_needed(self.attack, classes)

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        return WorstOf(self.runs).search(call)

    __call__ = craft


@typed
@dataclass(frozen=True)
class Targeted:
    """An attack towards a class chosen by a rule for each example; a ``target`` in the call is used instead.

    Args:
        attack: the attack.
        rule: "random": any wrong class, all equally likely; "next": the label plus one, modulo K; "least_likely" and
            "second_likely": by the model's logits for the clean input, the true class left out. Classes that the model
            masks with -inf are passed over.
    """

    targeted: ClassVar[bool] = True
    attack: Attack
    rule: TargetRule = "random"

    def __post_init__(self) -> None:
        if self.rule not in get_args(TargetRule):
            raise ValueError(f"rule must be one of {', '.join(get_args(TargetRule))}, got {self.rule!r}")

    @property
    def label(self) -> str:
        """Short name in reports."""
        return f"targeted {facts.label(self.attack)}"

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call, towards the chosen classes."""
        if call.target is None:
            target = self.targets(call.twin, call.x, call.y, seed=call.streams.seed, ids=call.ids)
            call = call._replace(target=target)
        return call.by(self.attack)

    __call__ = craft

    def targets(self, model: Model, x: Tensor, y: Tensor, *, seed: int = 0, ids: Tensor | None = None) -> Tensor:
        """The class chosen for each example (N,), never its label."""
        for threat in threats_of(self):
            checked_inputs(x, y, threat, ids=ids)
        twin = as_twin(model)
        with frozen(twin.model), torch.no_grad():
            logits = torch.cat([twin(part) for part in twin.split(x.detach().clone())])
        classes = logits.shape[1]
        if int(y.min()) < 0 or int(y.max()) >= classes:
            raise ValueError(f"labels must be class numbers 0..{classes - 1}, got {int(y.min())}..{int(y.max())}")
        if self.rule == "random":
            streams = Streams(seed, torch.arange(x.shape[0], device=x.device) if ids is None else ids.to(x.device))
            return random_class(logits, y, streams.fork(0x7A26E7))
        choose = {"next": next_class, "least_likely": least_likely_class, "second_likely": likeliest_class}
        return choose[self.rule](logits, y)
