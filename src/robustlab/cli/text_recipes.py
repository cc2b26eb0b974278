"""robustlab text recipes: attacks on texts by name, with their parts, and what they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show

if TYPE_CHECKING:
    from robustlab.text.recipes import RecipeRow

EXAMPLE = "robustlab text recipes textfooler+glove,minilm"


def recipes(
    name: Annotated[str | None, typer.Argument(help="Recipe to show with all its parts; none: list all.")] = None,
    json: o.Json = False,
) -> None:
    """Lists attacks on texts and says whether they run here without a download; with a name, shows the parts of one.

    Behind a plus sign stand the resources that take the place of published ones.
    """
    from functools import partial

    from robustlab.data.text_resources import text_resource
    from robustlab.text.recipes import recipe_table

    rows = recipe_table(partial(text_resource, fetch=False))
    if name is not None:
        rows = (_named(name, rows),)
    if json:
        show.machine([one._asdict() for one in rows])
    elif name is not None:
        _show(rows[0])
    else:
        cells = [[one.name, one.help, _runs(one), "yes" if one.verified else "no"] for one in rows]
        show.table(["recipe", "contents", "runs here", "verified"], cells)
        show.say("robustlab text recipes NAME shows the parts of one, and what brings what it lacks.")


def _named(name: str, rows: tuple[RecipeRow, ...]) -> RecipeRow:
    """The row of a recipe.

    Raises: ValueError for a name that is none.
    """
    from robustlab.core.text import choice

    names = [one.name for one in rows]
    if name not in names:
        raise ValueError(f"no text recipe is called {name!r}{choice(name, names, intro='there are ')}")
    return rows[names.index(name)]


def _runs(one: RecipeRow) -> str:
    return "no" if one.lacks else "yes"


def _show(one: RecipeRow) -> None:
    """Prints the parts of a recipe."""
    lines = [
        one.help,
        f"goal: {one.goal}",
        f"transformations: {one.transformation}",
        f"constraints: {one.constraints or 'none'}",
        f"search: {one.search}",
        f"source: {one.source}",
        *([f"differs: {one.difference}"] if one.difference else []),
        f"runs here: {_runs(one)}" + (f": {one.lacks}" if one.lacks else ""),
        *([] if one.verified else ["unverified: no published model is at hand to try it with"]),
    ]
    show.paragraph(one.name, lines)
