"""Fast, GradAlign, and the alarm for catastrophic overfitting."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import FGSM, PGD
from robustlab.core import Attack, Batch, Linf, Streams, ThreatModel
from robustlab.data import InMemory
from robustlab.training import Constant, Settings, adversarial, fast, fit, grad_align, overfitting_alarm, sgd, standard
from robustlab.training.recipes.single_step import OverfittingAlarm, mean_cosine

MakeNet = Callable[..., nn.Sequential]
EPS = 0.1
THREAT, HARD = ThreatModel(Linf(), EPS), ThreatModel(Linf(), 0.3)
DRAW = torch.Generator().manual_seed(5)
BATCH = Batch(
    torch.rand(10, 1, 8, 8, generator=DRAW, dtype=torch.float64),
    torch.randint(4, (10,), generator=DRAW),
    torch.arange(20, 30),
    seed=9,
)
X, Y = BATCH.x, BATCH.y


@pytest.fixture
def net(make_net: MakeNet) -> nn.Sequential:
    model = make_net(dropout=0.0).double()
    for weight in model.parameters():
        weight.data.mul_(2.0)
    model[2], model[6] = nn.Tanh(), nn.Tanh()
    return model


def backward(loss: Tensor) -> None:
    loss.backward()


def gradients(model: nn.Module) -> list[Tensor]:
    found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return found


def test_fast_is_one_long_step_from_a_random_point(net: nn.Sequential) -> None:
    start = X + Streams(9, BATCH.ids).uniform((1, 8, 8), dtype=torch.float64) * 2 * EPS - EPS
    leaf = start.clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(copy.deepcopy(net)(leaf), Y), leaf)
    x_adv = (leaf.detach() + 1.25 * EPS * gradient.sign()).clamp(X - EPS, X + EPS).clamp(0, 1)
    recipe = fast(THREAT).recipe
    metrics = recipe.step(net, BATCH, recipe.init(net), backward)
    got = gradients(net)
    loss = F.cross_entropy(net(x_adv), Y)
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(got, gradients(net), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.2, 5.0])
def test_grad_align_adds_one_minus_the_cosine_of_two_gradients(net: nn.Sequential, weight: float) -> None:
    buffers = copy.deepcopy(dict(net.named_buffers()))
    recipe = grad_align(THREAT, weight=weight)
    metrics = recipe.step(net, BATCH, recipe.init(net), backward)
    got, twin = gradients(net), copy.deepcopy(net)
    for name, value in twin.named_buffers():
        value.copy_(buffers[name])

    leaf = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(copy.deepcopy(net)(leaf), Y), leaf)
    x_adv = (X + EPS * slope.sign()).clamp(0, 1)
    fields = []
    nearby = (X + Streams(9, BATCH.ids).fork(0x97AD).uniform((1, 8, 8), dtype=torch.float64) * 2 * EPS - EPS).clamp(
        0, 1
    )
    for point in (X, nearby):
        leaf = point.detach().requires_grad_()
        loss = F.cross_entropy(copy_with_same_weights(twin)(leaf), Y)
        fields.append(torch.autograd.grad(loss, leaf, create_graph=True)[0].reshape(10, -1))
    dots = [one @ other / (one @ one).sqrt() / (other @ other).sqrt() for one, other in zip(*fields, strict=True)]
    loss = F.cross_entropy(twin(x_adv), Y) + weight * (1 - sum(dots, torch.zeros(())) / 10)
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert metrics["alignment"] == pytest.approx(sum(d.item() for d in dots) / 10, rel=1e-6)
    assert metrics["alignment"] < 0.99
    torch.testing.assert_close(got, gradients(twin), rtol=1e-8, atol=1e-11)
    for name, value in net.named_buffers():
        torch.testing.assert_close(value, twin.get_buffer(name))


def copy_with_same_weights(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The model as a function of its weights, on copies of its buffers."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    weights = dict(model.named_parameters())
    return lambda x: torch.func.functional_call(model, {**weights, **buffers}, (x,))


def test_rows_without_gradient_have_no_angle() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1e-20, 1e-20]])
    b = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1e-18, 1e-18]])
    assert mean_cosine(a.double(), b.double()).item() == pytest.approx((0.5**0.5 + 1) / 2)
    assert mean_cosine(torch.zeros(2, 3), torch.ones(2, 3)).item() == 1.0


@dataclass(frozen=True)
class Scripted:
    """An attack that inverts images if the number of the check is below a threshold."""

    accuracies: tuple[float, ...]

    def __call__(self, model: object, x: Tensor, y: Tensor, *, seed: int, **_options: object) -> Tensor:
        """Wrong inputs are marked by a pixel for the network below; ``seed`` is the number of the check."""
        del model, y
        wrong = round((1 - self.accuracies[seed]) * len(x))
        marked = x.clone()
        marked[:wrong, 0, 0, 0] = 9.0
        return marked


class Obedient(nn.Module):
    """Right on all images but the marked ones, if all labels are 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        marked = (x[:, 0, 0, 0] > 5).float() * self.weight
        return torch.stack([0.5 - marked, marked - 0.5], dim=1)


