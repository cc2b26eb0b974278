"""Attacks inside attacks: their threat models, copies at another eps or for some examples, and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from torch import Tensor

from robustlab.core import Attack, ThreatModel, fold_in
from robustlab.core.kinds import typed

A = TypeVar("A", bound=Attack)


def threat_of(attack: object) -> ThreatModel:
    """The threat model of an attack, or of the first attack inside a wrapper.

    Raises: ValueError if there is none.
    """
    found = next(threats_of(attack), None)
    if found is None:
        raise ValueError(f"{type(attack).__name__} has no threat model: give it a field 'threat'")
    return found


def threats_of(attack: object) -> Iterator[ThreatModel]:
    """The threat models of an attack and of those inside it."""
    threat = getattr(attack, "threat", None)
    if isinstance(threat, ThreatModel):
        yield threat
    for part in parts_of(attack):
        yield from threats_of(part)


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


@typed
def at_eps(attack: A, eps: float) -> A:
    """The same attack with another budget, through wrappers; step sizes that follow eps follow."""
    return _with_threat(attack, lambda threat: replace(threat, eps=eps))


def at_rows(attack: A, rows: Tensor) -> A:
    """The same attack for some of the examples of a call: only an eps per example differs."""
    if all(isinstance(threat.eps, float) for threat in threats_of(attack)):
        return attack
    return _with_threat(attack, lambda threat: threat.take(rows))


def part_seed(wrapper: Attack, seed: int, number: int) -> int:
    """The seed of a part of a wrapper, which no part of another level shares; the first has the seed of the whole."""
    return seed if number == 0 else fold_in(seed, _depth(wrapper), number)


def _depth(attack: Attack) -> int:
    """Number of wrappers around the innermost attack."""
    return 1 + max((_depth(part) for part in parts_of(attack)), default=-1)


def parts_of(attack: object) -> tuple[Attack, ...]:
    """The attacks that an attack is made of, none if it is no wrapper."""
    return (*getattr(attack, "attacks", ()), *filter(None, [getattr(attack, "attack", None)]))
