"""Steps that searches share: which words may change, what may be put there, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from robustlab.text.parts import (
    Call,
    Change,
    Draws,
    OnWords,
    Proposals,
    Rewrites,
    Scored,
    Scores,
    Several,
    Steps,
    Swaps,
    WordOptions,
)
from robustlab.text.task import Task
from robustlab.text.words import INSERTED, Words

T = TypeVar("T")


def scored(task: Task, candidates: Sequence[Words]) -> Steps[list[Scored]]:
    """Texts with their scores, in order; fewer where the query budget ends.

    Raises: OutOfQueries if the budget was spent before.
    """
    if not candidates:
        return []
    rows = yield Scores(task.take(candidates))
    return task.judged(candidates, rows)


def movable(task: Task, words: Words) -> list[int]:
    """Positions of the words that may be changed, in order."""
    kept = [rule.positions(task.original, words) for rule in task.plan.on_positions]
    return [position for position in range(len(words.words)) if all(flags[position] for flags in kept)]


def candidates(task: Task, words: Words, position: int, *, gradient: bool = True) -> Steps[list[Words]]:
    """Changed texts at one position that meet the constraints, without repeats.

    Costly constraints are left to ``first_allowed`` if the recipe is lazy.

    Args:
        task: the example.
        words: the text.
        position: of the word to change.
        gradient: False leaves out transformations by the victim's gradient.
    """
    found: list[Words] = []
    for number, (kind, _) in enumerate(task.plan.kinds):
        if gradient or kind is not Swaps:
            found += yield from _transformed(task, number, words, position)
    return (yield from _allowed(task, words, [(position, one) for one in _distinct(found, words.text)]))


def _allowed(task: Task, before: Words, found: Sequence[tuple[int, Words]]) -> Steps[list[Words]]:
    """Texts, each with the position of its change, that meet the constraints."""
    changes = [Change(task.original, before, one, position) for position, one in found]
    changes = quickly_allowed(task, changes)
    if changes and not task.recipe.lazy:
        flags = yield from judged(task, changes)
        changes = [one for one, flag in zip(changes, flags, strict=True) if flag]
    return [one.after for one in changes]


def everywhere(task: Task, words: Words) -> Steps[list[Words]]:
    """Changed texts at all positions that meet the constraints, in the order of positions, without repeats.

    Transformations by the gradient choose among all positions at once, and come last.
    """
    places = movable(task, words)
    by_place = yield from together([candidates(task, words, place, gradient=False) for place in places])
    found = [one for some in by_place for one in some]
    for kind, transformation in task.plan.kinds:
        if kind is Swaps and places:
            made = _distinct((yield from _swapped(task, cast(Swaps, transformation), words, places)), words.text)
            found += yield from _allowed(task, words, [(place_of_edit(words, one), one) for one in made])
    return _distinct(found, words.text)


def place_of_edit(before: Words, after: Words) -> int:
    """Position, in the text before, of the last edit of a text; 0 of an inserted word."""
    at = after.edits[-1][0]
    return before.origin.index(at) if at in before.origin else 0


def together(parts: Sequence[Steps[T]]) -> Steps[list[T]]:
    """Results of several parts of a search that proceed side by side, so that their requests go into one batch."""
    results: dict[int, T] = {}
    waiting: dict[int, Scores | Call | Several] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(parts)))
    while answers:
        for number, answer in answers.items():
            try:
                waiting[number] = parts[number].send(answer)
            except StopIteration as end:
                results[number] = end.value
        flat = [(number, one) for number, request in waiting.items() for one in _single(request)]
        if not flat:
            break
        got = yield Several([one for _, one in flat])
        by_part: dict[int, list[Any]] = {}
        for (number, _), answer in zip(flat, got, strict=True):
            by_part.setdefault(number, []).append(answer)
        answers = {n: by_part[n] if isinstance(waiting[n], Several) else by_part[n][0] for n in by_part}
        waiting = {}
    return [results[number] for number in range(len(parts))]


def _single(request: Scores | Call | Several) -> Sequence[Scores | Call]:
    return request.requests if isinstance(request, Several) else [request]


def _transformed(task: Task, number: int, words: Words, position: int) -> Steps[Sequence[Words]]:
    """Changes by one transformation at a position."""
    kind, transformation = task.plan.kinds[number]
    if kind is WordOptions:
        return words.replaced_all(position, _options(task, number, words, position))
    if kind is Draws:
        word = words.words[position]
        drawn = cast(Draws, transformation).draws(word, task.draw(number, words.origin[position], word))
        return words.replaced_all(position, drawn)
    if kind is Rewrites:
        return cast(Rewrites, transformation).rewrites(words, position)
    if kind is Proposals:
        answers = yield Call(cast(Proposals, transformation).proposals, [(words, position)])
        return cast("Sequence[Words]", answers[0])
    return (yield from _swapped(task, cast(Swaps, transformation), words, [position]))


def _options(task: Task, number: int, words: Words, position: int) -> Sequence[str]:
    """Options for a word that the constraints on words allow, computed once for each pair of words."""
    word, origin = words.words[position], words.origin[position]
    old = word if origin == INSERTED else task.original.words[origin]
    key = (number, old, word)
    if (known := task.plan.options.get(key)) is None:
        made = dict.fromkeys(cast(WordOptions, task.plan.kinds[number][1]).options(word))
        rules = task.plan.on_words
        known = [new for new in made if new != word and all(rule.allows(old, new) for rule in rules)]
        task.plan.options[key] = known
    return known


def _swapped(task: Task, transformation: Swaps, words: Words, positions: Sequence[int]) -> Steps[Sequence[Words]]:
    """Changes by a transformation by the gradient at one of some positions."""
    gradient = yield from gradients(task, words)
    table = task.victim.gradients.table if task.victim.gradients is not None else None
    if table is None:
        raise ValueError(
            f"{transformation.name} needs a victim with word embeddings, and {task.victim.name} has none: choose a "
            "recipe without gradients"
        )
    return transformation.swaps(words, positions, gradient, table)


def gradients(task: Task, words: Words) -> Steps[NDArray[np.floating]]:
    """Gradient of the label's loss with respect to the embedding of each word (n, d).

    Raises: ValueError if the victim has no gradients.
    """
    if task.victim.gradients is None:
        raise ValueError(f"{task.victim.name} gives no gradients of words: choose a recipe or a ranking without them")
    if task.gradient is None or task.gradient[0] != words.text:
        answers = yield Call(task.victim.gradients, [(words, task.text(words), task.label)])
        task.gradients += 1
        task.gradient = (words.text, answers[0])
    return task.gradient[1]


def quickly_allowed(task: Task, changes: Sequence[Change]) -> list[Change]:
    """Changes that meet the constraints that call no model."""
    left = list(changes)
    if task.plan.checks_words:
        left = [one for one in left if all(_word_allowed(rule, task, one.after) for rule in task.plan.on_words)]
    for rule in task.plan.on_texts:
        if left:
            flags = rule.keeps(left)
            left = [one for one, flag in zip(left, flags, strict=True) if flag]
    return left


def _word_allowed(rule: OnWords, task: Task, after: Words) -> bool:
    """Tests the last edit of a text, if it put a word in the place of another."""
    at, new = after.edits[-1]
    return at == INSERTED or not new or rule.allows(task.original.words[at], new)


def judged(task: Task, changes: Sequence[Change]) -> Steps[list[bool]]:
    """For each change, whether it meets the costly constraints; a constraint sees what those before it left."""
    flags = [True] * len(changes)
    for rule in task.plan.costly:
        if left := [number for number, flag in enumerate(flags) if flag]:
            answers = yield Call(rule.judge, [changes[number] for number in left])
            for number, answer in zip(left, answers, strict=True):
                flags[number] = bool(answer)
    return flags


def first_allowed(task: Task, before: Words, position: int, ranked: Sequence[Scored]) -> Steps[Scored | None]:
    """The first of some texts that meets the costly constraints; None if none does.

    They are checked in groups of 1, 2, 4 and so on, so that few are checked if the first ones pass.
    """
    if not task.recipe.lazy or not task.plan.costly:
        return ranked[0] if ranked else None
    start, size = 0, 1
    while start < len(ranked):
        group = ranked[start : start + size]
        flags = yield from judged(task, [Change(task.original, before, one.words, position) for one in group])
        if any(flags):
            return group[flags.index(True)]
        start, size = start + size, 2 * size
    return None


def ranked(texts: Sequence[Scored]) -> list[Scored]:
    """Texts by falling score; equal ones by their characters."""
    return sorted(texts, key=lambda one: (-one.score, one.words.text))


def _distinct(found: Sequence[Words], before: str) -> list[Words]:
    """Texts without repeats and without the one before."""
    seen = {before}
    kept = []
    for one in found:
        if one.text not in seen:
            seen.add(one.text)
            kept.append(one)
    return kept
