"""The recipe of Noisy Student against its formula, its noise, and fine-tuning without any."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import FGSM
from robustlab.core import Batch, Linf, Metrics, Recipe, RecipeState, ThreatModel
from robustlab.data import InMemory, WithoutLabels
from robustlab.models import load
from robustlab.training import (
    NoisyStudent,
    PseudoLabelled,
    PseudoLabels,
    RandAugment,
    Settings,
    adversarial,
    augmented,
    fit,
    noisy_student,
    standard,
    unnoised,
)

DRAW = torch.Generator().manual_seed(4)
X = torch.randint(256, (6, 1, 8, 8), generator=DRAW).div(255)
BATCH = Batch(X, torch.randint(4, (6,), generator=DRAW), torch.arange(30, 36), seed=5)
OTHER = InMemory("others", tuple("abcd"), torch.rand(40, 1, 8, 8, generator=DRAW), torch.zeros(40).long())
PROBS = torch.rand(40, 4, generator=DRAW).softmax(dim=1)
MakeNet = Callable[..., nn.Sequential]
Step = Callable[..., Metrics]


def pseudo(*, soft: bool = True) -> PseudoLabelled:
    return PseudoLabels(WithoutLabels(OTHER), OTHER.classes, PROBS, {}).chosen(threshold=0.25, soft=soft)


def learned(recipe: Recipe, net: nn.Module, batch: Batch = BATCH) -> tuple[Metrics, list[Tensor]]:
    metrics = recipe.step(net, batch, recipe.init(net), lambda loss: loss.backward())
    found = [weight.grad.clone() for weight in net.parameters() if weight.grad is not None]
    net.zero_grad()
    return metrics, found


def alike(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("soft", [True, False])
def test_the_loss_is_the_mean_over_labelled_and_pseudo_labelled_in_one_pass(make_net: MakeNet, soft: bool) -> None:
    net, held = make_net(dropout=0.0).train(), pseudo(soft=soft)
    recipe = noisy_student(held, ratio=3, noise=None)
    mixed, _ = recipe.mixed(BATCH)
    rows = [int((OTHER.x == u).flatten(1).all(1).nonzero()) for u in mixed.x[6:]]
    assert len(rows) == 18
    assert set(rows) <= set(held.examples.rows.tolist())
    got = learned(recipe, net)
    q = PROBS[rows] if soft else F.one_hot(PROBS[rows].argmax(1), 4).float()
    logs = F.log_softmax(net(torch.cat([X, OTHER.x[rows]])), dim=1)
    loss = -(torch.cat([F.one_hot(BATCH.y, 4).float(), q]) * logs).sum(1).mean()
    loss.backward()
    assert got[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert got[0]["accuracy"] == pytest.approx((logs[:6].argmax(1) == BATCH.y).float().mean().item())
    assert got[0]["agreement"] == pytest.approx((logs[6:].argmax(1) == q.argmax(1)).float().mean().item())
    alike(got[1], [w.grad for w in net.parameters() if w.grad is not None])


def test_without_pseudo_labelled_examples_it_is_augmented_training(make_net: MakeNet) -> None:
    net, noise = make_net(dropout=0.0).train(), RandAugment(2, 15)
    got = learned(noisy_student(pseudo(), ratio=0, noise=noise), net)
    plain = learned(augmented(standard(), noise), net)
    assert got[0] == pytest.approx(plain[0], rel=1e-5)
    alike(got[1], plain[1])


def test_every_image_is_changed_on_its_own_and_follows_step_and_id() -> None:
    recipe = noisy_student(pseudo(), ratio=4, noise=RandAugment(2, 20))
    still, mixed = (NoisyStudent(recipe.pseudo, 4, noise).mixed(BATCH)[0] for noise in (None, recipe.noise))
    assert len(mixed.ids.unique()) == 30
    assert len(recipe.mixed(BATCH._replace(ids=torch.arange(6)))[0].ids.unique()) == 30
    moved = (still.x - mixed.x).flatten(1).abs().amax(1) > 0.02
    assert moved[:6].any()
    assert moved[6:].float().mean() > 0.5
    part = recipe.mixed(Batch(X[2:], BATCH.y[2:], BATCH.ids[2:], 5))[0]
    assert torch.equal(part.x, torch.cat([mixed.x[2:6], mixed.x[14:]])), "whatever the batch"
    assert not torch.equal(recipe.mixed(BATCH._replace(seed=6))[0].x, mixed.x)
    assert not torch.equal(recipe.mixed(BATCH._replace(seed=6))[0].y, mixed.y)


class Seen:
    """A recipe that records its batch."""

    replays = 3

    def __init__(self) -> None:
        self.batch = Batch(*(torch.empty(0),) * 3)

    def init(self, model: nn.Module) -> RecipeState:
        del model
        return {"memory": torch.ones(2)}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        del model, state, backward
        self.batch = batch
        return {"loss": 0.5, "accuracy": 1.0}


def test_another_recipe_learns_the_mixed_batch_by_its_hard_labels(make_net: MakeNet) -> None:
    inside, held = Seen(), pseudo(soft=False)
    recipe = noisy_student(held, ratio=2, noise=None, recipe=inside)
    assert recipe.replays == 3
    assert torch.equal(recipe.init(nn.Identity())["memory"], torch.ones(2))
    recipe.step(nn.Identity(), BATCH, {}, Tensor.backward)
    mixed, targets = recipe.mixed(BATCH)
    assert torch.equal(inside.batch.x, mixed.x)
    assert torch.equal(inside.batch.y, targets.argmax(1))
    assert torch.equal(inside.batch.y[:6], BATCH.y)
    fgsm = noisy_student(held, recipe=adversarial(FGSM(ThreatModel(Linf(), 0.1))))
    assert learned(fgsm, make_net().train())[0]["loss"] > 0
    with pytest.raises(ValueError, match="learns classes, not probabilities: choose hard pseudo-labels, soft=False"):
        noisy_student(pseudo(), recipe=inside)


@pytest.mark.parametrize("ratio", [-1, 0.5, -0.5])
def test_a_ratio_is_a_whole_number(ratio: int) -> None:
    said = rf"ratio (is the number of pseudo-labelled examples for each .*|must be) a whole number.*, got {ratio}"
    with pytest.raises(ValueError, match=said):
        noisy_student(pseudo(), ratio=ratio)


def test_a_student_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="the student has 7 classes, its teacher 4"):
        learned(noisy_student(pseudo()), nn.Sequential(nn.Flatten(), nn.Linear(64, 7)))


class Functional(nn.Module):
    """A network that drops features by its own mode, as those of timm, with layers that have a mode of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm1d(64), nn.Dropout(0.9), nn.Linear(64, 4)
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.norm.training)
        features: Tensor = self.drop(self.norm(x.flatten(1)))
        logits: Tensor = self.head(F.dropout(features, 0.9, training=self.training))
        return logits


