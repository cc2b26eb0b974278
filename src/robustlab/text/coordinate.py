"""Greedy coordinate search: the gradient proposes swaps at all words, and the best of a random sample is taken."""

from __future__ import annotations

from dataclasses import dataclass

from robustlab.core.kinds import typed
from robustlab.text.parts import Steps
from robustlab.text.steps import everywhere, first_allowed, place_of_edit, ranked, scored
from robustlab.text.task import Task


@typed
@dataclass(frozen=True)
class GreedyCoordinate:
    """Step by step, the best of a random sample of all changes, even if it is worse than the text before.

    Made for transformations by the victim's gradient, which propose the most promising words for every position. The
    best text of all steps is the result.

    Args:
        steps: after which the search ends.
        sample: changes that are scored in each step.

    Source: Zou et al., Universal and Transferable Adversarial Attacks on Aligned Language Models, 2023, algorithm 1
        (GCG), with the loss of a classifier and words in place of tokens.

    Raises: ValueError for numbers below 1.
    """

    steps: int = 50
    sample: int = 64

    def __post_init__(self) -> None:
        if self.steps < 1 or self.sample < 1:
            raise ValueError(f"a coordinate search needs at least 1 step and a sample of at least 1, got {self}")

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"greedy coordinate, {self.steps} steps, {self.sample} changes each"

    def search(self, task: Task) -> Steps[None]:
        """Changes one word after the other."""
        now = task.current
        for _ in range(self.steps):
            made = yield from everywhere(task, now.words)
            drawn = task.random.sample(made, self.sample) if len(made) > self.sample else made
            found = ranked((yield from scored(task, drawn)))
            place = place_of_edit(now.words, found[0].words) if found else 0
            best = yield from first_allowed(task, now.words, place, found)
            if best is None:
                return
            now = best
            if now.done or now.score > task.current.score:
                task.adopt(now)
            if now.done:
                return
