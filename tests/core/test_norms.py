from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from robustlab.core import L1, L2, Linf, Norm, Streams

Vector: TypeAlias = npt.NDArray[np.float64]
NORMS: list[Norm] = [Linf(), L2(), L1()]
ORDERS = {"Linf": torch.inf, "L2": 2, "L1": 1}
DUALS = {"Linf": 1, "L2": 2, "L1": torch.inf}
every_norm = pytest.mark.parametrize("norm", NORMS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_norm
@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 3, 4)])
def test_size_is_the_norm_of_each_row(norm: Norm, shape: tuple[int, ...]) -> None:
    delta = normal(*shape)
    expected = [np.linalg.norm(row.flatten().numpy(), float(ORDERS[str(norm)])) for row in delta]
    assert norm.size(delta).tolist() == pytest.approx(expected)


@every_norm
def test_norms_are_values(norm: Norm) -> None:
    assert norm == type(norm)()
    assert len({norm, type(norm)()}) == 1
    assert all(norm != other for other in NORMS if other is not norm)
    assert str(norm) == type(norm).__name__


@every_norm
@every_dtype
def test_projection_keeps_points_inside_and_the_dtype(norm: Norm, dtype: torch.dtype) -> None:
    delta = normal(6, 2, 3).to(dtype)
    assert torch.equal(norm.project(delta, 100.0), delta)
    assert norm.project(delta, 0.5).dtype == dtype
    assert torch.equal(norm.project(torch.zeros_like(delta), 0.0), torch.zeros_like(delta))


@every_norm
@pytest.mark.parametrize("eps", [0.0, 0.3, 2.0])
def test_projection_lands_on_the_ball_and_stays_there(norm: Norm, eps: float) -> None:
    delta = normal(20, 7)
    once = norm.project(delta, eps)
    assert norm.size(once).tolist() == pytest.approx(norm.size(delta).clamp(max=eps).tolist())
    assert torch.allclose(norm.project(once, eps), once, atol=1e-14)


@every_norm
def test_no_point_of_the_ball_is_closer_than_the_projection(norm: Norm) -> None:
    delta = normal(1, 5)
    nearest = torch.linalg.vector_norm(norm.project(delta, 0.8) - delta)
    points = norm.sample(torch.zeros(20_000, 5, dtype=torch.float64), 0.8, Streams(0, torch.arange(20_000)))
    assert (torch.linalg.vector_norm(points - delta, dim=1) >= nearest).all()


@every_norm
def test_a_radius_per_example_is_that_of_each_row(norm: Norm) -> None:
    delta, radii = normal(4, 2, 3), torch.tensor([0.0, 0.2, 1.0, 9.0], dtype=torch.float64)
    box = torch.full_like(delta, -0.4), torch.full_like(delta, 0.6)
    for row, eps in enumerate(radii.tolist()):
        one = slice(row, row + 1)
        assert torch.allclose(norm.project(delta, radii)[one], norm.project(delta[one], eps), atol=1e-15)
        joint = norm.project_box(delta[one], eps, box[0][one], box[1][one])
        assert torch.allclose(norm.project_box(delta, radii, *box)[one], joint, atol=1e-15)


@every_norm
@pytest.mark.parametrize("eps", [-0.1, float("nan"), torch.tensor([0.1, -0.1])])
def test_a_radius_that_is_none_is_refused(norm: Norm, eps: float | Tensor) -> None:
    with pytest.raises(ValueError, match="a radius must be a number >= 0, got"):
        norm.project(torch.zeros(2, 3), eps)


@every_norm
def test_radii_of_another_number_are_refused(norm: Norm) -> None:
    with pytest.raises(ValueError, match=r"one eps per example: got \(3,\) for 2 examples"):
        norm.project(torch.ones(2, 3), torch.ones(3))


