"""The training loop: results, guarantees and refusals."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from rich.console import Console
from tests.training.places import place_of
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import PGD
from robustlab.core import Batch, Linf, Metrics, RecipeState, ThreatModel
from robustlab.data import InMemory
from robustlab.runs import Progress, progress_bars
from robustlab.training import (
    Constant,
    Cosine,
    DivergedError,
    Settings,
    adamw,
    adversarial,
    fit,
    seeds,
    sgd,
    standard,
    tuned,
)
from robustlab.training.settings import Precision
from robustlab.training.update import Means

PGD_TRAINING = adversarial(PGD(ThreatModel(Linf(), 0.05), steps=2))

MakeNet = Callable[..., nn.Sequential]


@dataclass(frozen=True)
class Watching:
    """Standard training that records its batches."""

    batches: list[Batch] = field(default_factory=list)
    draws: list[float] = field(default_factory=list)
    modes: list[set[bool]] = field(default_factory=list)
    losses: tuple[float, ...] = ()
    replays: int = 1

    def init(self, model: nn.Module) -> RecipeState:
        del model
        return {}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        self.batches.append(batch)
        self.draws.append(torch.rand(()).item() + random.random())
        self.modes.append({part.training for part in model.modules()})
        metrics = standard().step(model, batch, state, backward)
        number = len(self.batches) - 1
        return {**metrics, "loss": self.losses[number]} if number < len(self.losses) else metrics


def weights(model: nn.Module) -> list[Tensor]:
    return [value.detach().clone() for value in model.state_dict().values()]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(map(torch.equal, a, b))


def test_it_is_the_plain_loop(squares: InMemory, make_net: MakeNet) -> None:
    model, by_hand = make_net(dropout=0.0), make_net(dropout=0.0)
    settings = Settings(2, batch_size=20, optimizer=sgd(0.05), schedule=Cosine(), seed=3)
    history = fit(model, standard(), squares, settings)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    losses = []
    for epoch in (1, 2):
        total = 0.0
        for number, ids in enumerate(seeds.batches(50, 20, seed=3, epoch=epoch)):
            optimizer.param_groups[0]["lr"] = 0.05 * Cosine()((epoch - 1) * 3 + number, 6)
            optimizer.zero_grad()
            loss = F.cross_entropy(by_hand(squares.x[ids] / 255), squares.y[ids])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(ids)
        losses.append(total / 50)
    torch.testing.assert_close(weights(model), weights(by_hand), rtol=1e-4, atol=1e-6)
    assert history["loss"] == pytest.approx(losses, rel=1e-5)
    assert history["learning_rate"] == pytest.approx([0.05 * Cosine()(2, 6), 0.05 * Cosine()(5, 6)])


@pytest.mark.parametrize("recipe", [standard(), PGD_TRAINING], ids=repr)
@pytest.mark.parametrize("optimizer", [sgd(0.1), adamw(0.01), tuned(torch.optim.RMSprop, lr=0.003)], ids=repr)
def test_it_overfits_a_few_images(squares: InMemory, make_net: MakeNet, recipe: Watching, optimizer: object) -> None:
    settings = Settings(12, batch_size=25, optimizer=optimizer)  # type: ignore[arg-type]
    assert fit(make_net(dropout=0.0), recipe, squares, settings)["accuracy"][-1] == 1.0


@pytest.mark.parametrize("recipe", [standard(), PGD_TRAINING], ids=["standard", "pgd"])
def test_one_seed_gives_the_same_bits_another_does_not(squares: InMemory, make_net: MakeNet, recipe: Watching) -> None:
    results = []
    for seed in (0, 0, 1):
        model = make_net()
        torch.rand(7)
        history = fit(model, recipe, squares, Settings(2, batch_size=20, seed=seed))
        results.append((weights(model), history["loss"]))
    assert equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not equal(results[0][0], results[2][0])


@pytest.mark.parametrize("breaks", [False, True])
def test_the_global_generators_are_left_alone(squares: InMemory, make_net: MakeNet, breaks: bool) -> None:
    torch_before, python_before = torch.get_rng_state(), random.getstate()
    recipe = Watching(losses=(float("nan"),) if breaks else ())
    if breaks:
        with pytest.raises(DivergedError):
            fit(make_net(), recipe, squares, Settings(1))
    else:
        fit(make_net(), recipe, squares, Settings(1), validate=lambda _: {"noise": torch.rand(()).item()})
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert random.getstate() == python_before


def test_draws_and_batch_seeds_follow_the_place_in_the_run_alone(squares: InMemory, make_net: MakeNet) -> None:
    first, second = Watching(), Watching()
    fit(make_net(), first, squares, Settings(2, batch_size=10))
    fit(make_net(1), second, squares, Settings(2, batch_size=10), validate=lambda _: {"noise": torch.rand(()).item()})
    assert first.draws == second.draws
    assert len(set(first.draws)) == 10
    assert [b.seed for b in first.batches] == [b.seed for b in second.batches]
    assert len({b.seed for b in first.batches}) == 10


def test_a_batch_says_how_far_training_is(squares: InMemory, make_net: MakeNet) -> None:
    recipe = Watching()
    fit(make_net(), recipe, squares, Settings(2, batch_size=25))
    assert [b.progress for b in recipe.batches] == [0.0, 0.25, 0.5, 0.75]


def test_a_recipe_may_replay_its_batches_with_an_update_each(squares: InMemory, make_net: MakeNet) -> None:
    seen: list[float] = []
    recipe, model, by_hand = Watching(replays=3), make_net(dropout=0.0), make_net(dropout=0.0)
    settings = Settings(1, batch_size=25, optimizer=sgd(0.05, momentum=0.0, weight_decay=0.0), schedule=Cosine())
    history = fit(model, recipe, squares, settings, progress=lambda at: seen.append(at.metrics["loss"]))
    losses = []
    for number in range(6):
        batch = recipe.batches[number]
        assert torch.equal(batch.ids, recipe.batches[number // 3 * 3].ids)
        loss = F.cross_entropy(by_hand(batch.x), batch.y)
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        for weight, gradient in zip(by_hand.parameters(), gradients, strict=True):
            weight.data.sub_(gradient, alpha=0.05 * Cosine()(number, 6))
        losses.append(loss.item())
    torch.testing.assert_close(weights(model), weights(by_hand), rtol=1e-4, atol=1e-6)
    assert seen[:2] == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-5)
    assert history["loss"] == pytest.approx([sum(losses) / 6], rel=1e-5)
    assert len(set(recipe.draws)) == len({b.seed for b in recipe.batches}) == 6
    assert [b.progress for b in recipe.batches] == pytest.approx([n / 6 for n in range(6)])


def plain_net() -> nn.Sequential:
    """A network in which examples do not depend on each other."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 4))


