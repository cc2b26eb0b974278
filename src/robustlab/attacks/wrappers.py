"""Attacks made of attacks: restarts, the worst of several, a rule for targets; and the same attack at another eps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal, TypeVar, cast, get_args

import torch
from torch import Tensor

from robustlab.attacks.call import checked_inputs
from robustlab.attacks.maximise import Best
from robustlab.core import (
    Attack,
    Model,
    Stop,
    Streams,
    ThreatModel,
    Twin,
    as_twin,
    fold_in,
    frozen,
    margin,
    search_twin,
    targeted,
    untargeted,
)

A = TypeVar("A", bound=Attack)
TargetRule = Literal["random", "next", "least_likely", "second_likely"]


@dataclass(frozen=True)
class WorstOf:
    """The worst of several attacks for each example.

    With ``stop="success"`` each attack is run only on what the ones before it left standing. What is best is decided
    by the margin of the user's own model.

    Args:
        attacks: at least one.
    """

    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        if not self.attacks:
            raise ValueError("WorstOf needs at least one attack")

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Runs the attacks in their order, as ``robustlab.core.Attack`` says."""
        for threat in _threats(self):
            checked_inputs(x, y, threat, target=target, ids=ids, stop=stop)
        rows = torch.arange(x.shape[0], device=x.device)
        ids, best = rows if ids is None else ids, Best.of(x.detach())
        with torch.inference_mode(mode=False), frozen(model.model if isinstance(model, Twin) else model):
            twin = search_twin(model, x.detach())
        for number, attack in enumerate(self.attacks):
            goal, part = None if target is None else target[rows], at_rows(attack, rows)
            own_seed = part_seed(self, seed, number)
            x_adv = part(twin, x[rows], y[rows], target=goal, stop=stop, seed=own_seed, ids=ids[rows])
            finished = _judged(best, rows, x_adv, twin, y[rows], goal)
            if stop == "success":
                rows = rows[~finished]
            if not rows.numel():
                break
        return best.x_adv


def _judged(best: Best, rows: Tensor, x_adv: Tensor, twin: Twin, y: Tensor, goal: Tensor | None) -> Tensor:
    """Keeps what is better by the user's own model; returns which rows are finished."""
    objective = untargeted(twin.own, y, margin) if goal is None else targeted(twin.own, goal, margin)
    with frozen(twin.model):
        score, finished = objective(x_adv)
    best.update(rows, x_adv, score, finished)
    return finished


def part_seed(wrapper: Attack, seed: int, number: int) -> int:
    """The seed of a part of a wrapper, which no part of another level shares; the first has the seed of the whole."""
    return seed if number == 0 else fold_in(seed, _depth(wrapper), number)


def _depth(attack: Attack) -> int:
    """How many wrappers there are around the innermost attack."""
    return 1 + max((_depth(part) for part in _parts(attack)), default=-1)


def _parts(attack: Attack) -> tuple[Attack, ...]:
    """The attacks that an attack is made of, none if it is no wrapper."""
    return (*getattr(attack, "attacks", ()), *filter(None, [getattr(attack, "attack", None)]))


@dataclass(frozen=True)
class Restarts:
    """An attack run several times with other random draws; each example keeps its worst.

    Args:
        attack: the attack.
        count: how often, >= 1; the first run has the seed of the call, so more restarts are never worse.
    """

    attack: Attack
    count: int

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"count must be a whole number >= 1, got {self.count}")

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Runs the attack ``count`` times, as ``robustlab.core.Attack`` says."""
        worst = WorstOf((self.attack,) * self.count)
        return worst(model, x, y, target=target, stop=stop, seed=seed, ids=ids)


@dataclass(frozen=True)
class Targeted:
    """An attack towards a class chosen by a rule for each example.

    Args:
        attack: the attack.
        rule: "random": any wrong class, all equally likely; "next": the label plus one, modulo K; "least_likely" and
            "second_likely": by the model's logits for the clean input, the true class left out.
    """

    attack: Attack
    rule: TargetRule = "random"

    def __post_init__(self) -> None:
        if self.rule not in get_args(TargetRule):
            raise ValueError(f"rule must be one of {', '.join(get_args(TargetRule))}, got {self.rule!r}")

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Runs the attack towards the chosen classes; a ``target`` given in the call is used instead."""
        if target is None:
            target = self.targets(model, x, y, seed=seed, ids=ids)
        return self.attack(model, x, y, target=target, stop=stop, seed=seed, ids=ids)

    def targets(self, model: Model, x: Tensor, y: Tensor, *, seed: int = 0, ids: Tensor | None = None) -> Tensor:
        """The class chosen for each example (N,), never its label."""
        for threat in _threats(self):
            checked_inputs(x, y, threat, ids=ids)
        twin = as_twin(model)
        with frozen(twin.model), torch.no_grad():
            logits = torch.cat([twin(part) for part in twin.split(x.detach().clone())])
        classes = logits.shape[1]
        if int(y.min()) < 0 or int(y.max()) >= classes:
            raise ValueError(f"labels must be class numbers 0..{classes - 1}, got {int(y.min())}..{int(y.max())}")
        if self.rule == "next":
            return (y + 1) % classes
        if self.rule == "random":
            streams = Streams(seed, torch.arange(x.shape[0], device=x.device) if ids is None else ids.to(x.device))
            return (y + 1 + streams.fork(0x7A26E7).integers(classes - 1)) % classes
        own = torch.nn.functional.one_hot(y, classes).to(torch.bool)
        if self.rule == "least_likely":
            return logits.masked_fill(own, torch.inf).argmin(dim=1)
        return logits.masked_fill(own, -torch.inf).argmax(dim=1)


def threat_of(attack: Attack) -> ThreatModel:
    """The threat model of an attack, or of the first attack inside a wrapper.

    Raises: ValueError if there is none.
    """
    found = next(_threats(attack), None)
    if found is None:
        raise ValueError(f"{type(attack).__name__} has no threat model: give it a field 'threat'")
    return found


def _threats(attack: Attack) -> Iterator[ThreatModel]:
    """The threat models of an attack and of those inside it."""
    threat = getattr(attack, "threat", None)
    if isinstance(threat, ThreatModel):
        yield threat
    for part in _parts(attack):
        yield from _threats(part)


def _with_threat(attack: A, change: Callable[[ThreatModel], ThreatModel]) -> A:
    """The same attack with every threat model inside changed by a function."""
    plain: object = attack
    if not is_dataclass(plain) or isinstance(plain, type):
        raise ValueError(f"{attack!r} is no dataclass, so its threat model cannot be changed")
    new: dict[str, object] = {}
    for part in fields(plain):
        value = getattr(attack, part.name)
        if isinstance(value, ThreatModel):
            new[part.name] = change(value)
        elif part.name == "attack":
            new[part.name] = _with_threat(value, change)
        elif part.name == "attacks":
            new[part.name] = tuple(_with_threat(one, change) for one in value)
    return cast("A", replace(plain, **new))


def at_eps(attack: A, eps: float) -> A:
    """The same attack with another budget, through wrappers; step sizes that follow eps follow."""
    return _with_threat(attack, lambda threat: replace(threat, eps=eps))


def at_rows(attack: A, rows: Tensor) -> A:
    """The same attack for some of the examples of a call: only an eps per example differs."""
    if all(isinstance(threat.eps, float) for threat in _threats(attack)):
        return attack
    return _with_threat(attack, lambda threat: threat.take(rows))
