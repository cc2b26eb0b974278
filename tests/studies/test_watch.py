"""Validation of a training under attack."""

from __future__ import annotations

import torch
from torch import nn

from robustlab.attacks import PGD
from robustlab.core import Linf, ThreatModel, misclassified
from robustlab.data import InMemory, apart
from robustlab.studies import Watch
from robustlab.training import Settings, fit, sgd, standard


def points(spread: float) -> InMemory:
    """Two classes on a line, by the first coordinate; some are near the border."""
    y = torch.arange(40) % 2
    x = torch.full((40, 2), 0.5)
    x[:, 0] += (y - 0.5) * 2 * torch.linspace(0.02, spread, 40)
    return InMemory("points", ("left", "right"), x, y)


def test_it_reports_clean_and_robust_accuracy() -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        model.bias.copy_(torch.tensor([0.5, -0.5]))
    data = points(0.3)
    far = ((data.x[:, 0] - 0.5).abs() > 0.1).double().mean().item()
    assert Watch(data, PGD(ThreatModel(Linf(), 0.1), 5))(model) == {"clean_accuracy": 1.0, "robust_accuracy": far}
    assert 0.2 < far < 0.8


def test_training_keeps_the_epoch_that_withstands_most() -> None:
    held, rest = apart(points(0.3), 20)
    attack = PGD(ThreatModel(Linf(), 0.05), 5)
    model = nn.Linear(2, 2)
    how = Settings(5, 10, sgd(2.0), best="robust_accuracy", device="cpu")
    history = fit(model, standard(), rest, how, validate=Watch(held, attack))
    robust = history["validation_robust_accuracy"]
    assert history.best == robust.index(max(robust)) + 1
    x_adv = attack(model, *held.batch(torch.arange(20))[:2])
    assert 1 - misclassified(model(x_adv), held.batch(torch.arange(20)).y).double().mean() == max(robust)
