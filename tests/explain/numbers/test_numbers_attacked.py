"""Instability of maps under attack: against brute force, beside noise, and where there is none."""

from __future__ import annotations

import pytest
import torch
from tests.explain.numbers.numbers_models import Quadratic, linear, subject_of
from torch import Tensor, nn

from robustlab.explain import Case, Number, measure
from robustlab.explain.map_distances import cosine
from robustlab.explain.numbers import AttackInstability, NoiseInstability, UniformChange

NONE = torch.zeros(3, dtype=torch.int64)


def test_the_attack_finds_the_most_distant_map_of_a_quadratic_model() -> None:
    torch.manual_seed(0)
    matrix = torch.tensor([[3.0, 1.0], [1.0, -2.0]], dtype=torch.float64)
    slope, x = torch.tensor([1.0, 4.0], dtype=torch.float64), 0.2 + 0.6 * torch.rand(3, 2, dtype=torch.float64)
    found = measure("gradient", Quadratic(matrix, slope), x, NONE, {"it": AttackInstability(0.1, 40, tolerance=1.0)})
    line = torch.linspace(-0.1, 0.1, 101, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    for i in range(3):
        maps, own = (x[i] + grid) @ matrix + slope, x[i] @ matrix + slope
        most = float((1 - cosine(maps, own.expand_as(maps))).amax())
        assert 0.75 * most < float(found["it"].values[i]) <= 1.01 * most  # the ascent may end in another corner


def test_an_attack_goes_further_than_noise_and_nowhere_without_a_budget() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)).eval()
    x, y = torch.rand(3, 1, 6, 6), torch.tensor([0, 1, 2])
    numbers: dict[str, Number] = {
        "far": AttackInstability(0.05),
        "none": AttackInstability(0.0),
        "noise": NoiseInstability(5, change=UniformChange(0.05)),
    }
    found = measure("gradient", model, x, y, numbers)
    assert bool((found["far"].values > found["noise"].values).all())
    assert found["none"].values.abs().max() < 1e-9


def test_the_map_of_a_linear_model_does_not_move() -> None:
    model, x = linear(*torch.randn(2, 3, 4, 4, dtype=torch.float64)), torch.rand(3, 3, 4, 4, dtype=torch.float64)
    assert measure("gradient", model, x, NONE, ["attack-instability"])["attack-instability"].mean < 1e-9


def test_methods_and_models_without_a_derivative_have_no_number() -> None:
    def detached(case: Case) -> Tensor:
        return case.gradient(case.x).detach()

    model, x = Quadratic(torch.eye(4), torch.ones(4)), torch.rand(3, 4)
    assert measure(detached, model, x, NONE, ["attack-instability"])["attack-instability"].undefined == 3
    with subject_of(model, x, NONE, detached) as subject, pytest.raises(ValueError, match="AttackInstability searches"):
        AttackInstability(bounds=(0.0, 0.1))(subject)
    with pytest.raises(ValueError, match="tolerance must be a change of a probability"):
        AttackInstability(tolerance=0.0)
    with pytest.raises(ValueError, match="steps must be a whole number >= 1, got 0"):
        AttackInstability(steps=0)
    with pytest.raises(ValueError, match="did you mean cosine"):
        AttackInstability(distance="cosin")
