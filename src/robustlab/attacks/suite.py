"""AutoAttack: the standard suite, each stage run on the examples that are still robust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from robustlab.attacks.apgd import APGD, APGDT
from robustlab.attacks.call import Call, craft
from robustlab.attacks.expectation import EOT
from robustlab.attacks.fab import FAB, FABT
from robustlab.attacks.facts import Stage
from robustlab.attacks.parts import part_seed, threat_of
from robustlab.attacks.registry import ATTACKS, AttackSpec
from robustlab.attacks.square import Square
from robustlab.attacks.wrappers import Restarts, WorstOf
from robustlab.core import L1, Attack, ThreatModel, cross_entropy, dlr
from robustlab.core.kinds import typed

Version = Literal["standard", "plus", "rand", "quick"]

_INSIDE = ((1.0, 1.0),)  # Auto-PGD that never leaves the ball, in L1 too


_USUAL_NAMES = {"apgd-ce": "APGD-CE", "apgd-dlr": "APGD-DLR", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}
_SCORES = {"apgd-ce": cross_entropy, "apgd-dlr": dlr}


@typed
@dataclass(frozen=True)
class AutoAttack:
    """Attacks in a fixed order, each on the examples that all before it failed on; any wrong class is a success.

    Misclassified inputs are not attacked. Running the stages one by one, to record the examples fooled by each, gives
    the same results if each stage has the seed of ``seed_of``.

    Args:
        names: of the stages.
        attacks: one per name.

    Raises: ValueError if there are no stages, or not as many names as attacks.
    """

    names: tuple[str, ...]
    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        if not self.attacks or len(self.names) != len(self.attacks):
            raise ValueError(f"a suite needs a name for each of its attacks, got {self.names} for {len(self.attacks)}")

    @property
    def version(self) -> Version | None:
        """Version with exactly these stages and parameters; None: none of them."""
        return next((one for one in get_args(Version) if autoattack(threat_of(self), one) == self), None)

    @property
    def label(self) -> str:
        """Short name in reports."""
        return f"AutoAttack {self.version or 'of ' + ', '.join(self.names)}"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Stages of the standard version that the quick one leaves out, by their usual names."""
        if self.version != "quick":
            return ()
        whole = autoattack(threat_of(self)).names
        return tuple(_USUAL_NAMES.get(name, name) for name in whole if name not in self.names)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Names and attacks, in order."""
        return tuple(map(Stage, self.names, self.attacks))

    def seed_of(self, stage: int, seed: int) -> int:
        """The seed of the stage of this number in a call with a seed."""
        return part_seed(self, seed, stage)

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call; "never" runs all stages at full strength."""
        x_adv = call.x.clone()
        _, finished = call.judge()(x_adv)
        rows = (torch.ones_like(finished) if call.stop == "never" else ~finished).nonzero()[:, 0]
        if rows.numel():
            x_adv[rows] = call.by(WorstOf(self.attacks), rows)
        return x_adv

    __call__ = craft


@typed
def autoattack(threat: ThreatModel, version: Version = "standard") -> AutoAttack:
    """The standard suite for comparing robust accuracies, with its published parameters.

    ======== ==========================================================================================
    version  stages
    ======== ==========================================================================================
    standard apgd-ce, apgd-t (9 classes), fab-t (9 classes), square (5,000 queries); L1: apgd-ce five
             times, apgd-t 5 classes, both from wider balls inwards
    plus     apgd-ce and apgd-dlr five times each, fab five times, square, apgd-t, fab-t
    rand     apgd-ce and apgd-dlr, each with gradients averaged over 20 passes: for models that are random
    quick    apgd-ce and apgd-t of the standard version: an upper bound on its robust accuracy
    ======== ==========================================================================================

    A model with K classes has K - 1 targets at most, so that any K >= 2 will do.

    Args:
        threat: Linf, L2 or L1, eps and bounds.
        version: one of the table.

    Raises: ValueError for an unknown version.
    Source: Croce, Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks, ICML 2020; order and parameters as released.
    """
    if version not in get_args(Version):
        raise ValueError(f"version must be one of {', '.join(get_args(Version))}, got {version!r}")
    stages = {"standard": _standard, "plus": _plus, "rand": _rand, "quick": _quick}[version](threat)
    return AutoAttack(tuple(stages), tuple(stages.values()))


def _rand(threat: ThreatModel) -> dict[str, Attack]:
    return {name: EOT(APGD(threat, score=score, phases=_INSIDE), draws=20) for name, score in _SCORES.items()}


def _quick(threat: ThreatModel) -> dict[str, Attack]:
    if isinstance(threat.norm, L1):
        return {"apgd-ce": Restarts(APGD(threat), 5), "apgd-t": APGDT(threat, targets=5)}
    return {"apgd-ce": APGD(threat), "apgd-t": APGDT(threat)}


def _standard(threat: ThreatModel) -> dict[str, Attack]:
    return {**_quick(threat), "fab-t": FABT(threat), "square": Square(threat)}


def _plus(threat: ThreatModel) -> dict[str, Attack]:
    return {
        **{name: Restarts(APGD(threat, score=score, phases=_INSIDE), 5) for name, score in _SCORES.items()},
        "fab": WorstOf((FAB(threat), Restarts(FAB(threat, random_start=True), 4))),
        "square": Square(threat),
        "apgd-t": APGDT(threat, phases=_INSIDE),
        "fab-t": FABT(threat),
    }


_NORMS = ("linf", "l2", "l1")


def _suite(version: Version, words: str) -> AttackSpec:
    return AttackSpec(lambda threat: autoattack(threat, version), words, norms=_NORMS)


ATTACKS.register("autoattack", _suite("standard", "the suite by which published robust accuracies are compared"))
ATTACKS.register("autoattack-plus", _suite("plus", "a larger suite, with restarts"))
ATTACKS.register("autoattack-rand", _suite("rand", "a suite for models that are random"))
ATTACKS.register("autoattack-quick", _suite("quick", "the first two stages of autoattack: an upper bound"))
