"""Parts of a text attack: goal, transformations, constraints and search, and the requests by which a search proceeds.

A search is a generator. It yields what it wants computed, and receives the answers; so one driver can put the requests
of many examples into one batch, and no search knows of batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robustlab.core.types import Text
from robustlab.text.words import Words

if TYPE_CHECKING:
    from robustlab.text.task import Task

Rows: TypeAlias = NDArray[np.float64]
"""Probabilities (N, K) of N texts and K classes."""
Flags: TypeAlias = NDArray[np.bool_]
Service: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]
"""Answers to several items in their order, such as whether texts keep the meaning of others."""


class Scores(NamedTuple):
    """Request for the probabilities that the victim gives to texts; the answer is ``Rows``."""

    texts: Sequence[Text]


class Call(NamedTuple):
    """Request to a model that is not the victim; items of all examples go into one call."""

    service: Service
    items: Sequence[Any]


class Several(NamedTuple):
    """Requests that are answered together; the answer is the list of their answers."""

    requests: Sequence[Scores | Call]


Request: TypeAlias = Scores | Call | Several
T = TypeVar("T")
Steps: TypeAlias = Generator[Request, Any, T]


class Scored(NamedTuple):
    """A text and what the victim says of it."""

    words: Words
    score: float
    """Score of the goal, rounded; larger is better for the attacker."""
    done: bool
    """True if the goal is reached."""
    row: Rows
    """Probabilities (K,)."""


class Change(NamedTuple):
    """One edit that a constraint may refuse."""

    original: Words
    before: Words
    after: Words
    position: int
    """Position of the word in ``before``; of an inserted one, in ``after``."""


class Goal(Protocol):
    """Aim of the attacker."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def scores(self, rows: Rows, words: Sequence[Words], task: Task) -> NDArray[np.float64]:
        """Scores (N,) of texts; larger is better for the attacker."""

    def done(self, rows: Rows, words: Sequence[Words], task: Task) -> Flags:
        """Flags (N,) of texts that reach the goal."""

    def skipped(self, row: Rows, task: Task) -> bool:
        """Tests whether an example is left out, from its clean probabilities (K,)."""

    def reached(self, best: Scored, task: Task) -> bool:
        """Tests whether the attack that ended with a text counts as successful."""


@runtime_checkable
class WordOptions(Protocol):
    """A transformation of one word that depends on this word alone."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def options(self, word: str) -> Sequence[str]:
        """Words to put in its place, in a fixed order."""


@runtime_checkable
class Draws(Protocol):
    """A random transformation of one word."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def draws(self, word: str, number: int) -> Sequence[str]:
        """Words to put in its place.

        Args:
            word: to change.
            number: in 0..2**64 - 1, drawn for the seed, the example, the place of the word in the original and the word
                alone; all chance comes from it.
        """


@runtime_checkable
class Rewrites(Protocol):
    """A transformation that sees the whole text."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def rewrites(self, words: Words, position: int) -> Sequence[Words]:
        """Texts with a change at a position, in a fixed order."""


@runtime_checkable
class Proposals(Protocol):
    """A transformation by a model, called for many texts at once."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def proposals(self, items: Sequence[tuple[Words, int]]) -> Sequence[Sequence[Words]]:
        """For each text and position the changed texts, in a fixed order."""


@runtime_checkable
class Swaps(Protocol):
    """A transformation by the victim's gradient."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def swaps(
        self, words: Words, positions: Sequence[int], gradient: NDArray[np.floating], table: WordTable
    ) -> Sequence[Words]:
        """Texts with a change at one of some positions, the most promising first.

        Args:
            words: the text.
            positions: of the words that may change.
            gradient: of the loss of the label with respect to the embedding of each word (n, d).
            table: the victim's words and their embeddings.
        """


Transformation: TypeAlias = WordOptions | Draws | Rewrites | Proposals | Swaps


class WordTable(NamedTuple):
    """Embeddings of a word-level victim."""

    words: tuple[str, ...]
    vectors: NDArray[np.floating]
    """(V, d), a row for each word."""


class Constraint(Protocol):
    """A limit on edits; it has a name and any of the methods of the protocols below."""

    @property
    def name(self) -> str:
        """Words for tables."""


@runtime_checkable
class OnPositions(Protocol):
    """A constraint on the words that may be changed."""

    def positions(self, original: Words, words: Words) -> Sequence[bool]:
        """For each word of ``words``, whether it may be changed."""


@runtime_checkable
class OnWords(Protocol):
    """A constraint on pairs of words."""

    def allows(self, old: str, new: str) -> bool:
        """Tests a new word for one of the original text."""


@runtime_checkable
class OnTexts(Protocol):
    """A constraint on texts that is quickly checked."""

    def keeps(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether it is allowed."""


@runtime_checkable
class Costly(Protocol):
    """A constraint that calls a model: checked in batches, and for the best candidates first."""

    def judge(self, changes: Sequence[Change]) -> Sequence[bool]:
        """For each change, whether it is allowed."""


@runtime_checkable
class Similar(Protocol):
    """A constraint that measures how close texts are."""

    def similarity(self, changes: Sequence[Change]) -> Sequence[float]:
        """For each change the similarity of the texts, at most 1."""


class Search(Protocol):
    """Way in which the attacker finds a text."""

    @property
    def name(self) -> str:
        """Words for tables."""

    def search(self, task: Task) -> Steps[None]:
        """Looks for a text that reaches the goal, and lets the task adopt the best ones it finds."""


@dataclass(frozen=True)
class TextRecipe:
    """A text attack as a value: all its parts.

    Args:
        name: of the recipe, with its substitutes: "textfooler+glove,minilm".
        goal: what the attacker wants.
        transformations: changes to choose from, in order.
        constraints: on all changes.
        search: the way to find a text.
        source: of the definition.
        difference: from the source, in one line; "" if there is none.
        lazy: costly constraints are checked for the best-scored candidates first, with more calls of the victim and
            fewer of the constraint; False: before the victim, as most libraries do.
    """

    name: str
    goal: Goal
    transformations: tuple[Transformation, ...]
    constraints: tuple[Constraint, ...]
    search: Search
    source: str = ""
    difference: str = ""
    lazy: bool = True
