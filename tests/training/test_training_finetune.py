"""Fine-tuning: frozen layers stay, groups open and learn at their own rates, the best weights are returned."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.places import place_of
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import Batch, Linf, Metrics, Recipe, RunError, ThreatModel
from robustlab.data import InMemory, apart
from robustlab.models import split_bn
from robustlab.runs import Progress
from robustlab.training import (
    HeldOut,
    Plan,
    Settings,
    adamw,
    adversarial,
    advprop,
    fast_advprop,
    finetune,
    fit,
    sgd,
    standard,
)
from robustlab.training.recipes.cross_entropy import Standard

MakeNet = Callable[..., nn.Sequential]
HEAD = Settings(3, batch_size=10, optimizer=adamw(0.01), device="cpu", resume=True)
BODY = Settings(4, batch_size=10, optimizer=sgd(0.01), device="cpu", resume=True)


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def changed(before: dict[str, Tensor], net: nn.Module) -> set[str]:
    """The layers whose weights or statistics have changed in any bit."""
    after = net.state_dict()
    return {name.partition(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}


def test_the_first_stage_changes_the_head_alone(make_net: MakeNet, squares: InMemory, tmp_path: Path) -> None:
    net = make_net().train()
    before = state(net)
    done = finetune(net, standard(), squares, Plan(HEAD, None), out=tmp_path)
    assert changed(before, net) == {"8"}
    assert done.head is not None
    assert (done.head["loss"][-1] < done.head["loss"][0], done.body, done.kept) == (True, None, "head")
    assert all(p.requires_grad for p in net.parameters())
    assert not any(part.training for part in net.modules())


def test_the_head_learns_from_features_what_it_would_from_images(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    net, plain = make_net(), make_net()
    finetune(net, standard(smoothing=0.1), squares, Plan(HEAD, None), out=tmp_path)
    plain[:8].eval().requires_grad_(requires_grad=False)
    with torch.no_grad():
        made = InMemory("made", squares.classes, plain[:8](squares.batch(torch.arange(50)).x), squares.y)
    fit(plain[8], standard(smoothing=0.1), made, HEAD)
    torch.testing.assert_close(net[8].weight, plain[8].weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("groups", "moved"), [(1, {"8"}), (2, {"4", "5", "8"}), (None, {"0", "1", "4", "5", "8"})])
def test_groups_below_those_that_are_opened_stay_as_they_were(
    make_net: MakeNet, squares: InMemory, tmp_path: Path, groups: int | None, moved: set[str]
) -> None:
    net = make_net()
    before = state(net)
    finetune(net, standard(), squares, Plan(None, BODY, groups=groups), out=tmp_path)
    assert changed(before, net) == moved
    assert all(p.requires_grad for p in net.parameters())


def test_statistics_can_be_kept_while_the_weights_beside_them_learn(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    net = make_net()
    before = state(net)
    finetune(net, standard(), squares, Plan(None, BODY, fraction=0.0), out=tmp_path)
    for norm in ("1", "5"):
        assert torch.equal(before[f"{norm}.running_mean"], net.state_dict()[f"{norm}.running_mean"])
        assert not torch.equal(before[f"{norm}.weight"], net.state_dict()[f"{norm}.weight"])
    finetune(net, standard(), squares, Plan(None, BODY, fraction=0.0, keep_statistics=False), out=tmp_path / "new")
    for norm in ("1", "5"):
        assert not torch.equal(before[f"{norm}.running_mean"], net.state_dict()[f"{norm}.running_mean"])


class Watched(Standard):
    """A recipe that records the state of the network at each step."""

    seen: list[tuple[float, list[bool], list[bool]]]

    def learn(self, model: nn.Module, batch: Batch, x_adv: Tensor, backward: Callable[[Tensor], None]) -> Metrics:
        parts = [model.get_submodule(name) for name in "0148"]
        trained = [all(p.requires_grad for p in part.parameters()) for part in parts]
        self.seen.append((batch.progress, trained, [part.training for part in parts]))
        return super().learn(model, batch, x_adv, backward)


def test_groups_open_from_the_top_with_their_norm_layers_also_within_an_epoch(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    net, recipe = make_net(), Watched()
    vars(recipe)["seen"] = []
    finetune(net, recipe, squares, Plan(None, BODY, fraction=0.6, keep_statistics=False), out=tmp_path)
    assert len(recipe.seen) == 20
    for progress, trained, training in recipe.seen:
        assert trained == training == [progress >= 0.6] * 2 + [True] * 2


def test_each_group_learns_at_its_own_rate(make_net: MakeNet, squares: InMemory, tmp_path: Path) -> None:
    settings = replace(BODY, epochs=2, schedule=lambda step, steps: 1.0 if step < steps else 0.0)
    done = finetune(make_net(), standard(), squares, Plan(None, settings, decay=0.5), out=tmp_path)
    assert done.body is not None
    assert done.body.checkpoint is not None
    groups = json.loads((done.body.checkpoint / "state.json").read_text())["groups"]
    assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.005, 0.0025])
    assert done.body["learning_rate"] == pytest.approx([0.01, 0.01])


def test_a_resumed_run_ends_with_the_same_bits(make_net: MakeNet, squares: InMemory, tmp_path: Path) -> None:
    plan = Plan(HEAD, BODY)
    whole, stopped = make_net(), make_net()
    expected = finetune(whole, standard(), squares, plan, out=tmp_path / "whole")

    class StoppedError(Exception):
        pass

    def stop(at: Progress) -> None:
        if (at.task, *place_of(at)) in places:
            places.remove((at.task, *place_of(at)))
            raise StoppedError

    places = [("features", 1, 1), ("head", 2, 3), ("body", 1, 2), ("body", 3, 4)]
    for _ in range(4):
        with pytest.raises(StoppedError):
            finetune(make_net(), standard(), squares, plan, out=tmp_path / "parts", progress=stop)
    found = finetune(stopped, standard(), squares, plan, out=tmp_path / "parts", progress=stop)
    assert not changed(state(whole), stopped)
    assert found.body is not None
    assert expected.body is not None
    assert found.body["loss"] == expected.body["loss"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"fraction": 0.1}, "fraction=0.1"),
        ({"decay": 0.9}, "decay=0.9"),
        ({"groups": 2}, "2 of 3 groups"),
        ({"keep_statistics": False}, "keep_statistics=False"),
    ],
)
def test_a_run_goes_on_with_no_other_plan(
    make_net: MakeNet, squares: InMemory, tmp_path: Path, other: dict[str, float], said: str
) -> None:
    settings = replace(BODY, epochs=1)
    finetune(make_net(), standard(), squares, Plan(None, settings), out=tmp_path)
    with pytest.raises(RunError, match=f"holds another run.*{said}"):
        finetune(make_net(), standard(), squares, replace(Plan(None, settings), **other), out=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("plan", [Plan(HEAD, None), Plan(None, BODY)])
def test_a_run_goes_on_with_no_other_pretrained_weights(
    make_net: MakeNet, squares: InMemory, tmp_path: Path, plan: Plan
) -> None:
    finetune(make_net(), standard(), squares, plan, out=tmp_path)
    with pytest.raises(RunError, match="holds another run"):
        finetune(make_net(seed=1), standard(), squares, plan, out=tmp_path)


def test_early_stopping_keeps_the_best_epoch_and_the_better_stage(
    make_net: MakeNet, squares: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, rest = apart(squares, 10)
    truth = HeldOut.__call__
    weights: list[dict[str, Tensor]] = []

    def watched(self: HeldOut, model: nn.Module) -> Metrics:
        weights.append(state(model))
        return {**truth(self, model), "accuracy": next(scores)}

    monkeypatch.setattr(HeldOut, "__call__", watched)
    head, body = (replace(way, best="accuracy", patience=2, epochs=9) for way in (HEAD, BODY))
    for name, numbers, kept, best in (
        ("body", [0.1, 0.3, 0.2, 0.2, 0.4, 0.6, 0.5, 0.5], "body", 5),
        ("head", [0.1, 0.7, 0.2, 0.2, 0.4, 0.6, 0.5, 0.5], "head", 1),
    ):
        weights.clear()
        scores, net = iter(numbers), make_net()
        done = finetune(net, standard(), rest, Plan(head, body), out=tmp_path / name, held=held)
        assert (done.kept, list(scores)) == (kept, [])
        assert done.head is not None
        assert done.body is not None
        assert (len(done.head.epochs), done.head.best, len(done.body.epochs), done.body.best) == (4, 2, 4, 2)
        found = state(net) if kept == "body" else state(net[8])
        assert all(torch.equal(value, found[key]) for key, value in weights[best].items())


def test_adversarial_recipes_work_on_a_network_that_is_partly_frozen(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    net = make_net()
    recipe = adversarial(FGSM(ThreatModel(Linf(), 0.05)))
    done = finetune(net, recipe, squares, Plan(replace(HEAD, epochs=1), replace(BODY, epochs=2)), out=tmp_path)
    assert done.body is not None
    assert done.body["loss"][1] > 0
    assert done.head is not None
    assert done.head["loss"][0] > 0


BESIDE = ("aux.0.running_mean", "main.running_mean", "aux.0.weight", "main.weight")


@pytest.mark.parametrize("make", [advprop, fast_advprop])
@pytest.mark.parametrize("keep", [True, False])
def test_main_norms_keep_their_statistics_and_auxiliary_ones_follow_adversarial_inputs(
    make_net: MakeNet, squares: InMemory, tmp_path: Path, make: Callable[[ThreatModel], Recipe], keep: bool
) -> None:
    net = split_bn(make_net())
    before = state(net)
    plan = Plan(HEAD, replace(BODY, epochs=1), fraction=0.0, groups=2, keep_statistics=keep)
    finetune(net, make(ThreatModel(Linf(), 4 / 255)), squares, plan, out=tmp_path)
    after = state(net)
    moved = [not torch.equal(before[f"5.{name}"], after[f"5.{name}"]) for name in BESIDE]
    assert moved == [True, not keep, True, True]
    assert [name for name in before if name[0] == "1" and not torch.equal(before[name], after[name])] == [], "closed"


def test_a_resumed_run_with_auxiliary_norms_ends_with_the_same_bits(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    recipe, plan = advprop(ThreatModel(Linf(), 4 / 255)), Plan(replace(HEAD, epochs=1), replace(BODY, epochs=2))
    whole, stopped = split_bn(make_net()), split_bn(make_net())
    finetune(whole, recipe, squares, plan, out=tmp_path / "whole")

    def stop(at: Progress) -> None:
        if (at.task, *place_of(at)) == ("body", 2, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(split_bn(make_net()), recipe, squares, plan, out=tmp_path / "parts", progress=stop)
    finetune(stopped, recipe, squares, plan, out=tmp_path / "parts")
    assert not changed(state(whole), stopped)


def test_the_first_stage_is_on_the_main_route_and_auxiliary_norms_begin_where_it_ends(
    squares: InMemory, tmp_path: Path
) -> None:
    def net() -> nn.Sequential:
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 4), nn.BatchNorm1d(4))

    plain, split = net(), split_bn(net())
    for one, place in ((plain, "plain"), (split, "split")):
        finetune(one, standard(), squares, Plan(HEAD, None), out=tmp_path / place)
    found, expected = split.state_dict(), plain.state_dict()
    assert not torch.equal(expected["4.weight"], torch.ones(4))
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(found[f"4.main.{name}"], expected[f"4.{name}"])
        assert torch.equal(found[f"4.aux.0.{name}"], expected[f"4.{name}"])


def test_a_model_that_the_recipe_cannot_train_is_refused_before_anything_is_computed(
    make_net: MakeNet, squares: InMemory, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="AdvProp needs 2 routes, one for clean images and one per kind"):
        finetune(make_net(), advprop(ThreatModel(Linf(), 0.1)), squares, Plan(HEAD, BODY), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_accuracy_on_what_was_held_out_is_that_of_all_examples(make_net: MakeNet, squares: InMemory) -> None:
    net = make_net().eval()
    x, y, *_ = squares.batch(torch.arange(50))
    with torch.no_grad():
        logits = net(x)
    found = HeldOut(squares, batch_size=7)(net)
    assert found["accuracy"] == pytest.approx(float((logits.argmax(1) == y).double().mean()))
    assert found["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, y)), rel=1e-5)


def test_bad_input_is_said_in_one_sentence(make_net: MakeNet, squares: InMemory, tmp_path: Path) -> None:
    plan = Plan(HEAD, BODY)
    wide = InMemory("squares", ("a", "b", "c", "d", "rest"), squares.x, squares.y)
    few = InMemory("squares", tuple("abc"), squares.x, squares.y.clamp(max=2))
    with pytest.raises(ValueError, match="squares has no example of rest: give each class some, or remove it"):
        finetune(make_net(), standard(), wide, plan, out=tmp_path)
    with pytest.raises(ValueError, match="the model has 4 classes, squares has 3: put a new last layer on it"):
        finetune(make_net(), standard(), few, plan, out=tmp_path)
    with pytest.raises(ValueError, match="squares has other classes than squares: hold out a part of the same data"):
        finetune(make_net(), standard(), squares, plan, out=tmp_path, held=few)
    with pytest.raises(ValueError, match="without head and body trains nothing"):
        Plan(None, None)
    with pytest.raises(ValueError, match=r"decay must be in \(0, 1\] and fraction in \[0, 1\], got 0 and 0.5"):
        Plan(HEAD, None, decay=0)
    with pytest.raises(ValueError, match="groups counts layers from the head down, at least 1, got 0"):
        Plan(HEAD, None, groups=0)
    assert not list(tmp_path.iterdir())
