"""Maps as functions of the input: those of the methods themselves, with the derivative that differences give."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import L2, Linf, ThreatModel
from robustlab.explain import (
    Case,
    Gradient,
    GradientTimesInput,
    IntegratedGradients,
    MapAttack,
    Method,
    Occlusion,
    SmoothGrad,
    explain,
    map_stability,
)
from robustlab.explain.case import ScoreName, cases
from robustlab.explain.graph_case import graph_map

SCORES: list[ScoreName] = ["logit", "probability", "log-probability", "margin"]
METHODS: list[Method] = [
    Gradient(),
    GradientTimesInput(),
    IntegratedGradients(3),
    IntegratedGradients(2, "riemann_trapezoid", 0.5),
    SmoothGrad(2),
    SmoothGrad(2, squared=True),
    SmoothGrad(3, clip=(0.1, 0.9)),
    Occlusion(2),
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(27, 5), nn.Tanh(), nn.Linear(5, 3))
    return model.double().eval()


def images() -> Tensor:
    return torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_maps_with_a_graph_are_those_without_and_have_a_right_derivative(method: Method) -> None:
    model, x, target = network(), images(), torch.tensor([2, 0])
    for score in SCORES if method == Gradient() else SCORES[:1]:
        with cases(model, x, target, score=score, seed=5, ids=None) as parts:
            (case,) = parts

            def mapped(points: Tensor, case: Case = case) -> Tensor:
                return graph_map(method, case, points, case.twin.searched(points))

            found = mapped(x.clone().requires_grad_())
            assert torch.allclose(found, explain(method, model, x, target, score=score, seed=5).values, atol=1e-12)
            assert torch.autograd.gradcheck(mapped, x.clone().requires_grad_(), atol=1e-6)


@pytest.mark.parametrize("method", METHODS[1:], ids=repr)
def test_every_method_by_gradients_can_be_attacked(method: Method) -> None:
    model, x = network(), images()
    found = map_stability(MapAttack(ThreatModel(Linf(), 0.1), method, steps=10), model, x)
    assert bool(found.attacked.kept.all())
    assert float(found.attack["l2"].mean()) > 1.1 * float(found.noise["l2"].mean())


class Encoder(nn.Module):
    """A BERT of random weights on word vectors, with logits."""

    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        self.bert = transformers.BertModel(transformers.BertConfig(vocab_size=30, **sizes))
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.bert(inputs_embeds=x).pooler_output)
        return out


def vision_transformer() -> nn.Module:
    timm = pytest.importorskip("timm")
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, num_classes=4, depth=2)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "x", "bounds"),
    [(vision_transformer, torch.rand(3, 3, 16, 16), (0.0, 1.0)), (Encoder, torch.randn(3, 5, 16), (-9.0, 9.0))],
    ids=["ViT", "BERT"],
)
def test_maps_of_transformers_are_attacked(
    make: Callable[[], nn.Module], x: Tensor, bounds: tuple[float, float]
) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make().eval()
    threat = ThreatModel(L2(), 1.0, bounds)
    found = map_stability(MapAttack(threat, steps=10), model, x)
    assert bool(threat.contains(x, found.attacked.x_adv).all())
    assert bool(found.attacked.kept.all())
    assert float(found.attack["l2"].mean()) > 1.5 * float(found.noise["l2"].mean())
