"""Facts that an attack states about itself: its name, its cost, its stages and its kind.

A new attack needs none of them: any callable gets the usual answers. It states a fact, as an attribute, a property or a
method of the name below, where the usual answer is wrong for it.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import NamedTuple, Protocol, cast

from torch import Tensor

from robustlab.attacks.parts import parts_of
from robustlab.core import Attack, Model


class Stage(NamedTuple):
    """One stage of an attack that is made of several."""

    name: str
    """Unique among the stages; empty: the label of its attack."""
    attack: Attack


class Facts(Protocol):
    """Facts that an attack may state; each may be missing, and a function of this module has the usual answer."""

    @property
    def label(self) -> str:
        """Short name in reports."""

    @property
    def gradient_free(self) -> bool:
        """True if nothing in it follows gradients."""

    @property
    def transferred(self) -> bool:
        """True if its inputs are made on another model."""

    @property
    def random_start(self) -> bool:
        """True if another run draws another start, so that restarts find more."""

    @property
    def targeted(self) -> bool:
        """True if only the class that it chose is a success; ``targets`` then returns that class."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Stages of a published suite that it leaves out, by their usual names."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Attacks run in turn, each on the examples that are still robust; seeds are those of ``parts.part_seed``."""

    @property
    def runs(self) -> tuple[Attack, ...]:
        """Runs that its examples go through in turn, such as restarts; seeds as for ``stages``."""

    def passes_needed(self, classes: int) -> int:
        """Passes of one example through a model of so many classes if the attack fails on it."""

    def targets(self, model: Model, x: Tensor, y: Tensor, *, seed: int, ids: Tensor | None) -> Tensor:
        """The class chosen for each example (N,)."""


def label(attack: Attack) -> str:
    """A short name for an attack, such as "PGD-40", "targeted PGD-40 x5" or "AutoAttack standard"."""
    stated = getattr(attack, "label", None)
    return stated if isinstance(stated, str) else usual_label(attack)


def usual_label(attack: Attack, name: str = "") -> str:
    """The name of an attack, with that of the attack inside it, or else with its score and number of steps.

    Args:
        attack: any.
        name: empty: that of its class or function.
    """
    name, inner = name or getattr(attack, "__name__", type(attack).__name__), getattr(attack, "attack", None)
    if inner is not None:
        return f"{name} {label(inner)}"
    count = next((n for n in (_count(attack, word) for word in ("steps", "queries")) if n is not None), None)
    return "-".join(map(str, filter(None, [name, _score(attack), count])))


def _score(attack: Attack) -> str:
    """Name of the score that the attack maximises, if it is not its usual one."""
    plain: object = attack
    usual = {field.name: field.default for field in fields(plain)} if is_dataclass(plain) else {}
    score = getattr(attack, "score", None)
    return "" if score is None or score is usual.get("score") else getattr(score, "__name__", "").upper()


def _count(attack: Attack, word: str) -> int | None:
    number = getattr(attack, word, None)
    return number if isinstance(number, int) else None


def _flag(attack: Attack, word: str) -> bool | None:
    stated = getattr(attack, word, None)
    return stated if isinstance(stated, bool) else None


def gradient_free(attack: Attack) -> bool:
    """True if nothing inside an attack follows gradients; usually they are followed."""
    stated, inside = _flag(attack, "gradient_free"), parts_of(attack)
    return (bool(inside) and all(map(gradient_free, inside))) if stated is None else stated


def transferred(attack: Attack) -> bool:
    """True if the inputs of an attack, or of the attack inside it, are made on another model."""
    stated, inner = _flag(attack, "transferred"), getattr(attack, "attack", None)
    return (inner is not None and transferred(inner)) if stated is None else stated


def random_start(attack: Attack) -> bool:
    """True if an attack, or the attack inside it, starts at random; several in turn do not count."""
    stated, inner = _flag(attack, "random_start"), getattr(attack, "attack", None)
    return (inner is not None and random_start(inner)) if stated is None else stated


def targeted(attack: Attack) -> bool:
    """True if an attack is finished only at a target of its own."""
    return _flag(attack, "targeted") or False


def chosen_targets(
    attack: Attack, model: Model, x: Tensor, y: Tensor, *, seed: int, ids: Tensor | None
) -> Tensor | None:
    """Classes (N,) that a targeted attack chooses itself; None if it chooses none."""
    choose = getattr(attack, "targets", None)
    if not (targeted(attack) and callable(choose)):
        return None
    return cast("Tensor", choose(model, x, y, seed=seed, ids=ids))


def left_out(attack: Attack) -> tuple[str, ...]:
    """Stages of a published suite that an attack leaves out, by their usual names; usually none."""
    stated = getattr(attack, "left_out", ())
    return stated if isinstance(stated, tuple) else ()


def stages(attack: Attack) -> tuple[Stage, ...]:
    """Attacks run in turn; usually one, the attack itself."""
    return _own_stages(attack) or (Stage("", attack),)


def runs(attack: Attack) -> tuple[Attack, ...]:
    """Runs that an attack is made of, its stages among them; none if it is one run."""
    stated = getattr(attack, "runs", ())
    if isinstance(stated, tuple) and stated and all(map(callable, stated)):
        return stated
    return tuple(stage.attack for stage in _own_stages(attack))


def _own_stages(attack: Attack) -> tuple[Stage, ...]:
    stated = getattr(attack, "stages", ())
    return stated if isinstance(stated, tuple) and all(isinstance(one, Stage) for one in stated) else ()


def passes_needed(attack: Attack, classes: int) -> int:
    """Passes of one example through the model if the attack fails on it, forward and backward counted alike.

    They estimate the cost of an attack before it runs. Usually 2 for each step, as often as there are targets, of which
    a model of K classes has K - 1; 1 for each query; those of all attacks inside. An attack without a number of steps
    counts as one step.
    """
    stated = getattr(attack, "passes_needed", None)
    return int(stated(classes)) if callable(stated) else usual_passes(attack, classes)


def usual_passes(attack: Attack, classes: int) -> int:
    """Passes by the numbers of steps, targets and queries that an attack and those inside it have."""
    inside = parts_of(attack)
    if inside:
        return sum(passes_needed(one, classes) for one in inside)
    queries, steps, targets = (_count(attack, word) for word in ("queries", "steps", "targets"))
    if queries is not None:
        return queries
    goals = 1 if targets is None else min(targets, max(classes - 1, 1))
    return 2 * goals * (1 if steps is None else steps)
