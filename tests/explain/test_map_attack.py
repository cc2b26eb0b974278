"""Attacks on maps: closed forms, budgets and predictions to the last bit, and no trace."""

from __future__ import annotations

import math

import pytest
import torch
from networks_of_digits import images as digits_of  # type: ignore[import-not-found]
from networks_of_digits import trained
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from robustlab.core import L2, Linf, Streams, ThreatModel
from robustlab.explain import DISTANCES, Case, MapAttack, MapDistance, explain, map_stability, top_k_distance
from robustlab.explain.map_attack import MapAttackResult

FREE = (-math.inf, math.inf)


class Quadratic(nn.Module):
    """Logits x' A_k x / 2 of inputs (N, D), whose gradients are A_k x."""

    def __init__(self, matrices: Tensor) -> None:
        super().__init__()
        self.matrices = nn.Parameter(matrices)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = torch.einsum("ni,kij,nj->nk", x, self.matrices, x) / 2
        return logits


def network(*, act: type[nn.Module] = nn.ReLU, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), act(), nn.Conv2d(8, 8, 3), act(), nn.Flatten(), nn.Linear(8 * 16, 16), act()]
    return nn.Sequential(*layers, nn.Linear(16, 4)).to(dtype).eval()


def images(n: int = 6, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(3)).to(dtype)


def checked(attack: MapAttack, model: nn.Module, x: Tensor, found: MapAttackResult) -> None:
    """The promises of every result, by the model alone."""
    assert bool(attack.threat.contains(x, found.x_adv).all())
    with torch.no_grad():
        before, after = model(x).double().softmax(1), model(found.x_adv).double().softmax(1)
    classes = before.argmax(1)
    assert torch.equal(after.argmax(1), classes)
    change = (after - before).gather(1, classes[:, None])[:, 0]
    assert bool((change.abs() <= attack.tolerance).all())
    assert torch.allclose(found.change, change, atol=1e-6)
    assert bool(found.kept.all())
    assert found.x_adv.dtype == x.dtype
    assert not found.x_adv.requires_grad


