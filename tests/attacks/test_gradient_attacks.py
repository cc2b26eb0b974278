"""FGSM, BIM, PGD, MI-FGSM and noise against closed forms and loops written down by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from robustlab.attacks import BIM, FGSM, MIFGSM, PGD, OptimizerPGD, RandomNoise, call
from robustlab.core import (
    L1,
    L2,
    Attack,
    Linf,
    Model,
    Norm,
    Score,
    Streams,
    ThreatModel,
    Twin,
    cross_entropy,
    dlr,
    margin,
)

NORMS: list[Norm] = [Linf(), L2(), L1()]
DUALS = {"Linf": 1, "L2": 2, "L1": math.inf}
FREE = (-math.inf, math.inf)
every_norm = pytest.mark.parametrize("norm", NORMS, ids=str)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(weight: Tensor) -> Model:
    return lambda x: x.flatten(1) @ weight.to(x.dtype).T


WEIGHT = drawn(2, 24)
GAIN = WEIGHT[1] - WEIGHT[0]
"""Growth of the margin of class 0 per unit of input."""
X = (8 * drawn(5, 2, 3, 4, seed=1)).round() / 8
Y = torch.zeros(5, dtype=torch.int64)


def gained(x_adv: Tensor, x: Tensor = X) -> Tensor:
    return (x_adv - x).flatten(1) @ GAIN


@every_norm
@pytest.mark.parametrize("score", [cross_entropy, margin, dlr], ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        lambda threat, score: FGSM(threat, score=score),
        lambda threat, score: BIM(threat, 7, score=score),
        lambda threat, score: PGD(threat, 7, random_start=False, score=score),
        lambda threat, score: MIFGSM(threat, 7, score=score),
    ],
    ids=["FGSM", "BIM", "PGD", "MIFGSM"],
)
def test_on_a_linear_model_the_gain_is_eps_times_the_dual_norm(
    make: Callable[[ThreatModel, Score], Attack], norm: Norm, score: Score
) -> None:
    attack = make(ThreatModel(norm, 0.3, FREE), score)
    best = 0.3 * torch.linalg.vector_norm(GAIN, DUALS[str(norm)]).item()
    x_adv = attack(linear(WEIGHT), X, Y, stop="never")
    assert gained(x_adv).tolist() == pytest.approx([best] * 5, rel=1e-9)
    away = attack(linear(WEIGHT), X, Y + 1, target=Y, stop="never")
    assert gained(away).tolist() == pytest.approx([-best] * 5, rel=1e-9)


@every_norm
@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_start_gets_there_too(norm: Norm, seed: int) -> None:
    threat = ThreatModel(norm, 0.3, FREE)
    best = 0.3 * torch.linalg.vector_norm(GAIN, DUALS[str(norm)]).item()
    x_adv = PGD(threat, 40)(linear(WEIGHT), X, Y, stop="never", seed=seed)
    assert (gained(x_adv) > 0.98 * best).all()


def best_in_the_box(x: Tensor, threat: ThreatModel) -> list[float]:
    """The largest gain of a linear model: Linf uses every value's room, L1 the room of the steepest values first."""
    assert isinstance(threat.eps, float)
    room = torch.where(GAIN > 0, 1 - x.flatten(1), x.flatten(1))
    if isinstance(threat.norm, Linf):
        return (room.clamp(max=threat.eps) @ GAIN.abs()).tolist()
    order = GAIN.abs().argsort(descending=True)
    used = room[:, order].cumsum(dim=1).clamp(max=threat.eps)
    return (used.diff(dim=1, prepend=torch.zeros(len(x), 1)) @ GAIN.abs()[order]).tolist()


@pytest.mark.parametrize(("norm", "fraction"), [(Linf(), 1.0), (L1(), 0.97)], ids=str)
def test_within_bounds_the_best_feasible_gain_is_reached(norm: Norm, fraction: float) -> None:
    x, threat = torch.rand(5, 2, 3, 4, generator=torch.Generator().manual_seed(2)).double(), ThreatModel(norm, 0.4)
    gain = gained(PGD(threat, 60)(linear(WEIGHT), x, Y, stop="never"), x)
    for ours, best in zip(gain.tolist(), best_in_the_box(x, threat), strict=True):
        assert fraction * best - 1e-12 <= ours <= best + 1e-12


