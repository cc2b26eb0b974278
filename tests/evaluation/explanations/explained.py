"""Two small networks and a few images whose explanations take a moment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core import Linf, ThreatModel
from robustlab.evaluation import ExplanationPlan, Explanations, ExplanationSettings, evaluate_explanations
from robustlab.explain import MapAttack

METHODS = ("gradient", "gradient-x-input")
PLAN = ExplanationPlan(METHODS, checks=())
"""Quick: without checks and attack."""
WHOLE = ExplanationPlan(["gradient"], ["sparsity"], ["zero-map"], MapAttack(ThreatModel(Linf(), 0.1), steps=2))
"""Something of everything."""


def network(seed: int = 0, classes: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    conv, norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
    return nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, classes)).eval()


def images(n: int = 10) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, network()(x).argmax(1)


def explained(**more: Any) -> Explanations:  # noqa: ANN401 -- arguments of evaluate_explanations
    how = {"batch_size": 4, "command": "explained", **more.pop("how", {})}
    given: dict[str, Any] = {"compare": network(1), "plan": PLAN, "settings": ExplanationSettings(**how), **more}
    return evaluate_explanations(given.pop("model", network()), given.pop("data", images()), **given)
