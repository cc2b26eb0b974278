"""Regularised training in types of half the precision."""

from __future__ import annotations

import math

import pytest
import torch

from robustlab.core import Linf, Recipe
from robustlab.data import examples
from robustlab.models import ShallowCNN
from robustlab.regularization import (
    AdversarialRegularization,
    Graph,
    GraphLoss,
    GraphRegularization,
    KLDistance,
    Neighbourhood,
)
from robustlab.training import Settings, fit
from robustlab.training.settings import Precision


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("recipe", ["adversarial", "graph"])
def test_regularized_training_runs_in_half_precision(recipe: str, precision: Precision) -> None:
    draws = torch.Generator().manual_seed(0)
    pool = examples((torch.rand(64, 1, 28, 28, generator=draws), torch.arange(64) % 10))
    ring = Graph(torch.arange(64), (torch.arange(64) + 10) % 64, torch.ones(64), 64)
    recipes: dict[str, Recipe] = {
        "adversarial": AdversarialRegularization(Neighbourhood(Linf(), 0.1)),
        "graph": GraphRegularization(pool, ring, 1, multiplier=1.0, graph_loss=GraphLoss(KLDistance(softmax=True))),
    }
    torch.manual_seed(0)
    model = ShallowCNN()
    history = fit(model, recipes[recipe], pool, Settings(epochs=3, batch_size=32, precision=precision))
    assert all(math.isfinite(loss) for loss in history["loss"])
    assert history["loss"][-1] < history["loss"][0]
    assert all(bool(p.isfinite().all()) and p.dtype == torch.float32 for p in model.parameters())
