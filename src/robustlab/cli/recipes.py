"""Recipes on the command line: options from the dataclasses of the recipes, and the recipes made from them."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

import typer

from robustlab.cli import corruption_options as c
from robustlab.cli import parse
from robustlab.cli.fields import Typed, flagged, option

if TYPE_CHECKING:
    from robustlab.core import Attack, Examples, Recipe, ThreatModel
    from robustlab.training.recipes.options import Budget, Option
    from robustlab.training.recipes.registry import RecipeSpec

PANEL = "Recipe"
USUAL = "standard"
"""The default recipe."""


class Taken(NamedTuple):
    """A field of the options of a recipe."""

    recipe: str
    field: str
    kind: Any
    """Its type, without None."""
    mark: Option | Budget
    default: object
    """``dataclasses.MISSING`` if there is none."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Options that set it, as typed; of a switch the first."""
        from robustlab.core import Norm
        from robustlab.training.recipes.options import Budget

        if isinstance(self.mark, Budget):
            return ("--norm",) if self.kind is Norm else ("--eps",) if self.kind is float else ("--eps", "--norm")
        return (self.switch.partition("/")[0],)

    @property
    def switch(self) -> str:
        """The declaration of the option."""
        return getattr(self.mark, "flag", "") or f"--{self.field.replace('_', '-')}"

    @property
    def plain(self) -> type:
        """Type of the words: a number, a text or a switch.

        Raises: ValueError for a type that cannot be typed.
        """
        from robustlab.core import Examples
        from robustlab.training.recipes.options import NamedAttack

        known: dict[object, type] = {int: int, float: float, str: str, bool: bool, Examples: int, NamedAttack: str}
        found = str if get_origin(self.kind) is Literal else known.get(self.kind)
        if found is None:
            raise ValueError(f"{self.field} of the recipe {self.recipe} is {self.kind}, which no option can set")
        return found

    @property
    def usual(self) -> str:
        """The default in words, or nothing."""
        if self.default is MISSING or self.default is None or isinstance(self.default, bool):
            return getattr(self.mark, "usual", "")
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def specs() -> Mapping[str, RecipeSpec]:
    """All recipes by name."""
    from robustlab.training.recipes.registry import RECIPES

    return {name: RECIPES[name] for name in RECIPES}


@cache
def _taken(spec: RecipeSpec, recipe: str) -> tuple[Taken, ...]:
    """The fields of a recipe.

    Raises: ValueError for a field without help.
    """
    from robustlab.training.recipes.options import Budget, Option

    hints, found = get_type_hints(spec.options, include_extras=True), []
    for field in fields(spec.options):  # type: ignore[arg-type]  # registered ones are dataclasses
        kind, *metadata = get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else [None]
        mark = next((one for one in metadata if isinstance(one, Option | Budget)), None)
        if mark is None:
            raise ValueError(
                f"{field.name} of the recipe {recipe} has no help: write {field.name}: Annotated[..., Option('...')]"
            )
        found.append(Taken(recipe, field.name, _without_none(kind), mark, field.default))
    return tuple(found)


def _without_none(kind: object) -> object:
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    left = [one for one in get_args(kind) if one is not type(None)]
    return left[0] if len(left) == 1 else kind


def _all() -> Iterator[Taken]:
    for name, spec in specs().items():
        yield from _taken(spec, name)


def users(flag: str) -> list[str]:
    """The recipes that take an option."""
    return list(dict.fromkeys(one.recipe for one in _all() if flag in one.flags))


def parameters(*, data: bool = True) -> list[Parameter]:
    """Options of a command that takes any recipe: ``--recipe`` and those of all recipes.

    Args:
        data: True if the command can set examples apart for a recipe.

    Raises: ValueError if recipes give one option different types.
    """
    from robustlab.core import Examples
    from robustlab.training.recipes.options import Option

    known = [one for one in _all() if data or one.kind is not Examples]
    several: dict[str, list[Taken]] = {}
    for one in known:
        if isinstance(one.mark, Option):
            several.setdefault(one.switch, []).append(one)
    named = option("recipe", _typer(str, "--recipe", f"{', '.join(specs())}. Default: {USUAL}."), None)
    return [named, *_budget(known, held=data), *(_merged(switch, all_of_it) for switch, all_of_it in several.items())]


