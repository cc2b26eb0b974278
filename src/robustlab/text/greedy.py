"""Greedy search: the words in order of importance, and at each the best of its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from robustlab.core.kinds import typed
from robustlab.text.parts import Call, Change, Scored, Similar, Steps
from robustlab.text.steps import candidates, first_allowed, gradients, movable, ranked, scored
from robustlab.text.task import Task

Ranking: TypeAlias = Literal["delete", "unk", "pwws", "gradient", "random"]
UNKNOWN = "[UNK]"
_TOGETHER = 200_000
"""Words of the texts that are made at once, so that those of a very long text do not fill the memory."""


@typed
@dataclass(frozen=True)
class Greedy:
    """Word by word, the most important first; ends at the first text that reaches the goal.

    At each word all candidates are scored, and the best is taken if it is better than the present text. Ties between
    words go to the earlier one, ties between candidates to the smaller text.

    Args:
        ranking: importance of a word. "delete": score of the text without it; "unk": with ``[UNK]`` in its place;
            "pwws": softmax of the latter over words, times the best score that a candidate of the word reaches;
            "gradient": l1 norm of the gradient at its embedding, for one query less per word; "random": none.
        closest: of the candidates that reach the goal, take the one most similar to the original (TextFooler), where a
            constraint measures that; else the best scored.

    Source: Jin et al., Is BERT Really Robust?, AAAI 2020 ("delete"); Ren et al., Generating Natural Language
        Adversarial Examples through Probability Weighted Word Saliency, ACL 2019 ("pwws"); Yoo and Qi, Towards
        Improving Adversarial Training of NLP Models, EMNLP 2021 ("gradient").
    """

    ranking: Ranking = "delete"
    closest: bool = False

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"greedy, words by {self.ranking}{', closest of the successful' if self.closest else ''}"

    def search(self, task: Task) -> Steps[None]:
        """Changes one word after the other."""
        for origin in (yield from self.order(task)):
            current = task.current
            if origin not in current.words.origin:
                continue
            position = current.words.origin.index(origin)
            if position not in movable(task, current.words):
                continue
            found = yield from scored(task, (yield from candidates(task, current.words, position)))
            better = [one for one in ranked(found) if one.score > current.score]
            if (best := (yield from self.chosen(task, position, better))) is not None:
                task.adopt(best)
            if task.current.done:
                return

    def chosen(self, task: Task, position: int, better: Sequence[Scored]) -> Steps[Scored | None]:
        """The candidate to go on with, of those that are better than the present text."""
        before = task.current.words
        best = yield from first_allowed(task, before, position, better)
        if not self.closest or best is None or not best.done:
            return best
        rule = next((one for one in task.recipe.constraints if isinstance(one, Similar)), None)
        successful = [one for one in better if one.done]
        if rule is None or len(successful) == 1:
            return best
        close = yield Call(rule.similarity, [Change(task.original, before, one.words, position) for one in successful])
        nearest = sorted(zip(close, range(len(successful)), successful, strict=True), key=lambda one: (-one[0], one[1]))
        return (yield from first_allowed(task, before, position, [one for *_, one in nearest]))

    def order(self, task: Task) -> Steps[list[int]]:
        """Positions of the words that may be changed, the most important first."""
        places = movable(task, task.original)
        if self.ranking == "random":
            return task.random.sample(places, len(places))
        importance = yield from self.importance(task, places)
        return [places[n] for n in sorted(range(len(importance)), key=lambda n: (-importance[n], n))]

    def importance(self, task: Task, places: Sequence[int]) -> Steps[list[float]]:
        """Importance of each of the words."""
        whole, digits = task.original, task.victim.decimals
        if self.ranking == "gradient":
            gradient = yield from gradients(task, whole)
            return [float(np.round(np.abs(gradient[place]).sum(), digits)) for place in places]
        found: list[float] = []
        size = max(1, _TOGETHER // max(1, len(whole.words)))
        for start in range(0, len(places), size):
            some = places[start : start + size]
            texts = [whole.deleted(at) if self.ranking == "delete" else whole.replaced(at, UNKNOWN) for at in some]
            found += [one.score for one in (yield from scored(task, texts))]
        if self.ranking != "pwws" or not found:
            return found
        gains = []
        for place in places[: len(found)]:
            best = yield from scored(task, (yield from candidates(task, whole, place)))
            gains.append(max((one.score for one in best), default=0.0))
        weights = np.exp(np.array(found) - max(found))
        return [float(value) for value in np.round(weights / weights.sum() * np.array(gains), digits)]
