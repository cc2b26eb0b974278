"""Recipes by name, with their substitutes: "textfooler+glove,minilm"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import SUBSTITUTES, Ingredients, Resources


@typed
@dataclass(frozen=True)
class RecipeSpec:
    """A recipe that is available by name.

    Args:
        build: from ingredients to the recipe; name, source and difference are filled in.
        help: description in a few words.
        source: of the definition.
        difference: from the source, in one line; "" if there is none.
        needs: names of the published resources that it uses.
        verified: False if it could not be tried with the published models, because none is at hand.
    """

    build: Callable[[Ingredients], TextRecipe]
    help: str
    source: str
    difference: str = ""
    needs: tuple[str, ...] = ()
    verified: bool = True

    @property
    def substitutes(self) -> tuple[str, ...]:
        """Names of all that can take the place of a published resource."""
        return tuple(dict.fromkeys(SUBSTITUTES[need] for need in self.needs if need in SUBSTITUTES))


TEXT_RECIPES: Registry[RecipeSpec] = Registry(
    "text recipe", "robustlab.text.recipes", "robustlab.text_recipes",
    first=(
        "textfooler", "pwws", "textbugger", "deepwordbug", "a2t", "hotflip", "alzantot", "pso", "input-reduction",
        "bae",
    ),
)  # fmt: skip
"""Text recipes by name, without substitutes."""


class RecipeRow(NamedTuple):
    """A recipe as a row of a table."""

    name: str
    help: str
    needs: str
    """Names of the resources that are used."""
    goal: str
    transformation: str
    constraints: str
    search: str
    lacks: str
    """Reason that it does not run here, with the remedy; "" if it runs."""
    verified: bool
    source: str
    difference: str


@typed
def recipe(name: str, *, resources: Resources | None = None, given: Mapping[str, Any] | None = None) -> TextRecipe:
    """The recipe of that name.

    A plain name is the published recipe with the published resources. Where these are not at hand, the name says what
    takes their place: "textfooler+glove,minilm" has neighbours in GloVe and similarity by MiniLM.

    Args:
        name: of a recipe, and behind a plus sign its substitutes.
        resources: from the name of a resource to its files: ``robustlab.data.text_resource``.
        given: resources of your own by the names that ``TEXT_RECIPES[name].needs`` has.

    Raises:
        ValueError: an unknown name or substitute, or a recipe that needs files and no ``resources``.
        DataError: a resource is missing; the message says what brings it, and names the recipe that does without.

    Example:
        >>> recipe("deepwordbug").search
        Greedy(ranking='delete', closest=False)
    """
    spec, substitutes = _parsed(name)
    ingredients = Ingredients(name, substitutes, resources, given or {}, _replaced(name, spec))
    if resources is None and (lacking := _lack(spec, ingredients)):
        raise ValueError(f"the recipe {name} needs {lacking}: give resources=robustlab.data.text_resource to find them")
    return _built(name, spec, ingredients)


@typed
def recipe_table(resources: Resources | None = None, given: Mapping[str, Any] | None = None) -> tuple[RecipeRow, ...]:
    """Every recipe with its parts, and whether it runs here: as published, and with all substitutes.

    Args:
        resources: as in ``recipe``; should not download.
        given: as in ``recipe``.
    """
    found = None if resources is None else _Remembered(resources)
    rows = []
    for plain in TEXT_RECIPES:
        spec = TEXT_RECIPES[plain]
        names = [plain, *([_replaced(plain, spec)] if spec.substitutes else [])]
        rows += [_row(name, spec, found, given or {}) for name in names]
    return tuple(rows)


@dataclass(frozen=True)
class _Remembered:
    """Finds files, and searches for each only once."""

    resources: Resources
    places: dict[str, Path | Exception] = field(default_factory=dict)

    def __call__(self, name: str) -> Path:
        """The place of a resource, or the error that there is none."""
        if name not in self.places:
            try:
                self.places[name] = self.resources(name)
            except (DataError, ValueError, OSError) as error:
                self.places[name] = error
        place = self.places[name]
        if isinstance(place, Exception):
            raise place
        return place


def _replaced(name: str, spec: RecipeSpec) -> str:
    """A recipe with all its substitutes."""
    return "+".join([name.partition("+")[0], *([",".join(spec.substitutes)] if spec.substitutes else [])])


def _row(name: str, spec: RecipeSpec, resources: Resources | None, given: Mapping[str, Any]) -> RecipeRow:
    _, substitutes = _parsed(name)
    printed = Ingredients(name, substitutes)
    shown = _built(name, spec, printed)
    used = dict.fromkeys(map(printed.used, spec.needs))
    used.pop("no-lm", None)
    return RecipeRow(
        name,
        spec.help,
        ", ".join(used),
        shown.goal.name,
        "; ".join(one.name for one in shown.transformations),
        "; ".join(one.name for one in shown.constraints),
        shown.search.name,
        _lack(spec, Ingredients(name, substitutes, resources, given, _replaced(name, spec), reads=False)),
        spec.verified,
        spec.source,
        spec.difference,
    )


def _lack(spec: RecipeSpec, ingredients: Ingredients) -> str:
    """Resources that a recipe lacks on this machine; "" if none."""
    lacking = [need for need in spec.needs if ingredients.used(need) not in {"no-lm", *ingredients.given}]
    if ingredients.resources is None:
        return f"files: {', '.join(lacking)}" if lacking else ""
    try:
        spec.build(ingredients)
    except DataError as error:
        return str(error)
    return ""


def _built(name: str, spec: RecipeSpec, ingredients: Ingredients) -> TextRecipe:
    return replace(spec.build(ingredients), name=name, source=spec.source, difference=spec.difference)


def _parsed(name: str) -> tuple[RecipeSpec, tuple[str, ...]]:
    """A recipe and the substitutes in its name.

    Raises: ValueError for a substitute that the recipe does not have.
    """
    plain, plus, rest = name.partition("+")
    spec = TEXT_RECIPES.get(plain)
    substitutes = tuple(rest.split(",")) if plus else ()
    for one in substitutes:
        if one not in spec.substitutes:
            there = f"there are {', '.join(spec.substitutes)}" if spec.substitutes else f"{plain} has none"
            raise ValueError(f"{name!r} has no substitute {one!r}: {there}")
    return spec, tuple(one for one in spec.substitutes if one in substitutes)
