from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from robustlab.core import L1, L2, Linf, Norm, Streams, ThreatModel

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
CASES: list[tuple[Norm, float]] = [
    (Linf(), 8 / 255),
    (Linf(), 0.3),
    (L2(), 0.5),
    (L2(), 2.0),
    (L1(), 3.0),
    (L1(), 12.0),
]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_case = pytest.mark.parametrize(("norm", "eps"), CASES, ids=[f"{norm}-{eps:.3g}" for norm, eps in CASES])


def pictures(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Values in [0, 1], a quarter of them at each bound."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 0.5
    return x.clamp(0, 1).to(dtype)


def moved(x: Tensor, by: float, seed: int = 1) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (x.double() + by * noise).to(x.dtype)


def exact_size(norm: Norm, x: Tensor, x_adv: Tensor) -> Fraction:
    """The norm of one example's change in exact arithmetic (squared for L2)."""
    pairs = zip(x.flatten().tolist(), x_adv.flatten().tolist(), strict=True)
    changes = [abs(Fraction(b) - Fraction(a)) for a, b in pairs]
    if isinstance(norm, Linf):
        return max(changes)
    return sum(changes, Fraction()) if isinstance(norm, L1) else sum((c * c for c in changes), Fraction())


@every_dtype
@every_case
@pytest.mark.parametrize("by", [0.02, 0.5, 30.0])
def test_projected_points_are_inside_exactly(norm: Norm, eps: float, dtype: torch.dtype, by: float) -> None:
    threat, x = ThreatModel(norm, eps), pictures(40, 3, 7, 9, dtype=dtype)
    x_adv = threat.project(x, moved(x, by))
    assert x_adv.dtype == dtype
    assert (norm.size(x_adv.double() - x.double()) <= eps).all()
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    assert threat.contains(x, x_adv).all()


@every_dtype
@every_case
def test_the_budget_holds_even_in_exact_arithmetic(norm: Norm, eps: float, dtype: torch.dtype) -> None:
    x = pictures(60, 20, dtype=dtype)
    x_adv = ThreatModel(norm, eps).project(x, moved(x, 1.0))
    limit = Fraction(eps) ** 2 if isinstance(norm, L2) else Fraction(eps)
    slack = Fraction(1, 10**15) if isinstance(norm, Linf) and dtype == torch.float64 else 0
    assert all(exact_size(norm, a, b) <= limit * (1 + slack) for a, b in zip(x, x_adv, strict=True))


@every_case
@every_dtype
def test_nearly_the_whole_budget_is_left_to_the_attacker(norm: Norm, eps: float, dtype: torch.dtype) -> None:
    x = torch.full((20, 3, 7, 9), 0.5, dtype=dtype)
    wide = ThreatModel(norm, eps, (-100.0, 100.0))
    size = norm.size(wide.project(x, moved(x, 1.0)).double() - x.double())
    loss = {torch.float16: 0.1, torch.bfloat16: 0.5, torch.float32: 1e-5, torch.float64: 1e-11}[dtype]
    assert (size >= eps * (1 - loss)).all()


@every_case
def test_points_inside_stay_where_they_are(norm: Norm, eps: float) -> None:
    x = pictures(20, 3, 8, 8, dtype=torch.float64)
    threat = ThreatModel(norm, eps)
    inside = threat.project(x, moved(x, 0.1))
    assert torch.allclose(threat.project(x, inside), inside, rtol=0, atol=1e-15)
    assert torch.equal(threat.project(x, x), x)


@every_case
@every_dtype
def test_without_budget_there_is_only_the_input(norm: Norm, eps: float, dtype: torch.dtype) -> None:
    x = pictures(10, 3, 5, 4, dtype=dtype)
    threat = ThreatModel(norm, 0.0 * eps)
    assert torch.equal(threat.project(x, moved(x, 1.0)), x)
    assert torch.equal(threat.sample(x, Streams(0, torch.arange(10))), x)


@pytest.mark.parametrize("norm", [Linf(), L1()], ids=str)
def test_the_projection_is_the_nearest_feasible_point(norm: Norm) -> None:
    x = pictures(1, 6, dtype=torch.float64)
    threat, point = ThreatModel(norm, 0.7), moved(x, 0.8)
    nearest = torch.linalg.vector_norm(threat.project(x, point) - point)
    many = x.expand(50_000, -1)
    feasible = threat.norm.sample(many, 0.7, Streams(0, torch.arange(50_000))) + many
    feasible = feasible[((feasible >= 0) & (feasible <= 1)).all(dim=1)]
    assert len(feasible) > 100
    assert (torch.linalg.vector_norm(feasible - point, dim=1) >= nearest - 1e-9).all()


@every_case
@every_dtype
def test_samples_are_feasible_and_fill_the_ball(norm: Norm, eps: float, dtype: torch.dtype) -> None:
    x = torch.full((200, 2, 3), 0.5, dtype=dtype)
    threat = ThreatModel(norm, eps, (-20.0, 20.0))
    points = threat.sample(x, Streams(0, torch.arange(200)))
    assert threat.contains(x, points).all()
    assert norm.size(points.double() - x.double()).amax().item() > 0.8 * eps


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=str)
@every_dtype
def test_one_eps_per_example_is_the_eps_of_each(norm: Norm, dtype: torch.dtype) -> None:
    x, each = pictures(4, 3, 5, 6, dtype=dtype), (0.0, 0.05, 0.3, 0.3)
    threat, streams = ThreatModel(norm, each), Streams(0, torch.arange(4))
    projected, sampled = threat.project(x, moved(x, 0.5)), threat.sample(x, streams)
    for row, eps in enumerate(each):
        one = torch.arange(4) == row
        alone = ThreatModel(norm, eps)
        assert torch.equal(alone.project(x[one], moved(x, 0.5)[one]), projected[one])
        assert torch.equal(alone.sample(x[one], streams.take(one)), sampled[one])
        assert threat.take(one) == ThreatModel(norm, (eps,))
    assert threat.contains(x, projected).all()


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=str)
def test_a_region_of_some_rows_is_the_region_of_those_inputs(norm: Norm) -> None:
    x, rows = pictures(6, 3, 5, 6), torch.tensor([True, False, True, True, False, True])
    threat = ThreatModel(norm, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    far = moved(x, 1.0)
    assert torch.equal(threat.region(x).take(rows).project_(far[rows].clone()), threat.project(x, far)[rows])
    assert torch.equal(
        threat.take(torch.tensor([0, 2, 3, 5])).project(x[rows], far[rows]), threat.project(x, far)[rows]
    )


def test_contains_is_exact_at_the_edge() -> None:
    x = torch.zeros(4, 2, dtype=torch.float64)
    eps = 0.1
    points = torch.tensor([[eps, 0], [math.nextafter(eps, 1), 0], [0, -1e-300], [0, math.nan]], dtype=torch.float64)
    assert ThreatModel(Linf(), eps).contains(x, points).tolist() == [True, False, False, False]
    assert ThreatModel(L2(), eps, (-1, 1)).contains(x, points).tolist() == [True, False, True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_a_bound_is_compared_as_the_dtype_has_it_and_kept_as_it_was_written(dtype: torch.dtype) -> None:
    x = torch.tensor([[0.5]], dtype=dtype)
    threat = ThreatModel(L2(), 1.0, (0.1, 0.7))
    for bound, inwards in ((0.1, 1.0), (0.7, 0.0)):
        point = torch.tensor([[bound]], dtype=dtype)
        beyond = torch.nextafter(point, torch.full_like(point, 1 - inwards))
        outside = not 0.1 <= point.item() <= 0.7
        assert threat.contains(x, point).item()
        assert not threat.contains(x, beyond).item()
        inner = torch.nextafter(point, torch.full_like(point, inwards)) if outside else point
        assert torch.equal(threat.project(x, torch.full_like(x, 2 * bound - 0.5)), inner)


def test_float32_eps_is_compared_as_the_number_that_was_written() -> None:
    x = torch.zeros(1, 1)
    above = torch.tensor([[0.1]])  # in float32 this is 0.10000000149
    assert not ThreatModel(Linf(), 0.1).contains(x, above).item()
    assert ThreatModel(Linf(), 0.1).project(x, above) < above


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=str)
@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (-1.0, 1.0), (0.1, 0.9), (0.0, 255.0)])
@every_dtype
def test_bounds_may_be_any(norm: Norm, bounds: tuple[float, float], dtype: torch.dtype) -> None:
    low, high = max(bounds[0], -3), min(bounds[1], 300)
    x = (low + (high - low) * (0.01 + 0.98 * pictures(20, 4, 6, dtype=torch.float64))).to(dtype)
    threat = ThreatModel(norm, 0.4, bounds)
    x_adv = threat.project(x, moved(x, 2.0))
    assert threat.contains(x, x_adv).all()
    assert (x_adv != x).any()


