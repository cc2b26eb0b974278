"""Distances of maps against SciPy, scikit-image and brute force, and what is said of strange maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from robustlab.explain import DISTANCES
from robustlab.explain.map_distances import cosine, l2, pull, rank_correlation, ssim, top_k_distance, top_k_mass
from robustlab.explain.map_distances import top_k_overlap as overlap

LIKENESS: list[Callable[[Tensor, Tensor], Tensor]] = [cosine, rank_correlation, overlap, ssim]


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    return maps(*shape), maps(*shape, seed=1)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_rank_correlation_is_that_of_scipy_with_ties(levels: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    one, other = ((part * levels / 8).round() for part in pair(6, 3, 5, 4))
    other = other + one
    expected = [stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(one, other, strict=True)]
    assert torch.allclose(rank_correlation(one, other), torch.tensor(expected, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 11, 11), (2, 12, 17), (2, 3, 28, 30)])
@pytest.mark.parametrize("data_range", [1.0, 7.5])
def test_ssim_is_that_of_scikit_image(shape: tuple[int, ...], data_range: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    one, other = pair(*shape)
    other = one + 0.3 * other
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    axis = 0 if len(shape) == 4 else None
    expected = [
        metrics.structural_similarity(a.numpy(), b.numpy(), data_range=data_range, channel_axis=axis, **wang)
        for a, b in zip(one, other, strict=True)
    ]
    assert torch.allclose(ssim(one, other, data_range=data_range), torch.tensor(expected, dtype=torch.float64))
    scaled = [part / part.flatten(1).abs().amax(1).reshape(-1, *[1] * (part.ndim - 1)) for part in (one, other)]
    assert torch.allclose(ssim(one, other), ssim(*scaled, data_range=2.0))


@pytest.mark.parametrize("side", [(1, 1), (2, 5), (10, 30), (4, 4)])
def test_ssim_of_small_images(side: tuple[int, int]) -> None:
    one, other = pair(3, 2, *side)
    assert torch.allclose(ssim(one, one), torch.ones(3, dtype=torch.float64))
    assert bool((ssim(one, other) < 0.999).all()) or side == (1, 1)
    if side == (1, 1):
        a, b = one / one.abs().amax(1, keepdim=True), other / other.abs().amax(1, keepdim=True)
        c = (0.01 * 2) ** 2
        assert torch.allclose(ssim(one, other), ((2 * a * b + c) / (a**2 + b**2 + c)).mean((1, 2, 3)))


def test_l2_and_cosine_by_hand() -> None:
    one, other = torch.tensor([[3.0, 1.0], [2.0, -2.0]]), torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    assert torch.allclose(l2(one, other), torch.tensor([0.125, 2.0]).double().sqrt())
    assert torch.allclose(cosine(one, other), torch.tensor([4 / 20**0.5, -1.0]).double())


@pytest.mark.parametrize("k", [1, 3, 7, 20, 99])
def test_overlap_by_brute_force(k: int) -> None:
    one, other = pair(5, 3, 4, 5)
    for a, b, found in zip(one, other, overlap(one, other, k), strict=True):
        largest = [{*part.abs().sum(0).flatten().topk(min(k, 20)).indices.tolist()} for part in (a, b)]
        assert float(found) == pytest.approx(len(largest[0] & largest[1]) / min(k, 20))
    assert torch.equal(overlap(one, one, k), torch.ones(5, dtype=torch.float64))


def test_equal_pixels_are_taken_from_the_first_and_zeros_never() -> None:
    one, other = torch.tensor([[1.0, 1.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.0, -5.0, 0.0]])
    assert overlap(one, other, 2).tolist() == [0.0]
    assert overlap(one, other, 3).tolist() == [pytest.approx(1 / 3)]
    assert overlap(other, other, 3).tolist() == [1.0]


@pytest.mark.parametrize("name", DISTANCES.names())
def test_scale_does_not_count_and_like_maps_have_distance_zero(name: str) -> None:
    distance, (one, other) = DISTANCES.get(name), pair(4, 3, 12, 13)
    assert torch.allclose(distance(one, one * 3), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(distance(one, other), distance(one * 5, other * 0.1))
    assert torch.allclose(distance(one, other), distance(other, one))
    assert bool((distance(one, other) > 0).all())
    alone = torch.cat([distance(one[i : i + 1], other[i : i + 1]) for i in range(4)])
    assert torch.allclose(distance(one, other), alone, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTANCES.names())
def test_what_a_search_climbs_is_differentiable_and_goes_with_the_measure(name: str) -> None:
    distance, (one, other) = DISTANCES.get(name), pair(2, 2, 12, 12)
    one = one.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: distance.climbed(x, other), one, eps=1e-7)
    (uphill,) = torch.autograd.grad(distance.climbed(one, other).sum(), one)
    far = 20 if name in ("rank", "top-k") else 0.1
    moved = distance(one + far * uphill / uphill.abs().amax(), other)
    assert bool((moved > distance(one, other)).all())


@pytest.mark.parametrize("likeness", LIKENESS)
def test_maps_of_zeros_are_like_each_other_only(likeness: Callable[[Tensor, Tensor], Tensor]) -> None:
    zero, one = torch.zeros(1, 1, 12, 12), maps(1, 1, 12, 12).float()
    assert float(likeness(zero, zero)) == pytest.approx(1.0)
    assert float(likeness(zero, one)) < 0.1
    assert float(likeness(one, zero)) < 0.1


def test_distances_from_a_map_of_zeros_have_finite_gradients() -> None:
    for name in DISTANCES.names():
        zero, one = torch.zeros(2, 1, 12, 12, dtype=torch.float64, requires_grad=True), maps(2, 1, 12, 12)
        for other in (one, zero.detach()):
            (grad,) = torch.autograd.grad(DISTANCES.get(name).climbed(zero, other).sum(), zero)
            assert bool(grad.isfinite().all())
    assert l2(torch.zeros(1, 4), torch.ones(1, 4)).tolist() == [0.5]


def test_stand_ins_by_hand() -> None:
    one, other = torch.tensor([[1.0, -3.0, 2.0, 4.0]]), torch.tensor([[9.0, 5.0, 7.0, 6.0]])
    assert float(top_k_mass(one, other, 2)) == pytest.approx(0.3)
    ranks = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert float(pull(one, other)) == pytest.approx(float(torch.corrcoef(torch.stack([one[0], ranks]))[0, 1]))


def test_bad_maps_are_one_sentence() -> None:
    one = maps(3, 1, 4, 4)
    with pytest.raises(ValueError, match=r"^two maps of one shape .* got \(3, 1, 4, 4\) and \(3, 4, 4\)$"):
        l2(one, one[:, 0])
    broken = one.clone()
    broken[1, 0, 2, 2] = torch.nan
    for name in DISTANCES.names():
        with pytest.raises(ValueError, match=r"^maps of 1 of 3 examples contain NaN or infinite values$"):
            DISTANCES.get(name)(one, broken)
    with pytest.raises(ValueError, match=r"^k must be a number of pixels >= 1, got 0$"):
        top_k_distance(0)
    with pytest.raises(ValueError, match=r"^SSIM compares maps of images"):
        ssim(one.flatten(1), one.flatten(1))
    with pytest.raises(ValueError, match="did you mean cosine"):
        DISTANCES.get("cosin")
