"""A victim that adds up weights of words, recipes for it, and labelled texts."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robustlab.core.types import Text
from robustlab.text import Greedy, TextRecipe, Untargeted, Victim, Words

WEIGHTS = {"good": 2.0, "great": 3.0, "fine": 0.5, "bad": -2.0, "awful": -3.0, "so": 0.25}
OPTIONS = (("good", ("fine", "ok")), ("great", ("good", "fine")), ("bad", ("poor", "good")), ("film", ("movie",)))


def sums(texts: Sequence[Text]) -> np.ndarray:
    """A sum of weights of words, as two probabilities."""
    found = [math.fsum(WEIGHTS.get(word, 0.0) for word in str(text).lower().split()) for text in texts]
    positive = np.array([1 / (1 + math.exp(-one)) for one in found])
    return np.stack([1 - positive, positive], axis=1)


VICTIM = Victim(sums, 2, "sums", "function:sums", labels=("worse", "better"))


@dataclass(frozen=True)
class Table:
    """Options by a table."""

    table: tuple[tuple[str, tuple[str, ...]], ...] = OPTIONS
    name: str = "table"

    def options(self, word: str) -> Sequence[str]:
        return dict(self.table).get(word, ())


@dataclass(frozen=True)
class Once:
    """Each word is changed once."""

    name: str = "once"

    def positions(self, original: Words, words: Words) -> Sequence[bool]:
        del original
        done = {at for at, _ in words.edits}
        return [at not in done for at in words.origin]


GREEDY = TextRecipe("greedy", Untargeted(), (Table(),), (Once(),), Greedy(), "a toy")
RANDOM = replace(GREEDY, name="random", search=Greedy("random"))
FREE = replace(GREEDY, name="free", constraints=())


def sentences(count: int = 60, seed: int = 0) -> tuple[list[Text], list[int]]:
    """Random texts with the labels that the victim gives to most of them."""
    rng = random.Random(seed)
    texts: list[Text] = [" ".join(rng.choices([*WEIGHTS, "film", "a"], k=rng.randrange(1, 9))) for _ in range(count)]
    labels = sums(texts).argmax(axis=1).tolist()
    return texts, [1 - label if number % 7 == 0 else label for number, label in enumerate(labels)]
