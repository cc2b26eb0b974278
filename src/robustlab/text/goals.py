"""Goals of text attacks: scores of texts, and whether they are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustlab.core.kinds import typed
from robustlab.text.parts import Flags, Rows, Scored
from robustlab.text.task import Task
from robustlab.text.words import Words


@dataclass(frozen=True)
class Untargeted:
    """Any wrong class; the score is 1 - p(label). Texts that the victim gets wrong already are skipped."""

    name: str = "untargeted"

    def scores(self, rows: Rows, words: Sequence[Words], task: Task) -> NDArray[np.float64]:  # noqa: ARG002
        """Scores (N,): 1 - p(label)."""
        return 1 - rows[:, task.label]

    def done(self, rows: Rows, words: Sequence[Words], task: Task) -> Flags:  # noqa: ARG002
        """Flags (N,) of texts that the victim gets wrong."""
        wrong: Flags = rows.argmax(1) != task.label
        return wrong

    def skipped(self, row: Rows, task: Task) -> bool:
        """Tests whether the victim gets the clean text wrong."""
        return bool(row.argmax() != task.label)

    def reached(self, best: Scored, task: Task) -> bool:  # noqa: ARG002
        """Tests whether the goal is reached."""
        return best.done


@dataclass(frozen=True)
class Targeted:
    """One given class; the score is p(target).

    Texts that the victim gets wrong, or whose target is the label, are skipped.
    """

    name: str = "targeted"

    def scores(self, rows: Rows, words: Sequence[Words], task: Task) -> NDArray[np.float64]:  # noqa: ARG002
        """Scores (N,): p(target)."""
        return rows[:, _target(task)]

    def done(self, rows: Rows, words: Sequence[Words], task: Task) -> Flags:  # noqa: ARG002
        """Flags (N,) of texts that are put into the target class."""
        there: Flags = rows.argmax(1) == _target(task)
        return there

    def skipped(self, row: Rows, task: Task) -> bool:
        """Tests whether the victim gets the clean text wrong, or nothing is to be changed."""
        return bool(row.argmax() != task.label) or _target(task) == task.label

    def reached(self, best: Scored, task: Task) -> bool:  # noqa: ARG002
        """Tests whether the goal is reached."""
        return best.done


def _target(task: Task) -> int:
    if task.target is None:
        raise ValueError("a targeted attack needs a class for each text: give target=")
    return task.target


@typed
@dataclass(frozen=True)
class KeepPrediction:
    """As few words as possible with the label still predicted (input reduction).

    The score is the fraction of words that is gone, to which the probability of the label adds less than one word; it
    is -1 where the prediction has changed. The goal is reached with ``fewest`` words.

    Source: Feng et al., Pathologies of Neural Models Make Interpretations Difficult, EMNLP 2018.
    """

    fewest: int = 1
    name: str = "keep the prediction"

    def scores(self, rows: Rows, words: Sequence[Words], task: Task) -> NDArray[np.float64]:
        """Scores (N,): fraction of the words that is gone, plus p(label) / words; -1 where the text is got wrong."""
        whole = max(1, len(task.original.words))
        gone = np.array([1 - len(one.words) / whole for one in words], dtype=np.float64)
        return np.where(rows.argmax(1) == task.label, gone + rows[:, task.label] / (whole + 1), -1.0)

    def done(self, rows: Rows, words: Sequence[Words], task: Task) -> Flags:
        """Flags (N,) of texts with the fewest words and the same prediction."""
        few: Flags = np.array([len(one.words) <= self.fewest for one in words], dtype=bool)
        few &= rows.argmax(1) == task.label
        return few

    def skipped(self, row: Rows, task: Task) -> bool:
        """Tests whether the victim gets the clean text wrong."""
        return bool(row.argmax() != task.label)

    def reached(self, best: Scored, task: Task) -> bool:
        """Tests whether any word is gone."""
        return len(best.words.words) < len(task.original.words)
