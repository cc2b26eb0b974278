"""Attacks on texts: from a victim, texts and a recipe to one outcome for each text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from robustlab.core.kinds import seen, typed
from robustlab.core.types import Text
from robustlab.runs.progress import Progress, Report
from robustlab.text.driver import Driver
from robustlab.text.parts import Steps, TextRecipe
from robustlab.text.steps import scored
from robustlab.text.task import Plan, Task
from robustlab.text.victims.kinds import Victim
from robustlab.text.words import Segment, cut

Status: TypeAlias = Literal["skipped", "successful", "failed"]


@dataclass(frozen=True)
class TextOutcome:
    """Outcome of an attack on one text.

    Args:
        id: of the example.
        status: "skipped": nothing to attack, such as a text that the victim gets wrong; it is not attacked.
        label: the true class.
        target: class to reach; None: any wrong one.
        original: the clean text.
        adversarial: the text that the search ended with, also of a failed attack.
        before: class that the victim gives to the clean text.
        prediction: class that it gives to the adversarial text.
        confidence: probability of ``prediction``.
        score: of the goal, at the adversarial text.
        requested: texts that the search wanted scored; repeats count.
        sent: different texts among these.
        gradients: gradients of the victim that the search wanted; they are not among the queries.
        edits: position in the original and new word of each edit, in the order made; "" deleted the word, position -1
            inserted it.
        changed: words of the original that are changed or deleted, plus those inserted.
        words: words of the original.
    """

    id: int
    status: Status
    label: int
    target: int | None
    original: Text
    adversarial: Text
    before: int
    prediction: int
    confidence: float
    score: float
    requested: int
    sent: int
    gradients: int
    edits: tuple[tuple[int, str], ...]
    changed: int
    words: int

    @property
    def changed_fraction(self) -> float:
        """Fraction of the words that is changed."""
        return self.changed / self.words if self.words else 0.0


@typed
@dataclass(frozen=True)
class AttackSettings:
    """Settings of an attack on texts.

    Args:
        seed: of searches that draw.
        queries: texts that a search may ask to be scored, the clean one included; None: any number.
        field: number of the attacked field of texts with several.
        segment: words of a text in order, for languages without spaces.
        driver: keeps scored texts between calls; None: a new one.
        progress: called with the progress.

    Raises: ValueError for numbers that make no sense.
    """

    seed: int = 0
    queries: int | None = None
    field: int = 0
    segment: Segment | None = None
    driver: Driver | None = None
    progress: Report | None = None

    def __post_init__(self) -> None:
        if self.queries is not None and self.queries < 1:
            raise ValueError(f"queries must be at least 1, the clean text itself, got {self.queries}")


@typed
def attack(
    victim: Victim,
    texts: Sequence[Text],
    labels: Sequence[int],
    recipe: TextRecipe,
    *,
    target: Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
    settings: AttackSettings | None = None,
) -> list[TextOutcome]:
    """Attacks texts.

    The outcome of a text depends on the text, its id and the seed, not on the other texts or on the size of batches, as
    far as the victim's probabilities do not; see ``padding_faults``.

    Args:
        victim: see ``robustlab.text.victim``.
        texts: N texts, or tuples of fields.
        labels: the true classes (N,).
        recipe: the attack, see ``robustlab.text.recipe``.
        target: classes to reach (N,), for a targeted goal.
        ids: names of the examples (N,), which with the seed decide the draws; None: 0 to N - 1.
        settings: seed, query budget and so on.

    Returns: an outcome for each text, in order.

    Raises:
        ValueError: texts, labels or numbers that make no sense, with what was seen.
    """
    names = list(range(len(texts))) if ids is None else [int(one) for one in ids]
    _check_lengths(texts, labels=labels, target=target, ids=ids)
    _check_classes(victim, labels, target)
    how = settings or AttackSettings()
    plan, driver = Plan(victim, recipe, how.seed, how.queries), how.driver or Driver(victim)
    found: dict[int, TextOutcome] = {}

    def tasks() -> Iterator[tuple[Task, Steps[None]]]:
        for place, text in enumerate(texts):
            fields = _fields(text, how.field, place)
            aim = None if target is None else int(target[place])
            words = cut(fields[how.field], how.segment)
            task = Task(place, names[place], int(labels[place]), words, plan, fields, how.field, aim)
            yield task, _steps(task)

    def finished(task: Task) -> None:
        found[task.place] = _outcome(task, texts[task.place])
        if how.progress is not None:
            how.progress(Progress(recipe.name, len(found), len(texts), "texts"))

    driver.run(tasks(), finished)
    return [found[place] for place in range(len(texts))]


def _steps(task: Task) -> Steps[None]:
    """Scores the clean text, then searches if there is something to attack."""
    first = (yield from scored(task, [task.original]))[0]
    task.first = first
    task.adopt(first)
    task.skipped = task.recipe.goal.skipped(first.row, task)
    if not task.skipped and not first.done:
        yield from task.recipe.search.search(task)


def _outcome(task: Task, original: Text) -> TextOutcome:
    """The outcome of a task whose search has ended."""
    best, first = task.current, task.first or task.current
    prediction, words = int(best.row.argmax()), best.words
    successful = task.recipe.goal.reached(best, task)
    return TextOutcome(
        id=task.id,
        status="skipped" if task.skipped else "successful" if successful else "failed",
        label=task.label,
        target=task.target,
        original=original,
        adversarial=task.text(words),
        before=int(first.row.argmax()),
        prediction=prediction,
        confidence=float(best.row[prediction]),
        score=best.score,
        requested=task.requested,
        sent=len(task.texts),
        gradients=task.gradients,
        edits=words.edits,
        changed=words.changed,
        words=len(task.original.words),
    )


def _fields(text: object, field: int, place: int) -> tuple[str, ...]:
    """The fields of a text.

    Raises: ValueError for what is no text, or lacks the attacked field.
    """
    fields = (text,) if isinstance(text, str) else text
    if not isinstance(fields, tuple) or not fields or not all(isinstance(one, str) for one in fields):
        raise ValueError(f"text {place} is {seen(text)}: give a str, or a tuple of them for texts with several fields")
    if not 0 <= field < len(fields):
        raise ValueError(f"text {place} has {len(fields)} fields: field must be in 0..{len(fields) - 1}, got {field}")
    return fields


def _check_lengths(texts: Sequence[Text], **others: Sequence[int] | None) -> None:
    """Raises ValueError unless there is one of each for every text."""
    if isinstance(texts, str):
        raise ValueError(f"texts must be a list of texts, got the text {texts[:20]!r}: put it in a list")
    for name, values in others.items():
        if values is not None and len(values) != len(texts):
            raise ValueError(f"{name} must have one entry for each of the {len(texts)} texts, got {len(values)}")


def _check_classes(victim: Victim, labels: Sequence[int], target: Sequence[int] | None) -> None:
    """Raises ValueError for a label or target that is no class of the victim."""
    for name, values in (("label", labels), ("target", target or ())):
        for place, value in enumerate(values):
            if not hasattr(value, "__index__") or not 0 <= int(value) < victim.classes:
                raise ValueError(
                    f"{name} {place} must be a class of {victim.name}, a whole number in 0..{victim.classes - 1}, "
                    f"got {seen(value)}"
                )
