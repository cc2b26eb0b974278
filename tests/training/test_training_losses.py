"""Each recipe against its formula, written out in full, on a small network in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import FGSM, PGD
from robustlab.core import L2, Batch, Linf, Metrics, Recipe, RecipeState, Streams, ThreatModel
from robustlab.training import (
    AWP,
    Crafting,
    Free,
    NearPGD,
    adversarial,
    awp,
    fast,
    free,
    gaussian_noise,
    madry,
    mart,
    smooth_adversarial,
    standard,
    trades,
)
from robustlab.training.crafting import TwoPhase

EPS = 0.1
THREAT = ThreatModel(Linf(), EPS)
DRAW = torch.Generator().manual_seed(3)
BATCH = Batch(
    torch.rand(12, 1, 6, 6, generator=DRAW, dtype=torch.float64),
    torch.randint(4, (12,), generator=DRAW),
    torch.arange(40, 52),
    seed=77,
)
X, Y = BATCH.x, BATCH.y


@pytest.fixture
def net() -> Iterator[nn.Sequential]:
    """A network with BatchNorm in training mode, confident enough for probabilities to differ."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.Tanh(), nn.Flatten(), nn.Linear(80, 6), nn.Tanh(), nn.Linear(6, 4)
        ).double()
        for weight in model.parameters():
            weight.data.mul_(2.0)
        model(torch.rand(50, 1, 6, 6, dtype=torch.float64))
        yield model


def backward(loss: Tensor) -> None:
    loss.backward()


def gradients(model: nn.Module) -> list[Tensor]:
    """The gradients of all weights, which are removed from them."""
    found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return found


def learned(recipe: Recipe, model: nn.Module, batch: Batch = BATCH) -> tuple[Metrics, list[Tensor]]:
    metrics = recipe.step(model, batch, recipe.init(model), backward)
    return metrics, gradients(model)


def by_hand(model: nn.Module, loss: Tensor) -> tuple[float, list[Tensor]]:
    loss.backward()
    return loss.item(), gradients(model)


def same(got: tuple[Metrics, list[Tensor]], expected: tuple[float, list[Tensor]]) -> None:
    assert got[0]["loss"] == pytest.approx(expected[0], rel=1e-6)
    assert len(got[1]) == len(expected[1])
    torch.testing.assert_close(got[1], expected[1], rtol=1e-9, atol=1e-12)


