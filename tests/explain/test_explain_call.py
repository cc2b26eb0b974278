"""The one call that makes maps: closed forms on linear models, no trace, sentences for bad input."""

from __future__ import annotations

import re
import weakref

import pytest
import torch
from torch import nn

from robustlab.core.errors import UserCodeError
from robustlab.explain import Case, Gradient, GradientTimesInput, Measured, explain, make_method, measure
from robustlab.models import black_box


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


class Strange(nn.Module):
    """A linear model of which one thing is unusual."""

    def __init__(self, what: str) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.head = nn.Linear(4, 3)
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.what == "writes":
            x -= 0.5
        with torch.set_grad_enabled(self.what != "no_grad" and torch.is_grad_enabled()):
            logits: torch.Tensor = self.head(self.seen(x))
        return logits / 0 * 0 if self.what == "nan" else logits

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        if self.what == "detached":
            return x.detach()
        if self.what == "root":
            return x.sqrt()
        if self.what == "in-place":
            y = x * 1
            y -= 0.5
            return y.clamp_(min=-9)
        return x


def numpy_model(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(x.detach().numpy()[:, :3] * 2)


@pytest.mark.parametrize("method", ["gradient", "gradient-x-input"])
@pytest.mark.parametrize("model", [Strange("no_grad"), Strange("detached"), numpy_model])
def test_a_model_without_gradients_is_refused_by_methods_that_need_them(method: str, model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"gives no gradient by its inputs .* take Occlusion"):
        explain(method, model, torch.rand(3, 4))


def test_a_black_box_says_what_explains_it() -> None:
    box = black_box(lambda x: x[:, :3] / x[:, :3].sum(1, keepdims=True))
    with pytest.raises(ValueError, match=r"black box without gradients: .*Occlusion"):
        explain("gradient", box, torch.rand(3, 4))


def test_a_gradient_of_zero_is_a_map_of_zeros() -> None:
    maps = explain("gradient", lambda x: (x * 4).round()[:, :3], torch.rand(3, 4))
    assert torch.equal(maps.values, torch.zeros(3, 4))


def test_what_is_not_finite_is_said() -> None:
    x = torch.rand(3, 4)
    x[1, 2] = 0
    with pytest.raises(ValueError, match="the gradient is NaN or infinite at 1 of 3 inputs: look for roots"):
        explain("gradient", Strange("root"), x)
    with pytest.raises(ValueError, match="the model's logit is NaN or infinite for 3 of 3 inputs"):
        explain("gradient", Strange("nan"), x)
    with pytest.raises(ValueError, match=r"huge returned attributions that are NaN or infinite in torch\.float16"):
        explain(huge, Strange("").half(), torch.rand(2, 4).half())


def huge(case: Case) -> torch.Tensor:
    return case.x.float() + 1e6


def test_layers_in_place() -> None:
    model, x = Strange("in-place"), torch.rand(3, 4)
    target = torch.tensor([2, 0, 1])
    assert torch.equal(explain("gradient", model, x, target).values, model.head.weight[target])
    with pytest.raises(ValueError, match="changes its input in place: let it work on a copy"):
        explain("gradient", Strange("writes"), x)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3)).double().eval()
    images = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    first = net[0]
    assert isinstance(first, nn.Conv2d)
    maps = explain("gradient", net, images, torch.tensor([1, 1]))
    leaf = images.clone().requires_grad_()
    hidden = torch.conv2d(leaf, first.weight, first.bias).clamp(min=0)
    (expected,) = torch.autograd.grad(net[3](hidden.flatten(1))[:, 1].sum(), leaf)
    assert torch.allclose(maps.values, expected, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4,), (1, 1, 1), (2, 3, 3)])
def test_half_precision(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    model, x = linear(shape, 3, dtype), torch.rand(1, *shape).to(dtype)
    maps = explain("gradient", model, x, torch.tensor([2]))
    assert maps.values.dtype == dtype
    assert torch.equal(maps.values[0], weight_of(model)[2].reshape(shape))


def test_other_things_than_one_input_are_refused() -> None:
    x = torch.rand(2, 4)
    with pytest.raises(ValueError, match="explain: x must be a tensor, got"):
        explain("gradient", Strange(""), (x, x))  # type: ignore[arg-type]
    with pytest.raises(UserCodeError, match=r"cannot take inputs .*missing 1 required positional argument"):
        explain("gradient", nn.Bilinear(4, 4, 3), x)
    with pytest.raises(ValueError, match=r"floating point, got torch\.int64: write x\.float\(\) for images"):
        explain("gradient", Strange(""), x.long())


@pytest.mark.parametrize("inference", [False, True])
def test_blocks_are_put_together_in_order(*, inference: bool) -> None:
    model, x = linear((1, 40, 40), 4, torch.float32), torch.rand(700, 1, 40, 40)
    with torch.inference_mode(inference):
        maps = explain("gradient-x-input", model, x, ids=torch.arange(700))
    assert torch.equal(maps.values, weight_of(model)[maps.target].reshape(-1, 1, 40, 40) * x)
    assert maps.values.is_contiguous()


def test_a_model_that_looks_at_its_batch_gets_the_whole() -> None:
    sizes = []

    def seen(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return (x - x.mean(0)).flatten(1)[:, :3]

    explain("gradient", seen, torch.rand(1000, 4), torch.zeros(1000, dtype=torch.int64))
    assert max(sizes) == sizes[-1] == 1000


def test_maps_and_numbers_print_on_one_line() -> None:
    model, x = linear((3, 4, 4), 5, torch.float32), torch.rand(6, 3, 4, 4)
    assert repr(explain("gradient", model, x)) == "Maps(Gradient(), 6 x 3 x 4 x 4)"
    found = repr(measure("gradient", model, x, torch.arange(6) % 5, numbers=["sparsity"])["sparsity"])
    assert re.fullmatch(r"Measured\(sparsity: \d[\d.]* \[[\d.]+, [\d.]+\], n 6\)", found), found
    assert repr(Measured("own", torch.tensor([1.0, torch.nan, 3.0]))).endswith("n 2, undefined for 1)")


def test_the_parts_of_a_large_map_do_not_stay_in_memory() -> None:
    model, x = linear((1, 40, 40), 4, torch.float32), torch.rand(700, 1, 40, 40)
    storages: list[weakref.ref[torch.UntypedStorage]] = []

    def method(case: Case) -> torch.Tensor:
        assert sum(one() is not None for one in storages) <= 1
        values = torch.zeros_like(case.x)
        storages.append(weakref.ref(values.untyped_storage()))
        return values

    explain(method, model, x)
    assert len(storages) > 2
