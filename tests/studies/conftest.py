"""Digits for Fashion-MNIST in the experiments of claims, a budget of seconds, short attacks, two severities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

import pytest
from torch import nn

from robustlab.attacks import PGD, AutoAttack, Square
from robustlab.core import Attack, Examples
from robustlab.evaluation import Evaluation, evaluate_corruptions
from robustlab.studies import Budget
from robustlab.studies.claim_engine import corruption_measures, measures
from robustlab.studies.claim_engine.network import Site

TINY = Budget("tiny", images=32, epochs=1, test=4)


def brief(attack: Attack) -> Attack:
    """The attack with fewer steps, which in full are most of the time of a tiny experiment."""
    if isinstance(attack, AutoAttack):
        return replace(attack, attacks=tuple(brief(stage) for stage in attack.attacks))
    if isinstance(attack, PGD):
        return replace(attack, steps=min(attack.steps, 3))
    return replace(attack, queries=20) if isinstance(attack, Square) else attack


@cache
def enlarged(split: str) -> Examples:
    """Digits of a split, or the few that stand for mined images."""
    from robustlab.data import sample
    from robustlab.data.digits import digits
    from robustlab.studies.claim_engine.network import HARD

    return sample(digits("all", enlarged=True), 40) if split == HARD else digits(split, enlarged=True)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """Budget of experiments in tests."""
    import robustlab.studies.claim_engine.lab as lab

    whole = measures.attacked

    def briefly(model: nn.Module, examples: Examples, attacks: Mapping[str, Attack], lab: Site) -> Evaluation:
        return whole(model, examples, {name: brief(attack) for name, attack in attacks.items()}, lab)

    monkeypatch.setattr(lab, "_fetched", enlarged)
    monkeypatch.setattr(measures, "attacked", briefly)
    monkeypatch.setattr(corruption_measures, "evaluate_corruptions", partial(evaluate_corruptions, severities=(1, 5)))
    return TINY