def test_fine_tuning_has_no_noise_but_norm_layers_that_learn() -> None:
    net = Functional().train()
    recipe = unnoised(standard())
    before = net.norm.running_mean.clone() if net.norm.running_mean is not None else torch.zeros(0)
    one, other = learned(recipe, net), learned(recipe, net)
    assert one[0] == other[0]
    assert net.modes == [True, True]
    assert not torch.equal(before, net.norm.running_mean if net.norm.running_mean is not None else before)
    assert all(part.training for part in net.modules())
    assert learned(standard(), net)[0] != one[0]
    assert repr(recipe) == "Unnoised(recipe=Standard(smoothing=0.0))"
    assert unnoised(Seen()).replays == 3


def test_timm_networks_lose_dropout_and_stochastic_depth_while_they_are_tuned() -> None:
    net = load(
        "timm:efficientnet_b0,stride=1,width=0.1,dropout=0.5,drop_path=0.5", classes=4, channels=1, size=8
    ).train()
    still, noisy = (
        [learned(recipe, net)[0]["loss"] for _ in range(2)] for recipe in (unnoised(standard()), standard())
    )
    assert still[0] == still[1]
    assert noisy[0] != noisy[1]
    assert all(part.training for part in net.modules())


def test_soft_targets_are_not_rounded_where_logits_are(make_net: MakeNet) -> None:
    net, recipe = make_net(dropout=0.0).train(), noisy_student(pseudo(), ratio=3, noise=None)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, targets = recipe.mixed(BATCH)
        logits = net(mixed.x)
        found = learned(recipe, net)[0]["loss"]
    assert logits.dtype == torch.bfloat16
    assert found == pytest.approx(-(targets * F.log_softmax(logits.double(), dim=1)).sum(1).mean().item(), rel=1e-5)


def test_parts_of_a_batch_add_up_to_the_whole(squares: InMemory) -> None:
    ends = []
    for accumulate in (1, 2):
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        for weight in net.parameters():
            nn.init.zeros_(weight)
        fit(net, noisy_student(pseudo(), ratio=2), squares, Settings(2, 20, accumulate=accumulate, device="cpu"))
        ends.append(list(net.parameters()))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
