"""Smooth activations: their formulas, what is swapped, what is kept, what is reported."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.models import (
    BatchNormCNN,
    ParametricSoftplus,
    ShallowCNN,
    SmoothReLU,
    functional_relus,
    load,
    save,
    smooth,
    smooth_gradients,
)
from robustlab.models.smooth import Activation

KINDS: tuple[Activation, ...] = get_args(Activation)
FORMULAS: dict[str, Callable[[float], float]] = {
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "parametric_softplus": lambda x: math.log(1 + math.exp(10 * x)) / 10,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "smooth_relu": lambda x: x - math.log(400 * x + 1) / 400 if x > 0 else 0.0,
}


class Functional(nn.Module):
    """A network that calls one ReLU as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.last(F.relu(self.act(self.first(x))))
        return hidden


@pytest.mark.parametrize("kind", KINDS)
def test_formulas(kind: Activation) -> None:
    model = smooth(nn.Sequential(nn.ReLU()), kind).double()
    values = [-2.0, -0.3, 0.0, 0.01, 0.7, 3.0]
    expected = torch.tensor([FORMULAS[kind](v) for v in values], dtype=torch.float64)
    torch.testing.assert_close(model(torch.tensor(values, dtype=torch.float64)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_derivative_has_no_jump_at_zero(kind: Activation) -> None:
    model = smooth(nn.Sequential(nn.ReLU()), kind).double()
    x = torch.tensor([-1e-9, 1e-9], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    assert float((slope[1] - slope[0]).abs()) < 1e-5


def test_the_derivatives_are_right() -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    for part in (ParametricSoftplus(), SmoothReLU().double()):
        assert torch.autograd.gradcheck(part, (x + 0.05,))


@pytest.mark.parametrize("make", [ShallowCNN, BatchNormCNN])
def test_only_activations_are_swapped(make: type[nn.Module]) -> None:
    model = make().eval()
    model.get_submodule("features").train()
    modes = [part.training for part in model.modules()]
    swapped = smooth(model, "gelu")
    assert not [part for part in swapped.modules() if isinstance(part, nn.ReLU)]
    assert [part for part in model.modules() if isinstance(part, nn.ReLU)], "the model itself is as before"
    assert [part.training for part in swapped.modules()] == modes
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in swapped.state_dict().items())
    assert swapped.state_dict().keys() == state.keys()


def test_a_checkpoint_names_its_activation(tmp_path: Path) -> None:
    model, x = smooth(ShallowCNN(), "smooth_relu").eval(), torch.rand(2, 1, 28, 28)
    save(model, tmp_path / "weights.safetensors")
    again = load(checkpoint=tmp_path / "weights.safetensors")
    assert torch.equal(again(x), model(x))
    assert [part for part in again.modules() if isinstance(part, SmoothReLU)]


def test_relus_called_as_functions_are_reported_and_stay() -> None:
    with pytest.warns(UserWarning, match="ReLU is called as a function in Functional: it stays there"):
        swapped = smooth(Functional(), "silu")
    assert isinstance(swapped.get_submodule("act"), nn.SiLU)
    assert functional_relus(nn.Sequential(nn.Identity(), Functional())) == ("1",)
    assert functional_relus(BatchNormCNN()) == ()


def test_only_the_gradient() -> None:
    model = smooth(nn.Sequential(nn.ReLU()), "softplus", only_gradient=True)
    x = torch.tensor([-1.0, 0.5], requires_grad=True)
    assert model(x).tolist() == [0.0, 0.5]
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close(slope, torch.sigmoid(x.detach()))
    with smooth_gradients(model, on=False):
        (slope,) = torch.autograd.grad(model(x).sum(), x)
    assert slope.tolist() == [0.0, 1.0]
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close(slope, torch.sigmoid(x.detach()))


def test_models_that_cannot_be_smoothed_are_refused() -> None:
    kind: Activation = "relu"  # type: ignore[assignment] # that is the fault
    with pytest.raises(ValueError, match=r"activation must be one of silu, .*, got 'relu'"):
        smooth(ShallowCNN(), kind)
    with pytest.raises(ValueError, match="Linear holds no ReLU module to replace"):
        smooth(nn.Linear(2, 2))


UNREADABLE = """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        {init}

    def forward(self, z):
        {forward}
"""


@pytest.mark.parametrize(
    ("init", "forward", "found"),
    [
        ("pass", "return torch.relu(z)", True),
        ("pass", "return F.relu6(z)", True),
        ("pass", "return z.relu_()", True),
        ("pass", "return sum(part.relu() for part in (z, z))", True),
        ("self.relu = nn.ReLU()", "return self.relu(z)", False),
        ("self.relu = nn.ReLU()", "return torch.tanh(z)", False),
    ],
)
def test_calls_are_found_where_no_source_can_be_read_as_in_a_notebook(init: str, forward: str, *, found: bool) -> None:
    names: dict[str, type[nn.Module]] = {}
    exec(UNREADABLE.format(init=init, forward=forward), {**globals(), "__name__": "__main__"}, names)
    with pytest.raises((OSError, TypeError)):
        inspect.getsource(names["Hidden"])
    assert functional_relus(nn.Sequential(nn.Identity(), names["Hidden"]())) == (("1",) if found else ())