@every_norm
@every_dtype
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
def test_the_steepest_direction_gains_the_dual_norm(norm: Norm, dtype: torch.dtype, scale: float) -> None:
    grad = (normal(8, 2, 3) * scale).to(dtype)
    step = norm.steepest(grad)
    tolerance = 10 * torch.finfo(dtype).eps
    assert step.dtype == dtype
    assert norm.size(step.double()).tolist() == pytest.approx([1.0] * 8, rel=tolerance)
    gain = (step.double() * grad.double()).flatten(1).sum(dim=1)
    dual = torch.linalg.vector_norm(grad.double().flatten(1), DUALS[str(norm)], dim=1)
    assert gain.tolist() == pytest.approx(dual.tolist(), rel=tolerance)


@every_norm
@pytest.mark.parametrize("size", [1e-30, 1e-44])
def test_gradients_whose_squares_underflow_have_a_direction(norm: Norm, size: float) -> None:
    grad = torch.tensor([[size, 0.0, -size]])
    assert norm.size(norm.steepest(grad)).item() == pytest.approx(1.0)


@every_norm
def test_where_there_is_no_gradient_there_is_no_direction(norm: Norm) -> None:
    nothing = torch.zeros(2, 3)
    assert torch.equal(norm.steepest(nothing), nothing)
    assert torch.equal(norm.normalise(nothing), nothing)


@every_norm
def test_normalising_gives_unit_size_and_keeps_the_direction(norm: Norm) -> None:
    delta = normal(5, 2, 3)
    unit = norm.normalise(delta)
    assert norm.size(unit).tolist() == pytest.approx([1.0] * 5)
    assert torch.allclose(unit * norm.size(delta).reshape(-1, 1, 1), delta)


def test_ties_share_the_steepest_l1_step() -> None:
    assert L1().steepest(torch.tensor([[2.0, -2.0, 1.0, 0.0]])).tolist() == [[0.5, -0.5, 0.0, 0.0]]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("eps", [0.4, 1.5])
def test_the_joint_l1_projection_is_the_quadratic_optimum(seed: int, eps: float) -> None:
    delta = normal(1, 6, seed=seed)[0]
    x = torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ours = L1().project_box(delta[None], eps, -x[None], 1 - x[None])[0]
    theirs = quadratic_optimum(delta.numpy(), x.numpy(), eps)
    assert ours.abs().sum() <= eps + 1e-12
    assert ((ours >= -x) & (ours <= 1 - x)).all()
    assert ((ours - delta) ** 2).sum().item() == pytest.approx(((theirs - delta.numpy()) ** 2).sum(), abs=1e-8)
    assert ours.numpy() == pytest.approx(theirs, abs=1e-5)


