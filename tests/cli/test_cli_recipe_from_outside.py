"""A recipe from outside the package: its options are in the help of ``robustlab train``, and it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from robustlab import training
from robustlab.cli import recipes
from robustlab.cli.fields import Typed
from robustlab.core import Recipe, ThreatModel
from robustlab.training import Budget, Option, register_recipe
from robustlab.training.recipes.registry import RECIPES, RecipeSpec

Command = Callable[..., Any]


@dataclass(frozen=True)
class ToyOptions:
    """Options of a recipe as a user would write it."""

    threat: Annotated[ThreatModel, Budget(eps="3/255")]
    pull: Annotated[float, Option("Share of the toy.", flag="--toy-share")] = 0.75

    def recipe(self) -> Recipe:
        if not 0 <= self.pull <= 1:
            raise ValueError(f"pull is a share, in [0, 1], got {self.pull}")
        return training.standard(smoothing=self.pull / 10)


@pytest.fixture
def toy() -> Iterator[type]:
    yield register_recipe("toy", "labels that are smoothed by a share")(ToyOptions)
    RECIPES.unregister("toy")


@pytest.mark.usefixtures("toy")
def test_a_registered_recipe_has_its_options_in_the_help_and_is_made_of_them(command: Command) -> None:
    shown = " ".join(command("train", "--help").out.replace("│", " ").split())
    assert "--toy-share" in shown
    assert "Share of the toy. [toy: 0.75]" in shown
    assert "for toy 3/255" in shown
    assert recipes.build("toy", Typed({"toy_share": 0.5})) == training.standard(smoothing=0.05)
    assert recipes.ball("toy", Typed({})).eps == 3 / 255


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--recipe toy --toy-share 2", "--toy-share is a share, in [0, 1], got 2.0"),
        ("--recipe toy --beta 6", "the recipe toy does not use --beta: it is for trades, mart, trades-awp"),
        ("--recipe pgd --toy-share 1", "the recipe pgd does not use --toy-share: it is for toy"),
        ("--recipe toys", "there is no recipe 'toys'; did you mean toy?"),
    ],
)
def test_what_does_not_fit_a_registered_recipe_is_refused_like_any_other(
    command: Command, words: str, message: str
) -> None:
    done = command("train", "--data", "digits", "--limit", "40", *words.split(), "--out", "net")
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())


def test_a_class_that_can_hold_no_options_is_refused() -> None:
    class Plain:
        pass

    with pytest.raises(ValueError, match="the options of a recipe are a dataclass with a method recipe, got <class"):
        RecipeSpec(Plain, "nothing")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pull": float}, "pull of the recipe toy has no help: write pull: Annotated[..., Option('...')]"),
        ({"pull": Annotated[dict[str, int], Option("Odd.")]}, "pull of the recipe toy is dict[str, int], which no opt"),
        ({"beta": Annotated[int, Option("Other.")]}, "recipes disagree on --beta: float in trades-awp, int in toy"),
    ],
)
def test_a_field_that_no_option_can_set_is_refused_by_its_name(fields: dict[str, Any], message: str) -> None:
    odd: Any = dataclass(frozen=True)(
        type("Odd", (), {"__annotations__": fields, "recipe": lambda _: training.standard()})
    )
    register_recipe("toy", "odd")(odd)
    try:
        with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("(", r"\(").replace(")", r"\)")):
            recipes.parameters()
    finally:
        RECIPES.unregister("toy")