@pytest.mark.parametrize("distance", DISTANCES.names())
def test_the_map_of_a_linear_model_cannot_be_moved(distance: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    x = images()
    found = MapAttack(ThreatModel(Linf(), 0.1), distance=distance, steps=3)(model, x)
    assert torch.allclose(found.distance, torch.zeros(6, dtype=torch.float64), atol=1e-6)
    assert torch.equal(found.after.values, found.before.values)


def named(distance: str) -> MapDistance:
    """A distance; the images here have fewer than 100 pixels."""
    return top_k_distance(10) if distance == "top-k" else DISTANCES.get(distance)


def raw(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean distance of maps as they are."""
    length: Tensor = torch.linalg.vector_norm((one - other).double(), dim=1)
    return length


@pytest.mark.parametrize("norm", [Linf(), L2()])
def test_the_worst_map_of_a_quadratic_model_is_that_of_the_closed_form(norm: Linf | L2) -> None:
    """The map moves by A d: at most by eps times the largest singular value in L2, at the best corner in Linf."""
    torch.manual_seed(1)
    turns = torch.linalg.qr(torch.randn(2, 6, 6, dtype=torch.float64)).Q
    model = Quadratic(turns * torch.tensor([3, 0.2, -0.2, 0.1, -0.1, 0.0]) @ turns.transpose(1, 2)).eval()
    x, eps = torch.randn(5, 6, dtype=torch.float64), 1e-3
    threat, distance = ThreatModel(norm, eps, FREE), MapDistance(raw, raw)
    attack = MapAttack(threat, distance=distance, steps=40, step_size=eps / 4, gamma=0.0)
    found = attack(model, x)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6)
    for n, k in enumerate(found.before.target.tolist()):
        matrix = model.matrices.detach()[k]
        if norm == L2():
            best = float(torch.linalg.matrix_norm(matrix, 2)) * eps
        else:
            best = float((corners @ matrix).norm(dim=1).max()) * eps
        assert float(found.distance[n]) <= best * (1 + 1e-9)
        assert float(found.distance[n]) >= best * 0.99
    checked(attack, model, x, found)


@pytest.mark.parametrize("threat", [ThreatModel(Linf(), 8 / 255), ThreatModel(L2(), 0.3)], ids=str)
@pytest.mark.parametrize("distance", DISTANCES.names())
def test_attacks_keep_every_promise_and_beat_random_noise(threat: ThreatModel, distance: str) -> None:
    model, x = network(), images()
    attack, measure = MapAttack(threat, distance=named(distance), steps=12), named(distance)
    found = map_stability(attack, model, x)
    checked(attack, model, x, found.attacked)
    noisy = threat.sample(x, Streams(0, torch.arange(6)))
    maps = explain("gradient", model, noisy, found.attacked.before.target).values
    before, after = found.attacked.before.values, found.attacked.after.values
    noise, attacked = measure(maps, before), measure(after, before)
    for name in DISTANCES.names():
        assert torch.equal(found.noise[name], DISTANCES.get(name)(maps, before))
        assert torch.equal(found.attack[name], DISTANCES.get(name)(after, before))
    assert torch.equal(attacked, found.attacked.distance)
    assert bool((attacked >= noise)[found.noise_kept].all())
    assert float(attacked.mean()) > 1.2 * float(noise.mean())


def test_more_steps_find_more() -> None:
    model, x = network(), images()
    few, many = (MapAttack(ThreatModel(Linf(), 0.1), steps=n)(model, x).distance.mean() for n in (1, 40))
    assert float(many) > 1.02 * float(few)


def test_a_small_tolerance_binds() -> None:
    model, x = network(), images()
    with torch.no_grad():
        model[-1].get_parameter("weight").mul_(40)
    wide = MapAttack(ThreatModel(Linf(), 0.2), tolerance=1.0, gamma=0.0, steps=10)
    narrow = MapAttack(ThreatModel(Linf(), 0.2), tolerance=0.02, steps=10)
    loose, tight = wide(model, x), narrow(model, x)
    assert float(loose.change.abs().max()) > 0.02
    checked(narrow, model, x, tight)
    assert float(tight.distance.min()) > 0
    assert float(loose.distance.mean()) > float(tight.distance.mean())


@pytest.mark.parametrize("distance", ["l2", "top-k", "ssim"])
def test_a_target_map_is_approached(distance: str) -> None:
    model, x = network(), images()
    goal = explain("gradient", model, x).values.roll(1, 0)
    found = MapAttack(ThreatModel(Linf(), 0.1), distance=named(distance), steps=15)(model, x, target_map=goal)
    measure = named(distance)
    assert torch.allclose(found.start, measure(found.before.values, goal))
    assert torch.allclose(found.distance, measure(found.after.values, goal))
    assert bool((found.distance <= found.start).all())
    assert float(found.distance.mean()) < 0.95 * float(found.start.mean())
    one = MapAttack(ThreatModel(Linf(), 0.1), distance=named(distance), steps=2)
    assert torch.equal(
        one(model, x, target_map=goal[0]).x_adv, one(model, x, target_map=goal[:1].expand(6, -1, -1, -1)).x_adv
    )


def test_maps_are_those_of_the_users_own_model() -> None:
    model, x = network(), images()
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    found = MapAttack(ThreatModel(), "gradient-x-input", steps=4, score="margin")(model, x, target)
    for maps, points in ((found.before, x), (found.after, found.x_adv)):
        expected = explain("gradient-x-input", model, points, target, score="margin")
        assert torch.allclose(maps.values, expected.values, atol=1e-7)
        assert torch.equal(maps.target, target)
        assert maps.method == "GradientTimesInput()"


def test_an_example_is_attacked_alike_in_any_company() -> None:
    model, x = network(act=nn.Softplus, dtype=torch.float64), images(6, torch.float64)
    attack = MapAttack(ThreatModel(L2(), (0.1, 0.2, 0.3, 0.1, 0.2, 0.3)), steps=5)
    whole = attack(model, x)
    part = MapAttack(ThreatModel(L2(), (0.3, 0.1)), steps=5)(model, x[2:4], ids=torch.tensor([2, 3]))
    assert torch.allclose(whole.x_adv[2:4], part.x_adv, atol=1e-9)
    checked(attack, model, x, whole)


def test_no_budget_leaves_the_input() -> None:
    model, x = network(), images()
    found = MapAttack(ThreatModel(Linf(), 0.0), steps=2)(model, x)
    assert torch.equal(found.x_adv, x)
    assert torch.equal(found.distance, torch.zeros(6, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision(dtype: torch.dtype) -> None:
    model, x = network(dtype=dtype), images(4, dtype)
    attack = MapAttack(ThreatModel(Linf(), 0.1), steps=3)
    checked(attack, model, x, attack(model, x))


def test_one_pixel_and_maps_of_zeros() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = torch.rand(4, 1, 1, 1)
    for distance in DISTANCES.names():
        attack = MapAttack(ThreatModel(Linf(), 0.3), distance=distance, steps=3)
        checked(attack, model, x, attack(model, x))
    dead = network()
    with torch.no_grad():
        dead[0].get_parameter("bias").fill_(-9)
    found = MapAttack(ThreatModel(Linf(), 0.1), steps=3)(dead, images())
    assert torch.equal(found.distance, torch.zeros(6, dtype=torch.float64))


def test_no_trace_is_left() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )
    x, state = images(), torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    MapAttack(ThreatModel(), steps=2)(model, x)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert x.grad is None


class OnlyOnce(torch.autograd.Function):
    """Squares, with a gradient that autograd cannot follow."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]  # type: ignore[attr-defined]
        return 2 * x * grad


class Squares(nn.Module):
    """Logits of squares by a custom backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(OnlyOnce.apply(x.flatten(1)))
        return logits


def test_a_model_without_second_derivative_is_refused_and_a_random_linear_one_is_not() -> None:
    with pytest.raises(ValueError, match=r"^the maps change with the inputs, but have no derivative by them"):
        MapAttack(ThreatModel(), steps=1)(Squares(), images())
    dropping = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(64, 3)).train()
    MapAttack(ThreatModel(), steps=1)(dropping, images())


def constant(case: Case) -> Tensor:
    return torch.ones_like(case.x)


def cut(case: Case) -> Tensor:
    return case.gradient(case.x).detach()


def test_bad_input_is_one_sentence() -> None:
    model, x, threat = network(), images(), ThreatModel()
    for method in (constant, cut):
        with pytest.raises(ValueError, match=rf"^{method.__name__} makes maps without a derivative by the inputs"):
            MapAttack(threat, method, steps=1)(model, x)

    def without(x: Tensor) -> Tensor:
        logits: Tensor = model(x.detach())
        return logits.detach()

    with pytest.raises(ValueError, match=r"^the model gives no gradient by its inputs"):
        MapAttack(threat, steps=1)(without, x)
    with pytest.raises(
        ValueError, match=r"^target_map must hold finite numbers in the shape of the inputs \(6, 1, 8, 8\)"
    ):
        MapAttack(threat)(model, x, target_map=x[:, :, 1:])
    with pytest.raises(ValueError, match="inputs lie"):
        MapAttack(threat)(model, x * 3)
    with pytest.raises(ValueError, match="one eps per example: got 2 for 6"):
        MapAttack(ThreatModel(Linf(), (0.1, 0.2)))(model, x)
    with pytest.raises(ValueError, match="did you mean ssim"):
        MapAttack(threat, distance="sim")(model, x)
    with pytest.raises(ValueError, match=r"^tolerance must be a change of a probability, above 0 and at most 1, got 0"):
        MapAttack(threat, tolerance=0.0)
    with pytest.raises(ValueError, match=r"^steps must be"):
        MapAttack(threat, steps=0)
    with pytest.raises(ValueError, match=r"^gamma must be"):
        MapAttack(threat, gamma=-1.0)
    with pytest.raises(ValueError, match=r"^step_size must be"):
        MapAttack(threat, step_size=0.0)


@pytest.mark.slow
def test_within_the_tolerance_a_change_of_prediction_costs_nothing() -> None:
    """A trained network is sure of its images: a penalty from the start would hold the attack at the input."""
    model, x = trained("cnn"), digits_of("test")[0][:20]
    threat = ThreatModel(Linf(), 0.1)
    free, bound = (MapAttack(threat, distance="cosine", gamma=gamma)(model, x) for gamma in (0.0, 1.0))
    checked(MapAttack(threat), model, x, bound)
    assert float(bound.distance.mean()) > 0.9 * float(free.distance.mean())


def test_the_penalty_weighs_alike_in_images_of_any_size() -> None:
    """A map repeated over a larger image is as far from another as before, in what is climbed."""
    one, other = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    for name in ("l2", "cosine", "rank"):
        climbed = DISTANCES.get(name).climbed
        larger = climbed(one.repeat(1, 1, 5, 5), other.repeat(1, 1, 5, 5))
        assert torch.allclose(larger, climbed(one, other), atol=0.02)