def test_accumulated_parts_make_the_update_of_the_whole_batch(squares: InMemory) -> None:
    whole, cut, recipe = plain_net(), plain_net(), Watching()
    history = fit(whole, PGD_TRAINING, squares, Settings(2, batch_size=25))
    again = fit(cut, PGD_TRAINING, squares, Settings(2, batch_size=25, accumulate=3))
    torch.testing.assert_close(weights(whole), weights(cut), rtol=1e-5, atol=1e-6)
    assert again["loss"] == pytest.approx(history["loss"], rel=1e-5)
    assert again["accuracy"] == pytest.approx(history["accuracy"])
    fit(plain_net(), recipe, squares, Settings(1, batch_size=25, accumulate=3))
    assert [len(b.ids) for b in recipe.batches] == [9, 8, 8] * 2
    assert len(set(recipe.draws)) == 6


def test_what_cannot_be_accumulated_is_refused(squares: InMemory, make_net: MakeNet) -> None:
    with pytest.raises(
        ValueError, match=r"batches of 2 examples cannot be cut into 3 parts \(1 processes, 3 accumulated\)"
    ):
        fit(make_net(), standard(), squares, Settings(1, batch_size=2, accumulate=3))
    with pytest.raises(ValueError, match=r"a recipe that replays its batches .* set accumulate=1"):
        fit(make_net(), Watching(replays=2), squares, Settings(1, accumulate=2))


