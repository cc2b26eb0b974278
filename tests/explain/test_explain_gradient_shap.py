"""GradientSHAP: closed form, captum with the same draws, draws that follow the examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import GradientShap as Theirs
from torch import Tensor, nn

from robustlab.core import Streams
from robustlab.explain import GradientShap, explain, make_method


def smooth() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, 3)).double().eval()


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 4 - 1


def test_gradient_shap_of_a_linear_model_is_its_difference() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double().eval(), torch.rand(4, 3, 2, 2, dtype=torch.float64)
    maps = explain(GradientShap(3, 0.0, 0.5), net, x)
    weight = net[1].weight[maps.target].reshape(x.shape)  # type: ignore[index]
    assert torch.allclose(maps.values, weight * (x - 0.5))


def test_gradient_shap_is_that_of_captum_with_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, target = smooth(), images(2), torch.tensor([0, 2])
    streams = Streams(0, torch.arange(2))
    shares = [streams.fork(1).uniform((1, 1, 1), draw, dtype=x.dtype) for draw in range(5)]
    noise = [streams.fork(2).normal(x.shape[1:], draw, dtype=x.dtype) for draw in range(5)]
    by_example = torch.stack(shares, 1).flatten(0, 1).flatten()
    monkeypatch.setattr(np.random, "uniform", lambda *_: by_example.numpy())
    monkeypatch.setattr(torch, "normal", lambda *_: 0.3 * torch.stack(noise, 1).flatten(0, 1))
    theirs = Theirs(net).attribute(x, baselines=torch.zeros_like(x[:1]), target=target, n_samples=5, stdevs=0.3)
    ours = explain(GradientShap(5, 0.3), net, x, target).values
    assert torch.allclose(ours, theirs, atol=1e-8 * theirs.abs().amax())


def test_gradient_shap_draws_follow_the_examples() -> None:
    net, x = smooth(), images(6)
    whole = explain(GradientShap(4, 0.2), net, x)
    rows = torch.tensor([5, 2])
    assert torch.allclose(explain(GradientShap(4, 0.2), net, x[rows], ids=rows).values, whole.values[rows])
    assert not torch.equal(explain(GradientShap(4, 0.2), net, x, seed=1).values, whole.values)
    for wrong, message in (({"draws": 0}, "draws must be at least 1, got 0"), ({"sigma": -1.0}, "sigma must be")):
        with pytest.raises(ValueError, match=message):
            make_method("gradient-shap", **wrong)
