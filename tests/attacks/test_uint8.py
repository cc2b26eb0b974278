"""8-bit adversarial images: levels, budgets counted in levels, and successes lost by rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, BIM, FAB, PGD, Targeted, Uint8, at_eps, autoattack, threat_of
from robustlab.attacks.uint8 import levels, rounded
from robustlab.core import L1, L2, Attack, Linf, Model, Norm, Stop, ThreatModel, Twin, margin
from robustlab.evaluation import Settings, evaluate

NORMS: list[Norm] = [Linf(), L2(), L1()]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
EPS = {"Linf": 8 / 255, "L2": 0.4, "L1": 2.0}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """8-bit images, as they come from a file."""
    numbers = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return numbers.float() / 255


def network(*shape: int, classes: int = 5) -> nn.Module:
    values = int(torch.tensor(shape).prod())
    model = nn.Sequential(nn.Flatten(), nn.Linear(values, 24), nn.Tanh(), nn.Linear(24, classes)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def labelled(model: nn.Module, count: int, *shape: int) -> tuple[Tensor, Tensor]:
    x = drawn(count, *shape)
    with torch.no_grad():
        return x, model(x).argmax(1)


def saved_and_loaded(x: Tensor) -> Tensor:
    """Image after saving and loading, in the dtype of the image."""
    return ((255 * x.double()).round().to(torch.uint8).float() / 255).to(x.dtype)


@dataclass(frozen=True)
class Fixed:
    """An attack that adds a fixed perturbation, and another one at full strength."""

    threat: ThreatModel
    delta: Tensor
    strong: Tensor | None = None

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        del model, y, target, seed, ids
        return x + (self.delta if stop == "success" or self.strong is None else self.strong).to(x)


@dataclass(frozen=True)
class Line:
    """Two classes: the second where a weighted sum is above a threshold."""

    weight: Tensor
    above: float

    def __call__(self, x: Tensor) -> Tensor:
        rise = x.flatten(1).double() @ self.weight.double() - self.above
        return torch.stack([-rise, rise], dim=1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_levels_are_what_a_loader_makes_of_a_file(dtype: torch.dtype) -> None:
    loaded = (torch.arange(256).to(torch.uint8).float() / 255).to(dtype)
    assert torch.equal(levels((0.0, 1.0), loaded), loaded)
    assert levels((0.0, 255.0), torch.empty(0)).tolist() == list(range(256))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("shape", [(1, 6, 8), (3, 5, 5), (12,)], ids=str)
def test_results_are_8_bit_images_inside_the_budget_that_fool_when_loaded(
    shape: tuple[int, ...], norm: Norm, dtype: torch.dtype
) -> None:
    model = network(*shape).to(dtype)
    x, y = labelled(model, 40, *shape) if dtype == torch.float32 else (drawn(40, *shape).to(dtype), None)
    y = model(x).argmax(1) if y is None else y
    attack = Uint8(PGD(ThreatModel(norm, EPS[str(norm)]), 10))
    x_adv = attack(model, x, y)
    assert torch.equal(saved_and_loaded(x_adv), x_adv)
    assert threat_of(attack).contains(x, x_adv).all()
    assert (model(saved_and_loaded(x_adv)).argmax(1) != y).sum() >= 4


def test_whole_levels_count_as_such_in_linf() -> None:
    x = drawn(200, 30)
    up = Fixed(ThreatModel(Linf(), 8 / 255), torch.full((30,), 8 / 255))
    far = torch.where(x <= 247 / 255, 8, 255 - (255 * x).round())
    x_adv = Uint8(up)(Line(torch.ones(30), 100.0), x, torch.zeros(200, dtype=torch.int64))
    assert torch.equal((255 * x_adv).round() - (255 * x).round(), far)
    assert not up.threat.contains(x, x_adv).all()  # that is why the threat is wider
    assert threat_of(Uint8(up)).contains(x, x_adv).all()


@pytest.mark.parametrize("eps", [0.5, 7.99, 8.0, 8.01, 25.5])
def test_the_budget_in_linf_is_the_whole_part_of_eps_in_levels(eps: float) -> None:
    x = torch.full((1, 4), 128 / 255)
    wide = Fixed(ThreatModel(Linf(), eps / 255), torch.tensor([1.0, -1.0, 0.01, 0.0]) * eps / 255)
    far = rounded(x, wide(lambda x: x, x, torch.zeros(1)), Uint8(wide).threat, far=True)
    assert ((far - x) * 255).round().tolist() == [[int(eps), -int(eps), int(eps), 0]]


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_below_one_level_the_input_comes_back(norm: Norm) -> None:
    model = network(2, 3, 4)
    x, y = labelled(model, 10, 2, 3, 4)
    assert torch.equal(Uint8(PGD(ThreatModel(norm, 0.9 / 255), 5))(model, x, y), x)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_level_that_is_out_of_reach_by_one_last_bit_is_not_taken(sign: int) -> None:
    """There the sum of the input and the radius is rounded onto the level."""
    grid = levels((0.0, 1.0), torch.empty(0))
    starts = torch.arange(100, 160)
    reach = (grid[starts + 8 * sign].double() - grid[starts].double()).abs()
    eps = torch.nextafter(reach, torch.zeros_like(reach))
    x = grid[starts][:, None]
    threat = ThreatModel(Linf(), eps)
    far = rounded(x, x + sign * 0.03, threat, far=True)
    assert threat.contains(x, far).all()
    assert torch.equal((255 * far).round()[:, 0], starts + 7.0 * sign)


def test_the_room_for_rounding_is_2_to_the_minus_23_of_the_bounds_for_whole_levels() -> None:
    def wider(eps: float | tuple[float, ...], bounds: tuple[float, float] = (0, 1)) -> object:
        return threat_of(Uint8(PGD(ThreatModel(Linf(), eps, bounds), 3))).eps

    assert wider(8 / 255) == 8 / 255 + 2.0**-23
    assert wider((0.0, 0.1, 0.2, 1.0)) == (0.0, 0.1, 0.2 + 2.0**-23, 1.0)
    assert wider(64.0, (0, 255)) == 64 + 255 * 2.0**-23
    others = [ThreatModel(norm, 8 / 255) for norm in (L2(), L1())]
    assert [threat_of(Uint8(PGD(threat, 3))) for threat in others] == others


def test_another_eps_reaches_the_attack_inside() -> None:
    wrapped = Uint8(PGD(ThreatModel(Linf(), 8 / 255), 3))
    assert at_eps(wrapped, 0.25) == Uint8(PGD(ThreatModel(Linf(), 0.25), 3))


@pytest.mark.parametrize("norm", [L2(), L1()], ids=str)
def test_near_is_the_nearest_level_where_that_fits_and_far_spends_the_budget(norm: Norm) -> None:
    x = drawn(30, 40, seed=1) * 0 + 128 / 255
    change = torch.randn(30, 40, generator=torch.Generator().manual_seed(2)) * 2
    for eps, fits in ((200.0, True), (10.0, False)):
        threat = ThreatModel(norm, eps / 255)
        near, far = (rounded(x, x + change / 255, threat, far=far) for far in (False, True))
        steps, longer = ((255 * one).round() - 128 for one in (near, far))
        assert torch.equal(steps, change.round()) == fits
        assert threat.contains(x, near).all()
        assert threat.contains(x, far).all()
        assert (steps.abs() <= change.abs().ceil()).all()
        assert (norm.size(longer) > eps - (1 if norm == L1() else 2) * 4).all()
        assert fits or (norm.size(steps) > 0.6 * eps).all()
        assert (longer * change >= 0).all()


def test_a_direction_below_half_a_level_everywhere_is_not_lost_in_l2() -> None:
    weight = torch.randn(3 * 32 * 32, generator=torch.Generator().manual_seed(0))
    x = drawn(1, 3, 32, 32) * 0 + 100 / 255
    threat = ThreatModel(L2(), 20 / 255)
    shift = weight / weight.norm() * 20 / 255
    assert shift.abs().max() < 0.5 * 4 / 255
    model = Line(weight, float(x.flatten() @ weight + 0.5 * 20 / 255 * weight.norm()))
    x_adv = Uint8(PGD(threat, 5))(model, x, torch.tensor([0]))
    assert model(x_adv).argmax(1).item() == 1


def test_success_is_decided_on_the_rounded_image_by_the_model_itself() -> None:
    """A perturbation of 0.4 levels fools; rounded it is nothing, taken to the edge it fools again."""
    x = torch.full((1, 4), 128 / 255)
    line = Line(torch.ones(4), 4 * 128.3 / 255)
    wrapped = Uint8(Fixed(ThreatModel(Linf(), 2 / 255), torch.full((4,), 0.4 / 255)))
    assert line(wrapped.attack(line, x, torch.tensor([0]))).argmax(1).item() == 1
    assert (wrapped(line, x, torch.tensor([0])) * 255).round().tolist() == [[130.0] * 4]


def test_what_rounding_loses_is_attacked_once_more_at_full_strength() -> None:
    x, y = torch.full((3, 2), 128 / 255), torch.tensor([0, 0, 1])
    line = Line(torch.tensor([1.0, -1.0]), 0.3 / 255)
    small = torch.tensor([0.4, -0.02]) / 255
    other = torch.tensor([0.0, -2.0]) / 255

    def after(delta: Tensor, strong: Tensor | None) -> list[list[float]]:
        attack = Uint8(Fixed(ThreatModel(Linf(), 2.9 / 255), delta, strong))
        return ((attack(line, x, y) * 255).round() - 128).tolist()

    assert after(small, other) == [[2, -2], [2, -2], [0, 0]]  # to the edge along the first perturbation
    stuck = torch.tensor([0.4, 0.001]) / 255
    assert after(stuck, other) == [[0, -2], [0, -2], [0, 0]]
    assert after(stuck, stuck)[0] in ([0, 0], [2, 2])  # no way to fool with these


def test_only_what_rounding_lost_costs_more_than_the_attack() -> None:
    model = network(1, 5, 5)
    x, y = labelled(model, 20, 1, 5, 5)
    attack, counts = PGD(ThreatModel(Linf(), 1e-6), 4), []
    for one in (attack, Uint8(attack)):
        twin = Twin(model, model)
        one(twin, x, y)
        counts.append((twin.passes.forward, twin.passes.backward))
    assert counts[1][1] == counts[0][1]
    assert counts[1][0] == counts[0][0] + 20 * 4  # the input, both roundings, and whether anything was lost


@pytest.mark.parametrize("stop", ["success", "never"])
def test_the_stronger_rounding_comes_back(stop: Literal["success", "never"]) -> None:
    model = network(1, 6, 6)
    x, y = labelled(model, 60, 1, 6, 6)
    threat = ThreatModel(L2(), 0.15)
    attack = Uint8(BIM(threat, 5))
    inner = attack.attack(model, x, y, stop=stop)
    scores = torch.stack([margin(model(rounded(x, inner, attack.threat, far=far)), y) for far in (False, True)])
    got = margin(model(attack(model, x, y, stop=stop)), y)
    if stop == "never":
        assert torch.allclose(got, scores.amax(0), atol=1e-6)
    assert (got >= torch.where(got > 0, 0, scores.amax(0)) - 1e-6).all()
    assert (got >= margin(model(x), y) - 1e-6).all()


def test_boundary_attacks_keep_their_successes() -> None:
    """FAB ends just across the boundary, where rounding a perturbation loses about every other success."""
    model = network(1, 10, 10)
    x, y = labelled(model, 100, 1, 10, 10)
    fab = FAB(ThreatModel(Linf(), 8 / 255), 10)
    plain, kept = fab(model, x, y), Uint8(fab)(model, x, y)
    fooled, lost, safe = (int((model(z).argmax(1) != y).sum()) for z in (plain, saved_and_loaded(plain), kept))
    assert fooled > 30
    assert lost < 0.8 * fooled
    assert safe >= 0.98 * fooled


def test_targets_and_suites_go_through() -> None:
    model = network(1, 6, 6)
    x, y = labelled(model, 30, 1, 6, 6)
    target = (y + 1) % 5
    x_adv = Uint8(APGD(ThreatModel(Linf(), 0.15), 10))(model, x, y, target=target)
    assert (model(saved_and_loaded(x_adv)).argmax(1) == target).sum() > 10
    suite = autoattack(ThreatModel(Linf(), (0.0,) * 10 + (0.1,) * 20), "quick")
    y[3] = target[3]  # wrong already, so that budgets have to go with the examples that are attacked
    x_adv = Uint8(suite)(model, x, y)
    assert torch.equal(x_adv[:10], x[:10])
    assert (model(saved_and_loaded(x_adv)).argmax(1) != y).sum() > 10
    chosen = Targeted(Uint8(PGD(ThreatModel(Linf(), 0.15), 10)), "next")
    assert (model(chosen(model, x, y)).argmax(1) == target).sum() > 10


def test_inputs_off_by_rounding_are_8_bit_images_and_stay_where_they_are() -> None:
    model = network(1, 5, 5).double()
    x = (255 * drawn(8, 1, 5, 5).double()).round() / 255  # in float64, a loader's images are off by 1e-8
    y = model(x).argmax(1)
    x_adv = Uint8(PGD(ThreatModel(L1(), 0.1), 10))(model, x, y)
    stays = x_adv == x
    assert stays.any()
    assert torch.equal(x_adv[~stays], saved_and_loaded(x_adv)[~stays])
    assert torch.equal(Uint8(PGD(ThreatModel(L1(), 0.0), 10))(model, x, y), x)


def test_evaluate_takes_it() -> None:
    model = network(1, 6, 6)
    x, y = labelled(model, 60, 1, 6, 6)
    found = evaluate(
        model,
        (x, y),
        attacks={"any": PGD(ThreatModel(Linf(), 8 / 255), 20), "8-bit": Uint8(PGD(ThreatModel(Linf(), 8 / 255), 20))},
        eps=[4 / 255, 8 / 255],
        settings=Settings(doctor=False),
    )
    any_value, whole = (found.result(name).robust.value for name in ("any", "8-bit"))
    assert all(result.outside == 0 for result in found.results)
    assert 0 < whole < 1
    assert whole == pytest.approx(any_value, abs=0.05)


@pytest.mark.parametrize(
    ("x", "threat", "message"),
    [
        (drawn(2, 4) + 1e-3, ThreatModel(Linf(), 0.1, (0, 2)), "inputs are no 8-bit images: values are up to"),
        (
            (drawn(2, 4) + 0.3 / 255).clamp(0, 1),
            ThreatModel(Linf(), 0.1),
            r"no 8-bit images: values are up to 0.3 level",
        ),
        (drawn(2, 4), ThreatModel(L2(), 0.1, (-torch.inf, torch.inf)), "8-bit images need finite bounds"),
    ],
)
def test_what_is_no_8_bit_image_is_refused(x: Tensor, threat: ThreatModel, message: str) -> None:
    attack: Attack = Uint8(PGD(threat, 3))
    with pytest.raises(ValueError, match=message):
        attack(network(4), x, torch.zeros(2, dtype=torch.int64))
