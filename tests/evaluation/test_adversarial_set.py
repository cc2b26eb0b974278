from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from robustlab.attacks import PGD
from robustlab.core import Linf, ThreatModel
from robustlab.evaluation import Finding, check_adversarial, check_adversarial_run, evaluate
from robustlab.models import faults

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits

THREAT = ThreatModel(Linf(), 0.1)
STRONG = PGD(THREAT, 40)


def codes(found: tuple[Finding, ...]) -> list[str]:
    return [f.code for f in found]


def made(model: nn.Module, digits: Digits, n: int = 150) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y = digits.x_test[:n], digits.y_test[:n]
    return x, STRONG(model, x, y), y


@pytest.mark.slow
def test_a_set_of_this_model_is_left_alone(digits: Digits, standard: nn.Module, hardened: nn.Module) -> None:
    for model in (standard, hardened):
        x, x_adv, y = made(model, digits)
        assert check_adversarial(model, x, x_adv, y, threat=THREAT) == ()
        assert check_adversarial(model, x, x_adv, y, threat=THREAT, fooled=model(x_adv).argmax(1) != y) == ()


@pytest.mark.slow
def test_a_set_of_another_model_is_stale(digits: Digits, standard: nn.Module, with_norm: nn.Module) -> None:
    x, x_adv, y = made(with_norm, digits)
    assert codes(check_adversarial(standard, x, x_adv, y, threat=THREAT)) == ["stale-adversarial-set"]
    fooled = with_norm(x_adv).argmax(1) != y
    (found,) = check_adversarial(standard, x, x_adv, y, threat=THREAT, fooled=fooled)
    assert found.code == "stale-adversarial-set"
    assert found.evidence["n"] == int(fooled.sum())
    assert found.severity == "serious"


def test_a_set_that_was_saved_before_the_attack_is_benign(digits: Digits, standard: nn.Module) -> None:
    x, _, y = made(standard, digits)
    assert codes(check_adversarial(standard, x, x, y, threat=THREAT)) == ["benign-adversarial-set"]


def test_a_set_of_a_larger_budget_is_outside(digits: Digits, standard: nn.Module) -> None:
    x, x_adv, y = made(standard, digits)
    found = check_adversarial(standard, x, x_adv, y, threat=ThreatModel(Linf(), 0.05))
    assert codes(found)[0] == "outside-budget"
    moved = (x_adv - x).flatten(1).abs().amax(1) > 0.05
    assert found[0].evidence["outside"] == int(moved.sum())


def test_nan_is_said(digits: Digits, standard: nn.Module) -> None:
    x, x_adv, y = made(standard, digits)
    assert "nan-under-attack" in codes(check_adversarial(faults.detector(standard, 16), x, x_adv, y, threat=THREAT))


def test_shapes_must_fit(digits: Digits, standard: nn.Module) -> None:
    x, x_adv, y = made(standard, digits, 8)
    with pytest.raises(ValueError, match=r"must fit x: \(7, 1, 8, 8\) for \(8, 1, 8, 8\)"):
        check_adversarial(standard, x, x_adv[:7], y, threat=THREAT)


@pytest.mark.slow
def test_a_run_of_other_weights_is_stale(
    digits: Digits, standard: nn.Module, with_norm: nn.Module, readable: Path
) -> None:
    evaluate(with_norm, digits.test, attacks=[STRONG], n=100, out=readable)
    assert check_adversarial_run(with_norm, readable) == ()
    assert codes(check_adversarial_run(standard, readable)) == ["stale-adversarial-set"]
