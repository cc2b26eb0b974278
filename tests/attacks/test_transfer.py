from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD, StraightThrough, Transfer, at_eps, threat_of
from robustlab.attacks.transfer import first_weights
from robustlab.core import Linf, ThreatModel, margin

THREAT = ThreatModel(Linf(), 0.1)
ATTACK = PGD(THREAT, 10, score=margin)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 4)).eval()


class Rounded(nn.Module):
    """A network behind a rounding of its inputs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner((x * 20).round() / 20)
        return logits


MODEL = network(0)
X = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(1))
Y = MODEL(X).argmax(1)


def test_at_full_strength_it_is_the_surrogates_own_attack() -> None:
    other = network(5)
    got = Transfer(ATTACK, other)(MODEL, X, Y, stop="never", seed=3)
    assert torch.equal(got, ATTACK(other, X, Y, stop="never", seed=3))


def test_what_is_crafted_goes_on_past_the_surrogates_first_mistake() -> None:
    got = Transfer(ATTACK, MODEL)(Rounded(MODEL), X, Y)
    wrong = Rounded(MODEL)(got).argmax(1) != Y
    first = ATTACK(MODEL, X, Y)
    assert bool(((MODEL(got).argmax(1) != Y) | ~wrong).all())
    with torch.no_grad():
        across, just = (margin(MODEL(x_adv[wrong]), Y[wrong]).mean() for x_adv in (got, first))
    assert float(across) > float(just) + 0.02


def test_the_model_decides() -> None:
    other, y = network(5), Y.clone()
    y[4] = (y[4] + 1) % 4
    got = Transfer(ATTACK, other)(MODEL, X, y)
    assert torch.equal(got[4], X[4]), "wrong already"
    assert bool(THREAT.contains(X, got).all())
    assert bool((margin(MODEL(got), y) >= margin(MODEL(X), y)).all()), "never worse than nothing"


def test_targets_are_those_of_the_model() -> None:
    target, attack = (Y + 1) % 4, PGD(ThreatModel(Linf(), 0.6), 40, score=margin)
    reached = MODEL(attack(MODEL, X, Y, target=target)).argmax(1) == target
    got = Transfer(attack, MODEL)(Rounded(MODEL), X, Y, target=target)
    assert int((Rounded(MODEL)(got).argmax(1) == target).sum()) >= 0.8 * int(reached.sum()) > 3


def test_a_surrogate_is_used_in_eval_mode_and_restored() -> None:
    other = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(36, 4)).train()
    a, b = (Transfer(ATTACK, other)(MODEL, X, Y, stop="never") for _ in range(2))
    assert torch.equal(a, b)
    assert other.training
    assert all(p.grad is None for p in other.parameters())


def test_budget_and_words_are_those_of_the_attack_inside() -> None:
    attack = Transfer(ATTACK, MODEL, name="another checkpoint")
    assert threat_of(at_eps(attack, 0.2)).eps == 0.2
    assert "another checkpoint" in repr(attack)
    assert "Linear" not in repr(attack)


def test_gradients_pass_straight_through_rounding() -> None:
    rounded = Rounded(MODEL)
    assert bool((rounded(ATTACK(rounded, X, Y)).argmax(1) == rounded(X).argmax(1)).float().mean() > 0.8)
    got = StraightThrough(ATTACK)(rounded, X, Y)
    assert (rounded(got).argmax(1) != Y).float().mean() > 0.7
    assert bool(THREAT.contains(X, got).all())


def test_without_anything_in_front_it_is_the_plain_attack() -> None:
    assert torch.equal(StraightThrough(ATTACK)(MODEL, X, Y), ATTACK(lambda x: MODEL(x), X, Y))


def test_a_model_without_weights_keeps_its_gradients() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).sum(1), 18 - x.flatten(1).sum(1)], dim=1)

    y = model(X).argmax(1)
    assert torch.equal(StraightThrough(ATTACK)(model, X, y), ATTACK(model, X, y))


def test_only_the_first_layer_is_changed_and_hooks_are_gone() -> None:
    seen: list[Tensor] = []
    with first_weights(MODEL, lambda x: seen.append(x) or x * 0):  # type: ignore[func-returns-value]
        zero = MODEL(X)
    assert len(seen) == 1
    assert torch.equal(zero, MODEL(X * 0))
    assert not any(part._forward_pre_hooks for part in MODEL.modules())