def test_a_long_gradient_is_cut_to_length_and_a_short_one_is_left(squares: InMemory) -> None:
    moves = {}
    for clip in (None, 1e3, 1e-3):
        model = plain_net()
        once = Settings(1, optimizer=sgd(1.0, momentum=0.0, weight_decay=0.0), schedule=Constant(), clip=clip)
        fit(model, standard(), squares, once)
        pairs = zip(weights(model), weights(plain_net()), strict=True)
        moves[clip] = torch.cat([(after - before).flatten() for after, before in pairs])
    assert torch.equal(moves[None], moves[1e3])
    assert moves[None].norm() > 0.01
    torch.testing.assert_close(moves[1e-3], moves[None] * (1e-3 / moves[None].norm()), rtol=1e-2, atol=1e-6)


def test_a_number_that_comes_at_some_steps_is_averaged_over_those() -> None:
    means = Means()
    means.add({"loss": 1.0, "alarm": 0.5}, 10)
    means.add({"loss": 4.0}, 20)
    assert means.values() == {"loss": 3.0, "alarm": 0.5}


def test_each_epoch_shows_every_example_once_in_unit_range(squares: InMemory, make_net: MakeNet) -> None:
    recipe = Watching()
    fit(make_net(), recipe, squares, Settings(2, batch_size=16))
    for epoch in (recipe.batches[:4], recipe.batches[4:]):
        ids = torch.cat([b.ids for b in epoch])
        assert torch.equal(ids.sort().values, torch.arange(50))
        assert torch.equal(torch.cat([b.y for b in epoch]), squares.y[ids])
        assert torch.equal(torch.cat([b.x for b in epoch]), squares.x[ids] / 255)
    assert recipe.modes == [{True}] * 8


def test_the_model_comes_back_in_eval_mode_and_in_its_own_layout(squares: InMemory, make_net: MakeNet) -> None:
    model = make_net()
    parameters = list(model.parameters())
    fit(model, standard(), squares, Settings(1))
    assert {part.training for part in model.modules()} == {False}
    assert all(a is b and a.is_contiguous() for a, b in zip(parameters, model.parameters(), strict=True))


def test_validation_sees_eval_mode_after_each_epoch_and_changes_nothing(squares: InMemory, make_net: MakeNet) -> None:
    seen: list[set[bool]] = []

    def validate(model: nn.Module) -> Metrics:
        seen.append({part.training for part in model.modules()})
        model.train()(squares.batch(torch.arange(50)).x)
        return {"robust_accuracy": len(seen) / 10}

    plain, validated = make_net(), make_net()
    fit(plain, standard(), squares, Settings(3))
    history = fit(validated, standard(), squares, Settings(3), validate=validate)
    assert seen == [{False}] * 3
    assert history["validation_robust_accuracy"] == [0.1, 0.2, 0.3]
    assert equal(weights(plain), weights(validated))


def test_progress_tells_every_step(squares: InMemory, make_net: MakeNet) -> None:
    every: list[Progress] = []
    score = {"score": 0.5}
    history = fit(
        make_net(), standard(), squares, Settings(2, batch_size=20), progress=every.append, validate=lambda _: score
    )
    told = [at for at in every if at.summary is None]
    assert [at.summary for at in every if at.summary is not None] == list(history.epochs)
    assert [at.summary is None for at in every] == [True, True, True, False] * 2
    assert [place_of(p) for p in told] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert {(p.total, p.unit) for p in told} == {(6, "steps")}
    sizes = (17, 17, 16)
    mean = sum(p.metrics["loss"] * n for p, n in zip(told[:3], sizes, strict=True)) / 50
    assert history["loss"][0] == pytest.approx(mean)


def test_the_bar_shows_where_the_run_stands(squares: InMemory, make_net: MakeNet) -> None:
    console = Console(width=100, record=True, force_terminal=True, file=io.StringIO())
    with progress_bars("my net", console=console) as show:
        fit(make_net(), standard(), squares, Settings(1, batch_size=20), progress=show)
    text = console.export_text()
    assert "my net" in text
    assert re.search(r"100% .*epoch 1/1  loss \d\.\d{3}  accuracy \d+\.\d%", text)


