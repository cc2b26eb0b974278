"""Deletion, insertion and ROAD: curves by brute force, baselines, and the imputation by dense linear equations."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from tests.explain.numbers.numbers_models import linear, subject_of
from torch import Tensor, nn

from robustlab.explain import GradientTimesInput, Number, measure
from robustlab.explain.case import Case
from robustlab.explain.numbers import ROAD, Deletion, Insertion
from robustlab.explain.numbers.baselines import BaselineName, baseline_of
from robustlab.explain.numbers.imputation import imputed

SHAPES = [(7,), (1, 1, 3), (3, 5, 4)]


def probabilities(model: nn.Module, images: list[Tensor], y: int) -> list[float]:
    return [float(model(image[None]).softmax(1)[0, y]) for image in images]


def trapezoid(values: list[float]) -> float:
    return sum((a + b) / 2 for a, b in pairwise(values)) / (len(values) - 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("baseline", ["black", "mean"])
def test_pixels_go_and_come_one_by_one_in_the_order_of_the_map(shape: tuple[int, ...], baseline: BaselineName) -> None:
    torch.manual_seed(0)
    model, x = linear(*torch.randn(3, *shape, dtype=torch.float64)), torch.rand(2, *shape, dtype=torch.float64)
    y = torch.tensor([2, 0])
    steps = math.prod(shape[1:]) if len(shape) > 1 else shape[0]
    numbers: dict[str, Number] = {"del": Deletion(steps, baseline), "ins": Insertion(steps, baseline)}
    found = measure("gradient-x-input", model, x, y, numbers)
    for i in range(2):
        weights = next(model.parameters())[y[i]].reshape(shape)
        worth = (weights * x[i]).sum(0) if len(shape) > 1 else weights * x[i]
        axes = tuple(range(1, len(shape))) or (0,)
        empty = torch.zeros_like(x[i]) if baseline == "black" else x[i].mean(axes, keepdim=True).expand(shape)
        gone, come = [x[i].clone()], [empty.clone()]
        for place in worth.flatten().argsort(descending=True).tolist():
            for images, source in ((gone, empty), (come, x[i])):
                image = images[-1].clone()
                image.reshape(*([shape[0]] if len(shape) > 1 else []), -1)[..., place] = source.reshape(
                    *([shape[0]] if len(shape) > 1 else []), -1
                )[..., place]
                images.append(image)
        expected = [trapezoid(probabilities(model, images, int(y[i]))) for images in (gone, come)]
        assert [float(found[name].values[i]) for name in numbers] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 3, 8, 50])
def test_a_curve_has_equal_parts_and_both_ends(steps: int) -> None:
    torch.manual_seed(1)
    model, x = linear(*torch.randn(2, 1, 4, 4, dtype=torch.float64)), torch.rand(1, 1, 4, 4, dtype=torch.float64)
    with subject_of(model, x, torch.tensor([0]), GradientTimesInput()) as subject:
        gone, come = Deletion(steps, "black").curve(subject)[0], Insertion(steps, "black").curve(subject)[0]
    whole, empty = probabilities(model, [x[0], torch.zeros(1, 4, 4).double()], 0)
    assert len(gone) == len(come) == steps + 1
    assert [float(gone[0]), float(gone[-1]), float(come[0]), float(come[-1])] == pytest.approx(
        [whole, empty, empty, whole]
    )
    order = (next(model.parameters())[0] * x.flatten()).argsort(descending=True)
    for step in range(steps + 1):
        part = x.flatten().clone()
        part[order[: step * 16 // steps]] = 0
        assert float(gone[step]) == pytest.approx(probabilities(model, [part.reshape(1, 4, 4)], 0)[0])


def test_a_map_without_an_order_has_no_number() -> None:
    def constant(case: Case) -> Tensor:
        return torch.ones_like(case.x)

    model, x = linear(*torch.randn(2, 3, 4, 4)), torch.rand(2, 3, 4, 4)
    found = measure(constant, model, x, torch.tensor([0, 1]), ["deletion", "insertion", "road"])
    assert [one.undefined for one in found.values()] == [2, 2, 2]


def test_baselines() -> None:
    x = torch.rand(2, 3, 9, 8)
    assert torch.equal(baseline_of(x, "black"), torch.zeros_like(x))
    assert torch.allclose(baseline_of(x, "mean")[1, 2], x[1, 2].mean())
    flat = torch.full((1, 1, 3, 2), 0.25)
    assert torch.allclose(baseline_of(flat, "blur"), flat)
    point = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    point[0, 0, 15, 15] = 1
    blurred = baseline_of(point, "blur")[0, 0]
    assert float(blurred.sum()) == pytest.approx(1)
    weight = sum(math.exp(-i * i / 50) for i in range(-5, 6))
    for i, j in ((0, 0), (3, -5), (5, 5)):
        assert float(blurred[15 + i, 15 + j]) == pytest.approx(math.exp(-(i * i + j * j) / 50) / weight**2)
    assert float(blurred[15, 21]) == 0
    with pytest.raises(ValueError, match=r"baseline 'blur' needs images \(N, C, H, W\), got \(2, 5\): take 'mean'"):
        baseline_of(torch.rand(2, 5), "blur")
    with pytest.raises(ValueError, match="baseline must be one of black, mean, blur, got 'grey'"):
        baseline_of(x, "grey")  # type: ignore[arg-type]


def by_equations(image: Tensor, missing: Tensor) -> Tensor:
    """One channel (H, W), by a dense system over the missing pixels."""
    holes = missing.nonzero().tolist()
    matrix, right = torch.zeros(len(holes), len(holes)).double(), torch.zeros(len(holes)).double()
    for row, (i, j) in enumerate(holes):
        for a in range(max(0, i - 1), min(missing.shape[0], i + 2)):
            for b in range(max(0, j - 1), min(missing.shape[1], j + 2)):
                weight = {1: 1 / 6, 2: 1 / 12}.get(abs(a - i) + abs(b - j), 0.0)
                matrix[row, row] += weight
                if missing[a, b]:
                    matrix[row, holes.index([a, b])] -= weight
                else:
                    right[row] += weight * image[a, b]
    filled = image.clone()
    filled[missing] = torch.linalg.solve(matrix, right)
    return filled


@pytest.mark.parametrize(("height", "width"), [(1, 4), (2, 2), (6, 9), (12, 12)])
@pytest.mark.parametrize("part", [0.2, 0.9])
def test_missing_pixels_are_means_of_their_neighbours(height: int, width: int, part: float) -> None:
    torch.manual_seed(height)
    x = torch.rand(3, 2, height, width, dtype=torch.float64)
    missing = torch.rand(3, height, width) < part
    missing[:, 0, 0] = False
    filled = imputed(x, missing)
    for i in range(3):
        for channel in range(2):
            assert torch.allclose(filled[i, channel], by_equations(x[i, channel], missing[i]), atol=1e-8)
    assert torch.equal(imputed(x[1:2], missing[1:2]), filled[1:2])
    assert torch.allclose(imputed(x.float(), missing).double(), filled, atol=1e-4)


def test_a_smooth_image_survives_imputation() -> None:
    ramp = torch.linspace(0, 1, 20, dtype=torch.float64).expand(1, 1, 20, 20)
    missing = torch.zeros(1, 20, 20, dtype=torch.bool)
    missing[:, 4:15, 3:16] = True
    assert torch.allclose(imputed(ramp, missing), ramp, atol=1e-8)


@pytest.mark.parametrize("least", [False, True])
def test_road_is_the_mean_probability_of_imputed_images(least: bool) -> None:
    torch.manual_seed(2)
    model, x = linear(*torch.randn(3, 3, 5, 4, dtype=torch.float64)), torch.rand(2, 3, 5, 4, dtype=torch.float64)
    y = torch.tensor([1, 2])
    found = measure("gradient", model, x, y, {"road": ROAD((0.2, 0.55), 0.0, least)})["road"].values
    for i in range(2):
        worth = next(model.parameters())[y[i]].reshape(3, 5, 4).sum(0).flatten()
        order, images = worth.argsort(descending=not least), []
        for count in (4, 11):
            missing = torch.zeros(20, dtype=torch.bool)
            missing[order[:count]] = True
            images.append(torch.stack([by_equations(one, missing.reshape(5, 4)) for one in x[i]]))
        assert float(found[i]) == pytest.approx(sum(probabilities(model, images, int(y[i]))) / 2, rel=1e-6)


def test_road_adds_noise_to_replaced_pixels_alone() -> None:
    model, x = linear(*torch.randn(2, 1, 30, 30, dtype=torch.float64)), torch.zeros(1, 1, 30, 30, dtype=torch.float64)
    seen: list[Tensor] = []

    def watched(points: Tensor) -> Tensor:
        seen.append(points.detach())
        return model(points)  # type: ignore[no-any-return]

    measure("gradient", watched, x, torch.tensor([0]), {"road": ROAD((0.5,), 0.2)})
    noise = seen[-1][seen[-1] != 0]
    assert len(noise) == 450
    assert float(noise.std()) == pytest.approx(0.2, rel=0.15)


def test_settings_out_of_range_are_refused() -> None:
    for kind in (Deletion, Insertion):
        with pytest.raises(ValueError, match="steps must be a whole number >= 1, got 0"):
            kind(0)
    with pytest.raises(ValueError, match=r"parts must be fractions in \(0, 1\), one at least, got \(0.5, 1.0\)"):
        ROAD((0.5, 1.0))
    with pytest.raises(ValueError, match="noise must be a number >= 0, got -1"):
        ROAD(noise=-1.0)


def test_what_needs_images_is_undefined_for_other_inputs() -> None:
    found = measure(
        "gradient",
        linear(torch.arange(1.0, 6), torch.tensor([5.0, 4, 3, 2, 0])),
        torch.full((2, 5), 0.5),
        torch.tensor([0, 0]),
    )
    missing = {name for name, one in found.items() if one.undefined == 2}
    assert missing == {"insertion", "road", "roughness"}
