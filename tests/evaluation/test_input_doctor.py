from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import L2, Linf, Norm, ThreatModel
from robustlab.evaluation import Finding, inspect_inputs

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits

THREAT = ThreatModel(Linf(), 0.1)
Change = Callable[[nn.Module, Tensor], Tensor]


class Wrapped(nn.Module):
    """A model whose answer is made from a sound one by a faulty function."""

    def __init__(self, inner: nn.Module, change: Change) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.inner, x)


def serious(findings: tuple[Finding, ...]) -> list[str]:
    return [f.code for f in findings if f.severity == "serious"]


def _position(model: nn.Module, x: Tensor) -> Tensor:
    """Looks at its neighbour in the batch."""
    own: Tensor = model(x)
    return own + 0.05 * own.roll(1, 0)


FAULTS: dict[str, Change] = {
    "probabilities-for-logits": lambda model, x: model(x).softmax(1),
    "random-outputs": lambda model, x: model(F.dropout(x, 0.1, training=True)),
    "batch-dependence": _position,
    "nan-logits": lambda model, x: model(x).masked_fill((x[:, :, 4, 4] > 0.9), torch.nan),
    "model-expects-0-255": lambda model, x: model(x / 255),
    "model-expects-normalised": lambda model, x: model(x * 0.375 + 0.305),  # the mean and deviation of digits
    "not-logits": lambda model, x: (model(x),),  # type: ignore[dict-item,return-value]  # wrong on purpose
    "near-chance": lambda model, x: model(x) * 0 + torch.arange(10.0),
    "labels-out-of-range": lambda model, x: model(x)[:, :9],
    "only-nan-logits": lambda model, x: model(x) / 0 - model(x) / 0,
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_is_found_by_its_own_code_alone(code: str, digits: Digits, standard: nn.Module) -> None:
    found = inspect_inputs(Wrapped(standard, FAULTS[code]), digits.test, THREAT)
    assert serious(found) == [code]


def test_batch_norm_that_stays_in_training_mode_is_found(digits: Digits, with_norm: nn.Module) -> None:
    class Stuck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = with_norm

        def train(self, mode: bool = True) -> Stuck:
            super().train(mode)
            self.inner.train()
            return self

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner(x)
            return logits

    buffers = [b.clone() for b in with_norm.buffers()]
    found = inspect_inputs(Stuck().eval(), digits.test, THREAT)
    with_norm.eval()
    assert serious(found) == ["training-mode-batchnorm"]
    assert [f.code for f in found] == ["training-mode", "training-mode-batchnorm"]
    assert all(torch.equal(a, b) for a, b in zip(buffers, with_norm.buffers(), strict=True))


def test_a_model_left_in_training_mode_is_a_warning(digits: Digits, with_norm: nn.Module) -> None:
    model = nn.Sequential(with_norm, nn.Dropout(0.5)).train()
    found = inspect_inputs(model, digits.test, THREAT)
    assert [(f.code, f.severity) for f in found] == [("training-mode", "warning")]
    assert "1 BatchNorm2d, 1 Dropout" in found[0].title
    assert model.training
    with_norm.eval()


def test_training_mode_that_changes_nothing_is_nothing(digits: Digits, standard: nn.Module) -> None:
    assert inspect_inputs(standard.train(), digits.test, THREAT) == ()
    assert standard.training
    standard.eval()


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("inputs-0-255", lambda x: x * 255),
        ("inputs-normalised-outside", lambda x: (x - 0.3) / 0.37),
        ("inputs-outside-bounds", lambda x: x * 1000),
        ("nan-inputs", lambda x: x.masked_fill(x > 0.99, torch.nan)),
    ],
)
def test_inputs_in_other_units_are_found(
    code: str, change: Callable[[Tensor], Tensor], digits: Digits, standard: nn.Module
) -> None:
    class Data:
        name, classes = "digits", tuple("0123456789")

        def __len__(self) -> int:
            return len(digits.y_test)

        def batch(self, ids: Tensor) -> object:
            from robustlab.core import Batch

            return Batch(change(digits.x_test[ids]), digits.y_test[ids], ids)

    assert serious(inspect_inputs(standard, Data(), THREAT)) == [code]


@pytest.mark.parametrize(
    ("norm", "eps", "bounds", "expected"),
    [
        (L2(), 8.0, (0.0, 1.0), [("eps-too-large", "serious")]),
        (Linf(), 8.0, (-math.inf, math.inf), [("eps-too-large", "serious")]),
        (Linf(), 0.6, (0.0, 1.0), [("eps-too-large", "warning")]),
        (Linf(), 8 / 255, (0.0, 255.0), [("eps-too-small", "serious")]),
        (Linf(), 8 / 255, (0.0, 1.0), []),
        (L2(), 0.5, (0.0, 1.0), []),
    ],
)
def test_eps_in_other_units_is_found(
    norm: Norm, eps: float, bounds: tuple[float, float], expected: list[object], digits: Digits, standard: nn.Module
) -> None:
    found = inspect_inputs(standard, digits.test, ThreatModel(norm, eps, bounds))
    assert [(f.code, f.severity) for f in found] == expected


def test_eps_in_255_units_does_not_even_make_a_threat_model() -> None:
    with pytest.raises(ValueError, match=r"eps=8 is more than the whole range of the inputs \(1\).*write 8/255"):
        ThreatModel(Linf(), 8)


def test_sound_models_are_left_alone(
    digits: Digits, standard: nn.Module, with_norm: nn.Module, hardened: nn.Module
) -> None:
    for seed in range(3):
        for model in (standard, with_norm, hardened):
            assert inspect_inputs(model, digits.test, THREAT, seed=seed) == ()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_sound_models_in_other_precisions_are_left_alone(
    dtype: torch.dtype, digits: Digits, standard: nn.Module
) -> None:
    assert inspect_inputs(standard.to(dtype), digits.test, THREAT) == ()
    standard.float()


def test_log_probabilities_are_logits(digits: Digits, standard: nn.Module) -> None:
    model = Wrapped(standard, lambda inner, x: inner(x).log_softmax(1))
    assert inspect_inputs(model, digits.test, THREAT) == ()


def test_too_few_examples_say_nothing_about_chance(digits: Digits, standard: nn.Module) -> None:
    wrong = (digits.x_test[:10], (digits.y_test[:10] + 1) % 10)
    assert "near-chance" not in serious(inspect_inputs(standard, wrong, THREAT))


def test_findings_carry_numbers_and_advice(digits: Digits, standard: nn.Module) -> None:
    (finding,) = inspect_inputs(Wrapped(standard, FAULTS["model-expects-0-255"]), digits.test)
    assert finding.evidence["other"] > finding.evidence["accuracy"]  # type: ignore[operator]  # both numbers
    assert finding.evidence["n"] == 128
    assert finding.title.endswith(".")
    assert finding.advice.endswith(".")