def test_an_infinite_point_is_brought_back() -> None:
    x = torch.full((1, 2), 0.5, dtype=torch.float64)
    far = torch.tensor([[math.inf, -math.inf]], dtype=torch.float64)
    assert ThreatModel(Linf(), 0.25).project(x, far).tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize("norm", [L2(), L1()], ids=str)
def test_balls_do_not_waste_gradient_on_values_at_their_bound(norm: Norm) -> None:
    x = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.5]])
    grad = torch.tensor([[-1.0, 1.0, 2.0, -2.0, 3.0]])
    inward = ThreatModel(norm, 0.5).region(x).inward(x, grad.clone())
    assert inward.tolist() == [[0.0, 0.0, 2.0, -2.0, 3.0]]
    assert torch.equal(ThreatModel(Linf(), 0.5).region(x).inward(x, grad.clone()), grad)


def test_projection_does_not_touch_or_track_its_inputs() -> None:
    x, point = pictures(2, 3), moved(pictures(2, 3), 1.0).requires_grad_()
    before = x.clone(), point.detach().clone()
    for norm in (Linf(), L2(), L1()):
        assert not ThreatModel(norm, 0.2).project(x, point).requires_grad
    assert torch.equal(x, before[0])
    assert torch.equal(point, before[1])


def test_threat_models_are_values() -> None:
    eps = torch.tensor([0.1, 0.2], dtype=torch.float64)
    assert ThreatModel(Linf(), eps) == ThreatModel(Linf(), [0.1, 0.2])
    assert ThreatModel(Linf(), eps).eps == (0.1, 0.2)
    assert len({ThreatModel(L2(), 1), ThreatModel(L2(), 1.0), ThreatModel(L2(), torch.tensor(1.0))}) == 1
    assert repr(ThreatModel(L1(), 2, (0, 255))) == "ThreatModel(norm=L1(), eps=2.0, bounds=(0.0, 255.0))"


@pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf, (0.1, -0.1), torch.tensor([math.nan])])
def test_an_eps_that_is_none_is_refused(eps: float | tuple[float, ...] | Tensor) -> None:
    with pytest.raises(ValueError, match=r"eps must be a finite number >= 0, got (-0.1|nan|inf)"):
        ThreatModel(L2(), eps)


def test_eps_in_units_of_255_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"eps=8 is more than the whole range of the inputs \(1\).*write 8/255"):
        ThreatModel(Linf(), 8)
    with pytest.raises(ValueError, match=r"eps=300 is more than the whole range of the inputs \(255\)$"):
        ThreatModel(Linf(), 300, (0, 255))
    assert ThreatModel(Linf(), 8, (0, 255)).eps == 8
    assert ThreatModel(L2(), 8).eps == 8


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, 0.0), (0.0, math.nan)])
def test_reversed_bounds_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"bounds must be \(low, high\) with low < high, got"):
        ThreatModel(Linf(), 0.1, bounds)