def test_a_loss_that_is_no_number_stops_the_run_and_says_where(squares: InMemory, make_net: MakeNet) -> None:
    recipe = Watching(losses=(1.0, 1.0, 1.0, 1.0, float("nan")))
    with pytest.raises(
        DivergedError, match=r"loss is nan at step 2 of 3 in epoch 2, learning rate 0\.\d+: lower.*no epo"
    ):
        fit(make_net(), recipe, squares, Settings(2, batch_size=20))


def test_an_attack_that_meets_broken_weights_says_the_same(squares: InMemory, make_net: MakeNet) -> None:
    with pytest.raises(DivergedError, match=r"logits are not finite at step \d+ of 5 in epoch 1"):
        fit(make_net(), PGD_TRAINING, squares, Settings(3, batch_size=10, optimizer=sgd(1e25), schedule=Constant()))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_mixed_precision_trains_and_leaves_full_precision_weights(
    squares: InMemory, make_net: MakeNet, precision: Precision, dtype: torch.dtype
) -> None:
    seen: list[torch.dtype] = []
    model = make_net()
    handle = model[0].register_forward_hook(lambda _part, _inputs, output: seen.append(output.dtype))
    history = fit(model, standard(), squares, Settings(8, batch_size=25, precision=precision))
    handle.remove()
    assert dtype in seen
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_runs_of_different_precision_share_a_process_with_the_users_accelerator(
    squares: InMemory, make_net: MakeNet
) -> None:
    from accelerate import Accelerator

    mine = Accelerator(cpu=True, mixed_precision="no")
    fit(make_net(), standard(), squares, Settings(1, precision="bf16"))
    fit(make_net(), standard(), squares, Settings(1))
    assert mine.mixed_precision == "no"
    assert Accelerator(cpu=True).mixed_precision == "no"


@dataclass(frozen=True)
class Odd:
    """A data set that can be broken in one way."""

    whole: InMemory
    fault: str
    name: str = "odd"
    classes: tuple[str, ...] = ("a", "b", "c", "d")

    def __len__(self) -> int:
        return 0 if self.fault == "empty" else 50

    def batch(self, ids: Tensor) -> Batch:
        found = self.whole.batch(ids)
        if self.fault == "ends early":
            return Batch(found.x[:20], found.y[:20], ids[:20])
        return found._replace(y=found.y + 1 if self.fault == "labels" else found.y)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("empty", "odd has no examples to train on"),
        ("ends early", "odd gave 20 inputs and 20 labels for 25 ids"),
        ("labels", r"odd has labels \d\.\.4, but 4 classes"),
    ],
)
def test_data_that_cannot_be_are_refused(squares: InMemory, make_net: MakeNet, fault: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(make_net(), standard(), Odd(squares, fault), Settings(1, batch_size=25))


class Pair(nn.Module):
    """A model that returns two things."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.dense(x.flatten(1))
        return logits, logits


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Pair(), "the model returned a tuple, expected logits"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "labels go up to 3, but the model has 3 classes"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).requires_grad_(requires_grad=False), "nothing to train"),
    ],
    ids=["tuple", "classes", "frozen"],
)
def test_models_that_cannot_be_trained_are_refused(squares: InMemory, model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(model, standard(), squares, Settings(1))


def test_weights_that_are_frozen_stay(squares: InMemory, make_net: MakeNet) -> None:
    model = make_net()
    model[0].requires_grad_(requires_grad=False)
    before = weights(model[0])
    fit(model, standard(), squares, Settings(1))
    assert equal(before, weights(model[0]))
    assert not equal(weights(make_net()[4]), weights(model[4]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": -2}, "batch_size must be at least 1, got -2"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"clip": 0.0}, r"clip is a length of the gradient, a finite number > 0, got 0\.0"),
        ({"precision": "fp8"}, "precision must be one of auto, fp32, bf16, fp16, got 'fp8'"),
        ({"device": "tpu"}, "there is no device 'tpu' here: choose one of cpu, auto"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    squares: InMemory, make_net: MakeNet, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit(make_net(), standard(), squares, Settings(**{"epochs": 1, **changes}))  # type: ignore[arg-type]
