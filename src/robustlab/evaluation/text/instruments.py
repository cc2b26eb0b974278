"""Resources that an evaluation on texts finds by itself: recipes by name, and instruments of the meaning audit."""

from __future__ import annotations

from collections.abc import Sequence

from robustlab.evaluation.text.meaning import Meaning
from robustlab.evaluation.text.plan import MeaningOf
from robustlab.text import TextRecipe

OPINION, ENCODER = "vader", "minilm"
"""Text resources of the audit."""


def instruments(given: MeaningOf) -> Meaning:
    """Instruments of the meaning audit."""
    if given is None:
        return Meaning()
    return found_instruments() if given == "auto" else given


def found_instruments() -> Meaning:
    """Instruments by the resources that are on this machine; nothing is fetched."""
    return Meaning(missing=tuple(f"robustlab data --text {name}" for name in (OPINION, ENCODER)))


def recipes_of(recipes: Sequence[TextRecipe | str]) -> tuple[list[TextRecipe], dict[str, str]]:
    """Recipes as values, and the versions of the resources that those given by name use."""
    if isinstance(recipes, str):
        raise ValueError(f"recipes must be a list, got {recipes!r}: put it in a list")
    return [one for one in recipes if isinstance(one, TextRecipe)], {}
