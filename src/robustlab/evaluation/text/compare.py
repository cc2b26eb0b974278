"""Paired comparisons on the same texts: of two victims under the same recipes, and of searches under equal limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.result_queries import correct, texts_right
from robustlab.evaluation.sealed import check_rows
from robustlab.evaluation.store import reading
from robustlab.evaluation.text.manifest import read_text_manifest
from robustlab.evaluation.text.outcomes import read_texts
from robustlab.evaluation.text.recipe_info import RecipeInfo
from robustlab.evaluation.text.record import TextEvaluation
from robustlab.runs.codec import encode
from robustlab.statistics.paired import holm, mcnemar, paired_difference


@dataclass(frozen=True)
class TextComparison:
    """Two measurements of the same texts, paired: accuracy in the second less that in the first."""

    a: str
    b: str
    measured: str
    """"clean", the name of the recipe, or for two searches the victim."""
    kind: Literal["clean", "recipe", "searches"]
    n: int
    both: int
    """Correct in both."""
    only_a: int
    only_b: int
    neither: int
    difference: float
    low: float
    """Tango's score interval for paired fractions, with ``high``."""
    high: float
    p_value: float
    """Exact McNemar test, two-sided."""
    corrected: float
    """After Holm, for all comparisons that were made together."""
    requested: tuple[float, float] = (float("nan"), float("nan"))
    """Mean queries for an attacked text."""
    changed: tuple[float, float] = (float("nan"), float("nan"))
    """Mean fraction of the words that successes change."""
    level: float = 0.95

    def to_json(self) -> dict[str, object]:
        """Plain dict."""
        return encode(self)


class _Measured(NamedTuple):
    """One recipe on one victim."""

    evaluation: TextEvaluation
    number: int

    @property
    def info(self) -> RecipeInfo:
        """The recipe."""
        return self.evaluation.recipes[self.number]


@typed
def compare_texts(a: TextEvaluation | str | Path, b: TextEvaluation | str | Path) -> tuple[TextComparison, ...]:
    """Compares two victims on the same texts under the same recipes, text by text.

    Args:
        a: an evaluation or its run directory.
        b: the other one.

    Returns: clean accuracy first; then each recipe that both have, equal in all parts.

    Raises:
        ValueError: other texts, or no recipe in common; the message says in what recipes of one name differ.
        RunError: the outcomes of one are missing, or differ from those of the finished run.
    """
    first, second = (one if isinstance(one, TextEvaluation) else read_texts(one) for one in (a, b))
    _check_texts(first, second)
    names = (first.model.name, second.model.name)
    shared = [
        (number, [other.name for other in second.recipes].index(info.name))
        for number, info in enumerate(first.recipes)
        if not differing(first, second, info.name)
    ]
    if not shared:
        raise ValueError(_unlike(first, second))
    found = [_compared(names, "clean", "clean", (_clean(first), _clean(second)), first.clean.accuracy.level)]
    for one, two in shared:
        pair = (_Measured(first, one), _Measured(second, two))
        found.append(_measured(names, first.recipes[one].name, "recipe", pair))
    return _corrected(found)


def differing(a: TextEvaluation, b: TextEvaluation, recipe: str) -> tuple[str, ...]:
    """Names of what differs in a recipe between two evaluations; "recipe" if one does not have it."""
    mine, theirs = ([info for info in one.recipes if info.name == recipe] for one in (a, b))
    if not mine or not theirs:
        return ("recipe",)
    more = [name for name in ("queries", "resources") if getattr(a, name) != getattr(b, name)]
    return (*mine[0].differs(theirs[0]), *more)


