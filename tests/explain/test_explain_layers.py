"""Inversion and visualisation of features: closed forms on linear layers, layers by name, no trace, sentences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import L1, L2, Linf, ThreatModel
from robustlab.explain.features import invert_features, noise_images, visualise
from robustlab.explain.features.layers import Layer

FREE = (-math.inf, math.inf)


class Net(nn.Module):
    """Layers of every kind of output, an unused one, and one that returns two things."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm, self.act = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.tokens, self.rnn, self.head = nn.Linear(6, 5), nn.GRU(5, 3, batch_first=True), nn.Linear(3, 4)
        self.unused, self.single = nn.Linear(2, 2), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        out, _ = self.rnn(self.tokens(x))
        mean = out.mean(1)
        logits: Tensor = self.head(mean) + self.single(mean)
        return logits


@pytest.fixture
def net() -> Net:
    return Net().eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inversion_of_an_invertible_linear_layer_finds_the_image(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 12, dtype=dtype)
    nn.init.orthogonal_(layer.weight, gain=3.0)
    model = nn.Sequential(nn.Flatten(), layer, nn.Linear(12, 2, dtype=dtype)).eval()
    x, start = torch.rand(5, 3, 2, 2, dtype=dtype), torch.rand(5, 3, 2, 2, dtype=dtype)
    found = invert_features(model, "1", x, start, steps=150)
    assert torch.allclose(found.x, x, atol=1e-3)
    exact = (model[1](found.x.flatten(1)) - model[1](x.flatten(1))).norm(dim=1) / model[1](x.flatten(1)).norm(dim=1)
    assert torch.allclose(found.distance, exact.double(), atol=1e-5)
    assert bool((found.before > 10 * found.distance).all())


def test_visualisation_of_a_linear_unit_lies_along_its_weights() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 7, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), layer).eval()
    start, units = torch.rand(3, 3, 2, 2, dtype=torch.float64), torch.tensor([6, 0, 2])
    found = visualise(model, "1", units, start, ThreatModel(L2(), 2.0, FREE))
    slope = layer.weight.detach()[units]
    expected = start + 2 * (slope / slope.norm(dim=1, keepdim=True)).reshape(start.shape)
    assert torch.allclose(found.x, expected, atol=1e-9)
    assert torch.allclose(found.activation - found.before, 2 * slope.norm(dim=1))
    assert torch.equal(visualise(model, "", 2, start[2:], ThreatModel(L2(), 2.0, FREE)).x[0], found.x[2])


def test_the_penalty_makes_images_smooth(net: Net) -> None:
    start = noise_images(4, (1, 6, 6))
    rough, smooth = (visualise(net, "conv", 1, start, steps=40, smoothness=weight).x for weight in (0.0, 30.0))
    variation = [sum(float(x.diff(dim=axis).abs().sum()) for axis in (2, 3)) for x in (rough, smooth)]
    assert variation[1] < variation[0] / 4


@pytest.mark.parametrize(("layer", "units"), [("conv", 6), ("act", 6), ("tokens", 5), ("head", 4), ("single", 1)])
def test_units_of_every_kind_of_layer(net: Net, layer: str, units: int) -> None:
    start = noise_images(3, (1, 6, 6))
    found = visualise(net, layer, units - 1, start, steps=20)
    out = Layer.of(net, layer)(found.x).detach()
    unit = out[:, :, -1] if out.ndim == 3 else out[:, -1].reshape(3, -1)
    assert torch.allclose(found.activation, unit.mean(1).double(), atol=1e-6)
    assert bool((found.activation >= found.before).all())
    for wrong in (units, -1):
        with pytest.raises(ValueError, match=rf"layer '{layer}' has units 0..{units - 1}, got {wrong}"):
            visualise(net, layer, wrong, start)
    assert float(invert_features(net, layer, found.x, start, steps=20).distance.mean()) >= 0


def test_a_layer_is_read_before_the_next_one_writes_over_it(net: Net) -> None:
    x = noise_images(2, (1, 6, 6), bounds=(-1.0, 1.0))
    assert torch.equal(Layer.of(net, "norm")(x), net.norm(net.conv(x)))
    assert torch.equal(Layer.of(net, "act")(x), net.norm(net.conv(x)).relu())
    assert torch.equal(Layer.of(net, "")(x), net(x))


@pytest.mark.parametrize(("norm", "eps"), [(Linf(), 0.2), (L2(), 1.0), (L1(), 4.0)])
def test_the_budget_around_the_start_is_kept(net: Net, norm: Linf | L2 | L1, eps: float) -> None:
    x, start = noise_images(9, (1, 6, 6)).split([5, 4])
    x, threat = x[:4], ThreatModel(norm, eps)
    found = invert_features(net, "norm", x, start, threat, steps=20)
    assert bool(threat.contains(start, found.x).all())
    assert bool((found.distance < found.before).all())
    one = invert_features(net, "norm", x[2:3], start[2:3], threat, steps=20)
    assert torch.allclose(one.x[0], found.x[2], atol=1e-4)
    assert bool(threat.contains(start, visualise(net, "norm", 0, start, threat, steps=20).x).all())


def test_no_trace_is_left_in_the_model(net: Net) -> None:
    net.train()
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    x = noise_images(3, (1, 6, 6))
    invert_features(net, "head", x, x.flip(0), steps=2)
    visualise(net, "conv", 0, x, steps=2)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert net.training
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(part._forward_hooks for part in net.modules())


def test_layers_that_cannot_be_read_are_refused_in_a_sentence(net: Net) -> None:
    x = noise_images(2, (1, 6, 6))
    for name, words in {
        "cnov": "the model has no layer 'cnov'; did you mean conv",
        "unused": "does not call its layer 'unused'",
        "rnn": "layer 'rnn' returned tuple for 2 inputs",
    }.items():
        with pytest.raises(ValueError, match=words):
            invert_features(net, name, x, x)
        with pytest.raises(ValueError, match=words):
            visualise(net, name, 0, x)
    assert not any(part._forward_hooks for part in net.modules())
    with pytest.raises(ValueError, match="torch module, and the model is"):
        visualise(lambda x: x.flatten(1), "", 0, x)
    with pytest.raises(ValueError, match=r"starts are \(1, 1, 6, 6\)"):
        invert_features(net, "conv", x, x[:1])
    with pytest.raises(ValueError, match="floating point"):
        invert_features(net, "conv", x.long(), x.long())
    with pytest.raises(ValueError, match="steps must be"):
        visualise(net, "conv", 0, x, steps=0)
    with pytest.raises(ValueError, match="step_size must be"):
        visualise(net, "conv", 0, x, step_size=0.0)
    with pytest.raises(ValueError, match="smoothness must be"):
        visualise(net, "conv", 0, x, smoothness=-1.0)
