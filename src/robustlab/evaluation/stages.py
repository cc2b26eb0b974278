"""What attacks are made of: the stages and restarts that are run and recorded one by one, their names and costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import NamedTuple, get_args

from robustlab.attacks import FAB, FABT, AutoAttack, Restarts, Targeted, WorstOf, autoattack, threat_of
from robustlab.attacks.parts import part_seed
from robustlab.attacks.suite import Version
from robustlab.core import Attack

_NAMES = {"APGDT": "APGD-T", "FABT": "FAB-T", "MIFGSM": "MI-FGSM"}
_SPOKEN = {"apgd-ce": "APGD-CE", "apgd-dlr": "APGD-DLR", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}


class Part(NamedTuple):
    """One stage or restart of an attack, run only on what those before it left standing."""

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
    """Stages of a suite or of a ``WorstOf``, and the runs that each of them is made of, in their order.

    Each has the seed that it has when the attack is called as a whole, so that one batch gives the same x_adv either
    way.
    """
    stages: tuple[Attack, ...] = attack.attacks if isinstance(attack, AutoAttack | WorstOf) else (attack,)
    for number, stage in enumerate(stages):
        runs = tuple(_runs(stage, part_seed(attack, seed, number)))
        for restart, run in enumerate(runs):
            name = attack.names[number] if isinstance(attack, AutoAttack) else label(run.attack)
            counted = name if len(runs) == 1 else f"{name}, restart {restart + 1}"
            yield Part(counted, run.attack, run.seed, number, restart)


def _runs(attack: Attack, seed: int) -> Iterator[_Run]:
    """The runs inside wrappers, however deep."""
    if isinstance(attack, Restarts):
        inside: tuple[Attack, ...] = (attack.attack,) * attack.count
    elif isinstance(attack, WorstOf | AutoAttack):
        inside = attack.attacks
    else:
        yield _Run(attack, seed)
        return
    for number, one in enumerate(inside):
        yield from _runs(one, part_seed(attack, seed, number))


def label(attack: Attack) -> str:
    """A short name for an attack, such as "PGD-40", "targeted PGD-40 x5" or "AutoAttack standard"."""
    if isinstance(attack, Restarts):
        return f"{label(attack.attack)} x{attack.count}"
    if isinstance(attack, Targeted):
        return f"targeted {label(attack.attack)}"
    if isinstance(attack, AutoAttack):
        return f"AutoAttack {version(attack) or 'of ' + ', '.join(attack.names)}"
    if isinstance(attack, WorstOf):
        return "worst of " + ", ".join(label(one) for one in attack.attacks)
    name, inner = getattr(attack, "__name__", type(attack).__name__), getattr(attack, "attack", None)
    if inner is not None:
        return f"{name} {label(inner)}"
    count = next((n for n in (getattr(attack, w, None) for w in ("steps", "queries")) if isinstance(n, int)), None)
    return "-".join(map(str, filter(None, [_NAMES.get(name, name), _score(attack), count])))


def _score(attack: Attack) -> str:
    """What the attack maximises, where it is not its usual score."""
    plain: object = attack
    usual = {field.name: field.default for field in fields(plain)} if is_dataclass(plain) else {}
    score = getattr(attack, "score", None)
    return "" if score is None or score is usual.get("score") else getattr(score, "__name__", "").upper()


def version(suite: AutoAttack) -> Version | None:
    """Which version of AutoAttack a suite is, with all its parameters; None: one of somebody's own."""
    return next((one for one in get_args(Version) if autoattack(threat_of(suite), one) == suite), None)


def left_out(attack: Attack) -> tuple[str, ...]:
    """The stages of AutoAttack standard that a suite has not, as they are spoken of; none if it is no such part."""
    if not isinstance(attack, AutoAttack) or version(attack) != "quick":
        return ()
    whole = autoattack(threat_of(attack)).names
    return tuple(_SPOKEN.get(name, name) for name in whole if name not in attack.names)


def passes_needed(attack: Attack, classes: int) -> int:
    """Passes of one example through the model if the attack fails on it, forward and backward counted alike.

    That is what an attack is weighed by before it has run: 2 for each step, 4 for a step of FAB, which also looks
    where it comes out, and without targets 3 and one for each class; with targets, as often as there are targets, of
    which a model of K classes has K - 1; for random search 1 for each query; all of it as often as there are restarts,
    stages and draws of an expectation. An attack without a number of steps counts as one step.
    """
    if isinstance(attack, WorstOf | AutoAttack):
        return sum(passes_needed(one, classes) for one in attack.attacks)
    times = max(1, *(n for n in (getattr(attack, w, 1) for w in ("count", "draws")) if isinstance(n, int)))
    inner = getattr(attack, "attack", None)
    if inner is not None:
        return times * passes_needed(inner, classes)
    queries, steps, targets = (getattr(attack, what, None) for what in ("queries", "steps", "targets"))
    if isinstance(queries, int):
        return queries
    each = 3 + classes if isinstance(attack, FAB) else 4 if isinstance(attack, FABT) else 2
    goals = min(targets, max(classes - 1, 1)) if isinstance(targets, int) else 1
    return each * goals * (steps if isinstance(steps, int) else 1)
