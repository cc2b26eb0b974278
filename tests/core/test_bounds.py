"""Bounds of normalised data, most of which are no numbers of the dtype of the inputs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from robustlab.attacks import APGD, FAB, PGD, Square, Uint8, VirtualAdversarial, autoattack
from robustlab.attacks.call import checked_inputs
from robustlab.core import L1, L2, Attack, Batch, Linf, Norm, ThreatModel
from robustlab.core.bounds import outside, widened
from robustlab.evaluation.input_checks import batch_faults

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
MNIST, FASHION = ((0.1307,), (0.3081,)), ((0.2860,), (0.3530,))
SVHN, ODD = ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)), ((0.9, 0.05, 0.77), (0.013, 0.7, 3.1))
UNITS = [IMAGENET, CIFAR, MNIST, FASHION, SVHN, ODD]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def bounds_of(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[float, float]:
    """The bounds as somebody works them out, in Python's numbers."""
    pairs = list(zip(mean, std, strict=True))
    return min((0 - m) / s for m, s in pairs), max((1 - m) / s for m, s in pairs)


def normalised(mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Examples (6, C, 4, 4) with black and white among them, normalised in that precision."""
    x = torch.rand(6, len(mean), 4, 4, generator=torch.Generator().manual_seed(3))
    x[:, :, 0], x[:, :, 1, :2] = 0, 1
    m, s = (torch.tensor(v, dtype=dtype).view(-1, 1, 1) for v in (mean, std))
    return (x.to(dtype) - m) / s


def refused(x: Tensor, bounds: tuple[float, float]) -> bool:
    """True if attacks and evaluations refuse the inputs; both must agree."""
    y = torch.zeros(len(x), dtype=torch.int64)
    found = [fault.code for fault in batch_faults(Batch(x, y, torch.arange(len(x))), bounds)]
    try:
        checked_inputs(x, y, ThreatModel(L2(), 1.0, bounds))
    except ValueError:
        assert found
        return True
    assert not found
    return False


@every_dtype
@pytest.mark.parametrize("units", UNITS)
def test_data_are_valid_in_the_bounds_of_their_normalisation(
    units: tuple[tuple[float, ...], tuple[float, ...]], dtype: torch.dtype
) -> None:
    bounds, fine = bounds_of(*units), normalised(*units)
    for x in (normalised(*units, dtype), fine.to(dtype), fine.double().to(dtype)):
        assert not refused(x, bounds)
        assert ThreatModel(Linf(), 0.0, bounds).contains(x, x).all()
        wide = 0.05 * (bounds[1] - bounds[0])
        assert refused(torch.where(x == x.min(), x.min() - wide, x), bounds)
        assert refused(torch.where(x == x.max(), x.max() + wide, x), bounds)


@every_dtype
def test_bounds_may_be_numpy_scalars_and_least_and_largest_values(dtype: torch.dtype) -> None:
    mean, std = (np.array(v, dtype=np.float32) for v in IMAGENET)
    low, high = (-mean / std).min(), ((1 - mean) / std).max()
    x = normalised(*IMAGENET)
    for bounds in ((low, high), (x.min().item(), x.max().item()), (np.float64(low), np.float64(high))):
        assert not refused(x.to(dtype), bounds)
    exact = normalised(*IMAGENET, torch.float64)  # what float32 cannot say lies beyond bounds that it can
    assert not refused(exact, (low, high))


@every_dtype
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 0.5), (-math.inf, math.inf)])
def test_bounds_that_are_short_numbers_are_exact(bounds: tuple[float, float], dtype: torch.dtype) -> None:
    assert widened(bounds, dtype) == bounds
    edge = torch.tensor([[bounds[0], bounds[1]]], dtype=dtype)
    if math.isfinite(bounds[1]):
        assert not refused(edge, bounds)
        assert refused(torch.nextafter(edge, torch.tensor([[math.inf, math.inf]], dtype=dtype)), bounds)
        assert refused(torch.nextafter(edge, torch.tensor([[-math.inf, 0.0]], dtype=dtype)), bounds)


def test_the_message_shows_the_digits_that_differ() -> None:
    said = outside(-2.1179039, 2.64, (-2.1179, 2.64), torch.float32)
    assert said == "in [-2.1179039, 2.64], outside the bounds (-2.1179, 2.64)"
    assert outside(-0.25, 1.0, (0.0, 1.0), torch.float32) == "in [-0.25, 1], outside the bounds (0.0, 1.0)"


@every_dtype
@pytest.mark.parametrize(
    ("norm", "eps"), [(Linf(), 0.3), (Linf(), 0.0), (L2(), 1.5), (L2(), 0.0), (L1(), 9.0)], ids=str
)
def test_the_budget_holds_exactly_and_nothing_is_moved_out(norm: Norm, eps: float, dtype: torch.dtype) -> None:
    bounds = bounds_of(*IMAGENET)
    x = normalised(*IMAGENET).to(dtype)
    x[0], x[1] = widened(bounds, dtype)  # as far out as rounding can bring them
    threat = ThreatModel(norm, eps, bounds)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    fine = torch.promote_types(dtype, torch.float32)
    for region, there in (
        (threat.region(x), x + 5 * noise.to(dtype)),
        (threat.search_region(x), x + 5 * noise.to(fine)),
    ):
        x_adv = region.shown(region.project_(there))
        assert (norm.size(x_adv.double() - x.double()) <= eps).all()
        assert threat.contains(x, x_adv).all()
        exact = x_adv.double()
        assert (exact >= x.double().clamp_max(bounds[0])).all()
        assert (exact <= x.double().clamp_min(bounds[1])).all()


def _linear(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    weight = torch.sin(torch.arange(1.0, 4.0).outer(torch.arange(1.0, flat.shape[1] + 1))).to(x)
    return flat @ weight.T


TABLE: list[Attack] = [
    PGD(ThreatModel(Linf(), 0.05), 4),
    PGD(ThreatModel(L2(), 0.5), 4),
    APGD(ThreatModel(L1(), 2.0), 4),
    FAB(ThreatModel(L2(), 0.5), 4),
    Square(ThreatModel(Linf(), 0.05), 8),
    VirtualAdversarial(ThreatModel(L2(), 0.5)),
    *autoattack(ThreatModel(Linf(), 0.05)).attacks[1:2],
]


@pytest.mark.parametrize("attack", TABLE, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_attacks_take_normalised_data_and_keep_their_budget(attack: Attack, dtype: torch.dtype) -> None:
    bounds, x = bounds_of(*IMAGENET), normalised(*IMAGENET).to(dtype)
    assert not ((x.double() >= bounds[0]) & (x.double() <= bounds[1])).all()  # or this would test nothing
    threat = replace(getattr(attack, "threat"), bounds=bounds)  # noqa: B009 -- of any of the attacks
    attack = replace(attack, threat=threat)  # type: ignore[type-var] # all are dataclasses
    y = _linear(x).argmax(dim=1)
    x_adv = attack(_linear, x, y, stop="never")
    free = isinstance(attack, VirtualAdversarial)  # which may leave the bounds
    assert (threat.norm.size(x_adv.double() - x.double()) <= threat.eps).all()
    assert free or threat.contains(x, x_adv).all()
    assert not torch.equal(x_adv, x)


def test_images_of_8_bits_may_be_normalised() -> None:
    bounds = bounds_of(*FASHION)
    levels = torch.arange(256).view(4, 1, 8, 8) / 255
    x = (levels - FASHION[0][0]) / FASHION[1][0]
    threat = ThreatModel(Linf(), 9.4 / 255 / FASHION[1][0], bounds)
    x_adv = Uint8(PGD(threat, 3))(_linear, x, _linear(x).argmax(dim=1), stop="never")
    assert threat.contains(x, x_adv).all()
    assert (x_adv != x).any()