def network(x: Tensor) -> Tensor:
    """Something that is not linear, of three classes."""
    hidden = torch.tanh(x.flatten(1) @ drawn(24, 16, seed=3).to(x.dtype))
    return hidden @ drawn(16, 3, seed=4).to(x.dtype)


def slope(x: Tensor, y: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        torch.nn.functional.cross_entropy(network(x), y, reduction="sum").backward()
    assert x.grad is not None
    return x.grad


PIXELS = torch.randint(257, (6, 2, 3, 4), generator=torch.Generator().manual_seed(5)).double() / 256
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
EPS, STEP = 1 / 8, 1 / 32  # whole numbers of 256ths: adding them to a pixel rounds nothing


@pytest.mark.parametrize("seed", [0, 7])
def test_pgd_is_its_textbook_loop_bit_by_bit(seed: int) -> None:
    ids = torch.tensor([5, 1, 9, 0, 2, 3])
    noise = Streams(seed, ids).uniform((2, 3, 4), dtype=torch.float64) * 2 - 1
    x = (PIXELS + noise * EPS).clamp(PIXELS - EPS, PIXELS + EPS).clamp(0, 1)
    for _ in range(9):
        x = (x + STEP * slope(x, LABELS).sign()).clamp(PIXELS - EPS, PIXELS + EPS).clamp(0, 1)
    ours = PGD(ThreatModel(Linf(), EPS), 9, STEP)(network, PIXELS, LABELS, stop="never", seed=seed, ids=ids)
    assert torch.equal(ours, x)


def test_fgsm_is_its_formula_bit_by_bit() -> None:
    x = (PIXELS + EPS * slope(PIXELS, LABELS).sign()).clamp(0, 1)
    assert torch.equal(FGSM(ThreatModel(Linf(), EPS))(network, PIXELS, LABELS, stop="never"), x)


def test_fgsm_with_a_random_start_is_fast_training_s() -> None:
    noise = Streams(3, torch.arange(6)).uniform((2, 3, 4), dtype=torch.float64) * 2 - 1
    start = (PIXELS + noise * EPS).clamp(PIXELS - EPS, PIXELS + EPS).clamp(0, 1)
    x = (start + 1.25 * EPS * slope(start, LABELS).sign()).clamp(PIXELS - EPS, PIXELS + EPS).clamp(0, 1)
    attack = FGSM(ThreatModel(Linf(), EPS), 1.25 * EPS, random_start=True)
    assert torch.equal(attack(network, PIXELS, LABELS, stop="never", seed=3), x)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_momentum_is_its_textbook_loop(decay: float) -> None:
    x, total = PIXELS.clone(), torch.zeros_like(PIXELS)
    for _ in range(6):
        grad = slope(x, LABELS)
        total = decay * total + grad / grad.abs().sum(dim=(1, 2, 3), keepdim=True)
        x = (x + STEP * total.sign()).clamp(PIXELS - EPS, PIXELS + EPS).clamp(0, 1)
    attack = MIFGSM(ThreatModel(Linf(), EPS), 6, STEP, decay)
    assert torch.equal(attack(network, PIXELS, LABELS, stop="never"), x)


def test_momentum_that_decays_at_once_is_bim() -> None:
    threat = ThreatModel(Linf(), EPS)
    ours = MIFGSM(threat, 5, STEP, 0.0)(network, PIXELS, LABELS)
    assert torch.equal(ours, BIM(threat, 5, STEP)(network, PIXELS, LABELS))


@every_norm
def test_noise_is_a_draw_from_the_threat_model(norm: Norm) -> None:
    threat, ids = ThreatModel(norm, 0.3), torch.tensor([4, 5, 6, 7, 8, 9])
    noise = RandomNoise(threat)(network, PIXELS, LABELS, stop="never", seed=2, ids=ids)
    assert torch.equal(noise, threat.sample(PIXELS, Streams(2, ids)))


def test_step_sizes_that_are_not_given_follow_eps() -> None:
    threat = ThreatModel(Linf(), 0.25, FREE)
    plain = PGD(threat, 10, random_start=False)
    for attack, length in ((BIM(threat, 5), 0.05), (FGSM(threat), 0.25), (MIFGSM(threat, 5), 0.05), (plain, 0.0625)):
        step = attack.plan().step
        move, _ = step.update(torch.ones_like(X), step.init(X))
        assert move.flatten().tolist() == pytest.approx([length] * X.numel())


@pytest.mark.parametrize("steps", [1, 7])
def test_each_step_costs_one_pass_forward_and_one_back(steps: int) -> None:
    robust = Twin(linear(torch.zeros(2, 24)), linear(torch.zeros(2, 24)))
    attack = PGD(ThreatModel(Linf(), 0.1, FREE), steps)
    attack(robust, X, Y, stop="never")
    assert (robust.passes.forward, robust.passes.backward) == (5 * steps, 5 * steps)
    attack(robust, X, Y)
    assert (robust.passes.forward, robust.passes.backward) == (5 * steps + 5 * (steps + 1), 10 * steps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", [BIM, MIFGSM, OptimizerPGD])
def test_steps_below_half_precision_are_not_lost(
    make: Callable[..., BIM | MIFGSM | OptimizerPGD], dtype: torch.dtype
) -> None:
    attack = make(ThreatModel(Linf(), 8 / 255), steps=60)
    attack = replace(attack, random_start=False) if isinstance(attack, OptimizerPGD) else attack
    half = PIXELS.to(dtype)
    change = attack(network, half, LABELS, stop="never").double() - half.double()
    exact = attack(network, half.float(), LABELS, stop="never").double() - half.double()
    assert change.abs().mean() > 0.9 * exact.abs().mean()


def test_a_step_size_may_be_a_whole_number() -> None:
    threat = ThreatModel(Linf(), 32, (0, 256))
    bytewise: Model = lambda x: network(x / 256)  # noqa: E731
    whole = PGD(threat, 4, 8)(bytewise, 256 * PIXELS, LABELS)
    assert torch.equal(whole, PGD(threat, 4, 8.0)(bytewise, 256 * PIXELS, LABELS))


@pytest.mark.parametrize("steps", [0, -1, 2.0])
@pytest.mark.parametrize("make", [BIM, PGD, MIFGSM, OptimizerPGD])
def test_a_number_of_steps_that_is_none_is_refused(make: Callable[..., Attack], steps: int) -> None:
    with pytest.raises(ValueError, match=rf"steps must be a whole number.*, got {steps}"):
        make(ThreatModel(), steps=steps)(network, PIXELS, LABELS)


@pytest.mark.parametrize("size", [0.0, -0.1, math.nan, math.inf])
@pytest.mark.parametrize("make", [FGSM, BIM, PGD, MIFGSM])
def test_a_step_size_that_is_none_is_refused(make: Callable[..., Attack], size: float) -> None:
    attack = make(ThreatModel(), step_size=size)
    with pytest.raises(ValueError, match=rf"step_size must be a finite number > 0 .* inputs, got {size}"):
        attack(network, PIXELS, LABELS)


def test_attacks_are_values_with_a_complete_repr() -> None:
    threat = ThreatModel(L2(), 0.5)
    assert PGD(threat, 5) == PGD(ThreatModel(L2(), 0.5), 5)
    assert len({PGD(threat), PGD(threat, 10), PGD(threat, score=dlr), FGSM(threat)}) == 3
    assert repr(PGD(threat, 5, score=-dlr)) == (
        "PGD(threat=ThreatModel(norm=L2(), eps=0.5, bounds=(0.0, 1.0)), steps=5, step_size=None, random_start=True, "
        "score=-dlr)"
    )


def test_a_large_batch_is_searched_in_blocks_with_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double().eval()
    x = torch.rand(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    attack, y = PGD(ThreatModel(Linf(), 0.1), 5), torch.arange(40) % 3
    whole = attack(model, x, y, stop="never", seed=3)
    monkeypatch.setattr(call, "_BLOCK_VALUES", 1)
    monkeypatch.setattr(call, "_BLOCK_ROWS", 7)
    torch.testing.assert_close(attack(model, x, y, stop="never", seed=3), whole, rtol=0, atol=1e-9)
