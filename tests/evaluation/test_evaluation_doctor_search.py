from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustlab.attacks import APGD, PGD, AutoAttack, RandomNoise, Restarts, Square, Transfer, WorstOf
from robustlab.core import Attack, Linf, Model, Stop, Streams, ThreatModel, cross_entropy
from robustlab.evaluation import Finding, diagnose, evaluate
from robustlab.evaluation.doctor.diagnose import concluded
from robustlab.models import black_box
from robustlab.models.faults import Faulty

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits

THREAT = ThreatModel(Linf(), 0.1)


def serious(findings: tuple[Finding, ...]) -> list[str]:
    return [f.code for f in findings if f.severity == "serious"]


@dataclass(frozen=True)
class Partial:
    """An attack that keeps only a part of its work: some examples by its random draws, or some columns."""

    attack: Attack
    columns: int = 8
    share: float = 1.0

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        x_adv = self.attack(model, x, y, target=target, stop=stop, seed=seed, ids=ids)
        draws = Streams(seed, torch.arange(len(x)) if ids is None else ids)
        kept = (draws.uniform((1, 1, 1)) < self.share) & (torch.arange(8) < self.columns)
        return torch.where(kept, x_adv, x)


class Walled(nn.Module):
    """A sound model that passes no gradient on further than a little way from inputs that it knows."""

    def __init__(self, inner: nn.Module, known: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("known", known.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.known, Tensor)
        far = torch.cdist(x.detach().flatten(1), self.known, p=torch.inf).amin(dim=1) > 0.05
        logits: Tensor = self.inner(torch.where(far[:, None, None, None], x.detach(), x))
        return logits


def rippled(model: nn.Module, x: Tensor) -> Tensor:
    """Passes on the gradient of small ripples alone, which leads up them and nowhere else."""
    weight = torch.randn(64, 10, generator=torch.Generator().manual_seed(3))
    logits: Tensor = model(x.detach())
    return logits + 0.01 * (torch.sin(20 * x).flatten(1) @ weight)


@pytest.mark.slow
def test_what_another_start_finds_is_told_from_what_more_steps_find(digits: Digits, standard: nn.Module) -> None:
    found = diagnose(standard, digits.test, attack=Partial(PGD(THREAT, 20), share=0.5), n=200)
    assert serious(found) == ["restarts-help"]
    (finding,) = [f for f in found if f.code == "restarts-help"]
    assert finding.evidence["loss_at_least"] > 0.05  # type: ignore[operator]  # a number


@pytest.mark.slow
def test_restarts_that_change_nothing_are_not_asked_for(digits: Digits, hardened: nn.Module) -> None:
    assert diagnose(hardened, digits.test, attack=Restarts(PGD(THREAT, 20), 2), n=200) == ()


@pytest.mark.slow
def test_an_unbounded_attack_that_fails_is_found(digits: Digits, standard: nn.Module) -> None:
    walled = Walled(standard, digits.x_test)
    assert serious(diagnose(walled, digits.test, attack=PGD(ThreatModel(Linf(), 0.02), 20))) == [
        "unbounded-attack-fails"
    ]


@pytest.mark.slow
def test_an_attack_no_better_than_noise_is_found(digits: Digits, standard: nn.Module) -> None:
    wide = ThreatModel(Linf(), 0.15)
    for model, attack in ((standard, RandomNoise(wide)), (Faulty(standard, rippled), PGD(wide, 20))):
        assert serious(diagnose(model, digits.test, attack=attack, n=200)) == ["noise-as-good"]


@pytest.mark.slow
def test_a_random_search_that_beats_gradients_is_found(digits: Digits, standard: nn.Module) -> None:
    found = diagnose(standard, digits.test, attack=Partial(PGD(ThreatModel(Linf(), 0.2), 20), columns=6), n=200)
    assert serious(found) == ["square-improves"]
    (finding,) = [f for f in found if f.code == "square-improves"]
    assert finding.evidence["n"] == 32
    assert finding.evidence["fooled"] > 3  # type: ignore[operator]  # a number


@pytest.mark.slow
def test_a_recorded_stage_of_random_search_counts(digits: Digits, standard: nn.Module) -> None:
    wide = ThreatModel(Linf(), 0.15)
    suite = AutoAttack(("apgd-ce", "of mine"), (APGD(wide, 3, score=-cross_entropy), Square(wide, 100)))
    found = evaluate(standard, digits.test, attacks=[suite], n=150).findings
    (finding,) = [f for f in found if f.code == "square-improves"]
    assert "AutoAttack" in str(finding.evidence["attack"])
    sound = AutoAttack(("apgd-ce", "square"), (APGD(wide, 30), Square(wide, 100)))
    assert evaluate(standard, digits.test, attacks=[sound], n=150).findings == ()
    blind = WorstOf((RandomNoise(wide), Square(wide, 100)))
    codes = {f.code for f in evaluate(standard, digits.test, attacks=[blind], n=100).findings}
    assert "square-improves" not in codes, "noise before it has no gradients either"


@pytest.mark.slow
@pytest.mark.parametrize("code", ["black-box-beats-white-box", "transfer-beats-white-box"])
def test_a_blind_attack_that_beats_a_seeing_one_is_found(
    code: str, digits: Digits, standard: nn.Module, with_norm: nn.Module
) -> None:
    masked, wide = Faulty(standard, rippled), ThreatModel(Linf(), 0.15)
    blind = Square(wide, 400) if code.startswith("black") else Transfer(PGD(wide, 20), with_norm)
    got = evaluate(masked, digits.test, attacks=[PGD(wide, 10), blind], n=150)
    (finding,) = [f for f in got.findings if f.code == code]
    assert finding.evidence["blind"] > finding.evidence["white_box"]  # type: ignore[operator]  # both numbers
    sound = evaluate(standard, digits.test, attacks=[PGD(wide, 10), blind], n=150)
    assert sound.findings == ()


@pytest.mark.slow
def test_a_surrogate_is_no_danger_to_a_sound_model(digits: Digits, standard: nn.Module, with_norm: nn.Module) -> None:
    assert diagnose(standard, digits.test, attack=PGD(THREAT, 20), n=200, surrogate=with_norm) == ()


@pytest.mark.slow
def test_more_classes_than_the_data_has_are_a_warning(digits: Digits, standard: nn.Module) -> None:
    def padded(inner: nn.Module, x: Tensor) -> Tensor:
        return nn.functional.pad(inner(x), (0, 10), value=-20.0)

    found = diagnose(Faulty(standard, padded), digits.test, attack=PGD(THREAT, 20), n=200)
    assert [(f.code, f.severity, f.evidence["classes"], f.evidence["data"]) for f in found] == [
        ("class-count", "warning", 20, 10)
    ]


def finding(code: str) -> Finding:
    return Finding(code, "serious", "", {}, "")


@pytest.mark.parametrize(
    ("cause", "symptom"),
    [
        ("optimisation-at-inference", "random-outputs"),
        ("random-outputs", "shattered-gradients"),
        ("training-mode-batchnorm", "more-steps-help"),
        ("probabilities-for-logits", "saturated-softmax"),
        ("nan-under-attack", "noise-as-good"),
        ("zero-gradients", "transfer-beats-white-box"),
        ("more-steps-help", "square-improves"),
        ("noise-as-good", "unbounded-attack-fails"),
    ],
)
def test_what_a_cause_explains_is_a_warning(cause: str, symptom: str) -> None:
    for pair in ((cause, symptom), (symptom, cause)):
        got = {f.code: f.severity for f in concluded([finding(code) for code in pair])}
        assert got == {cause: "serious", symptom: "warning"}


def test_findings_never_explain_each_other_away() -> None:
    weak = replace(finding("random-outputs"), severity="warning")
    assert concluded([weak, finding("zero-gradients")])[1].severity == "serious", "only what is serious explains"


def test_a_black_box_is_evaluated_and_called_one(digits: Digits, standard: nn.Module) -> None:
    def predict(x: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.no_grad():
            found: NDArray[np.floating] = standard(torch.tensor(x)).softmax(1).numpy()
        return found

    got = evaluate(black_box(predict), digits.test, attacks=[Square(THREAT, 30)], n=60)
    assert [(f.code, f.severity) for f in got.findings] == [("no-gradients", "warning")]
    with pytest.raises(ValueError, match="black box without gradients"):
        evaluate(black_box(predict), digits.test, attacks=[PGD(THREAT, 2)], n=60)
