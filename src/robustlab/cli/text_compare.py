"""robustlab text compare: paired tests of victims under the same recipes, or of searches under equal constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.show_texts import text_comparisons

if TYPE_CHECKING:
    from robustlab.evaluation import TextComparison, TextEvaluation

EXAMPLE = "robustlab text compare runs/standard runs/hardened"


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Directories of finished runs.", show_default=False)],
    searches: Annotated[
        bool,
        typer.Option(
            "--searches", help="Compare searches: recipes of the runs that are equal in all parts but the search."
        ),
    ] = False,
    json: o.Json = False,
) -> None:
    """Compares two finished runs on the same texts by the exact McNemar test, recipe by recipe.

    Recipes must be equal in all parts, limits and resources, so that only the victims differ. With --searches, the
    victim and all parts but the search must be equal; any number of runs can be given.
    """
    from robustlab.evaluation import compare_searches, compare_texts, read_texts

    if not searches and len(runs) != 2:
        raise typer.BadParameter(f"two runs are compared, got {len(runs)}; with --searches any number")
    found = compare_searches(list(runs)) if searches else compare_texts(*runs)
    if json:
        show.machine([one.to_json() for one in found])
        return
    text_comparisons(found)
    if not searches:
        for words in _left_out(read_texts(runs[0]), read_texts(runs[1])):
            show.say(words, "warning")


def _left_out(a: TextEvaluation, b: TextEvaluation) -> Iterator[str]:
    """Sentences on recipes that were not compared."""
    from robustlab.evaluation.text.compare import differing

    for info in a.recipes:
        parts = differing(a, b, info.name)
        if parts == ("recipe",):
            yield f"{info.name} was not compared: it is not in both runs"
        elif parts:
            yield f"{info.name} was not compared: it differs in {', '.join(parts)}"


def compared_texts(results: Sequence[TextEvaluation]) -> list[TextComparison]:
    """Every pair of evaluations of the same texts, compared where they have a recipe in common."""
    from robustlab.evaluation import compare_texts
    from robustlab.evaluation.text.compare import differing

    found: list[TextComparison] = []
    for a, b in combinations(results, 2):
        if a.data.sha256 == b.data.sha256 and any(not differing(a, b, info.name) for info in a.recipes):
            found += compare_texts(a, b)
    return found
