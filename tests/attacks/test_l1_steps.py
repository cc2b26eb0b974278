"""Steps in L1: the number of values that they change, and gains over one value at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD
from robustlab.attacks.steps import alike, steepest, taken, uphill
from robustlab.core import L1, Attack, ThreatModel

FREE = (-math.inf, math.inf)


def slopes(count: int, values: int) -> Tensor:
    """Distinct gradients of both signs."""
    draw = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(values, generator=draw) + 1.0 for _ in range(count)]) * (
        torch.randint(2, (count, values), generator=draw) * 2 - 1
    )


@pytest.mark.parametrize(
    ("size", "bounds", "count"),
    [
        (0.1, (0.0, 1.0), 4), (0.6, (0.0, 1.0), 4), (0.7, (0.0, 1.0), 5), (2.0, (0.0, 1.0), 12), (50.0, (0.0, 1.0), 40),
        (2.0 * 255, (0.0, 255.0), 12), (2.0, (-1.0, 1.0), 6), (1e6, FREE, 4),
    ],
)  # fmt: skip
def test_a_step_goes_alike_to_so_many_of_the_largest_gradients(
    size: float, bounds: tuple[float, float], count: int
) -> None:
    grad = slopes(3, 400)
    rule = steepest(L1(), size, bounds)
    move, _ = rule.update(grad.clone(), rule.init(grad))
    changed = move != 0
    assert changed.sum(1).tolist() == [count] * 3
    assert torch.allclose(L1().size(move), torch.full((3,), size))
    assert torch.allclose(move[changed].abs(), torch.tensor(size / count))
    assert torch.equal(move.sign()[changed], grad.sign()[changed])
    assert all(bool(g[c].abs().min() > g[~c].abs().max()) for g, c in zip(grad, changed, strict=True))


def test_few_values_leave_the_steepest_one() -> None:
    grad = slopes(4, 12)
    assert torch.equal(uphill(L1(), grad.clone(), 5.0, 1 / 6), L1().steepest(grad))


def test_a_step_of_each_example_has_its_own_number_of_values() -> None:
    rule, grad = steepest(L1(), (0.1, 2.0, 0.7), (0.0, 1.0)), slopes(3, 400)
    move, _ = rule.update(grad.clone(), rule.init(grad))
    assert (move != 0).sum(1).tolist() == [4, 12, 5]
    assert torch.allclose(L1().size(move), torch.tensor([0.1, 2.0, 0.7]))
    rows = torch.tensor([1, 2])
    rest, _ = rule.update(grad[rows].clone(), taken(rule.init(grad), rows))
    assert torch.equal(rest, move[rows])


def test_values_without_gradient_do_not_move_and_ties_move_alike() -> None:
    grad = torch.tensor([[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [2.0, -2.0, 1.0, 2.0]])
    assert alike(grad, 3).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], pytest.approx([1 / 3, -1 / 3, 0, 1 / 3])]


@pytest.mark.parametrize(("eps", "count"), [(2.0, 4), (9.5, 10), (99.0, 40)])
def test_one_step_of_the_whole_budget_moves_no_value_beyond_the_width(eps: float, count: int) -> None:
    grad, y = slopes(3, 400), torch.zeros(3, dtype=torch.int64)

    def model(x: Tensor) -> Tensor:
        difference = (x * grad).sum(1)
        return torch.stack([10 - difference, difference], dim=1)

    moved = FGSM(ThreatModel(L1(), eps))(model, torch.full((3, 400), 0.5), y, stop="never") != 0.5
    assert moved.sum(1).tolist() == [count] * 3
    assert all(bool(g[m].abs().min() > g[~m].abs().max()) for g, m in zip(grad, moved, strict=True))


@pytest.fixture
def images() -> tuple[nn.Module, Tensor, Tensor]:
    """A network whose every value counts a little: one value at a time gets nowhere."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(400, 30), nn.Tanh(), nn.Linear(30, 4)).eval()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=draw))
    x = (torch.rand(60, 1, 20, 20, generator=draw) > 0.5).float()
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("make", [FGSM, PGD])
def test_spread_steps_are_stronger_than_steps_of_one_value(
    make: type[FGSM] | type[PGD], images: tuple[nn.Module, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = images
    attack: Attack = make(ThreatModel(L1(), 6.0))

    def margin_left() -> float:
        z = model(attack(model, x, y, stop="never")).detach()
        own = z.gather(1, y[:, None])
        return float((own[:, 0] - z.scatter(1, y[:, None], -torch.inf).amax(1)).mean())

    spread = margin_left()
    monkeypatch.setattr("robustlab.attacks.steps._MOST", 0.0)
    monkeypatch.setattr("robustlab.attacks.steps._FEWEST", 0.0)
    assert spread < margin_left() - 0.1
