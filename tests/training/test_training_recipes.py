"""Steps of each recipe against their formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import PGD
from robustlab.core import Batch, Linf, Model, Recipe, Stop, ThreatModel, Twin
from robustlab.data import InMemory
from robustlab.training import adversarial, standard
from robustlab.training.crafting import BnMode

THREAT = ThreatModel(Linf(), 0.1)


@dataclass
class Spy:
    """An attack that inverts images, and records its arguments."""

    fails: bool = False
    seen: dict[str, object] = field(default_factory=dict)

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
        own = model.model if isinstance(model, Twin) else model
        modes = {part.training for part in own.modules()} if isinstance(own, nn.Module) else set()
        self.seen = {"y": y, "target": target, "stop": stop, "seed": seed, "ids": ids, "modes": modes}
        if self.fails:
            raise KeyError("the attack broke")
        return 1 - x


@pytest.fixture
def batch(squares: InMemory) -> Batch:
    return squares.batch(torch.arange(10, 30))._replace(seed=77)


def add_gradients(loss: Tensor) -> None:
    loss.backward()


def sharpened(model: nn.Sequential) -> nn.Sequential:
    """The same network, much more confident."""
    last = model[8]
    assert isinstance(last, nn.Linear)
    last.weight.data.mul_(20)
    return model


def gradients(recipe: Recipe, model: nn.Module, batch: Batch) -> list[Tensor]:
    model.zero_grad()
    recipe.step(model, batch, recipe.init(model), add_gradients)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def by_hand(model: nn.Module, *parts: tuple[float, Tensor, Tensor]) -> list[Tensor]:
    model.zero_grad()
    for share, x, y in parts:
        add_gradients(share * F.cross_entropy(model(x), y))
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_standard_gives_the_gradient_of_the_mean_cross_entropy(
    make_net: Callable[..., nn.Sequential], batch: Batch
) -> None:
    model = make_net(dropout=0.0)
    for got, expected in zip(gradients(standard(), model, batch), by_hand(model, (1.0, batch.x, batch.y)), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("mix", [1.0, 0.5, 0.3])
def test_mix_is_the_share_of_the_loss_on_adversarial_inputs(
    make_net: Callable[..., nn.Sequential], batch: Batch, mix: float
) -> None:
    model = make_net(dropout=0.0)
    got = gradients(adversarial(Spy(), mix=mix), model, batch)
    expected = by_hand(model, (1 - mix, batch.x, batch.y), (mix, 1 - batch.x, batch.y))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
    assert (got[0] - by_hand(model, (1.0, batch.x, batch.y))[0]).abs().max() > 1e-3


def test_a_mix_of_zero_is_exactly_standard_training(make_net: Callable[..., nn.Sequential], batch: Batch) -> None:
    model, spy = make_net(dropout=0.0), Spy()
    plain = gradients(standard(), model, batch)
    assert all(map(torch.equal, gradients(adversarial(spy, mix=0.0), model, batch), plain))
    assert spy.seen == {}


def test_metrics_are_weighted_like_the_loss(make_net: Callable[..., nn.Sequential], batch: Batch) -> None:
    model = sharpened(make_net(dropout=0.0))
    recipe = adversarial(Spy(), mix=0.25)
    metrics = recipe.step(model, batch, {}, add_gradients)
    clean, hard = model(batch.x), model(1 - batch.x)
    losses = [F.cross_entropy(logits, batch.y).item() for logits in (clean, hard)]
    right = [(logits.argmax(1) == batch.y).float().mean().item() for logits in (clean, hard)]
    assert right[0] != right[1]
    assert metrics["loss"] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1])
    assert metrics["accuracy"] == pytest.approx(0.75 * right[0] + 0.25 * right[1])
    assert (metrics["clean_accuracy"], metrics["adversarial_accuracy"]) == pytest.approx(tuple(right))


def test_the_attack_works_at_full_strength_with_the_seed_and_ids_of_the_batch(
    make_net: Callable[..., nn.Sequential], batch: Batch
) -> None:
    spy = Spy()
    gradients(adversarial(spy), make_net(), batch)
    assert (spy.seen["stop"], spy.seen["seed"], spy.seen["target"]) == ("never", 77, None)
    assert spy.seen["ids"] is batch.ids
    assert spy.seen["y"] is batch.y


@pytest.mark.parametrize(("bn_mode", "modes"), [("eval", {False}), ("train", {True})])
@pytest.mark.parametrize("fails", [False, True])
def test_norm_mode_holds_while_crafting_and_is_taken_back(
    make_net: Callable[..., nn.Sequential], batch: Batch, bn_mode: BnMode, modes: set[bool], fails: bool
) -> None:
    model, spy = make_net(), Spy(fails)
    recipe = adversarial(spy, bn_mode=bn_mode)
    if fails:
        with pytest.raises(KeyError, match="the attack broke"):
            gradients(recipe, model, batch)
    else:
        gradients(recipe, model, batch)
    assert spy.seen["modes"] == modes
    assert {part.training for part in model.modules()} == {True}


@pytest.mark.parametrize(("bn_mode", "modes"), [("eval", {False}), ("train", {True, False})])
def test_a_layer_that_was_frozen_in_eval_mode_stays_so(
    make_net: Callable[..., nn.Sequential], batch: Batch, bn_mode: BnMode, modes: set[bool]
) -> None:
    model, spy = make_net(), Spy()
    model[1].eval()
    gradients(adversarial(spy, bn_mode=bn_mode), model, batch)
    assert spy.seen["modes"] == modes
    assert [part.training for part in model] == [True, False, *[True] * 7]


@pytest.mark.parametrize("bn_mode", ["eval", "train"])
def test_running_statistics_see_only_the_inputs_that_are_trained_on(
    make_net: Callable[..., nn.Sequential], batch: Batch, bn_mode: BnMode
) -> None:
    model, twin = make_net(dropout=0.0), make_net(dropout=0.0)
    recipe = adversarial(PGD(THREAT, steps=3), bn_mode=bn_mode)
    trained_on: list[Tensor] = []
    model[0].register_forward_pre_hook(lambda _part, inputs: trained_on.append(inputs[0].detach()))
    gradients(recipe, model, batch)
    twin(trained_on[-1])
    assert (trained_on[-1] - batch.x).abs().max() > 0.05
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, twin.get_buffer(name))


def test_adversarial_inputs_raise_the_loss_within_the_budget(
    make_net: Callable[..., nn.Sequential], batch: Batch
) -> None:
    model = sharpened(make_net())
    recipe = adversarial(PGD(THREAT, steps=5))
    x_adv = recipe.craft(model, batch)
    assert bool(THREAT.contains(batch.x, x_adv).all())
    model.eval()
    assert F.cross_entropy(model(x_adv), batch.y) > F.cross_entropy(model(batch.x), batch.y) + 0.05


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mix is the fraction .* in \[0, 1\], got 1\.5"):
        adversarial(Spy(), mix=1.5)
    with pytest.raises(ValueError, match="bn_mode must be one of eval, train, got 'batch'"):
        adversarial(Spy(), bn_mode="batch")  # type: ignore[arg-type]


def test_recipes_are_values_that_say_what_they_are() -> None:
    assert adversarial(PGD(THREAT), mix=0.5) == adversarial(PGD(THREAT), mix=0.5)
    assert adversarial(PGD(THREAT)) != adversarial(PGD(THREAT, steps=3))
    assert "eps=0.1" in repr(adversarial(PGD(THREAT)))
    assert repr(standard()) == "Standard(smoothing=0.0)"
