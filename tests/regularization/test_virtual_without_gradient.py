"""Virtual neighbours where the gradient is exactly 0: ours go along the random start, the original's stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import L1, L2, Linf, Norm
from robustlab.regularization import VirtualNeighbourhood, virtual_adversarial_loss

NORMS: list[Norm] = [Linf(), L2(), L1()]
ORDERS = {"Linf": torch.inf, "L2": 2.0, "L1": 1.0}
STEP, XI = 0.5, 1e-4


class Kinked(nn.Module):
    """A linear layer behind a ReLU that is off below 0: no slope there, and a change further on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 2, 15, dtype=torch.float64).reshape(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) @ self.weight


def unit(d: Tensor, order: float) -> Tensor:
    """Rows divided by their length, 0 where that is 0."""
    length = torch.linalg.vector_norm(d, order, dim=1, keepdim=True)
    return torch.where(length > 0, d / length.clamp_min(1e-30), 0)


def of_the_original(model: nn.Module, x: Tensor, start: Tensor, order: float, iterations: int) -> Tensor:
    """The loss by the formula of Neural Structured Learning 1.4.0, in plain code.

    d <- normalise(grad_d mean (f(x) - f(x + xi d))**2), and the loss is the mean of (f(x) - f(x + step d))**2.
    """
    clean, d = model(x).detach(), unit(start, order)
    for _ in range(iterations):
        shift = (XI * d).requires_grad_()
        (slope,) = torch.autograd.grad((clean - model(x + shift)).square().mean(), shift)
        d = unit(slope, order)
    loss: Tensor = (clean - model(x + STEP * d)).square().mean()
    return loss


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_only_where_the_gradient_is_zero_do_both_differ(norm: Norm, iterations: int) -> None:
    draw = torch.Generator().manual_seed(1)
    x = 0.5 + torch.rand(4, 5, generator=draw, dtype=torch.float64)
    start = torch.rand(4, 5, generator=draw, dtype=torch.float64) + 0.2
    model, how = Kinked(), VirtualNeighbourhood(norm, STEP, iterations, XI)
    order = ORDERS[str(norm)]
    ours = virtual_adversarial_loss(model, x, how, start=start)
    assert ours.item() == pytest.approx(of_the_original(model, x, start, order, iterations).item(), rel=1e-6)
    off = torch.full((4, 5), -0.01, dtype=torch.float64)
    assert of_the_original(model, off, start, order, iterations).item() == 0.0
    along = model(off + STEP * unit(start, order)).detach()
    ours = virtual_adversarial_loss(model, off, how, start=start)
    assert ours.item() == pytest.approx(along.square().mean().item(), rel=1e-9) != 0.0
