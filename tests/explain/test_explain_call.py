"""The one call that makes maps: closed forms on linear models, no trace, sentences for bad input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustlab.explain import Case, Gradient, GradientTimesInput, explain, make_method


def linear(shape: tuple[int, ...], classes: int, dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    size = torch.Size(shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(size, classes, dtype=dtype)).eval()


def weight_of(model: nn.Sequential) -> torch.Tensor:
    last = model[1]
    assert isinstance(last, nn.Linear)
    return last.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(4,), (3, 5), (1, 1, 1), (3, 6, 7)])
def test_the_gradient_of_a_linear_model_is_its_weight(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    model, x = linear(shape, 3, dtype), torch.rand(5, *shape, dtype=dtype)
    target = torch.tensor([0, 1, 2, 1, 0])
    maps = explain(Gradient(), model, x, target)
    weight = weight_of(model)[target].reshape(5, *shape)
    assert torch.equal(maps.values, weight)
    assert torch.equal(explain(GradientTimesInput(), model, x, target).values, weight * x)
    assert maps.values.dtype == dtype
    assert maps.method == "Gradient()"


def test_the_predicted_class_is_explained_by_default() -> None:
    model, x = linear((3, 4, 4), 5, torch.float32), torch.rand(6, 3, 4, 4)
    assert torch.equal(explain("gradient", model, x).target, model(x).argmax(1))


@pytest.mark.parametrize("score", ["logit", "probability", "log-probability", "margin"])
def test_scores_have_the_gradient_that_autograd_gives(score: str) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4)).double().eval()
    x, target = torch.rand(3, 3, 2, 2, dtype=torch.float64, requires_grad=True), torch.tensor([3, 0, 1])
    logits = model(x)
    own = logits[range(3), target]
    others = torch.stack([row[[k for k in range(4) if k != t]].amax() for row, t in zip(logits, target, strict=True)])
    value = {
        "logit": own,
        "probability": logits.exp()[range(3), target] / logits.exp().sum(1),
        "log-probability": own - logits.logsumexp(1),
        "margin": own - others,
    }[score]
    (expected,) = torch.autograd.grad(value.sum(), x)
    found = explain("gradient", model, x, target, score=score).values  # type: ignore[arg-type]
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_blocks_and_micro_batches_change_nothing() -> None:
    model, x = linear((3, 32, 32), 4, torch.float64), torch.rand(600, 3, 32, 32, dtype=torch.float64)
    whole = explain("gradient-x-input", model, x)
    assert torch.equal(whole[slice(300, 310)].values, explain("gradient-x-input", model, x[300:310]).values)


def test_no_trace_is_left() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 16, 3))
    model.train()
    x = torch.rand(4, 1, 6, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    explain("gradient", model, x, torch.zeros(4, dtype=torch.int64))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert x.grad is None
    assert not x.requires_grad


def test_bad_input_is_one_sentence() -> None:
    model, x = linear((1, 4, 4), 3, torch.float32), torch.rand(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"target must be in 0\.\.2, the model's classes, got 3"):
        explain("gradient", model, x, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"target must hold one class number per input, \(2,\) int64, got \(1,\)"):
        explain("gradient", model, x, torch.tensor([0]))
    with pytest.raises(ValueError, match=r"inputs must be floating point, got torch\.int64"):
        explain("gradient", model, (x * 255).long())
    with pytest.raises(ValueError, match="inputs contain NaN"):
        explain("gradient", model, x / 0)
    with pytest.raises(ValueError, match="did you mean gradient"):
        make_method("gradint")

    def wrong(case: Case) -> torch.Tensor:
        return case.x.sum(1)

    with pytest.raises(ValueError, match=r"wrong returned attributions \(2, 4, 4\) for inputs \(2, 1, 4, 4\)"):
        explain(wrong, model, x)
