"""Expectation over transformations: its means, and models that a single gradient cannot fool."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, EOT, PGD, autoattack
from robustlab.core import Linf, ThreatModel, dlr, margin

LINF = ThreatModel(Linf(), 0.1)


class NoisySign(nn.Module):
    """A linear model of two classes that answers the opposite now and then, so that one gradient may point astray."""

    def __init__(self, flips: float) -> None:
        super().__init__()
        self.flips = flips
        self.weight = torch.tensor([1.0, -2.0, 0.5, 1.5])

    def forward(self, x: Tensor) -> Tensor:
        sign = 1 - 2.0 * (torch.rand(len(x)) < self.flips)
        z = (x @ self.weight - 0.1) * sign
        return torch.stack([-z, z], dim=1)


class Shifted(nn.Module):
    """A linear model without randomness of its own."""

    def forward(self, x: Tensor) -> Tensor:
        z = x @ torch.tensor([1.0, -2.0, 0.5, 1.5]) - 0.1
        return torch.stack([-z, z], dim=1)


def _examples() -> tuple[Tensor, Tensor]:
    x = torch.rand(40, 4, generator=torch.Generator().manual_seed(3)) * 0.6 + 0.2
    return x, (Shifted()(x)[:, 1] > 0).long()


def test_the_mean_gradient_finds_the_way_that_single_ones_miss() -> None:
    x, y = _examples()
    steps = PGD(LINF, 1, 0.1, random_start=False, score=margin)
    best = x + 0.1 * torch.tensor([1.0, -1.0, 1.0, 1.0]) * (1 - 2 * y)[:, None]
    single = steps(NoisySign(0.3), x, y, stop="never")
    mean = EOT(steps, draws=60)(NoisySign(0.3), x, y, stop="never")
    assert int((single - best).abs().amax(dim=1).gt(1e-6).sum()) > 5
    assert int((mean - best).abs().amax(dim=1).gt(1e-6).sum()) <= 1


def test_a_point_is_a_success_only_if_all_draws_are() -> None:
    x, y = _examples()
    still = PGD(ThreatModel(Linf(), 1e-6), 3, score=margin)
    model = NoisySign(0.2)
    x_adv = EOT(still, draws=25)(model, x, y)
    lucky = still(model, x, y)
    assert not torch.equal(x_adv, lucky)
    assert torch.equal(EOT(still, draws=25)(model, x, y), x_adv), "the same call draws the same"


def test_one_draw_of_a_model_without_randomness_changes_nothing() -> None:
    x, y = _examples()
    attack = APGD(LINF, 10)
    assert torch.equal(EOT(attack, draws=1)(Shifted(), x, y), attack(Shifted(), x, y))


def test_a_transformation_is_seen_by_the_attack_and_undone_afterwards() -> None:
    x, y = _examples()
    seen: list[int] = []

    def dropped(inputs: Tensor) -> Tensor:
        seen.append(len(inputs))
        return inputs * (torch.rand_like(inputs) < 0.5)

    state = torch.random.get_rng_state()
    x_adv = EOT(PGD(LINF, 4, score=margin), draws=8, transformation=dropped)(Shifted(), x, y, stop="never")
    assert seen == [40] * 32
    assert torch.equal(torch.random.get_rng_state(), state)
    gain = margin(Shifted()(x_adv), y) - margin(Shifted()(x), y)
    assert float(gain.min()) > 0.3, "each value matters in half of the draws, so the mean points the right way"


def test_the_suite_for_random_models() -> None:
    names = autoattack(LINF, "rand").names
    ce, by_dlr = autoattack(LINF, "rand").attacks
    assert names == ("apgd-ce", "apgd-dlr")
    assert ce == EOT(APGD(LINF, phases=((1.0, 1.0),)), draws=20)
    assert by_dlr == EOT(APGD(LINF, score=dlr, phases=((1.0, 1.0),)), draws=20)


def test_no_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="draws must be a whole number >= 1, got 0"):
        EOT(PGD(LINF), draws=0)
