"""Smooth activations in place of kinks: values by their formulas, second derivatives by finite differences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.explain.smooth_twin import SmoothTwin, smooth_twin

BETA = 5.0


def soft(x: Tensor) -> Tensor:
    return (1 + (BETA * x).exp()).log() / BETA


def written_over(x: Tensor) -> Tensor:
    y = x * 1.0
    F.relu(y, inplace=True)
    return y


class Kinked(nn.Module):
    """Logits of a function of the inputs."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


KINKS: list[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
    (nn.ReLU(), soft),
    (nn.ReLU(inplace=True), soft),
    (F.relu, soft),
    (torch.relu, soft),
    (lambda x: x.relu(), soft),
    (lambda x: (x * 1).relu_(), soft),
    (written_over, soft),
    (lambda x: x.clamp(min=0), soft),
    (lambda x: torch.clamp_min(x, 0), soft),
    (nn.ReLU6(), lambda x: soft(x) - soft(x - 6)),
    (F.relu6, lambda x: soft(x) - soft(x - 6)),
    (nn.Hardtanh(-0.5, 2.0), lambda x: -0.5 + soft(x + 0.5) - soft(x - 2)),
    (nn.LeakyReLU(0.2), lambda x: soft(x) - 0.2 * soft(-x)),
    (nn.PReLU(init=0.25).double(), lambda x: soft(x) - 0.25 * soft(-x)),
    (lambda x: x.clamp(0, 1), lambda x: x.clamp(0, 1)),
    (torch.tanh, torch.tanh),
]


@pytest.mark.parametrize("number", range(len(KINKS)))
def test_kinks_are_replaced_by_their_formula_and_nothing_else_is(number: int) -> None:
    kinked, smooth = KINKS[number]
    x = torch.linspace(-2, 2, 40, dtype=torch.float64).reshape(4, 10)  # where beta x > 20, torch cuts off
    found = smooth_twin(Kinked(lambda x: kinked(x * 1)), BETA)(x)
    assert torch.allclose(found, smooth(x), rtol=1e-12, atol=1e-12)
    assert torch.allclose(kinked(x * 1), smooth_twin(Kinked(lambda x: kinked(x * 1)), 1e5)(x), atol=1e-4)


def test_twins_approach_the_model_as_beta_grows() -> None:
    x = torch.randn(5, 6, dtype=torch.float64)
    for beta in (1.0, 10.0, 30.0):
        assert float((SmoothTwin(nn.ReLU(), beta)(x) - x.relu()).abs().max()) <= math.log(2) / beta


class Mixed(nn.Module):
    """Layers, functions and methods with kinks, and a shortcut that an in-place layer writes over."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.act = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.second, self.last = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        shortcut = x
        x = torch.relu(self.second(self.act(x)))
        mean: Tensor = F.leaky_relu(x + shortcut).mean((2, 3))
        out: Tensor = self.last(mean)
        return out


def test_second_derivatives_of_layers_functions_and_methods() -> None:
    torch.manual_seed(0)
    model = Mixed().double().eval()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(smooth_twin(model, BETA), x)
    by_hand = soft(model.norm(model.first(x)))
    y = soft(model.second(by_hand)) + by_hand
    expected = model.last((soft(y) - 0.01 * soft(-y)).mean((2, 3)))
    assert torch.allclose(smooth_twin(model, BETA)(x), expected)


def vision_transformer() -> tuple[nn.Module, Tensor]:
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, num_classes=4, depth=2)
    return model, torch.rand(2, 3, 16, 16)


class Encoder(nn.Module):
    """A BERT of random weights on word vectors, with logits."""

    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        self.bert = transformers.BertModel(transformers.BertConfig(vocab_size=30, hidden_act="relu", **sizes))
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.bert(inputs_embeds=x).pooler_output)
        return out


def text_encoder() -> tuple[nn.Module, Tensor]:
    return Encoder(), torch.randn(2, 5, 16)


@pytest.mark.slow
@pytest.mark.parametrize("make", [vision_transformer, text_encoder])
def test_attention_has_the_second_derivative_that_finite_differences_give(
    make: Callable[[], tuple[nn.Module, Tensor]],
) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, x = make()
    twin, x = smooth_twin(model.double().eval()), x.double()

    def gradient(x: Tensor) -> Tensor:
        x = x if x.requires_grad else x.requires_grad_()
        (grad,) = torch.autograd.grad(twin(x)[:, 1].sum(), x, create_graph=True)
        return grad

    one, other = torch.randn_like(x), torch.randn_like(x)
    start = x.clone().requires_grad_()
    (product,) = torch.autograd.grad((gradient(start) * one).sum(), start)
    step = 1e-5
    expected = ((gradient(x + step * other) - gradient(x - step * other)) * one).sum() / (2 * step)
    assert float(expected.detach().abs()) > 1e-6
    assert float((product * other).sum()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_model_is_as_it_was() -> None:
    model = Mixed().eval()
    x = torch.randn(3, 2, 4, 4)
    before = model(x)
    twin = smooth_twin(model, 1.0)
    assert not torch.allclose(twin(x), before)
    assert torch.equal(model(x), before)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in model.parameters()}
    assert not twin.training
    assert smooth_twin(Mixed().train()).training


@pytest.mark.slow
def test_models_out_of_reach_are_one_sentence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(nn.ReLU(), torch.rand(2))
    with pytest.raises(ValueError, match="is compiled, so that its activations cannot be made smooth: give the module"):
        smooth_twin(nn.Sequential(scripted, nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"^beta must be a finite number > 0, got 0"):
        smooth_twin(nn.ReLU(), 0.0)
    with pytest.raises(ValueError, match="model must be a torch module or function"):
        smooth_twin("model")  # type: ignore[arg-type]
    compiled: Any = torch.compile(nn.ReLU())
    assert smooth_twin(compiled).model is compiled._orig_mod