@pytest.mark.parametrize(
    ("weak", "strong", "alarms"),
    [
        ((0.2, 0.4, 0.6, 0.9, 0.9), (0.2, 0.4, 0.5, 0.2, 0.0), [0, 0, 0, 1, 1]),
        ((0.2, 0.4, 0.6, 0.3, 0.1), (0.2, 0.4, 0.5, 0.2, 0.0), [0, 0, 0, 0, 0]),
        ((0.2, 0.8, 0.8, 0.8, 0.8), (0.2, 0.4, 0.3, 0.3, 0.4), [0, 0, 0, 0, 0]),
    ],
    ids=["overfits", "falls under both", "stays"],
)
def test_the_alarm_is_raised_when_only_the_strong_attack_wins(
    weak: tuple[float, ...], strong: tuple[float, ...], alarms: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    recipe = OverfittingAlarm(standard(), Scripted(weak), Scripted(strong), every=3, examples=10)  # type: ignore[arg-type]
    model = Obedient()
    state, batch = recipe.init(model), Batch(torch.zeros(20, 1, 2, 2), torch.zeros(20).long(), torch.arange(20))
    seen = []
    for step in range(15):
        with caplog.at_level(logging.WARNING):
            metrics = recipe.step(model, batch._replace(seed=step // 3, progress=step / 15), state, backward)
        assert ("catastrophic_overfitting" in metrics) is (step % 3 == 0)
        seen += [metrics] if step % 3 == 0 else []
    assert [m["catastrophic_overfitting"] for m in seen] == alarms
    assert [m["probe_fgsm_accuracy"] for m in seen] == pytest.approx(weak)
    assert [m["probe_pgd_accuracy"] for m in seen] == pytest.approx(strong)
    assert caplog.text.count("catastrophic overfitting after 60 % of the training: PGD accuracy on 10") == max(alarms)


def test_the_probe_stays_that_of_the_first_batch(net: nn.Sequential) -> None:
    recipe = overfitting_alarm(standard(), THREAT, every=1, examples=4)
    state = recipe.init(net)
    for batch in (BATCH, BATCH._replace(x=X.flip(0), y=Y.flip(0), ids=BATCH.ids.flip(0))):
        recipe.step(net, batch, state, backward)
        assert torch.equal(state["alarm/x"], X[:4])
        assert torch.equal(state["alarm/ids"], BATCH.ids[:4])


def test_the_alarm_changes_nothing_in_what_is_learned(squares: InMemory, make_net: MakeNet) -> None:
    plain, watched = make_net(), make_net()
    settings = Settings(2, batch_size=25)
    fit(plain, fast(THREAT).recipe, squares, settings)
    fit(watched, overfitting_alarm(fast(THREAT).recipe, THREAT, every=1), squares, settings)
    assert all(map(torch.equal, plain.state_dict().values(), watched.state_dict().values()))


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "overfits"), [(FGSM(HARD), True), (PGD(HARD, 10), False)], ids=["fgsm", "pgd"])
def test_training_on_single_steps_at_a_large_eps_raises_the_alarm(
    squares: InMemory, attack: Attack, overfits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        body = (nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 64), nn.ReLU())
        model = nn.Sequential(*body, nn.Linear(64, 4))
    recipe = overfitting_alarm(adversarial(attack), HARD, every=10, examples=50)
    settings = Settings(130, batch_size=50, optimizer=sgd(0.1), schedule=Constant())
    history = fit(model, recipe, squares, settings)
    checks = [epoch for epoch in history.epochs if "probe_pgd_accuracy" in epoch]
    assert len(checks) == 13
    assert (max(epoch["catastrophic_overfitting"] for epoch in checks) == 1.0) is overfits
    assert ("robust to single steps alone" in caplog.text) is overfits
    if overfits:
        assert checks[-1]["probe_pgd_accuracy"] < 0.1 < 0.3 < checks[-1]["probe_fgsm_accuracy"]
