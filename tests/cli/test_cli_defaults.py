"""Defaults in the help are those of the library, and stand there alone."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from robustlab import cli
from robustlab.cli import defaults
from robustlab.cli.defaults import default_of, literals
from robustlab.core import Linf, ThreatModel
from robustlab.models import load, smooth, split_bn
from robustlab.training import Settings, fit
from robustlab.training.recipes.options import Option
from robustlab.training.recipes.registry import RECIPES

USED = (
    ("evaluation/plan.py", "Settings", ("batch_size", "seed", "device")),
    ("evaluation/explanations/plan.py", "ExplanationSettings", ("batch_size", "checked", "attacked")),
    ("evaluation/explanations/plan.py", "", ("METHOD_NAMES", "NUMBER_NAMES")),
    ("evaluation/copies/manifest.py", "CopySettings", ("format", "quality")),
    ("studies/mining/run.py", "mine", ("folds", "below")),
    ("studies/sweep/attackers.py", "Spend", ("images",)),
    ("studies/sweep/attackers.py", "", ("SEEDS",)),
    ("training/finetune.py", "Plan", ("decay", "fraction")),
    ("training/optimizers.py", "sgd", ("learning_rate", "momentum", "weight_decay")),
    ("training/optimizers.py", "adamw", ("learning_rate", "weight_decay")),
    ("training/schedule.py", "MultiStep", ("drops",)),
    ("training/schedule.py", "Cyclic", ("cycles",)),
    ("training/self_training.py", "SelfTraining", ("rounds", "threshold", "per_class")),
    ("training/settings.py", "Settings", ("batch_size", "precision", "accumulate")),
)


def real(file: str, owner: str, name: str) -> object:
    """The default as Python has it."""
    module = importlib.import_module(f"robustlab.{file.removesuffix('.py').replace('/', '.')}")
    if not owner:
        return getattr(module, name)
    found: Callable[..., Any] = getattr(module, owner)
    return inspect.signature(found).parameters[name].default


@pytest.mark.parametrize(("file", "owner", "names"), USED, ids=[f"{file} {owner}" for file, owner, _ in USED])
def test_a_default_is_read_from_the_source_as_python_has_it(file: str, owner: str, names: tuple[str, ...]) -> None:
    assert {name: default_of(file, owner, name) for name in names} == {n: real(file, owner, n) for n in names}


def test_all_that_the_command_reads_is_compared_above() -> None:
    assert {file for file, *_ in USED} == {
        word
        for path in Path(next(iter(cli.__path__))).glob("*.py")
        for word in path.read_text().split('"')
        if word.endswith(".py") and "/" in word and path.stem != "defaults"
    }


def test_what_is_no_literal_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.py").write_text("N = 3\nM = N\ndef f(a, b=-2, *, c=(1, 2), d=N): ...\nclass C:\n    e: int = 4\n")
    monkeypatch.setattr(defaults, "_PACKAGE", tmp_path)
    literals.cache_clear()
    assert literals("some.py") == {"": {"N": 3}, "f": {"b": -2, "c": (1, 2)}, "C": {"e": 4}}
    with pytest.raises(KeyError):
        default_of("some.py", "f", "d")
    literals.cache_clear()


EPS = 0.1
FRACTIONS = {"eps": 1.0, "eps / 4": 0.25, "1.25 eps": 1.25, "7/31 of eps": 7 / 31}


def usual_words(name: str) -> str:
    """The default step size of a recipe as the help has it."""
    hint = get_type_hints(RECIPES[name].options, include_extras=True).get("step_size")
    return "".join(mark.usual for mark in get_args(hint) if isinstance(mark, Option))


WITH_STEP_SIZE = [name for name in RECIPES if "eps" in usual_words(name)]


def _trained(name: str, step_size: float | None) -> Tensor:
    """Weights after two steps by the recipe, in a ball of eps."""
    options = RECIPES[name].options
    recipe = options(threat=ThreatModel(Linf(), EPS), step_size=step_size).recipe()  # type: ignore[call-arg]
    model = smooth(load("batchnorm-cnn", classes=2, size=8), "silu")
    model = split_bn(model, 2) if "advprop" in name else model
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, recipe, (x, torch.arange(16) % 2), Settings(epochs=1, batch_size=8, device="cpu"))
    return torch.cat([value.flatten() for value in model.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_STEP_SIZE)
def test_the_usual_step_size_is_the_one_in_words(name: str) -> None:
    typed = FRACTIONS[usual_words(name)] * EPS
    plain, same, other = (_trained(name, size) for size in (None, typed, 0.8 * typed))
    assert torch.allclose(plain, same, atol=1e-5)
    assert not torch.allclose(plain, other, atol=1e-5)


def test_most_recipes_with_a_ball_are_compared() -> None:
    assert len(WITH_STEP_SIZE) >= 11
