"""Recipes by name, as ``robustlab train --recipe`` takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Protocol, TypeVar

from robustlab.core import Recipe
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry


class RecipeOptions(Protocol):
    """A frozen dataclass whose fields are the options of a recipe; see ``recipes.options`` for their metadata."""

    def recipe(self) -> Recipe:
        """The recipe that the options describe.

        Raises: ValueError, beginning with the name of a field, for a value that the recipe cannot have.
        """


Options = TypeVar("Options", bound=RecipeOptions)


@dataclass(frozen=True)
class RecipeSpec:
    """A recipe as the command knows it.

    Args:
        options: the dataclass of its options.
        help: a few words.
        activation: default activation in place of ReLU.
        best: number of the validation that decides the best epoch.
    """

    options: type[RecipeOptions]
    help: str
    activation: str | None = None
    best: str = "robust_accuracy"

    def __post_init__(self) -> None:
        given: object = self.options
        if not is_dataclass(given) or not callable(getattr(given, "recipe", None)):
            raise ValueError(f"the options of a recipe are a dataclass with a method recipe, got {given!r}")


RECIPES: Registry[RecipeSpec] = Registry("recipe", "robustlab.training.recipes", "robustlab.recipes")
"""Recipes of the package, of installed packages by entry points, and any registered before use."""


@typed
def register_recipe(
    name: str, help: str, *, activation: str | None = None, best: str = "robust_accuracy"
) -> Callable[[type[Options]], type[Options]]:
    """Decorator of a frozen dataclass of options: registers its recipe under a name.

    Each field is an option of ``robustlab train --recipe NAME``: ``Annotated[type, Option("help")] = default``.

    Args:
        name: on the command line.
        help: a few words.
        activation: see ``RecipeSpec``.
        best: see ``RecipeSpec``.

    Raises: ValueError for a name that is taken, or a class that is not a dataclass with a method ``recipe``.
    """

    def register(options: type[Options]) -> type[Options]:
        RECIPES.register(name, RecipeSpec(options, help, activation, best))
        return options

    return register
