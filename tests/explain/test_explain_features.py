"""What a network has learned: closed forms on linear models, exact budgets, no trace, sentences for bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustlab.core import L1, L2, Linf, ThreatModel
from robustlab.explain.features import class_images, class_seeds, counterfactuals, noise_images

FREE = (-math.inf, math.inf)


def linear(classes: int, size: int = 12) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    last = nn.Linear(size, classes, dtype=torch.float64)
    return nn.Sequential(nn.Flatten(), last).eval(), last.weight.detach(), last.bias.detach()


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(96, 4)
    ).eval()


@pytest.mark.parametrize("score", ["logit", "margin", "log-probability", "probability"])
def test_the_class_image_of_a_linear_model_lies_along_the_slope_of_the_score(score: str) -> None:
    model, weight, _ = linear(2)
    start, target = torch.rand(5, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    slope = weight[target] if score == "logit" else weight[target] - weight[1 - target]
    expected = start + 3.0 * (slope / slope.norm(dim=1, keepdim=True)).reshape(start.shape)
    threat = ThreatModel(L2(), 3.0, FREE)
    found = class_images(model, target, start, threat, steps=5, score=score)  # type: ignore[arg-type]
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("norm", "eps"), [(Linf(), 0.7), (L2(), 5.0), (L1(), 20.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_class_images_keep_the_budget_and_raise_the_score(norm: Linf | L2 | L1, eps: float, dtype: torch.dtype) -> None:
    model, threat = network().to(dtype), ThreatModel(norm, eps)
    start, target = noise_images(4, (1, 6, 6), seed=2).to(dtype), torch.arange(4)
    found = class_images(model, target, start, threat, steps=8)
    assert bool(threat.contains(start, found).all())
    gain = model(found).log_softmax(1) - model(start).log_softmax(1)
    assert bool((gain[range(4), range(4)] > 0).all())
    one = class_images(model, target[2:3], start[2:3], threat, steps=8)
    assert torch.allclose(one[0], found[2], atol=1e-5)


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()])
def test_the_counterfactual_of_two_linear_classes_is_at_the_distance_of_the_boundary(norm: Linf | L2 | L1) -> None:
    model, weight, bias = linear(2)
    x = torch.randn(6, 3, 2, 2, dtype=torch.float64)
    logits = x.flatten(1) @ weight.T + bias
    found = counterfactuals(model, x, 1 - logits.argmax(1), norm=norm, bounds=FREE, eps=100.0)
    dual = {"Linf": 1.0, "L2": 2.0, "L1": math.inf}[str(norm)]
    exact = (logits[:, 0] - logits[:, 1]).abs() / torch.linalg.vector_norm(weight[0] - weight[1], dual)
    assert bool(found.found.all())
    assert torch.equal(model(found.x).argmax(1), 1 - logits.argmax(1))
    assert torch.allclose(found.size, exact, rtol=1e-3)
    assert bool((found.size >= exact * (1 - 1e-12)).all())


@pytest.mark.slow
def test_counterfactuals_say_what_was_found() -> None:
    model, x = network(), noise_images(4, (1, 6, 6), seed=5)
    answers = model(x).argmax(1)
    same = counterfactuals(model, x, answers)
    assert torch.equal(same.x, x)
    assert bool((same.size == 0).all())
    none = counterfactuals(model, x, (answers + 1) % 4, eps=1e-6, steps=5)
    assert not bool(none.found.any())
    assert bool(none.size.isinf().all())
    assert torch.equal(none.x, x)
    other = counterfactuals(model, x, (answers + 1) % 4)
    assert torch.equal(model(other.x).argmax(1) == (answers + 1) % 4, other.found)
    assert bool(other.found.any())
    assert float(other.x.min()) >= 0
    assert float(other.x.max()) <= 1


def test_seeds_have_the_mean_and_covariance_of_their_class() -> None:
    torch.manual_seed(1)
    y = torch.arange(60) % 2
    x = 0.5 + 0.1 * torch.randn(60, 3, dtype=torch.float64) @ torch.randn(3, 3, dtype=torch.float64)
    x[y == 1] += 7
    draws = class_seeds(x, y, torch.ones(4000, dtype=torch.int64), bounds=FREE, seed=3)
    spread = x[y == 1].T.cov()
    assert torch.allclose(draws.mean(0), x[y == 1].mean(0), atol=5 * float(spread.diag().max() / 4000) ** 0.5)
    assert torch.allclose(draws.T.cov(), spread, atol=0.1 * float(spread.abs().max()))
    assert torch.equal(class_seeds(x, y, torch.tensor([0, 1]), bounds=FREE, seed=3)[1], draws[1])
    assert torch.equal(class_seeds(x, y, torch.tensor([0, 1]), seed=3)[1], draws[1].clamp(0, 1))


def test_noise_is_the_same_in_any_number() -> None:
    draws = noise_images(300, (2, 3), bounds=(-1.0, 3.0), seed=4)
    assert torch.equal(draws[:7], noise_images(7, (2, 3), bounds=(-1.0, 3.0), seed=4))
    assert not torch.equal(draws[:7], noise_images(7, (2, 3), bounds=(-1.0, 3.0), seed=5))
    assert -1 <= float(draws.min()) < -0.9
    assert 2.9 < float(draws.max()) <= 3


def test_no_trace_is_left_by_class_images_and_counterfactuals() -> None:
    model, x = network().train(), noise_images(3, (1, 6, 6))
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    class_images(model, torch.arange(3), x, ThreatModel(L2(), 2.0), steps=2)
    counterfactuals(model, x, torch.arange(3), steps=2)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_bad_input_is_refused_in_a_sentence() -> None:
    model, x, threat = network(), noise_images(2, (1, 6, 6)), ThreatModel(L2(), 1.0)
    with pytest.raises(ValueError, match="labels go up to 9, but the model has 4 classes"):
        class_images(model, torch.tensor([9, 0]), x, threat)
    with pytest.raises(ValueError, match="score must be one of"):
        class_images(model, torch.tensor([1, 0]), x, threat, score="logits")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outside"):
        class_images(model, torch.tensor([1, 0]), x + 1, threat)
    with pytest.raises(ValueError, match="give eps"):
        counterfactuals(model, x, torch.tensor([1, 0]), bounds=FREE)
    with pytest.raises(ValueError, match="go up to 4, but the model has 4"):
        counterfactuals(model, x, torch.tensor([4, 0]))
    with pytest.raises(ValueError, match="class 3 has 1 images"):
        class_seeds(x, torch.tensor([3, 1]), torch.tensor([3]))
    with pytest.raises(ValueError, match="finite"):
        noise_images(2, (3,), bounds=FREE)
    with pytest.raises(ValueError, match="one image or more"):
        noise_images(0, (3,))
