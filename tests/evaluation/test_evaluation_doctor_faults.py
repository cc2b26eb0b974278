from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import EOT, PGD, Square, StraightThrough, Transfer, WorstOf, autoattack
from robustlab.core import Linf, ThreatModel
from robustlab.evaluation import Finding, Settings, adaptive, diagnose, evaluate, run_adaptive
from robustlab.models import faults

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits

THREAT = ThreatModel(Linf(), 0.1)
STRONG = PGD(THREAT, 20)
Fault = Callable[[nn.Module], nn.Module]

FAULTS: dict[str, tuple[str, Fault]] = {
    "logits divided": ("gradient-underflow", faults.divided),
    "rounding layer": ("zero-gradients", faults.rounding),
    "stochastic layer": ("random-outputs", faults.stochastic),
    "test-time optimisation": ("optimisation-at-inference", faults.optimising),
    "detector with NaN": ("nan-under-attack", lambda model: faults.detector(model, 16)),
    "temperature": ("saturated-softmax", faults.scaled),
    "probabilities": ("probabilities-for-logits", faults.probabilities),
    "JPEG": ("shattered-gradients", faults.jpeg),
    "JPEG, wrong gradient": ("shattered-gradients", lambda model: faults.soft_jpeg(model, levels=16)),
    "bit depth": ("shattered-gradients", faults.fewer_bits),
    "label order": ("label-order-leak", faults.label_order),
}


def serious(findings: tuple[Finding, ...]) -> list[str]:
    return [f.code for f in findings if f.severity == "serious"]


@pytest.fixture(scope="module")
def diagnosed(digits: Digits, standard: nn.Module) -> Callable[[str], tuple[Finding, ...]]:
    """Findings about a faulty model, made once."""
    return cache(lambda fault: diagnose(FAULTS[fault][1](standard), digits.test, attack=STRONG, n=60))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_model_is_found_by_its_own_code_alone(
    fault: str, diagnosed: Callable[[str], tuple[Finding, ...]]
) -> None:
    found, code = diagnosed(fault), FAULTS[fault][0]
    assert serious(found) == [code]
    assert found[0].code == code, "serious first"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["stochastic layer", "detector with NaN", "temperature", "bit depth", "label order"])
def test_an_evaluation_finds_the_same_by_itself(fault: str, digits: Digits, standard: nn.Module) -> None:
    code, around = FAULTS[fault]
    settings = Settings(seed=1)
    assert serious(evaluate(around(standard), digits.test, attacks=[STRONG], n=80, settings=settings).findings) == [
        code
    ]


@pytest.mark.slow
def test_autoattack_does_not_hide_a_fault(digits: Digits, standard: nn.Module) -> None:
    suite = autoattack(THREAT, "quick")
    got = evaluate(faults.scaled(standard), digits.test, attacks=[suite], n=40)
    assert serious(got.findings) == ["saturated-softmax"]


def test_batch_norm_left_in_training_mode_is_found_alone(digits: Digits, with_norm: nn.Module) -> None:
    stuck = faults.training_mode(with_norm)
    before = [b.clone() for b in stuck.buffers()]
    assert serious(diagnose(stuck, digits.test, attack=STRONG, n=60)) == ["training-mode-batchnorm"]
    assert all(torch.equal(a, b) for a, b in zip(before, stuck.buffers(), strict=True))