def quadratic_optimum(delta: Vector, x: Vector, eps: float) -> Vector:
    """The nearest p = up - down to delta with up, down >= 0, sum(up + down) <= eps and 0 <= x + p <= 1."""
    n = len(delta)
    split = np.hstack([np.eye(n), -np.eye(n)])

    def distance(both: Vector) -> float:
        return float(((split @ both - delta) ** 2).sum())

    def slope(both: Vector) -> Vector:
        return np.asarray(2 * split.T @ (split @ both - delta))

    found = minimize(
        distance,
        np.zeros(2 * n),
        jac=slope,
        method="SLSQP",
        bounds=[(0.0, float(limit)) for limit in (*(1 - x), *x)],
        constraints=LinearConstraint(np.ones((1, 2 * n)), -np.inf, eps),
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    return np.asarray(split @ found.x)


@pytest.mark.parametrize("eps", [0.0, 0.5, 3.0, 50.0])
def test_the_l1_threshold_is_that_of_a_bisection(eps: float) -> None:
    delta = normal(30, 40) * 2
    low, high = -torch.rand(30, 40, dtype=torch.float64), torch.rand(30, 40, dtype=torch.float64)
    lowest, highest = torch.zeros(30, 1, dtype=torch.float64), delta.abs().amax(dim=1, keepdim=True)
    for _ in range(80):
        middle = (lowest + highest) / 2
        fits = (delta.sign() * (delta.abs() - middle).clamp(min=0)).clamp(low, high).abs().sum(1, keepdim=True) <= eps
        lowest, highest = torch.where(fits, lowest, middle), torch.where(fits, middle, highest)
    expected = (delta.sign() * (delta.abs() - highest).clamp(min=0)).clamp(low, high)
    assert torch.allclose(L1().project_box(delta, eps, low, high), expected, atol=1e-12)


@pytest.mark.parametrize("norm", [Linf(), L2()], ids=str)
def test_other_joint_projections_are_in_ball_and_box(norm: Norm) -> None:
    delta, low, high = normal(30, 8), -torch.rand(30, 8).double(), torch.rand(30, 8).double()
    joint = norm.project_box(delta, 0.7, low, high)
    assert (norm.size(joint) <= 0.7 + 1e-15).all()
    assert ((joint >= low) & (joint <= high)).all()
    torch.testing.assert_close(norm.project_box(joint, 0.7, low, high), joint, rtol=1e-15, atol=0)


DRAWS = 20_000


@every_norm
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_samples_are_uniform_in_the_ball(norm: Norm, dims: int) -> None:
    points = norm.sample(torch.zeros(DRAWS, dims, dtype=torch.float64), 2.0, Streams(0, torch.arange(DRAWS)))
    assert stats.kstest((norm.size(points) / 2).pow(dims).numpy(), "uniform").pvalue > 1e-3
    for signs in itertools.product((-1, 1), repeat=dims):
        share = (points.sign() == torch.tensor(signs)).all(dim=1).double().mean().item()
        assert share == pytest.approx(2.0**-dims, abs=4 * (2.0**-dims / DRAWS) ** 0.5)
    direction = norm.normalise(points).abs()
    assert direction.mean(dim=0).tolist() == pytest.approx([direction.mean().item()] * dims, abs=0.02)


@pytest.mark.parametrize(("norm", "law"), [(Linf(), "uniform"), (L2(), "semicircular"), (L1(), "triang")], ids=str)
def test_one_coordinate_of_a_planar_sample_has_the_law_of_the_ball(norm: Norm, law: str) -> None:
    points = norm.sample(torch.zeros(DRAWS, 2, dtype=torch.float64), 1.0, Streams(1, torch.arange(DRAWS)))
    laws = {"uniform": stats.uniform(-1, 2), "semicircular": stats.semicircular(), "triang": stats.triang(0.5, -1, 2)}
    assert stats.kstest(points[:, 0].numpy(), laws[law].cdf).pvalue > 1e-3


@every_norm
@every_dtype
def test_samples_have_shape_dtype_and_the_radius_of_each_row(norm: Norm, dtype: torch.dtype) -> None:
    x, radii = torch.zeros(300, 2, 3, 4, dtype=dtype), torch.tensor([0.0, 0.1, 2.0]).repeat(100)
    points = norm.sample(x, radii, Streams(0, torch.arange(300)))
    assert (points.shape, points.dtype) == (x.shape, dtype)
    size = norm.size(points.double())
    assert (size <= radii.double() * (1 + 2 * torch.finfo(dtype).eps)).all()
    assert (size[0::3] == 0).all()
    assert (size[2::3] > 0.1).float().mean() > 0.9


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=str)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=str)
def test_sizes_do_not_depend_on_the_memory_layout_and_of_nothing_are_none(
    norm: Norm, memory: torch.memory_format
) -> None:
    delta = torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    order = {"Linf": torch.inf, "L2": 2, "L1": 1}[str(norm)]
    expected = torch.stack([torch.linalg.vector_norm(row.flatten(), order) for row in delta])
    torch.testing.assert_close(norm.size(delta.contiguous(memory_format=memory)), expected)
    assert norm.size(delta[:0].contiguous(memory_format=memory)).shape == (0,)