def _typer(kind: type, flag: str, text: str, least: float | None = None) -> object:
    check = None if least is None else _at_least(least)
    declared = typer.Option(flag, help=text, callback=check, rich_help_panel=PANEL, show_default=False)
    return Annotated[kind | None, declared]


def _at_least(least: float) -> Callable[[Any], Any]:
    """A check of a number, in place of a range of Typer, whose column leaves the help no room.

    Raises: typer.BadParameter for a smaller one.
    """

    def check(value: Any) -> Any:  # noqa: ANN401 -- of the type of the option
        if value is not None and value < least:
            raise typer.BadParameter(f"{value:g} is too small: give {least:g} or more")
        return value

    return check


def _budget(known: Sequence[Taken], *, held: bool) -> list[Parameter]:
    """``--eps`` and ``--norm``; ``held`` if held-out examples are attacked with that budget, too."""
    from robustlab.training.recipes.options import Budget

    marks = {one.recipe: one.mark for one in known if isinstance(one.mark, Budget)}
    eps = [f", for {name} {mark.eps}" for name, mark in marks.items() if mark.eps]
    norms = [f", for {name} {mark.norm}" for name, mark in marks.items() if mark.norm != Budget.norm]
    usual = ", ".join(f"{eps} ({norm})" for norm, eps in parse.EPS.items())
    whose = "of the recipe and of --hold-out" if held else "of the recipe"
    text = f"Budget, as 0.1 or 8/255, {whose}; default {usual}{''.join(eps)}."
    return [
        option("eps", _typer(str, "--eps", text), None),
        option("norm", _typer(str, "--norm", f"linf, l2 or l1, of that budget; default linf{''.join(norms)}."), None),
    ]


def _merged(switch: str, several: Sequence[Taken]) -> Parameter:
    """One option of several recipes: its help, and in brackets the recipes that take it and their defaults."""
    kinds = {one.plain: one.recipe for one in several}
    if len(kinds) > 1:
        types = ", ".join(f"{kind.__name__} in {recipe}" for kind, recipe in kinds.items())
        raise ValueError(f"recipes disagree on {switch}: {types}; give one of them another flag")
    texts: dict[str, dict[str, list[str]]] = {}
    for one in several:
        texts.setdefault(one.mark.help, {}).setdefault(one.usual, []).append(one.recipe)  # type: ignore[union-attr]
    least = min((one.mark.min for one in several), key=lambda n: -1 if n is None else n)  # type: ignore[union-attr]
    text = " ".join(f"{text} [{_takers(defaults)}]" for text, defaults in texts.items())
    return option(_name(several[0].flags[0]), _typer(several[0].plain, switch, text, least), None)


