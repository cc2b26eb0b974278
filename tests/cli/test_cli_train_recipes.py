"""The words of ``robustlab train`` and what they make: recipes, optimizers, schedules, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from robustlab import data, training
from robustlab.attacks import FGSM, PGD
from robustlab.cli import recipes
from robustlab.cli.fields import Typed
from robustlab.cli.recipes import ball, checked, on_corrupted
from robustlab.cli.train_options import Length, Rule
from robustlab.cli.training import PLAIN, optimizer, precision, robust, schedule, settings
from robustlab.cli.training import taken as precision_taken
from robustlab.core import L2, Examples, Linf, Recipe, ThreatModel
from robustlab.corruptions import corruption
from robustlab.regularization import AdversarialRegularization, Neighbourhood
from robustlab.training import Settings
from robustlab.training.recipes.registry import RECIPES

Word = str | int | float
AT = ThreatModel(Linf(), 0.1)


CRAFTED: dict[str, Any] = {"bn_mode": "eval", "eps_warmup": 0.5}
STEPPED: dict[str, Any] = {"steps": 3, "step_size": 0.04, **CRAFTED, "steps_warmup": 0.25}
MIXED: dict[str, Any] = {"mix": 0.7, "smoothing": 0.1}
SMOOTH: dict[str, Any] = {"label_smoothing": 0.1}
TYPED_MIXED: dict[str, Any] = {"mix": 0.7, **SMOOTH}
Expected = dict[str, tuple[Recipe, dict[str, Word]]]


def made(name: str, unlabelled: Examples | None = None, **typed: Word) -> Recipe:
    checked(name, Typed(typed))
    return recipes.build(name, Typed(typed), unlabelled)


def digits() -> Examples:
    return data.load("digits", split="train")


def of_several_steps() -> Expected:
    """Recipes with an attack of several steps, with all of their options, made by hand."""
    pgd = training.adversarial(PGD(AT, 3, 0.04), **MIXED, **CRAFTED, steps_warmup=0.25)
    trades = training.trades(AT, beta=3.0, **STEPPED)
    return {
        "adversarial": (pgd, {"attack": "pgd", **STEPPED, **TYPED_MIXED}),
        "pgd": (pgd, {**STEPPED, **TYPED_MIXED}),
        "trades": (trades, {"beta": 3.0, **STEPPED}),
        "mart": (training.mart(AT, beta=3.0, **STEPPED), {"beta": 3.0, **STEPPED}),
        "awp": (training.awp(pgd, gamma=0.02), {"gamma": 0.02, **STEPPED, **TYPED_MIXED}),
        "trades-awp": (training.awp(trades, gamma=0.02), {"gamma": 0.02, "beta": 3.0, **STEPPED}),
    }


def of_few_steps() -> Expected:
    """Recipes with one step or none, with all of their options, made by hand."""
    return {
        "standard": (training.standard(smoothing=0.1), {"label_smoothing": 0.1}),
        "fgsm": (
            training.adversarial(FGSM(AT, 0.08), **CRAFTED, **MIXED), {"step_size": 0.08, **CRAFTED, **TYPED_MIXED}
        ),
        "fast": (training.fast(AT, step_size=0.08, **CRAFTED), {"step_size": 0.08, **CRAFTED}),
        "free": (
            training.free(AT, replays=4, step_size=0.05, eps_warmup=0.5),
            {"replays": 4, "step_size": 0.05, "eps_warmup": 0.5},
        ),
        "grad-align": (
            training.grad_align(AT, weight=0.5, step_size=0.08, **CRAFTED),
            {"weight": 0.5, "step_size": 0.08, **CRAFTED},
        ),
        "sat": (
            training.smooth_adversarial(AT, step_size=0.08, **CRAFTED, **MIXED),
            {"step_size": 0.08, **CRAFTED, **TYPED_MIXED}
        ),
        "vat": (
            training.vat(ThreatModel(L2(), 0.1), unlabelled=training.Unlabelled(digits(), 2), weight=2.0, entropy=1.0,
                         **CRAFTED),
            {"labels": 20, "ratio": 2, "weight": 2.0, "entropy": 1.0, **CRAFTED},
        ),
        "nsl": (
            AdversarialRegularization(Neighbourhood(L2(), 0.04, 3, 0.1), 0.5, bn_mode="eval"),
            {"weight": 0.5, "step_size": 0.04, "steps": 3, "bn_mode": "eval"},
        ),
        "gaussian-noise": (training.Adversarial(training.GaussianNoise(0.5), **MIXED), {"sigma": 0.5, **TYPED_MIXED}),
        "augmix": (
            training.augmix(weight=6.0, change=training.AugMix(severity=5)),
            {"magnitude": 5, "weight": 6.0},
        ),
        "randaugment": (
            training.augmented(training.standard(smoothing=0.1), training.RandAugment(magnitude=5)),
            {"magnitude": 5, "label_smoothing": 0.1},
        ),
    }  # fmt: skip


def of_two_routes() -> Expected:
    """Recipes with norms of their own for adversarial images, with all of their options, made by hand."""
    return {
        "advprop": (
            training.advprop([AT], steps=3, step_size=0.04, targeted=False, weight=0.5, shared=True, smoothing=0.1),
            {
                "steps": 3,
                "step_size": 0.04,
                "targeted": False,
                "weight": 0.5,
                "shared_bn": True,
                "label_smoothing": 0.1,
            },
        ),
        "fast-advprop": (
            training.fast_advprop(AT, fraction=0.5, step_size=0.04, smoothing=0.1),
            {"fraction": 0.5, "step_size": 0.04, "label_smoothing": 0.1},
        ),
    }


def taken(name: str) -> set[str]:
    """Names of the options that help says are for a recipe."""
    return {one.name for one in recipes.parameters() if name in recipes.users(f"--{one.name.replace('_', '-')}")}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_made_of_exactly_the_options_that_it_says_it_uses(name: str) -> None:
    wanted, typed = (of_several_steps() | of_few_steps() | of_two_routes())[name]
    budget = {"eps": "0.1"} if "eps" in taken(name) else {}
    assert repr(made(name, digits() if name == "vat" else None, **typed, **budget)) == repr(wanted)
    assert {*typed, *budget} | ({"norm"} if budget else set()) == taken(name)


def test_what_is_not_typed_is_as_in_the_paper() -> None:
    at = ThreatModel(Linf(), 8 / 255)
    assert made("pgd") == training.madry(at)
    assert made("adversarial") == training.adversarial(FGSM(at, random_start=True))
    assert made("adversarial", attack="pgd") == training.adversarial(PGD(at, 7))
    assert made("fgsm") == training.adversarial(FGSM(at), mix=0.5)
    assert made("trades-awp") == training.awp(training.trades(at), gamma=0.005)
    assert made("free") == training.free(at)
    assert made("nsl") == AdversarialRegularization()
    assert made("vat") == training.vat(ThreatModel(L2(), 0.5))
    assert made("advprop") == training.advprop(ThreatModel(Linf(), 4 / 255))
    assert made("fast-advprop") == training.fast_advprop(ThreatModel(Linf(), 1 / 255))
    assert made("trades", norm="l2") == training.trades(ThreatModel(L2(), 0.5))


def test_advprop_has_a_route_for_each_budget_and_is_chosen_by_clean_accuracy() -> None:
    several = Typed({"eps": "8/255,1/255"})
    assert made("advprop", eps="8/255,1/255") == training.advprop([ThreatModel(Linf(), n / 255) for n in (1, 8)])
    given = (Typed({}), several, Typed({"shared_bn": True}))
    assert [getattr(recipes.build("advprop", typed), "routes", 1) for typed in given] == [2, 3, 1]
    assert [ball("advprop", typed).eps for typed in given[:2]] == [4 / 255, 8 / 255]
    assert (RECIPES["advprop"].best, RECIPES["pgd"].best) == ("clean_accuracy", "robust_accuracy")
    with pytest.raises(typer.BadParameter, match="training needs one eps"):
        made("fast-advprop", eps="8/255,1/255")


def test_any_recipe_is_made_for_corrupted_images() -> None:
    plain = training.standard()
    assert on_corrupted(plain, None, None, None) is plain
    assert on_corrupted(plain, ["fog,snow", "frost"], None, None) == training.corrupted(plain, ["fog", "snow", "frost"])
    fog = training.corrupted(plain, [corruption("fog", "cifar-c")], [1, 2, 5])
    assert on_corrupted(plain, ["fog"], "1-2,5", "cifar-c") == fog
    for typed in (("1", None), (None, "cifar-c")):
        with pytest.raises(typer.BadParameter, match="--severities and --variant need --corruptions: add it"):
            on_corrupted(plain, None, *typed)


def test_robust_is_the_fastest_recipe_with_settings_for_the_data() -> None:
    grey = robust(digits())
    assert (grey.model, grey.recipe, grey.eps, grey.bn_mode) == ("batchnorm-cnn", "pgd", "0.1", "eval")
    assert grey.epochs == 100
    coloured = data.InMemory("c", ("a", "b"), torch.zeros(60_000, 3, 1, 1), torch.zeros(60_000, dtype=torch.int64))
    assert (robust(coloured).eps, robust(coloured).epochs) == ("8/255", 5)


def test_a_precision_left_open_is_told_as_what_it_comes_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [precision(name) for name in ("auto", "fp32", "bf16", "fp16")] == ["auto", "fp32", "bf16", "fp16"]
    for faster, wanted in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("robustlab.training.precision.bf16_is_faster", lambda _, faster=faster: faster)
        assert precision_taken(Settings(1, precision="auto", device="cpu"), tmp_path) == wanted
        assert precision_taken(Settings(1, precision="fp16", device="cpu"), tmp_path) == "fp16"


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (Rule(), training.sgd()),
        (Rule("sgd", 0.2, 0.5, 0.0), training.sgd(0.2, momentum=0.5, weight_decay=0.0)),
        (Rule("AdamW", weight_decay=0.1), training.adamw(weight_decay=0.1)),
        (Rule("nadam", 3e-3), training.tuned(torch.optim.NAdam, lr=3e-3)),
        (Rule("rmsprop", momentum=0.9), training.tuned(torch.optim.RMSprop, momentum=0.9)),
    ],
)
def test_optimizers_by_name(rule: Rule, wanted: object) -> None:
    assert optimizer(rule, PLAIN.rule) == wanted


def test_schedules_by_name() -> None:
    for rule, wanted in (
        (Rule(), training.OneCycle()),
        (Rule(schedule="cosine"), training.Cosine()),
        (Rule(schedule="multi-step", drops="0.3, 0.6"), training.MultiStep((0.3, 0.6))),
        (Rule(schedule="cyclic", cycles=2), training.Cyclic(2)),
        (Rule(schedule="constant"), training.Constant()),
    ):
        assert schedule(rule, PLAIN.rule) == wanted


def test_everything_typed_about_a_run_reaches_its_settings() -> None:
    length = Length(3, 64, accumulate=2, clip=1.0, average=0.9, patience=4, precision="bf16")
    found = settings(length, Rule("adamw"), PLAIN, seed=5, device="cpu", best="robust_accuracy")
    assert found == training.Settings(
        3, 64, training.adamw(), training.OneCycle(), seed=5, accumulate=2, clip=1.0, average=0.9,
        best="robust_accuracy", patience=4, precision="bf16", device="cpu", resume=True,
    )  # fmt: skip
