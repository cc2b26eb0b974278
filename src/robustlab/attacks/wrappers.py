"""Attacks made of attacks: restarts, the worst of several, a rule for targets; and the same attack at another eps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor

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
        ids = torch.arange(x.shape[0], device=x.device) if ids is None else ids
        rows = torch.arange(x.shape[0], device=x.device)
        with frozen(model.model if isinstance(model, Twin) else model), torch.no_grad():
            twin = search_twin(model, x.detach()) if x.numel() else as_twin(model)
        best: Best | None = None
        for number, attack in enumerate(self.attacks):
            goal = None if target is None else target[rows]
            part = at_rows(attack, rows)
            x_adv = part(twin, x[rows], y[rows], target=goal, stop=stop, seed=fold_seed(seed, number), ids=ids[rows])
            best = Best.of(x.detach()) if best is None else best
            finished = _judged(best, rows, x_adv, twin, y[rows], goal)
            if stop == "success":
                rows = rows[~finished]
            if not rows.numel():
                break
        assert best is not None
        return best.x_adv


def _judged(best: Best, rows: Tensor, x_adv: Tensor, twin: Twin, y: Tensor, goal: Tensor | None) -> Tensor:
    """Keeps what is better by the user's own model; returns which rows are finished."""
    own = as_twin(twin.model)
    objective = untargeted(own, y, margin) if goal is None else targeted(own, goal, margin)
    with frozen(twin.model):
        score, finished = objective(x_adv)
    twin.passes.forward += own.passes.forward
    best.update(rows, x_adv, score, finished)
    return finished


def fold_seed(seed: int, number: int) -> int:
    """The seed of a part of an attack; the first part has the seed of the whole."""
    return seed if number == 0 else fold_in(seed, number)


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
        twin = as_twin(model)
        with frozen(twin.model), torch.no_grad():
            logits = torch.cat([twin(part) for part in twin.split(x)])
        classes = logits.shape[1]
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
    threat = getattr(attack, "threat", None)
    if isinstance(threat, ThreatModel):
        return threat
    inner: tuple[Attack, ...] = (*getattr(attack, "attacks", ()), *filter(None, [getattr(attack, "attack", None)]))
    if not inner:
        raise ValueError(f"{type(attack).__name__} has no threat model: give it a field 'threat'")
    return threat_of(inner[0])


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
    if isinstance(threat_of(attack).eps, float):
        return attack
    return _with_threat(attack, lambda threat: threat.take(rows))
