from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from robustlab import data, models
from robustlab.attacks import BIM, FGSM, PGD, RandomNoise, Restarts, Targeted
from robustlab.core import L2, Attack, Linf, Norm, ThreatModel, cross_entropy
from robustlab.evaluation import Finding, Settings, diagnose, evaluate

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits

THREAT = ThreatModel(Linf(), 0.1)
STRONG = PGD(THREAT, 20)


def serious(findings: tuple[Finding, ...]) -> list[str]:
    return [f.code for f in findings if f.severity == "serious"]


def downhill(eps: float) -> Attack:
    """An attack with its sign the wrong way round."""
    return PGD(ThreatModel(Linf(), eps), 10, score=-cross_entropy)


FAULTS: dict[str, Attack] = {
    "accuracy-above-clean": downhill(0.1),
    "more-steps-help": PGD(THREAT, 2, 0.01),
}


@pytest.mark.slow
@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_of_the_attack_is_found_by_its_own_code_alone(code: str, digits: Digits, standard: nn.Module) -> None:
    findings = diagnose(standard, digits.test, attack=FAULTS[code], n=300)
    assert serious(findings) == [code]
    (finding,) = [f for f in findings if f.code == code]
    assert finding.evidence["n"] in (32, 64) or finding.evidence["n"] < 32  # type: ignore[operator]  # a number


def test_a_single_step_alone_is_told_to_take_more(digits: Digits, standard: nn.Module) -> None:
    findings = diagnose(standard, digits.test, attack=FGSM(THREAT, 0.03), n=300)
    assert serious(findings) == ["more-steps-help"]
    (finding,) = [f for f in findings if f.severity == "serious"]
    assert "PGD" in str(finding.evidence["with"])


@pytest.mark.slow
def test_more_steps_are_given_through_wrappers(digits: Digits, standard: nn.Module) -> None:
    weak = Restarts(PGD(THREAT, 1, 0.01), 2)
    (finding,) = [f for f in diagnose(standard, digits.test, attack=weak, n=300) if f.severity == "serious"]
    assert finding.evidence["with"] == repr(Restarts(PGD(THREAT, 40, 0.01), 2))


@pytest.mark.slow
def test_sound_models_are_left_alone(
    digits: Digits, standard: nn.Module, with_norm: nn.Module, hardened: nn.Module
) -> None:
    for seed in range(3):
        for model in (standard, with_norm, hardened):
            for eps in (0.02, 0.1, 0.3) if seed == 0 else (0.1,):
                attack = PGD(ThreatModel(Linf(), eps), 40)
                got = evaluate(model, digits.test, attacks=[attack], n=100, settings=Settings(seed=seed))
                assert got.findings == (), (model, seed, eps)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [Linf(), L2()], ids=str)
def test_a_sound_model_of_two_classes_is_left_alone(norm: Norm, digits: Digits, binary: nn.Module) -> None:
    parity = (digits.x_test, digits.y_test % 2)
    for seed in range(3):
        attack = PGD(ThreatModel(norm, 0.1 if norm == Linf() else 0.5), 40)
        assert diagnose(binary, parity, attack=attack, n=150, settings=Settings(seed=seed)) == ()


@pytest.mark.slow
def test_a_sound_model_of_a_thousand_classes_and_five_photographs_is_left_alone() -> None:
    attack = PGD(ThreatModel(Linf(), 1 / 255), 5)
    assert diagnose(models.efficientnet_lite0(), data.load("photographs"), attack=attack) == ()


@pytest.mark.slow
def test_evaluate_looks_at_its_strongest_attack(digits: Digits, standard: nn.Module) -> None:
    attacks: dict[str, Attack] = {"noise": RandomNoise(THREAT), "weak": PGD(THREAT, 1, 0.01), "strong": PGD(THREAT, 20)}
    got = evaluate(standard, digits.test, attacks=attacks, n=150)
    assert got.findings == ()
    weak = evaluate(standard, digits.test, attacks=[attacks["noise"], attacks["weak"]], n=150)
    assert serious(weak.findings) == ["more-steps-help"]


@pytest.mark.slow
def test_noise_and_targets_count_only_if_there_is_nothing_else(digits: Digits, standard: nn.Module) -> None:
    wide = ThreatModel(Linf(), 0.3)
    weak = BIM(wide, 2, 0.005)
    for other in (RandomNoise(wide), Targeted(PGD(wide, 20), "second_likely")):
        got = evaluate(standard, digits.test, attacks=[other, weak], n=150)
        assert got.results[0].robust.count < got.results[1].robust.count
        (finding,) = [f for f in got.findings if f.code == "more-steps-help"]
        assert finding.evidence["with"] == repr(BIM(wide, 40, 0.005))


def test_a_budget_under_which_everything_falls_is_no_fault(digits: Digits, standard: nn.Module) -> None:
    found = diagnose(standard, digits.test, attack=PGD(ThreatModel(Linf(), 0.8), 20))
    assert [(f.code, f.severity) for f in found] == [("eps-too-large", "warning")], "of the budget, not of the attack"


def test_the_doctor_stays_silent_where_there_is_nothing_to_probe() -> None:
    torch.manual_seed(0)
    x, model = torch.rand(30, 4), nn.Linear(4, 2)
    with torch.no_grad():
        wrong = 1 - model(x).argmax(1)
    assert diagnose(model, (x, wrong), attack=FGSM(THREAT)) == ()


@pytest.mark.slow
def test_the_doctor_is_deterministic(digits: Digits, standard: nn.Module) -> None:
    attack = PGD(THREAT, 2, 0.01)
    before = torch.get_rng_state()
    first = diagnose(standard, digits.test, attack=attack)
    assert torch.equal(torch.get_rng_state(), before)
    assert diagnose(standard, digits.test, attack=attack) == first
