"""Genetic search: a population of texts, crossed and mutated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from robustlab.core.kinds import typed
from robustlab.text.parts import Change, Scored, Steps
from robustlab.text.steps import (
    candidates,
    first_allowed,
    judged,
    movable,
    quickly_allowed,
    ranked,
    scored,
    together,
)
from robustlab.text.task import Task
from robustlab.text.words import Words

Weights: TypeAlias = dict[int, int]
"""By position: the chance of a word to be changed, up to a factor."""


@dataclass(frozen=True)
class Member:
    """A text of the population.

    Args:
        text: with its score.
        left: for each position, how often it may still be changed, or how many candidates it had at first.
    """

    text: Scored
    left: Weights


@typed
@dataclass(frozen=True)
class Genetic:
    """A population of texts; each generation keeps the best and fills up with mutated children of two parents.

    A mutation puts the best of its candidates at one word, drawn in proportion to the number of candidates. Parents are
    drawn in proportion to ``exp(score / temperature)``. A child takes each word from either parent; one that breaks a
    constraint is drawn again, at most ``retries`` times.

    Args:
        population: texts of a generation.
        generations: after which the search ends.
        temperature: of the choice of parents.
        retries: draws of a child that breaks a constraint, before it becomes one of its parents.
        crossover: "uniform": each word from either parent; "point": the words up to a position from one parent, the
            rest from the other.
        changes: how often each word may be changed; words are then drawn in proportion to what is left. None: any
            number.

    Source: Alzantot et al., Generating Natural Language Adversarial Examples, EMNLP 2018 ("uniform"); Wang et al.,
        Natural Language Adversarial Attacks and Defenses in Word Level, 2019 ("point", 5 changes).

    Raises: ValueError for numbers that make no sense, and in a search with transformations that delete or insert words.
    """

    population: int = 60
    generations: int = 20
    temperature: float = 0.3
    retries: int = 20
    crossover: Literal["uniform", "point"] = "uniform"
    changes: int | None = None

    def __post_init__(self) -> None:
        if self.population < 2 or self.generations < 1 or self.temperature <= 0 or self.retries < 0:
            raise ValueError(f"a genetic search needs 2 texts, 1 generation and a temperature above 0, got {self}")

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"genetic, {self.population} texts, {self.generations} generations"

    def search(self, task: Task) -> Steps[None]:
        """Draws and improves the population."""
        first = Member(task.current, (yield from self.chances(task)))
        if not any(first.left.values()):
            return
        members = yield from together([self.mutated(task, first) for _ in range(self.population)])
        for _ in range(self.generations):
            members = sorted(members, key=lambda one: (-one.text.score, one.text.words.text))
            if members[0].text.score > task.current.score or members[0].text.done:
                task.adopt(members[0].text)
            if task.current.done:
                return
            children = yield from together([self.child(task, *pair) for pair in self.parents(task, members)])
            members = [members[0], *children]
        best = ranked([one.text for one in members])[0]
        if best.score > task.current.score or best.done:
            task.adopt(best)

    def chances(self, task: Task) -> Steps[Weights]:
        """The weights of the words of the original."""
        places = movable(task, task.original)
        made = yield from together([candidates(task, task.original, place) for place in places])
        return {
            place: (len(some) if self.changes is None else self.changes) if some else 0
            for place, some in zip(places, made, strict=True)
        }

    def mutated(self, task: Task, member: Member) -> Steps[Member]:
        """A member with the best candidate at a drawn word; unchanged if no word has a better one."""
        left = dict(member.left)
        words = member.text.words
        while any(left.values()):
            position = task.random.choices(list(left), list(left.values()))[0]
            allowed = movable(task, words)
            found: list[Scored] = []
            if position in allowed:
                found = yield from scored(task, (yield from candidates(task, words, position)))
            better = [one for one in ranked(found) if one.score > member.text.score]
            best = yield from first_allowed(task, words, position, better)
            if best is not None:
                counted = {position: member.left[position] - 1} if self.changes is not None else {}
                return Member(best, {**member.left, **counted})
            left[position] = 0
        return member

    def parents(self, task: Task, members: Sequence[Member]) -> list[tuple[Member, Member]]:
        """Two parents for each child."""
        top = members[0].text.score
        weights = [math.exp((one.text.score - top) / self.temperature) for one in members]
        drawn = task.random.choices(members, weights, k=2 * (self.population - 1))
        return list(zip(drawn[::2], drawn[1::2], strict=True))

    def child(self, task: Task, one: Member, other: Member) -> Steps[Member]:
        """A mutated child of two parents."""
        crossed = yield from self.crossed(task, one, other)
        return (yield from self.mutated(task, crossed))

    def crossed(self, task: Task, one: Member, other: Member) -> Steps[Member]:
        """A child with words of both parents that meets the constraints; a parent if none does."""
        for _ in range(self.retries + 1):
            taken = self.taken(task, len(task.original.words))
            words = merged(task.original, one.text.words, other.text.words, taken)
            if words.text == one.text.words.text:
                return one
            if (yield from allowed(task, words)):
                found = yield from scored(task, [words])
                left = {place: (other if place in taken else one).left[place] for place in one.left}
                return Member(found[0], left)
        return task.random.choice([one, other])

    def taken(self, task: Task, count: int) -> set[int]:
        """Positions of the words that come from the second parent."""
        if self.crossover == "point":
            return set(range(task.random.randrange(count), count))
        return {place for place in range(count) if task.random.random() < 1 / 2}


def merged(original: Words, one: Words, other: Words, taken: set[int]) -> Words:
    """The first text with some words of the second, as edits of the original.

    Raises: ValueError for texts with other numbers of words.
    """
    if not len(original.words) == len(one.words) == len(other.words):
        raise ValueError("texts can be crossed only if words are replaced one by one: choose other transformations")
    pairs = enumerate(zip(one.words, other.words, strict=True))
    words = [second if place in taken else first for place, (first, second) in pairs]
    return original.rewritten({place: word for place, word in enumerate(words) if word != original.words[place]})


def allowed(task: Task, words: Words) -> Steps[bool]:
    """Tests a text with several changes against the constraints on texts, with the original."""
    if not words.edits:
        return True
    change = Change(task.original, task.original, words, words.edits[-1][0])
    if not quickly_allowed(task, [change]):
        return False
    return (yield from judged(task, [change]))[0]
