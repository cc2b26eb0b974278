"""The attack of one example in progress."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustlab.core import fold_in
from robustlab.core.types import Text
from robustlab.text.parts import (
    Costly,
    Draws,
    OnPositions,
    OnTexts,
    OnWords,
    Proposals,
    Rewrites,
    Rows,
    Scored,
    Swaps,
    TextRecipe,
    Transformation,
    WordOptions,
)
from robustlab.text.words import Words

if TYPE_CHECKING:
    from robustlab.text.victims.kinds import Victim


class OutOfQueries(Exception):
    """The query budget of an example is spent; the driver ends its search."""


@dataclass
class Plan:
    """Parts that the attacks of all examples have in common.

    Args:
        victim: the classifier under attack.
        recipe: the attack.
        seed: of the attack; the draws of an example depend on it and on the id alone.
        budget: queries for one example; None: any number.
    """

    victim: Victim
    recipe: TextRecipe
    seed: int = 0
    budget: int | None = None
    options: dict[tuple[int, str, str], Sequence[str]] = field(default_factory=dict, init=False)
    """Words for a word that were computed before: by transformation, original and present word."""

    def __post_init__(self) -> None:
        rules = self.recipe.constraints
        self.on_positions = [one for one in rules if isinstance(one, OnPositions)]
        self.on_words = [one for one in rules if isinstance(one, OnWords)]
        self.on_texts = [one for one in rules if isinstance(one, OnTexts)]
        self.costly = [one for one in rules if isinstance(one, Costly)]
        self.kinds = [(_kind(one), one) for one in self.recipe.transformations]
        self.checks_words = bool(self.on_words) and any(kind is not WordOptions for kind, _ in self.kinds)
        """True if some texts are not yet checked word by word."""


def _kind(transformation: Transformation) -> type:
    """The protocol that a transformation follows.

    Raises: ValueError if it has none of the methods.
    """
    for kind in (WordOptions, Draws, Rewrites, Proposals, Swaps):
        if isinstance(transformation, kind):
            return kind
    raise ValueError(
        f"{type(transformation).__name__} is no transformation: it needs options, draws, rewrites, proposals or swaps"
    )


@dataclass
class Task:
    """One example under attack.

    Args:
        place: of the example in the call.
        id: of the example.
        label: the true class.
        original: the attacked field, cut into words.
        plan: what all examples share.
        fields: all fields of the text; (): one.
        attacked: number of the attacked one.
        target: class to reach, for a targeted goal.
    """

    place: int
    id: int
    label: int
    original: Words
    plan: Plan
    fields: tuple[str, ...] = ()
    attacked: int = 0
    target: int | None = None
    requested: int = field(default=0, init=False)
    """Texts that the search wanted scored, repeats included."""
    texts: set[int] = field(default_factory=set, init=False)
    """Hashes of the requested texts; their number is that of queries sent."""
    gradients: int = field(default=0, init=False)
    """Gradients that the search wanted."""
    gradient: tuple[str, NDArray[np.floating]] | None = field(default=None, init=False)
    """The last one, with its text."""
    skipped: bool = field(default=False, init=False)
    """There is nothing to attack."""
    first: Scored | None = field(default=None, init=False)
    """The clean text."""
    best: Scored | None = field(default=None, init=False)
    """The text that the search has adopted last."""

    def __post_init__(self) -> None:
        self.random = random.Random(fold_in(self.plan.seed, self.id))
        self.fields = self.fields or (self.original.text,)

    @property
    def recipe(self) -> TextRecipe:
        """The attack."""
        return self.plan.recipe

    @property
    def victim(self) -> Victim:
        """The classifier under attack."""
        return self.plan.victim

    def text(self, words: Words) -> Text:
        """The text that the victim reads, with all its fields."""
        if len(self.fields) == 1:
            return words.text
        return (*self.fields[: self.attacked], words.text, *self.fields[self.attacked + 1 :])

    def take(self, candidates: Sequence[Words]) -> list[Text]:
        """The texts that the budget still allows, counted as queries.

        Raises: OutOfQueries if none may.
        """
        left = len(candidates) if self.plan.budget is None else self.plan.budget - self.requested
        if candidates and left <= 0:
            raise OutOfQueries
        texts = [self.text(one) for one in candidates[:left]]
        self.requested += len(texts)
        self.texts.update(map(hash, texts))
        return texts

    def judged(self, candidates: Sequence[Words], rows: Rows) -> list[Scored]:
        """Scores and success of the victim's answers (N, K)."""
        goal, words = self.recipe.goal, candidates[: len(rows)]
        scores = np.round(goal.scores(rows, words, self), self.victim.decimals).tolist()
        done = goal.done(rows, words, self).tolist()
        return list(map(Scored, words, scores, done, rows))

    def draw(self, *labels: object) -> int:
        """A random number in 0..2**64 - 1 for labels; it depends on the seed, the id and them alone."""
        key = repr((int(self.plan.seed), int(self.id), *labels)).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")

    def adopt(self, scored: Scored) -> None:
        """Takes a text as the best so far."""
        self.best = scored

    @property
    def current(self) -> Scored:
        """The text that the search has adopted last; at first the clean one.

        Raises: ValueError before the clean text is scored.
        """
        if self.best is None:
            raise ValueError(f"example {self.id} has no scored text yet: the driver scores the clean text first")
        return self.best
