"""Beam search: at each step the best texts of all changes to all texts of the step before."""

from __future__ import annotations

from dataclasses import dataclass

from robustlab.core.kinds import typed
from robustlab.text.parts import Scored, Steps
from robustlab.text.steps import everywhere, first_allowed, place_of_edit, ranked, scored, together
from robustlab.text.task import Task
from robustlab.text.words import Words


@typed
@dataclass(frozen=True)
class Beam:
    """Keeps the best texts of each step, and ends at the first that reaches the goal or when nothing can be changed.

    Args:
        width: texts that are kept.

    Source: Ebrahimi et al., HotFlip: White-Box Adversarial Examples for Text Classification, ACL 2018, section 4.

    Raises: ValueError for a width below 1.
    """

    width: int = 10

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"a beam needs a width of at least 1, got {self.width}")

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"beam of {self.width}"

    def search(self, task: Task) -> Steps[None]:
        """Changes one word after the other, in several texts side by side."""
        beam = [task.current.words]
        while not task.current.done:
            made = yield from together([everywhere(task, words) for words in beam])
            parents: dict[str, tuple[Words, Words]] = {}
            for before, some in zip(beam, made, strict=True):
                for after in some:
                    parents.setdefault(after.text, (before, after))
            found = ranked((yield from scored(task, [after for _, after in parents.values()])))
            kept = yield from self.kept(task, found, {text: before for text, (before, _) in parents.items()})
            if not kept:
                return
            if kept[0].done or kept[0].score > task.current.score:
                task.adopt(kept[0])
            beam = [one.words for one in kept]

    def kept(self, task: Task, found: list[Scored], before: dict[str, Words]) -> Steps[list[Scored]]:
        """The best texts that meet the costly constraints, as many as the beam is wide."""
        if not task.recipe.lazy or not task.plan.costly:
            return found[: self.width]
        kept: list[Scored] = []
        for one in found:
            parent = before[one.words.text]
            if (yield from first_allowed(task, parent, place_of_edit(parent, one.words), [one])) is not None:
                kept.append(one)
            if len(kept) == self.width or (kept and kept[0].done):
                break
        return kept
