"""Facts that an attack states about itself, and the usual answers for a callable that states none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD, RandomNoise, Restarts, Square, Targeted, Transfer, Uint8, WorstOf, autoattack
from robustlab.attacks import facts as f
from robustlab.attacks.uint8 import in_8_bits
from robustlab.core import Attack, Linf, ThreatModel

THREAT = ThreatModel(Linf(), 0.1)
PGD7 = PGD(THREAT, 7)


def bare(model: object, x: Tensor, y: Tensor, **_: object) -> Tensor:
    """Attack that states nothing."""
    del model, y
    return x


@dataclass(frozen=True)
class Outspoken:
    """Attack from another package that states all facts itself."""

    gradient_free: ClassVar[bool] = True
    transferred: ClassVar[bool] = True
    targeted: ClassVar[bool] = True
    left_out: ClassVar[tuple[str, ...]] = ("the rest",)
    threat: ThreatModel = THREAT
    label: str = "mine"
    random_start: bool = True

    def passes_needed(self, classes: int) -> int:
        """Seven for each class."""
        return 7 * classes

    def targets(self, model: object, x: Tensor, y: Tensor, *, seed: int, ids: object) -> Tensor:
        """The next class."""
        del model, x, ids
        return y + seed

    __call__ = bare


@dataclass(frozen=True)
class Confusing:
    """Attack whose arguments happen to have the names of facts, and mean something else."""

    threat: ThreatModel = THREAT
    label: int = 3
    stages: int = 4
    runs: tuple[float, ...] = (0.5,)
    targeted: str = "no"
    gradient_free: None = None
    left_out: str = "nothing"
    passes_needed: int = 8
    targets: int = 2
    steps: int = 5

    __call__ = bare


def facts(attack: Attack) -> dict[str, object]:
    return {
        "label": f.label(attack),
        "gradient_free": f.gradient_free(attack),
        "transferred": f.transferred(attack),
        "targeted": f.targeted(attack),
        "random_start": f.random_start(attack),
        "left_out": f.left_out(attack),
        "stages": [stage.attack for stage in f.stages(attack)],
        "runs": list(f.runs(attack)),
        "passes": f.passes_needed(attack, 10),
    }


USUAL = {
    "gradient_free": False, "transferred": False, "targeted": False, "random_start": False, "left_out": (), "runs": [],
}  # fmt: skip


def test_a_callable_that_states_nothing_gets_the_usual_answers() -> None:
    assert facts(bare) == {**USUAL, "label": "bare", "stages": [bare], "passes": 2}


def test_arguments_with_the_name_of_a_fact_and_another_meaning_are_passed_over() -> None:
    attack = Confusing()
    assert facts(attack) == {**USUAL, "label": "Confusing-5", "stages": [attack], "passes": 20}  # type: ignore[arg-type]
    y = torch.tensor([1])
    assert f.chosen_targets(attack, nn.Identity(), y, y, seed=0, ids=None) is None  # type: ignore[arg-type]


def test_what_an_attack_states_counts_through_wrappers() -> None:
    one: Attack = Outspoken()  # type: ignore[assignment]  # any callable is an attack
    stated = {"gradient_free": True, "transferred": True, "targeted": True, "random_start": True, "label": "mine"}
    assert facts(one) == {**stated, "left_out": ("the rest",), "stages": [one], "runs": [], "passes": 70}
    thrice = facts(Restarts(one, 3))
    assert thrice == {**stated, "label": "mine x3", "left_out": (), "runs": [one] * 3, "passes": 210} | {
        "stages": [Restarts(one, 3)]
    }
    y = torch.tensor([1])
    assert f.chosen_targets(one, nn.Identity(), y, y, seed=4, ids=None) == torch.tensor([5])


@pytest.mark.parametrize(
    ("attack", "free", "transferred", "random", "targeted"),
    [
        (Square(THREAT), True, False, True, False),
        (Restarts(RandomNoise(THREAT), 2), True, False, True, False),
        (WorstOf((Square(THREAT), PGD7)), False, False, False, False),
        (PGD(THREAT, random_start=False), False, False, False, False),
        (Targeted(PGD7), False, False, True, True),
        (Restarts(Targeted(PGD7), 2), False, False, True, True),
        (WorstOf((Targeted(PGD7),)), False, False, False, False),
        (Restarts(Transfer(PGD7, nn.Identity()), 2), False, True, True, False),
        (autoattack(THREAT), False, False, False, False),
    ],
    ids=f.label,
)
def test_our_own_attacks_state_what_they_do(
    attack: Attack, free: bool, transferred: bool, random: bool, targeted: bool
) -> None:
    found = (f.gradient_free(attack), f.transferred(attack), f.random_start(attack), f.targeted(attack))
    assert found == (free, transferred, random, targeted)


def test_eight_bits_are_inside_what_chooses_targets_and_starts() -> None:
    assert in_8_bits(Restarts(Targeted(PGD7), 2)) == Restarts(Targeted(Uint8(PGD7)), 2)
    assert in_8_bits(WorstOf((PGD7,))) == Uint8(WorstOf((PGD7,)))
