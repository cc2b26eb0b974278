"""Attacks have the same results in a program with another default type than float32."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import (
    APGD,
    APGDT,
    BIM,
    FAB,
    FABT,
    FGSM,
    MIFGSM,
    PGD,
    RandomNoise,
    Restarts,
    Square,
    Targeted,
)
from robustlab.core import L1, L2, Attack, Linf, Norm, ThreatModel

KINDS = ["fgsm", "pgd", "bim", "mi-fgsm", "noise", "apgd", "apgd-t", "fab", "fab-t", "square", "restarts", "targeted"]


@pytest.fixture(params=[torch.float64, torch.bfloat16], ids=str)
def default(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    yield request.param
    torch.set_default_dtype(torch.float32)


def attack(kind: str, threat: ThreatModel) -> Attack:
    made: dict[str, Attack] = {
        "fgsm": FGSM(threat),
        "pgd": PGD(threat, 3),
        "bim": BIM(threat, 3),
        "mi-fgsm": MIFGSM(threat, 3),
        "noise": RandomNoise(threat),
        "apgd": APGD(threat, 5),
        "apgd-t": APGDT(threat, 5),
        "fab": FAB(threat, 5),
        "fab-t": FABT(threat, 5),
        "square": Square(threat, 10),
        "restarts": Restarts(PGD(threat, 2), 2),
        "targeted": Targeted(PGD(threat, 2)),
    }
    return made[kind]


def subject() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5)).float()
    x = torch.rand(6, 1, 4, 4, dtype=torch.float32)
    return model, x, model(x).argmax(dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("norm", "eps"), [(Linf(), 0.05), (L2(), 0.3), (L1(), 1.5)], ids=lambda one: str(one))
def test_attacks_do_not_depend_on_the_default_type(kind: str, norm: Norm, eps: float, default: torch.dtype) -> None:
    model, x, y = subject()
    made = attack(kind, ThreatModel(norm, eps))
    expected = made(model, x, y)
    torch.set_default_dtype(default)
    found = made(model, x, y)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