def climbed(model: nn.Module, start: Tensor, steps: int, size: float, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Projected sign steps inside the Linf ball and [0, 1], for a loss of logits."""
    x_adv = start.clamp(X - EPS, X + EPS).clamp(0, 1)
    for _ in range(steps):
        leaf = x_adv.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(model(leaf)), leaf)
        x_adv = (x_adv + size * gradient.sign()).clamp(X - EPS, X + EPS).clamp(0, 1)
    return x_adv.detach()


def near(spread: float = 0.001) -> Tensor:
    return X + spread * Streams(77, BATCH.ids).normal((1, 6, 6), dtype=torch.float64)


def test_madry_is_the_cross_entropy_at_the_end_of_pgd(net: nn.Sequential) -> None:
    start = X + Streams(77, BATCH.ids).uniform((1, 6, 6), dtype=torch.float64) * 2 * EPS - EPS
    # Batch statistics, in a copy so that the running ones of the model stay.
    x_adv = climbed(copy.deepcopy(net), start, 7, EPS / 4, lambda z: F.cross_entropy(z, Y))
    same(learned(madry(THREAT), net), by_hand(net, F.cross_entropy(net(x_adv), Y)))


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_trades_is_cross_entropy_plus_beta_times_the_divergence(net: nn.Sequential, beta: float) -> None:
    fixed = copy.deepcopy(net).eval()
    clean = F.softmax(fixed(X).detach(), dim=1)
    kl_of = lambda z: (clean * (clean.log() - F.log_softmax(z, dim=1))).sum()  # noqa: E731
    x_adv = climbed(fixed, near(), 10, 0.007 / 0.031 * EPS, kl_of)
    recipe = trades(THREAT, beta=beta)
    got = learned(recipe, net)
    p, q = F.softmax(net(X), dim=1), F.softmax(net(x_adv), dim=1)
    divergence = (p * (p / q).log()).sum() / len(X)
    same(got, by_hand(net, F.cross_entropy(net(X), Y) + beta * divergence))
    assert got[0]["divergence"] == pytest.approx(divergence.item(), rel=1e-5)
    assert divergence.item() > 1e-3
    assert got[0]["clean_accuracy"] == pytest.approx((p.argmax(1) == Y).double().mean().item())
    assert got[0]["adversarial_accuracy"] == pytest.approx((q.argmax(1) == Y).double().mean().item())


def test_trades_without_its_second_term_is_standard_training(net: nn.Sequential) -> None:
    torch.testing.assert_close(
        learned(trades(THREAT, beta=0.0), net)[1], learned(standard(), net)[1], rtol=1e-12, atol=0.0
    )


@pytest.mark.parametrize("beta", [0.0, 5.0])
def test_mart_weighs_the_divergence_by_how_unsure_the_model_is(net: nn.Sequential, beta: float) -> None:
    fixed = copy.deepcopy(net).eval()
    x_adv = climbed(fixed, near(), 10, 0.007 / 0.031 * EPS, lambda z: F.cross_entropy(z, Y))
    got = learned(mart(THREAT, beta=beta), net)
    p, q = F.softmax(net(X), dim=1), F.softmax(net(x_adv), dim=1)
    total = torch.zeros((), dtype=torch.float64)
    for one, other, label in zip(p, q, Y.tolist(), strict=True):
        wrong = max(value for k, value in enumerate(other) if k != label)
        total = total - other[label].log() - (1.0001 - wrong).log()
        total = total + beta * (1 - one[label]) * (one * (one / other).log()).sum()
    same(got, by_hand(net, total / len(X)))


def test_the_attack_of_trades_ignores_labels_and_that_of_mart_does_not(net: nn.Sequential) -> None:
    net.eval()
    for against, alike in (("prediction", True), ("label", False)):
        attack = NearPGD(THREAT, against=against)  # type: ignore[arg-type]
        one, other = (attack(net, X, labels, stop="never", ids=BATCH.ids) for labels in (Y, (Y + 1) % 4))
        assert torch.equal(one, other) is alike
        assert bool(THREAT.contains(X, one).all())
        assert (one - X).abs().mean() > 0.5 * EPS


@pytest.mark.parametrize("threat", [THREAT, ThreatModel(L2(), 0.5)], ids=["Linf", "L2"])
def test_free_moves_weights_and_perturbation_by_one_gradient(net: nn.Sequential, threat: ThreatModel) -> None:
    recipe, state = free(threat, replays=3), RecipeState()
    state |= recipe.init(net)
    twin, delta = copy.deepcopy(net), torch.zeros_like(X)
    for replay in range(6):
        x, y = ((X, Y), (X.flip(0), Y.flip(0)))[replay // 3]
        got = recipe.step(net, BATCH._replace(x=x, y=y), state, backward), gradients(net)
        leaf = delta.clone().requires_grad_()
        loss = F.cross_entropy(twin((x + leaf).clamp(0, 1)), y)
        expected = by_hand(twin, loss)
        same(got, expected)
        gradient = leaf.grad
        assert isinstance(gradient, Tensor)
        if threat is THREAT:
            delta = (delta + EPS * gradient.sign()).clamp(-EPS, EPS)
        else:
            length = gradient.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            delta = delta + 0.5 * gradient / length
            delta = delta * (0.5 / delta.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)).clamp(max=1)
        torch.testing.assert_close(state["delta"], delta, rtol=1e-9, atol=1e-12)
        for model, grads in ((net, got[1]), (twin, expected[1])):
            for weight, one in zip(model.parameters(), grads, strict=True):
                weight.data.sub_(one, alpha=0.1)


def test_free_keeps_the_places_that_a_smaller_batch_leaves_out(net: nn.Sequential) -> None:
    recipe = Free(THREAT)
    state = recipe.init(net)
    recipe.step(net, BATCH, state, backward)
    before = state["delta"].clone()
    recipe.step(net, Batch(X[:5], Y[:5], BATCH.ids[:5]), state, backward)
    assert torch.equal(state["delta"][5:], before[5:])
    assert not torch.equal(state["delta"][:5], before[:5])
    with pytest.raises(ValueError, match=r"the perturbation is of inputs \(1, 6, 6\), the batch of \(1, 3, 3\)"):
        recipe.step(net, BATCH._replace(x=X[:, :, :3, :3]), state, backward)


def test_free_warms_up_its_eps_and_its_steps(net: nn.Sequential) -> None:
    warming, small = free(THREAT, step_size=0.08, eps_warmup=0.4), free(ThreatModel(Linf(), EPS / 4), step_size=0.02)
    state, expected = warming.init(net), small.init(net)
    warming.step(net, BATCH._replace(progress=0.0), state, backward)
    assert not state["delta"].any()
    for _ in range(2):
        warming.step(net, BATCH._replace(progress=0.1), state, backward)
        small.step(net, BATCH, expected, backward)
        torch.testing.assert_close(state["delta"], expected["delta"], rtol=1e-12, atol=0.0)
    assert state["delta"].abs().max().item() == pytest.approx(EPS / 4)


def test_free_with_a_budget_of_zero_is_standard_training(net: nn.Sequential) -> None:
    recipe = free(ThreatModel(Linf(), 0.0), replays=1)
    state = recipe.init(net)
    for _ in range(2):
        recipe.step(net, BATCH, state, backward)
        for got, expected in zip(gradients(net), learned(standard(), net)[1], strict=True):
            assert torch.equal(got, expected)


def perturbed_by_hand(net: nn.Sequential, gamma: float, loss_of: Callable[[nn.Module], Tensor]) -> nn.Sequential:
    """A copy of the network at perturbed weights with a higher loss."""
    proxy, there = copy.deepcopy(net), copy.deepcopy(net)
    loss_of(proxy).backward()
    for layer in (0, 4, 6):
        source, goal = proxy[layer].weight, there[layer].weight
        assert isinstance(source, Tensor)
        assert isinstance(goal, Tensor)
        assert isinstance(source.grad, Tensor)
        goal.data += gamma * source.data.norm() * source.grad / source.grad.norm()
    return there


@pytest.mark.parametrize("gamma", [0.005, 0.1])
def test_awp_takes_the_gradient_where_the_weights_are_worse(net: nn.Sequential, gamma: float) -> None:
    inner = adversarial(PGD(THREAT, steps=3))
    x_adv = inner.craft(net, BATCH)
    there = perturbed_by_hand(net, gamma, lambda model: F.cross_entropy(model(x_adv), Y))
    before = copy.deepcopy(net.state_dict())
    same(learned(awp(inner, gamma=gamma), net), by_hand(there, F.cross_entropy(there(x_adv), Y)))
    for name, weight in net.named_parameters():
        assert torch.equal(weight, before[name])


def test_awp_around_trades_climbs_the_whole_loss(net: nn.Sequential) -> None:
    inner = trades(THREAT, beta=6.0)
    x_adv = inner.craft(net, BATCH)

    def loss_of(model: nn.Module) -> Tensor:
        clean, hard = F.log_softmax(model(X), dim=1), F.log_softmax(model(x_adv), dim=1)
        return F.nll_loss(clean, Y) + 6 * (clean.exp() * (clean - hard)).sum() / len(X)

    there = perturbed_by_hand(net, 0.005, loss_of)
    same(learned(awp(inner, gamma=0.005), net), by_hand(there, loss_of(there)))


def test_awp_leaves_norm_statistics_to_the_pass_that_trains(net: nn.Sequential) -> None:
    plain = copy.deepcopy(net)
    learned(awp(adversarial(FGSM(THREAT)), gamma=0.2), net)
    learned(adversarial(FGSM(THREAT)), plain)
    for model in (net, plain):
        assert model.get_buffer("1.num_batches_tracked").item() == 2


@pytest.mark.parametrize(
    ("recipe", "progress"),
    [(AWP(madry(THREAT), 0.0), 1.0), (AWP(madry(THREAT), 0.5, warmup=0.3), 0.29)],
    ids=["gamma 0", "warming up"],
)
def test_awp_that_perturbs_nothing_is_the_recipe_inside(net: nn.Sequential, recipe: Recipe, progress: float) -> None:
    batch = BATCH._replace(progress=progress)
    for got, expected in zip(learned(recipe, net, batch)[1], learned(madry(THREAT), net, batch)[1], strict=True):
        assert torch.equal(got, expected)


def test_awp_perturbs_once_it_is_warm(net: nn.Sequential) -> None:
    batch, recipe = BATCH._replace(progress=0.3), awp(madry(THREAT), gamma=0.5, warmup=0.3)
    assert not torch.equal(learned(recipe, net, batch)[1][0], learned(madry(THREAT), net, batch)[1][0])


def test_awp_puts_the_weights_back_when_something_fails(net: nn.Sequential) -> None:
    before, calls = copy.deepcopy(dict(net.named_parameters())), list[Tensor]()

    def failing(loss: Tensor) -> None:
        calls.append(net.get_parameter("4.weight").detach().clone())
        if len(calls) == 2:
            raise KeyError("out of memory")
        loss.backward()

    recipe = awp(madry(THREAT), gamma=0.1)
    with pytest.raises(KeyError, match="out of memory"):
        recipe.step(net, BATCH, recipe.init(net), failing)
    assert not torch.equal(calls[0], calls[1])
    assert all(torch.equal(weight, before[name]) for name, weight in net.named_parameters())
    assert gradients(net) == []


def test_awp_needs_a_recipe_in_two_phases() -> None:
    with pytest.raises(ValueError, match=r"Free\(.*\) has no two phases"):
        awp(free(THREAT))  # type: ignore[arg-type]


def test_noise_is_gaussian_and_follows_the_ids(net: nn.Sequential) -> None:
    noise = Streams(77, BATCH.ids).normal((1, 6, 6), dtype=torch.float64)
    same(learned(gaussian_noise(0.25), net), by_hand(net, F.cross_entropy(net(X + 0.25 * noise), Y)))
    assert learned(gaussian_noise(0.0), net)[1][0].equal(learned(standard(), net)[1][0])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_smoothing_spreads_a_share_of_the_label(net: nn.Sequential, smoothing: float) -> None:
    target = F.one_hot(Y, 4).double() * (1 - smoothing) + smoothing / 4

    def loss_of(x: Tensor) -> Tensor:
        return -(target * F.log_softmax(net(x), dim=1)).sum(dim=1).mean()

    same(learned(standard(smoothing=smoothing), net), by_hand(net, loss_of(X)))
    recipe = adversarial(FGSM(THREAT), smoothing=smoothing, mix=0.5)
    x_adv = recipe.craft(net, BATCH)
    same(learned(recipe, net), by_hand(net, 0.5 * loss_of(X) + 0.5 * loss_of(x_adv)))


@pytest.mark.parametrize("make", [madry, fast, smooth_adversarial])
def test_any_crafting_may_be_mixed_with_clean_inputs(net: nn.Sequential, make: Callable[..., Recipe]) -> None:
    clean = learned(make(THREAT, mix=0.0), copy.deepcopy(net))[1]
    hard = learned(make(THREAT), copy.deepcopy(net))[1]
    mixed = learned(make(THREAT, mix=0.3), net)[1]
    expected = [0.7 * one + 0.3 * other for one, other in zip(clean, hard, strict=True)]
    torch.testing.assert_close(mixed, expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(clean[0], hard[0])


def sizes(recipe: Recipe, net: nn.Module, progress: float) -> float:
    """Largest distance of the made inputs from the clean ones."""
    assert hasattr(recipe, "craft")
    made: TwoPhase = recipe  # type: ignore[assignment]
    return (made.craft(net, BATCH._replace(progress=progress)) - X).abs().max().item()


@pytest.mark.parametrize("make", [madry, trades, mart], ids=["madry", "trades", "mart"])
def test_eps_rises_from_zero_over_the_warm_up(net: nn.Sequential, make: Callable[..., Recipe]) -> None:
    recipe = make(THREAT, eps_warmup=0.4)
    found = [sizes(recipe, net, progress) for progress in (0.0, 0.1, 0.2, 0.4, 0.9)]
    assert found == pytest.approx([0.0, EPS / 4, EPS / 2, EPS, EPS], rel=1e-3)


def test_the_step_size_rises_with_eps_and_steps_rise_to_all() -> None:
    crafting = Crafting(PGD(THREAT, 10, 0.02), eps_warmup=0.5, steps_warmup=0.5)
    assert crafting.scaled(0.25) == PGD(ThreatModel(Linf(), 0.025), 10, 0.005)
    grown = [crafting.grown(crafting.attack, share) for share in (0.0, 0.31, 0.99, 1.0)]
    assert [getattr(attack, "steps", None) for attack in grown] == [1, 3, 10, 10]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Crafting(PGD(THREAT), eps_warmup=1.5),
            r"eps_warmup is a fraction .* in \[0, 1\], got 1\.5",
        ),
        (lambda: Crafting(FGSM(THREAT), steps_warmup=0.5), "steps_warmup needs an attack with steps, FGSM has none"),
        (lambda: Crafting(PGD(ThreatModel(Linf(), [0.1, 0.2])), eps_warmup=0.1), "eps_warmup needs one eps for all"),
        (lambda: madry(ThreatModel(Linf(), [0.1, 0.2])), "training needs one eps for all examples"),
        (lambda: trades(THREAT, beta=-1.0), r"beta is the weight of a loss, a finite number >= 0, got -1\.0"),
        (lambda: mart(THREAT, beta=float("nan")), "beta is the weight of a loss, a finite number >= 0, got nan"),
        (lambda: free(THREAT, replays=0), "replays must be a whole number >= 1, got 0"),
        (lambda: free(THREAT, eps_warmup=1.5), r"eps_warmup is a fraction of the training, in \[0, 1\], got 1\.5"),
        (lambda: free(THREAT, step_size=0.0), r"step_size must be > 0 in input units, got 0\.0"),
        (lambda: awp(madry(THREAT), gamma=-0.1), r"gamma is the weight of a loss, a finite number >= 0, got -0\.1"),
        (lambda: awp(madry(THREAT), warmup=2.0), r"warmup is a fraction of the training, in \[0, 1\], got 2\.0"),
        (lambda: gaussian_noise(-0.1), r"sigma is a standard deviation >= 0 in input units, got -0\.1"),
        (lambda: standard(smoothing=1.0), r"smoothing is the fraction of a label .* in \[0, 1\), got 1\.0"),
    ],
)
def test_what_no_recipe_can_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
