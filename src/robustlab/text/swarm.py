"""Particle swarm: texts that drift towards the best ones found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from robustlab.core.kinds import typed
from robustlab.text.genetic import allowed, merged
from robustlab.text.parts import Scored, Steps
from robustlab.text.steps import candidates, first_allowed, movable, ranked, scored, together
from robustlab.text.task import Task
from robustlab.text.words import Words

_FASTEST = 3.0
_INERTIA = (0.8, 0.2)
"""Weight of the velocity before, at the first and after the last iteration."""
_PULL = (0.8, 0.2)
"""Chance to move towards a particle's own best text, at the first and after the last iteration; the chance to move
towards the swarm's best is the same in reverse."""


@dataclass
class Particle:
    """A text of the swarm.

    Args:
        now: the text.
        best: the best text that it has been.
        velocity: for each word, the tendency to become that of a better text.
    """

    now: Scored
    best: Scored
    velocity: list[float] = field(default_factory=list)


@typed
@dataclass(frozen=True)
class Swarm:
    """Texts that take words of their own best and of the swarm's best text, and are mutated where they changed little.

    Args:
        population: texts of the swarm.
        iterations: after which the search ends.
        retries: draws of a move that breaks a constraint, before the text stays as it is.

    Source: Zang et al., Word-level Textual Adversarial Attacking as Combinatorial Optimization, ACL 2020, section 3.2,
        with the constants of the released code.

    Raises: ValueError for numbers that make no sense.
    """

    population: int = 60
    iterations: int = 20
    retries: int = 20

    def __post_init__(self) -> None:
        if self.population < 1 or self.iterations < 1 or self.retries < 0:
            raise ValueError(f"a swarm needs at least 1 text and 1 iteration, got {self}")

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"particle swarm, {self.population} texts, {self.iterations} iterations"

    def search(self, task: Task) -> Steps[None]:
        """Moves and mutates the swarm."""
        start = yield from _drawn(task, task.current, self.population)
        if not start:
            return
        count = len(task.original.words)
        speeds = [task.random.uniform(-_FASTEST, _FASTEST) for _ in start]
        swarm = [Particle(one, one, [speed] * count) for one, speed in zip(start, speeds, strict=True)]
        done, number = _adopt(task, swarm), 0
        while not done and number < self.iterations:
            yield from self.moved(task, swarm, number / self.iterations)
            if not _adopt(task, swarm):
                yield from together([_mutated(task, one) for one in swarm])
            done, number = _adopt(task, swarm), number + 1

    def moved(self, task: Task, swarm: Sequence[Particle], progress: float) -> Steps[None]:
        """Moves each text towards its own best and towards the swarm's best."""
        leader = task.current.words
        inertia = _INERTIA[1] + (_INERTIA[0] - _INERTIA[1]) * (1 - progress)
        own = _PULL[0] - progress * (_PULL[0] - _PULL[1])
        common = _PULL[1] + progress * (_PULL[0] - _PULL[1])
        texts = yield from together([self.turned(task, one, leader, (inertia, own, common)) for one in swarm])
        for one, found in zip(swarm, (yield from scored(task, texts)), strict=False):
            one.now = found

    def turned(self, task: Task, one: Particle, leader: Words, rates: tuple[float, float, float]) -> Steps[Words]:
        """A text after its two moves."""
        inertia, own, common = rates
        now, best = one.now.words, one.best.words
        for place, word in enumerate(now.words):
            pulls = _pull(word, best.words[place]) + _pull(word, leader.words[place])
            one.velocity[place] = inertia * one.velocity[place] + (1 - inertia) * pulls
        chances = [1 / (1 + math.exp(-speed)) for speed in one.velocity]
        for towards, chance in ((best, own), (leader, common)):
            if task.random.random() < chance:
                now = yield from self.towards(task, now, towards, chances)
        return now

    def towards(self, task: Task, now: Words, other: Words, chances: Sequence[float]) -> Steps[Words]:
        """A text with some words of another; unchanged if the constraints allow none that was drawn."""
        for _ in range(self.retries + 1):
            taken = {place for place, chance in enumerate(chances) if task.random.random() < chance}
            words = merged(task.original, now, other, taken)
            if words.text == now.text or (yield from allowed(task, words)):
                return words
        return now


def _pull(word: str, other: str) -> float:
    return -_FASTEST if word == other else _FASTEST


def _adopt(task: Task, swarm: Sequence[Particle]) -> bool:
    """Notes the best texts of each particle and of the swarm.

    Returns: whether the goal is reached.
    """
    for one in swarm:
        if one.now.score > one.best.score:
            one.best = one.now
    top = ranked([one.now for one in swarm])[0]
    if top.done or top.score > task.current.score:
        task.adopt(top)
    return task.current.done


def _mutated(task: Task, one: Particle) -> Steps[None]:
    """Mutates a text with a chance that falls with the words that are changed."""
    count = len(task.original.words)
    if task.random.random() < 1 - 2 * one.now.words.changed / count:
        one.now = ((yield from _drawn(task, one.now, 1)) or [one.now])[0]


def _drawn(task: Task, text: Scored, count: int) -> Steps[list[Scored]]:
    """Texts with the best candidate at one word, drawn in proportion to what it gains; none if no word has any."""
    places = movable(task, text.words)
    found = yield from together([_best(task, text, place) for place in places])
    some = [one for one in found if one is not None]
    gains = [max(0.0, one.score - text.score) for one in some]
    if not some:
        return []
    return task.random.choices(some, gains if any(gains) else None, k=count)


def _best(task: Task, text: Scored, place: int) -> Steps[Scored | None]:
    """The best candidate at a word."""
    found = yield from scored(task, (yield from candidates(task, text.words, place)))
    return (yield from first_allowed(task, text.words, place, ranked(found)))
