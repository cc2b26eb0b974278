"""Distance of AutoAttack and its members from the known optimum of a linear model within bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, APGDT, FAB, FABT, AutoAttack, Square, autoattack
from robustlab.core import L1, L2, Attack, Linf, Norm, Score, ThreatModel, cross_entropy, dlr, margin

NORMS: list[Norm] = [Linf(), L2(), L1()]
EPS = {"Linf": 0.15, "L2": 0.5, "L1": 1.5}
every_norm = pytest.mark.parametrize("norm", NORMS, ids=str)
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


def linear(classes: int, values: int, seed: int = 0) -> nn.Sequential:
    layer = nn.Linear(values, classes, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, values, generator=generator))
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer).eval()


def weight_of(model: nn.Sequential) -> Tensor:
    weight = model[1].weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def images(count: int, *shape: int) -> Tensor:
    """Values in [0, 1], a fifth of them at each bound: there the ball is cut."""
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (1.8 * x - 0.4).clamp(0, 1)


def reached(norm: Norm, slope: Tensor, room: Tensor, eps: Tensor) -> Tensor:
    """The largest gain of linear functions with positive slopes (..., D), values free to grow by their room.

    Linf: each value grows by min(eps, room). L1: the steepest values first. L2: by min(t slope, room), with the t that
    uses the budget up (the conditions of Karush, Kuhn and Tucker), found by bisection.
    """
    eps = eps[..., None]
    if norm == Linf():
        return (slope * torch.minimum(room, eps)).sum(-1)
    if norm == L1():
        order = slope.argsort(dim=-1, descending=True)
        used = torch.minimum(room.gather(-1, order).cumsum(-1), eps)
        return (used.diff(dim=-1, prepend=torch.zeros_like(eps)) * slope.gather(-1, order)).sum(-1)
    low, high = torch.zeros_like(eps), torch.full_like(eps, 1e6)
    for _ in range(100):
        middle = (low + high) / 2
        fits = torch.minimum(middle * slope, room).square().sum(-1, keepdim=True) <= eps.square()
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return (slope * torch.minimum(low * slope, room)).sum(-1)


def gains(model: nn.Sequential, x: Tensor, y: Tensor, norm: Norm, eps: Tensor) -> Tensor:
    """Largest gain of each logit on that of the label inside ball and bounds (N, K), with a budget for each."""
    weight, flat = weight_of(model), x.flatten(1)[:, None]
    slope = weight[None] - weight[y][:, None]
    return reached(norm, slope.abs(), torch.where(slope > 0, 1 - flat, flat), eps)


def negative_margin(model: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Each logit minus that of the label (N, K); minus infinity for the label."""
    with torch.no_grad():
        logits: Tensor = model(x)
    return (logits - logits.gather(1, y[:, None])).scatter(1, y[:, None], -torch.inf)


