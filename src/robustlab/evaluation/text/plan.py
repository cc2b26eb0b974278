"""Plan of an evaluation on texts: settings, recipes by unique names, and the passes over the examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as made
from typing import Literal, TypeAlias

from robustlab.core.kinds import typed
from robustlab.evaluation.plan import Inspected, Phase
from robustlab.evaluation.text.meaning import Meaning
from robustlab.runs.progress import Report
from robustlab.text import TextRecipe
from robustlab.text.words import Segment

BATCH_PLAN = "ids ascending, cut into batches; a batch under one recipe is one transaction"
MeaningOf: TypeAlias = Meaning | Literal["auto"] | None


@typed
@dataclass(frozen=True)
class TextSettings:
    """Settings of an evaluation on texts; victim, data and recipes are arguments of ``evaluate_text``.

    Args:
        batch_size: examples that are attacked together and written together.
        seed: of the sample, and of searches that draw.
        queries: texts that a search may ask to be scored for one example, the clean one included; None: any number.
        field: number of the attacked field of texts with several.
        segment: words of a text in order, for languages without spaces.
        target: class to reach, for recipes with a targeted goal.
        name: of the victim in reports; empty: its own.
        level: of all intervals.
        meaning: measures what successful attacks did to the meaning of texts; "auto": by the resources that are on
            this machine; None: it is not measured.
        resources: versions of the resources that recipes use, by name; those of recipes given by name are added.
        doctor: whether to probe victim and data for faults.
        progress: called after every text.
        inspected: called with the findings about victim and data before any attack; an exception of it ends the
            evaluation.
        command: the call, for the manifest; empty: the command line of the process.

    Raises: ValueError for numbers that make no sense.
    """

    batch_size: int = 128
    seed: int = 0
    queries: int | None = None
    field: int = 0
    segment: Segment | None = None
    target: int | None = None
    name: str = ""
    level: float = 0.95
    meaning: MeaningOf = "auto"
    resources: Mapping[str, str] = made(default_factory=dict)
    doctor: bool = True
    progress: Report | None = None
    inspected: Inspected | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.queries is not None and self.queries < 1:
            raise ValueError(f"queries must be at least 1, the clean text itself, got {self.queries}")
        if not 0 < self.level < 1:
            raise ValueError(f"the level of an interval must be between 0 and 1, got {self.level}")


def phase_of(recipe: int) -> Phase:
    """The pass of a recipe over all examples."""
    return Phase(recipe, 0.0, "text")


def planned(recipes: Sequence[TextRecipe]) -> tuple[TextRecipe, ...]:
    """Recipes under unique names.

    Raises: ValueError if there is none.
    """
    if not recipes:
        raise ValueError("no recipes were given: evaluate_text(victim, data, recipes=[...])")
    found: list[TextRecipe] = []
    for one in recipes:
        taken = [other.name for other in found]
        names = (one.name, *(f"{one.name} ({number})" for number in range(2, len(recipes) + 1)))
        found.append(replace(one, name=next(name for name in names if name not in taken)))
    return tuple(found)