@typed
def compare_searches(runs: Sequence[TextEvaluation | str | Path]) -> tuple[TextComparison, ...]:
    """Compares searches under equal limits: recipes that differ in the search alone, on the same victim and texts.

    Args:
        runs: evaluations or their directories; recipes of one run are compared as well as those of several.

    Returns: each pair of such recipes.

    Raises:
        ValueError: no two recipes are alike in all parts but the search.
        RunError: the outcomes of one are missing, or differ from those of the finished run.
    """
    every = [one if isinstance(one, TextEvaluation) else read_texts(one) for one in runs]
    cases = [_Measured(one, number) for one in every for number in range(len(one.recipes))]
    found = [
        _measured((one.info.name, two.info.name), one.evaluation.model.name, "searches", (one, two))
        for one, two in combinations(cases, 2)
        if _searches(one, two)
    ]
    if not found:
        parts = sorted({part for one, two in combinations(cases, 2) for part in one.info.differs(two.info)})
        raise ValueError(
            "no two recipes on the same victim and texts differ in the search alone; they differ in "
            f"{', '.join(parts) or 'nothing'}: evaluate recipes with the same goal, transformations and constraints"
        )
    return _corrected(found)


def _searches(one: _Measured, two: _Measured) -> bool:
    a, b = one.evaluation, two.evaluation
    same = (a.model.sha256, a.data.sha256, a.queries) == (b.model.sha256, b.data.sha256, b.queries)
    return same and one.info.differs(two.info) == ("search",)


def _check_texts(a: TextEvaluation, b: TextEvaluation) -> None:
    if a.data.sha256 != b.data.sha256:
        raise ValueError(
            f"the texts differ, {a.data.n} of {a.data.name} ({a.data.drawn}) and {b.data.n} of {b.data.name} "
            f"({b.data.drawn}): evaluate both victims with the same data, n and seed"
        )


def _unlike(a: TextEvaluation, b: TextEvaluation) -> str:
    """Message for evaluations without a common recipe."""
    parts = {info.name: differing(a, b, info.name) for info in a.recipes}
    words = "; ".join(
        f"{name} differs in {', '.join(found)}" if found != ("recipe",) else f"{name} is not in both"
        for name, found in parts.items()
    )
    return f"no recipe is the same in both: {words}; evaluate both victims with the same recipes, queries and resources"


def _measured(
    names: tuple[str, str], measured: str, kind: Literal["recipe", "searches"], pair: tuple[_Measured, _Measured]
) -> TextComparison:
    one, two = (case.evaluation.results[case.number] for case in pair)
    columns = (_right(pair[0]), _right(pair[1]))
    return replace(
        _compared(names, measured, kind, columns, pair[0].evaluation.clean.accuracy.level),
        requested=(one.queries.requested.mean, two.queries.requested.mean),
        changed=(one.changed.mean_fraction, two.changed.mean_fraction),
    )


def _compared(
    names: tuple[str, str],
    measured: str,
    kind: Literal["clean", "recipe", "searches"],
    columns: tuple[Tensor, Tensor],
    level: float,
) -> TextComparison:
    one, two = columns
    both, only_a, only_b = (int(mask.sum()) for mask in (one & two, one & ~two, two & ~one))
    n, p = one.numel(), mcnemar(only_a, only_b)
    difference, low, high = paired_difference(only_a, only_b, n, level)
    return TextComparison(
        *names, measured, kind, n, both, only_a, only_b, n - both - only_a - only_b, difference, low, high, p, p,
        level=level,
    )  # fmt: skip


def _clean(evaluation: TextEvaluation) -> Tensor:
    home = home_of_texts(evaluation)
    with reading(home) as reader:
        check_rows(home, reader, read_text_manifest(home))
        return correct(reader)


def _right(case: _Measured) -> Tensor:
    home = home_of_texts(case.evaluation)
    with reading(home) as reader:
        check_rows(home, reader, read_text_manifest(home))
        return texts_right(reader, case.number)


def home_of_texts(evaluation: TextEvaluation) -> Path:
    """The run directory of an evaluation.

    Raises: RunError if it has none.
    """
    if evaluation.directory is None:
        raise RunError(f"the evaluation of {evaluation.model.name} has no run directory: give the directory itself")
    return evaluation.directory


def _corrected(found: Sequence[TextComparison]) -> tuple[TextComparison, ...]:
    """With p-values corrected for being several."""

    def each() -> Iterator[TextComparison]:
        for one, p in zip(found, holm([one.p_value for one in found]), strict=True):
            yield replace(one, corrected=p)

    return tuple(each())