def best_margin(model: nn.Sequential, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """The largest margin that can be reached (N,)."""
    start = negative_margin(model, x, y)
    return (start + gains(model, x, y, threat.norm, threat.radius(x).expand(start.shape))).amax(1)


def needed(model: nn.Sequential, x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """The size of the smallest perturbation within bounds that changes the class (N,)."""
    start = negative_margin(model, x, y)
    low, high = torch.zeros_like(start), torch.full_like(start, 100.0)
    for _ in range(60):
        middle = (low + high) / 2
        enough = start + gains(model, x, y, norm, middle) >= 0
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high.amin(1)


def _square(change: Vector) -> Vector:
    return np.array([change @ change])


def solved(norm: Norm, slope: Vector, room: Vector, eps: float) -> float:
    """The same gain by a general solver."""
    from scipy.optimize import Bounds, NonlinearConstraint, linprog, minimize

    def loss(change: Vector) -> float:
        return -float(slope @ change)

    if norm == L2():
        inside = [NonlinearConstraint(_square, -np.inf, eps**2)]
        limits = Bounds(0 * room, room)
        found = minimize(loss, 0.1 * eps * room, method="SLSQP", bounds=limits, constraints=inside, tol=1e-12)
        return -float(found.fun)
    rows = np.eye(len(slope)) if norm == Linf() else np.ones((1, len(slope)))
    answer = linprog(-slope, A_ub=rows, b_ub=np.full(len(rows), eps), bounds=[(0.0, float(r)) for r in room])
    assert answer.fun is not None
    return -float(answer.fun)


@every_norm
def test_the_optimum_is_that_of_a_general_solver(norm: Norm) -> None:
    model, x = linear(2, 10), images(8, 10)
    y, eps = torch.zeros(8, dtype=torch.int64), EPS[str(norm)]
    ours = gains(model, x, y, norm, torch.full((8, 2), eps, dtype=torch.float64))[:, 1]
    slope = (weight_of(model)[1] - weight_of(model)[0]).numpy()
    rooms = np.where(slope > 0, 1 - x.numpy(), x.numpy())
    expected = [solved(norm, np.abs(slope), room, eps) for room in rooms]
    assert ours.tolist() == pytest.approx(expected, rel=1e-5)


def fraction_of_the_best_gain(attack: Attack, model: nn.Sequential, x: Tensor, threat: ThreatModel) -> Tensor:
    """Fraction of the largest possible gain in margin that an attack at full strength reaches (N,), at most 1."""
    with torch.no_grad():
        y = model(x).argmax(1)
        x_adv = attack(model, x, y, stop="never")
        start = margin(model(x), y)
        fraction = (margin(model(x_adv), y) - start) / (best_margin(model, x, y, threat) - start)
    assert threat.contains(x, x_adv).all()
    assert (fraction <= 1 + 1e-9).all()
    return fraction


@pytest.mark.slow
@every_norm
@pytest.mark.parametrize("score", [cross_entropy, dlr, margin, None], ids=repr)
def test_auto_pgd_reaches_the_largest_margin(norm: Norm, score: Score | None) -> None:
    """In L1 its steps change a fraction of the values at a time, which leaves some of the budget on the wrong ones."""
    model, x, threat = linear(2, 60), images(20, 3, 5, 4), ThreatModel(norm, EPS[str(norm)])
    attack = APGDT(threat) if score is None else APGD(threat, score=score)
    fraction = fraction_of_the_best_gain(attack, model, x, threat)
    assert fraction.min() > {"Linf": 1 - 1e-9, "L2": 0.98, "L1": 0.8}[str(norm)]
    assert fraction.mean() > {"Linf": 1 - 1e-9, "L2": 0.995, "L1": 0.98}[str(norm)]


@pytest.mark.slow
@every_norm
def test_random_search_comes_near_the_largest_margin(norm: Norm) -> None:
    """The windows of L2 and L1 are never smaller than three by three."""
    model, x, threat = linear(2, 30), images(10, 1, 6, 5), ThreatModel(norm, EPS[str(norm)])
    fraction = fraction_of_the_best_gain(Square(threat, 1500), model, x, threat)
    assert fraction.min() > {"Linf": 1 - 1e-9, "L2": 0.6, "L1": 0.65}[str(norm)]


@pytest.mark.slow
@every_norm
def test_fab_finds_the_smallest_perturbation_within_bounds(norm: Norm) -> None:
    """The untargeted form goes for the class that is nearest without bounds, not always the nearest within."""
    model, x = linear(5, 40), images(30, 40)
    y, threat = model(x).argmax(1), ThreatModel(norm, 1.0 if norm == Linf() else 50.0)
    best = needed(model, x, y, norm)
    for attack, most, mean in ((FABT(threat, 60), 1.02, 1.01), (FAB(threat, 60), 2.0, 1.05)):
        x_adv = attack(model, x, y, stop="never")
        longer = norm.size(x_adv - x) / best
        assert (model(x_adv).argmax(1) != y).all()
        assert (longer >= 1 - 1e-9).all()
        assert longer.max() < most
        assert longer.mean() < mean


def suite(threat: ThreatModel) -> AutoAttack:
    """The standard stages with less patience."""
    attacks = (APGD(threat, 30), APGDT(threat, 60), FABT(threat, 40), Square(threat, 100))
    assert [type(attack) for attack in attacks[1:]] == [type(attack) for attack in autoattack(threat).attacks[1:]]
    return AutoAttack(autoattack(threat).names, attacks)


def between(sizes: Tensor) -> float:
    """A budget about the median, in the widest gap there is between two sizes: nothing is decided by a hair."""
    order = sizes.sort().values[len(sizes) // 3 : 2 * len(sizes) // 3]
    widest = int((order[1:] / order[:-1]).argmax())
    assert order[widest + 1] > 1.05 * order[widest]
    return math.sqrt(float(order[widest] * order[widest + 1]))


@pytest.mark.slow
@every_norm
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("make", [suite, FABT, APGDT], ids=["suite", "FABT", "APGDT"])
def test_exactly_the_examples_fall_that_can(norm: Norm, classes: int, make: Callable[[ThreatModel], Attack]) -> None:
    model, x = linear(classes, 40), images(60, 5, 8)
    y = model(x).argmax(1)
    sizes = needed(model, x, y, norm)
    threat = ThreatModel(norm, between(sizes))
    x_adv = make(threat)(model, x, y)
    fooled, can = model(x_adv).argmax(1) != y, sizes < threat.radius(x)
    assert threat.contains(x, x_adv).all()
    assert 15 < can.sum() < 45
    assert not (fooled & ~can).any(), "the optimum is none"
    assert (can & ~fooled).sum() <= (1 if make is APGDT and norm == L1() else 0)