def _takers(defaults: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(", ".join(names) + (f": {usual}" if usual else "") for usual, names in defaults.items())


def _name(flag: str) -> str:
    """The name of an option in Python."""
    return flag.removeprefix("--").replace("-", "_")


def checked(name: str, typed: Typed, *, also: tuple[str, ...] = ()) -> RecipeSpec:
    """The recipe of a name.

    Args:
        name: as typed.
        typed: options of recipes.
        also: names of options that are not for the recipe alone.

    Raises: typer.BadParameter for an unknown name, or an option that the recipe does not take.
    """
    found = specs()
    if name not in found:
        from robustlab.core.text import choice

        raise typer.BadParameter(f"there is no recipe {name!r}{choice(name, found)}")
    own = {_name(flag) for one in _taken(found[name], name) for flag in one.flags}
    for other in typed.values:
        if other not in {*own, *also, "recipe"}:
            flag = f"--{other.replace('_', '-')}"
            raise typer.BadParameter(f"the recipe {name} does not use {flag}: it is for {', '.join(users(flag))}")
    return found[name]


def build(name: str, typed: Typed, unlabelled: Examples | None = None) -> Recipe:
    """The recipe of a name, with the options that were typed and its own defaults.

    Args:
        name: of a recipe.
        typed: options of recipes.
        unlabelled: examples without labels, if there are some.

    Raises: typer.BadParameter for an option that is missing, or a value that the recipe cannot have.
    """
    spec = specs()[name]
    taken = _taken(spec, name)
    values = {one.field: _value(one, typed, unlabelled) for one in taken}
    values = {field: value for field, value in values.items() if value is not None}
    for one in taken:
        if one.default is MISSING and one.field not in values:
            raise typer.BadParameter(f"the recipe {name} needs {one.flags[0]}: add it")
    with flagged({one.field: one.flags[0] for one in taken}):
        return spec.options(**values).recipe()


def _value(one: Taken, typed: Typed, unlabelled: Examples | None) -> object:
    """The value of a field, or None if it was not typed."""
    from robustlab.core import Examples, Norm, ThreatModel
    from robustlab.training.recipes.options import NamedAttack, Option

    if isinstance(one.mark, Option):
        if one.kind is Examples:
            return unlabelled
        word = typed.get(_name(one.flags[0]))
        return NamedAttack(word or one.mark.usual, _attack) if one.kind is NamedAttack else word
    if one.kind is Norm:
        return parse.norm(typed.get("norm") or one.mark.norm)
    if one.kind is ThreatModel:
        return ball(one.recipe, typed)
    if one.kind is float:
        return ball(one.recipe, typed).eps if typed.get("eps") else None
    return tuple(_balls(one.recipe, typed))


def _attack(name: str, threat: ThreatModel, steps: int) -> Attack:
    return parse.attack(name, threat, steps=steps)


def _balls(name: str, typed: Typed) -> list[ThreatModel]:
    """A ball for each eps that was typed, the smallest first; by default the recipe's own, or the usual one."""
    from robustlab.training.recipes.options import Budget

    marks = [one.mark for one in _taken(specs()[name], name) if isinstance(one.mark, Budget)]
    mark = marks[0] if marks else Budget()
    norm, words = typed.get("norm") or mark.norm, typed.get("eps")
    if words is None and mark.eps and norm.lower() == mark.norm:
        words = mark.eps
    return [parse.threat(norm, eps) for eps in parse.budgets([words] if words else parse.usual_eps(norm))]


def ball(name: str, typed: Typed) -> ThreatModel:
    """The ball of a recipe, in which held-out examples are attacked, too; the largest of several.

    Raises: typer.BadParameter for several where it takes one.
    """
    found = _balls(name, typed)
    if len(found) > 1 and not any(get_origin(one.kind) is tuple for one in _taken(specs()[name], name)):
        from robustlab.core.words import budget

        raise typer.BadParameter(
            f"training needs one eps, got {', '.join(budget(cast(float, one.eps)) for one in found)}"
        )
    return found[-1]


def on_corrupted(
    recipe: Recipe, corruptions: Sequence[str] | None, severities: str | None, variant: str | None
) -> Recipe:
    """The recipe on corrupted images, or the recipe itself if no corruption was typed.

    Raises: typer.BadParameter for options that need --corruptions; ValueError for an unknown corruption.
    """
    from robustlab.corruptions import corruption
    from robustlab.training import corrupted

    names, levels = c.names(corruptions), c.severities(severities)
    if names is None:
        if severities is not None or variant is not None:
            raise typer.BadParameter("--severities and --variant need --corruptions: add it")
        return recipe
    values = [corruption(name, c.variant(variant or c.VARIANTS[0])) for name in names]
    return corrupted(recipe, values) if levels is None else corrupted(recipe, values, levels)
