"""First calls of a classifier of texts: what it returns, and whether it returns it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from robustlab.core.types import Text
from robustlab.core.user_code import called
from robustlab.text.victims.answers import Answers, check_texts, reading, scores
from robustlab.text.victims.kinds import Output, Predict, Rows, Victim

Raw: TypeAlias = Callable[[list[Text]], object]
"""A classifier as it was given: from texts to scores of any form."""
_PROBES = (
    "A warm, funny and clever film that I would gladly see again.",
    "It is dull, far too long and badly acted.",
    "The match ended in a draw after extra time.",
    "Shares rose by 3 % on Monday, although the bank had warned of losses.",
    "Why is the new telescope so much better than the old one?",
    "Not bad!",
    "you won a FREE prize, call 0800 now",
    "They wrote that they would come, but they did not write when, and so we did not know what to prepare.",
)
"""Texts of several kinds, for the first calls."""
_REPEATS = 1e-5
"""Largest difference between two answers for the same texts, which rounding may explain."""


def probes(fields: int) -> list[Text]:
    """Texts for the first calls, each with a number of fields."""
    if fields < 1:
        raise ValueError(f"fields is the number of fields of a text, at least 1, got {fields}")
    return [
        text if fields == 1 else (text, *[_PROBES[n - k] for k in range(1, fields)]) for n, text in enumerate(_PROBES)
    ]


def answering(raw: Raw, rule: Answers) -> Predict:
    """A function from texts to checked probabilities.

    Args:
        raw: the classifier.
        rule: for reading its answers.
    """

    def predict(texts: Sequence[Text]) -> Rows:
        given = check_texts(texts)
        if not given:
            return np.empty((0, rule.classes))
        return rule.rows(called_with(raw, given, rule.name), given)

    return predict


def called_with(raw: Raw, texts: Sequence[Text], name: str) -> object:
    """The answer of a classifier for texts, unchecked.

    Raises: UserCodeError if it fails.
    """
    with called(f"the victim {name}", f"{len(texts)} texts"):
        return raw(list(texts))


def probed(raw: Raw, name: str, output: Output, classes: int | None, fields: int) -> tuple[Answers, Rows]:
    """The rule for reading a classifier's answers, and its probabilities (N, K) for fixed texts.

    Raises: ValueError if its answers are no scores of two or more classes, or differ from call to call.
    """
    texts = probes(fields)
    first = called_with(raw, texts, name)
    rule = reading(first, texts, name, output, classes)
    before, again = scores(first, texts, name), scores(called_with(raw, texts, name), texts, name)
    if before.shape != again.shape:
        raise ValueError(f"{name} returned shape {before.shape} for some texts, and {again.shape} for them again")
    change = float(np.abs(before - again).max())
    if change > max(_REPEATS, 10.0**-rule.decimals) * max(1.0, float(np.abs(before).max())):
        raise ValueError(
            f"{name} answers differently when it is called again (by {change:.3g}): switch off dropout and other "
            "chance, or seed it inside"
        )
    return rule, rule.rows(first, texts)


def answers_digest(name: str, rows: Rows) -> str:
    """Digest of a function: its name and its probabilities for fixed texts, rounded to 6 digits."""
    return digest_of("function", name, *[f"{value:.6f}" for value in rows.ravel().tolist()])


def digest_of(kind: str, *parts: str) -> str:
    """SHA-256 of some texts, behind the kind of what they describe."""
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(f"{len(part)}:{part}".encode())
    return f"{kind}:{sha256.hexdigest()}"


def black_box(raw: Raw, name: str, output: Output, labels: Sequence[str] | int | None, fields: int) -> Victim:
    """A victim of which nothing is known but its answers."""
    classes = labels if isinstance(labels, int) or labels is None else len(labels)
    rule, rows = probed(raw, name, output, classes, fields)
    return Victim(
        answering(raw, rule),
        rule.classes,
        name,
        answers_digest(name, rows),
        decimals=rule.decimals,
        labels=tuple(labels) if labels is not None and not isinstance(labels, int) else (),
    )
