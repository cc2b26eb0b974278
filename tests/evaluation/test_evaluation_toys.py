"""Models of a lecture, and one with masked classes, from the clean pass to the doctor's last probe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.attacks.test_published_faults import impatient
from torch import Tensor, nn

from robustlab.attacks import PGD, autoattack
from robustlab.core import Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import Settings, evaluate

THREAT = ThreatModel(Linf(), 0.1)
X = torch.rand(8, 1, 6, 8, generator=torch.Generator().manual_seed(1))


def total(x: Tensor) -> Tensor:
    """Reads its input through a plain sum."""
    score = x.flatten(1).sum(1) - 24
    return torch.stack([-score, score], dim=1)


def masked(x: Tensor) -> Tensor:
    """Answers two of ten classes."""
    return torch.cat([5 * x.flatten(1)[:, :2], torch.full((len(x), 8), -torch.inf)], dim=1)


class BiasAlone(nn.Module):
    """Does not look at its input."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), 2)


MODELS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "total": (total, True),
    "masked": (masked, True),
    "bias alone": (BiasAlone().eval(), False),
}


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_and_doctor_take_models_of_a_lecture(name: str) -> None:
    model, falls = MODELS[name]
    y = model(X).argmax(1)
    data = InMemory("toy", ("a", "b"), X, y)
    attacks = [PGD(THREAT, 5), impatient(autoattack(THREAT))]
    result = evaluate(model, data, attacks=attacks if falls else attacks[:1], settings=Settings(device="cpu"))
    assert result.clean.accuracy.count == 8
    assert all((found.robust.count < 8) == falls for found in result.results)
    assert not any("NaN" in finding.title for finding in result.findings)