@pytest.mark.slow
def test_batch_norm_without_running_statistics_is_the_same_fault(digits: Digits, with_norm: nn.Module) -> None:
    bare = faults.training_mode(with_norm).model
    assert isinstance(bare, nn.Sequential)
    bare.eval()
    norm = bare[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean = norm.running_var = None
    assert serious(diagnose(bare, digits.test, attack=STRONG, n=60)) == ["training-mode-batchnorm"]


def test_a_class_for_each_place_in_the_batch_is_a_leak_of_the_order(digits: Digits, standard: nn.Module) -> None:
    def answer(inner: nn.Module, x: Tensor) -> Tensor:
        place = torch.arange(len(x)) * 10 // len(x)
        logits: Tensor = inner(x) + 8 * nn.functional.one_hot(place, 10)
        return logits

    found = diagnose(faults.Faulty(standard, answer), digits.test, attack=STRONG, n=60)
    (leak,) = [f for f in found if f.code == "label-order-leak"]
    assert leak.evidence["ordered"] > leak.evidence["shuffled"]  # type: ignore[operator]  # both numbers


@pytest.mark.slow
def test_gradients_by_torch_func_count_as_optimisation(digits: Digits, standard: nn.Module) -> None:
    def answer(inner: nn.Module, x: Tensor) -> Tensor:
        slope = torch.func.grad(lambda at: inner(at).amax(dim=1).sum())(x.detach())
        logits: Tensor = inner(x + 0.01 * slope.sign())
        return logits

    found = diagnose(faults.Faulty(standard, answer), digits.test, attack=STRONG, n=60)
    assert serious(found) == ["optimisation-at-inference"]


@pytest.mark.slow
def test_a_forward_pass_with_gradients_but_no_backward_is_no_optimisation(digits: Digits, standard: nn.Module) -> None:
    @torch.enable_grad()
    def answer(inner: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = inner(x)
        return logits

    assert diagnose(faults.Faulty(standard, answer), digits.test, attack=STRONG, n=60) == ()


@pytest.mark.slow
def test_a_temperature_that_leaves_gradients_is_none(digits: Digits, standard: nn.Module) -> None:
    assert diagnose(faults.scaled(standard, 0.5), digits.test, attack=STRONG, n=60) == ()
    assert diagnose(faults.divided(standard, 1e20), digits.test, attack=STRONG, n=60) == ()


@pytest.mark.slow
def test_a_callable_that_rounds_has_no_gradient_anywhere(digits: Digits, standard: nn.Module) -> None:
    bits = faults.fewer_bits(standard)
    found = diagnose(lambda x: bits(x), digits.test, attack=STRONG, n=60)
    assert serious(found) == ["zero-gradients"], "what has no layers to look at cannot say where"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("stochastic layer", EOT), ("bit depth", StraightThrough), ("rounding layer", Square), ("temperature", Square)],
)
def test_the_adaptive_attack_fits_the_fault_and_breaks_it(
    fault: str, kind: type, digits: Digits, standard: nn.Module, diagnosed: Callable[[str], tuple[Finding, ...]]
) -> None:
    model, found = FAULTS[fault][1](standard), diagnosed(fault)
    attack = adaptive(THREAT, found)
    assert isinstance(attack, WorstOf)
    assert kind in {type(part) for part in attack.attacks}
    got = run_adaptive(model, digits.test, attack=STRONG, findings=found, n=60)
    assert got.attack == attack
    assert got.difference == pytest.approx(got.after.value - got.before.value)
    assert got.high < -0.05
    assert got.p_value < 0.01


@pytest.mark.slow
def test_without_findings_there_is_little_to_adapt(digits: Digits, standard: nn.Module) -> None:
    got = run_adaptive(standard, digits.test, attack=STRONG, n=60)
    assert got.after.count <= got.before.count <= got.after.count + 5
    assert {type(part).__name__ for part in got.attack.attacks} == {"APGD"}  # type: ignore[attr-defined]  # WorstOf


@pytest.mark.slow
def test_a_surrogate_is_used_where_it_is_given(digits: Digits, standard: nn.Module, with_norm: nn.Module) -> None:
    model = faults.rounding(standard)
    found = diagnose(model, digits.test, attack=STRONG, n=60, surrogate=with_norm)
    assert [f.severity for f in found if f.code == "transfer-beats-white-box"] == ["warning"], "explained"
    attack = adaptive(THREAT, found, surrogate=with_norm)
    assert isinstance(attack, WorstOf)
    assert Transfer in {type(part) for part in attack.attacks}
