"""Faults of a victim, its data or an evaluation on texts that change the meaning of the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from robustlab.core.finding import Finding
from robustlab.core.types import Text
from robustlab.evaluation.doctor.units import beyond_chance, frequent
from robustlab.evaluation.plan import chosen
from robustlab.evaluation.text.given import TextData, plain_names
from robustlab.evaluation.text.record import RecipeResult, TextEvaluation
from robustlab.text import Victim
from robustlab.text.victims import beyond, padding_faults

PROBED = 64
"""Texts for a probe."""
ENOUGH = 20
"""Examples below which accuracy is not compared with chance."""
FEW = 30
"""Attacked examples below which a success rate says little."""
_SAME = 1e-6
"""Largest difference of probabilities that rounding may explain."""


def check_labels(victim: Victim, data: TextData, ids: Sequence[int]) -> None:
    """Checks that labels are classes of the victim.

    Raises: ValueError if one is not.
    """
    for i in ids:
        label = int(data.labels[i])
        if not 0 <= label < victim.classes:
            raise ValueError(
                f"the label of text {i} is {label}, but {victim.name} has the classes 0..{victim.classes - 1}: give "
                "labels of the same kind as the victim's classes"
            )


def inspect(victim: Victim, data: TextData, ids: Sequence[int], seed: int) -> tuple[Finding, ...]:
    """Findings about victim and data, on a simple random sample."""
    some = chosen(torch.tensor([*ids], dtype=torch.int64), PROBED, "doctor", seed).tolist()
    texts, labels = [data.texts[i] for i in some], torch.tensor([int(data.labels[i]) for i in some])
    rows = victim.predict(texts)
    found = [_again(victim, texts, rows), _padding(victim, texts), _constant(rows), _chance(rows, labels)]
    cut = _truncated(victim, [data.texts[i] for i in ids])
    return (*(one for one in found if one is not None), *_named(victim, data), *cut)


def _again(victim: Victim, texts: Sequence[Text], rows: np.ndarray) -> Finding | None:
    """Finding for a victim that answers differently twice."""
    change = np.abs(victim.predict(texts) - rows).max(axis=1)
    if not (change > _SAME).any():
        return None
    differ = int((change > _SAME).sum())
    return Finding(
        "random-outputs",
        "serious",
        f"The victim answered {differ} of {len(texts)} texts differently when it was called again.",
        {"differ": differ, "n": len(texts), "largest_change": float(change.max())},
        "Switch off dropout and other chance, or seed it inside: a search against chance finds luck, not faults.",
    )


def _padding(victim: Victim, texts: Sequence[Text]) -> Finding | None:
    """Finding for texts whose answer depends on the other texts of a batch."""
    faults = padding_faults(victim, texts)
    differ = len(faults)
    if not differ:
        return None
    return Finding(
        "padding-dependent",
        "serious",
        f"The victim answers {differ} of {len(texts)} texts differently alone than in a batch with others.",
        {"differ": differ, "n": len(texts), "other_class": len(faults.classes), "largest_change": faults.largest},
        "Mask the padding in the model, or pad each text to the same length: else outcomes depend on the batch.",
    )


def _constant(rows: np.ndarray) -> Finding | None:
    """Finding for a victim that scores all texts alike."""
    if len(rows) < 2 or float(np.ptp(rows, axis=0).max()) > _SAME:
        return None
    return Finding(
        "constant-victim",
        "serious",
        f"The victim gives the same scores to all of {len(rows)} texts.",
        {"n": len(rows)},
        "Check that the victim reads the texts: no attack can change such an answer, which is no robustness.",
    )


def _chance(rows: np.ndarray, labels: torch.Tensor) -> Finding | None:
    """Finding for accuracy that could be that of always giving the most frequent class."""
    correct, n = torch.from_numpy(rows.argmax(axis=1)) == labels, len(labels)
    if n < ENOUGH or frequent(labels) == 1 or beyond_chance(correct, labels):
        return None
    hits, chance = int(correct.sum()), frequent(labels)
    return Finding(
        "near-chance",
        "serious",
        f"Clean accuracy is near chance: {hits} of {n}, where the most frequent class alone gives {chance:.0%}.",
        {"accuracy": hits / n, "chance": chance, "n": n},
        "Check that labels are of the victim's classes, in its order: they may be of another kind.",
    )


def _named(victim: Victim, data: TextData) -> Iterator[Finding]:
    """Finding for classes whose names the victim does not have, so that only their numbers connect them."""
    theirs = set(plain_names(victim.labels))
    strange = [name for name in data.classes if name.strip().lower() not in theirs]
    if theirs and strange:
        yield Finding(
            "class-names-differ",
            "warning",
            f"The classes of the data are {', '.join(data.classes)}, those of the victim {', '.join(victim.labels)}.",
            {"unknown": len(strange), "classes": victim.classes},
            "Check that label 0 of the data is the victim's first class, and so on: the names do not show it.",
        )


def _truncated(victim: Victim, texts: Sequence[Text]) -> Iterator[Finding]:
    """Finding for texts that are longer than the victim reads."""
    unseen = beyond(victim, texts)
    longer = sum(tokens > 0 for tokens in unseen)
    if longer:
        yield Finding(
            "words-unseen",
            "warning",
            f"{longer} of {len(texts)} texts are longer than the {victim.limit} tokens that the victim reads.",
            {"longer": longer, "n": len(texts), "limit": victim.limit or 0, "unseen_tokens": max(unseen)},
            "Attacks on words beyond the limit change nothing: shorten the texts, or raise the limit of the victim.",
        )


def record_findings(evaluation: TextEvaluation, unlike: int) -> tuple[Finding, ...]:
    """Findings about recorded outcomes.

    Args:
        evaluation: the result so far.
        unlike: texts whose clean prediction differed between the clean pass and an attack.
    """
    found = [one for result in evaluation.results for one in _few(result)]
    return (*_unlike(unlike, evaluation.data.n), *_differing(evaluation), *found)


def _unlike(unlike: int, n: int) -> Iterator[Finding]:
    if unlike:
        yield Finding(
            "clean-answers-differ",
            "serious",
            f"The clean prediction of {unlike} of {n} texts differed between the clean pass and an attack.",
            {"differ": unlike, "n": n},
            "The victim draws, or depends on the batch: mend that, then evaluate in a new directory.",
        )


def _differing(evaluation: TextEvaluation) -> Iterator[Finding]:
    """Finding for recipes that allow different changes, so that their success rates are of different threats."""
    pairs = [pair for pair in evaluation.pairs if not set(pair.differs) <= {"search"}]
    if pairs:
        parts = sorted({part for pair in pairs for part in pair.differs})
        names = [one.name for one in evaluation.recipes]
        yield Finding(
            "recipes-differ",
            "info",
            f"The recipes {', '.join(names)} differ in {', '.join(parts)}: their success rates are of different "
            "threats, and rank no searches.",
            {"pairs": len(pairs), "of": len(evaluation.pairs)},
            "To compare searches, hold all other parts constant: robustlab text compare --searches.",
        )


def _few(result: RecipeResult) -> Iterator[Finding]:
    attacked = result.success.n
    if attacked < FEW:
        yield Finding(
            "few-attacked",
            "warning",
            f"The success rate of {result.recipe} rests on {attacked} attacked examples.",
            {"attack": result.recipe, "attacked": attacked, "skipped": result.skipped},
            "Evaluate more examples: the interval says how little these show.",
        )
