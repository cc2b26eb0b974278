"""Stages and restarts of an attack, which are run and recorded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from robustlab.attacks.facts import label, runs, stages
from robustlab.attacks.parts import part_seed
from robustlab.core import Attack


class Part(NamedTuple):
    """One stage or restart of an attack, run only on the examples that those before it left robust."""

    name: str
    attack: Attack
    seed: int
    stage: int = 0
    restart: int = 0


class _Run(NamedTuple):
    """An attack that is recorded as one, and its seed."""

    attack: Attack
    seed: int


def parts(attack: Attack, seed: int) -> Iterator[Part]:
    """Stages of an attack that has several, and the runs that each of them is made of, in their order.

    Each has the seed that it has when the attack is called as a whole, so that one batch gives the same x_adv either
    way.
    """
    for number, stage in enumerate(stages(attack)):
        found = tuple(_runs(stage.attack, part_seed(attack, seed, number)))
        for restart, run in enumerate(found):
            name = stage.name or label(run.attack)
            counted = name if len(found) == 1 else f"{name}, restart {restart + 1}"
            yield Part(counted, run.attack, run.seed, number, restart)


def _runs(attack: Attack, seed: int) -> Iterator[_Run]:
    """The runs inside wrappers, however deep."""
    inside = runs(attack)
    if not inside:
        yield _Run(attack, seed)
    for number, one in enumerate(inside):
        yield from _runs(one, part_seed(attack, seed, number))
