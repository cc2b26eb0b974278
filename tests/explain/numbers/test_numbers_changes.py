"""Numbers under random changes: closed forms on linear and quadratic models at several sizes."""

from __future__ import annotations

import math

import pytest
import torch
from tests.explain.numbers.numbers_models import Quadratic, Stored, linear
from torch import Tensor

from robustlab.core import Streams
from robustlab.explain import Case, Number, measure
from robustlab.explain.map_distances import cosine
from robustlab.explain.numbers import (
    GaussianChange,
    Infidelity,
    LocalLipschitz,
    MaxSensitivity,
    NoiseInstability,
    SquareChange,
    UniformChange,
)

SHAPES = [(5,), (1, 2, 2), (3, 6, 5)]


def symmetric(size: int) -> Tensor:
    half = torch.randn(size, size, dtype=torch.float64)
    return half + half.T


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_a_linear_model_is_faithful_and_stable(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, x = linear(*torch.randn(3, *shape, dtype=torch.float64)), torch.rand(4, *shape, dtype=torch.float64)
    names = ["infidelity", "max-sensitivity", "local-lipschitz", "noise-instability"]
    found = measure("gradient", model, x, torch.tensor([0, 1, 2, 0]), names)
    assert all(torch.allclose(one.values, torch.zeros(4).double(), atol=1e-12) for one in found.values())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_is_the_squared_error_of_the_predicted_change(shape: tuple[int, ...], scaled: bool) -> None:
    torch.manual_seed(1)
    size = math.prod(shape)
    matrix, slope = symmetric(size), torch.randn(size, dtype=torch.float64)
    x, changes = torch.rand(3, *shape, dtype=torch.float64), 0.1 * torch.randn(6, 3, *shape, dtype=torch.float64)
    number = Infidelity(6, Stored(changes), scaled=scaled)
    found = measure("gradient", Quadratic(matrix, slope), x, torch.zeros(3, dtype=torch.int64), {"it": number})["it"]
    for i in range(3):
        point, pairs = x[i].flatten(), []
        for change in changes[:, i].flatten(1):
            guess = change @ (matrix @ point + slope)
            pairs.append((guess, guess + change @ matrix @ change / 2))
        guess, truth = map(torch.stack, zip(*pairs, strict=True))
        factor = (guess @ truth) / (guess @ guess) if scaled else 1
        assert float(found.values[i]) == pytest.approx(float((factor * guess - truth).square().mean()), rel=1e-9)


def test_infidelity_of_an_empty_map_is_the_variance_of_the_score() -> None:
    def nothing(case: Case) -> Tensor:
        return torch.zeros_like(case.x)

    weights, x = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.rand(2, 3, 4, 4, dtype=torch.float64)
    y = torch.tensor([0, 1])
    number = Infidelity(500, GaussianChange(0.5))
    found = measure(nothing, linear(*weights), x, y, {"it": number})["it"].values
    expected = 0.25 * weights.square().flatten(1).sum(1)
    assert torch.allclose(found, expected, rtol=5 * math.sqrt(2 / 500))


@pytest.mark.parametrize("shape", SHAPES)
def test_sensitivity_and_lipschitz_are_those_of_a_quadratic_model(shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    size = math.prod(shape)
    matrix, slope = symmetric(size), torch.randn(size, dtype=torch.float64)
    x, changes = torch.rand(3, *shape, dtype=torch.float64), 0.1 * torch.randn(5, 3, *shape, dtype=torch.float64)
    y, model = torch.zeros(3, dtype=torch.int64), Quadratic(matrix, slope)
    moves = changes.flatten(2) @ matrix
    size_of_map = (x.flatten(1) @ matrix + slope).norm(dim=1)
    largest, steep = moves.norm(dim=2).amax(0), (moves.norm(dim=2) / changes.flatten(2).norm(dim=2)).amax(0)
    for number, expected in (
        (MaxSensitivity(5, Stored(changes)), largest / size_of_map),
        (MaxSensitivity(5, Stored(changes), relative=False), largest),
        (LocalLipschitz(5, Stored(changes)), steep),
    ):
        found = measure("gradient", model, x, y, {"it": number})["it"].values
        assert torch.allclose(found, expected, rtol=1e-9)


def test_the_lipschitz_constant_is_at_most_the_largest_eigenvalue_and_does_not_need_a_map() -> None:
    matrix = torch.diag(torch.tensor([3.0, -7.0, 1.0], dtype=torch.float64))
    model, x = Quadratic(matrix, torch.zeros(3, dtype=torch.float64)), torch.zeros(2, 3, dtype=torch.float64)
    y = torch.zeros(2, dtype=torch.int64)
    numbers: dict[str, Number] = {"l": LocalLipschitz(200), "s": MaxSensitivity(3), "n": NoiseInstability(3)}
    found = measure("gradient", model, x, y, numbers)
    assert bool(((found["l"].values > 6.5) & (found["l"].values <= 7 + 1e-9)).all())
    assert (found["s"].undefined, found["n"].undefined) == (2, 2)  # the gradient at 0 is 0


def test_instability_is_the_mean_distance_of_maps() -> None:
    torch.manual_seed(3)
    matrix, slope = symmetric(12), torch.randn(12, dtype=torch.float64)
    x, changes = torch.rand(3, 3, 2, 2, dtype=torch.float64), torch.randn(4, 3, 3, 2, 2, dtype=torch.float64)
    number = NoiseInstability(4, change=Stored(changes))
    y = torch.zeros(3, dtype=torch.int64)
    found = measure("gradient", Quadratic(matrix, slope), x, y, {"it": number})["it"].values
    maps = (torch.cat([x[None], x + changes]).flatten(2) @ matrix + slope).reshape(5, 3, 3, 2, 2)
    expected = torch.stack([1 - cosine(maps[k], maps[0]) for k in range(1, 5)]).mean(0)
    assert torch.allclose(found, expected, rtol=1e-9)


def test_changes_have_the_stated_size_and_follow_the_example() -> None:
    x, ids = torch.rand(500, 3, 8, 6), torch.arange(500)
    gaussian, uniform = GaussianChange(0.3)(x, Streams(0, ids)), UniformChange(0.2)(x, Streams(0, ids))
    assert float(gaussian.std()) == pytest.approx(0.3, rel=0.01)
    assert 0.199 < float(uniform.abs().amax()) <= 0.2
    assert float(uniform.std()) == pytest.approx(0.2 / math.sqrt(3), rel=0.01)
    square = SquareChange(4, 0.5)(x, Streams(0, ids))
    gone = square != 0
    assert bool((gone.flatten(2).sum(2) == 16).all())
    assert torch.allclose((x + square)[gone], torch.tensor(0.5))
    corners = {tuple(place.nonzero()[0].tolist()) for place in gone[:, 0]}
    assert len(corners) == 5 * 3  # every place of the square occurs
    for change in (GaussianChange(), UniformChange(), SquareChange()):
        assert torch.equal(change(x[7:9], Streams(0, ids[7:9])), change(x, Streams(0, ids))[7:9])


def test_settings_out_of_range_are_refused() -> None:
    for kind in (Infidelity, LocalLipschitz, MaxSensitivity, NoiseInstability):
        with pytest.raises(ValueError, match="draws must be a whole number >= 1, got 0"):
            kind(0)
    with pytest.raises(ValueError, match="sigma must be a finite number > 0, got 0"):
        GaussianChange(0.0)
    with pytest.raises(ValueError, match="radius must be a finite number > 0, got inf"):
        UniformChange(math.inf)
    with pytest.raises(ValueError, match="side must be a number of pixels >= 1, got 0"):
        SquareChange(0)
    with pytest.raises(ValueError, match=r"squares are removed from images \(N, C, H, W\), got \(2, 5\)"):
        SquareChange()(torch.rand(2, 5), Streams(0, torch.arange(2)))
    with pytest.raises(ValueError, match="did you mean cosine"):
        NoiseInstability(distance="cosin")
