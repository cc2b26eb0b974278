"""Measures of a trained text model under attacks on its input, as values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from robustlab.core import Metrics
from robustlab.data import Sentences, text_resource
from robustlab.runs.progress import Progress
from robustlab.studies.claim_engine.network import Site
from robustlab.studies.claim_engine.texts import TextAttack, some
from robustlab.text import AttackSettings, Driver, TextOutcome, TextRecipe, attack, victim
from robustlab.text.parts import OnPositions
from robustlab.text.recipes import recipe

NONSENSE = "qxzqx"
"""A word that no vocabulary has."""


@dataclass(frozen=True)
class UnderTextAttacks:
    """Accuracy on test sentences, clean and under attacks, and what the attacks cost.

    Gives ``clean_accuracy`` and for each attack ``NAME_accuracy`` (right on the text and on what the attack made of
    it), ``NAME_success`` (share of successes among attacked texts), ``NAME_words`` (mean share of words changed, over
    successes), ``NAME_queries`` and ``NAME_sent`` (mean number of texts that the search wanted scored, and of different
    ones, over attacked texts). A number over nothing is left out.

    Args:
        attacks: by name.
        n: test sentences, a simple random sample, another for each seed.
    """

    attacks: tuple[tuple[str, TextAttack], ...]
    n: int

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Attacks the sample."""
        made = {name: one.made() for name, one in self.attacks}
        metrics: Metrics = {}
        for name, outcomes in attacked(model, some(lab, "test", self.n), made, lab).items():
            metrics["clean_accuracy"] = _right(outcomes)
            metrics |= {f"{name}_{what}": value for what, value in _numbers(outcomes).items()}
        return metrics


@dataclass(frozen=True)
class VocabularyOfTypos:
    """Typos against a word-level model, and the part that its vocabulary has in them.

    Each sentence is attacked three times by the greedy search of one recipe of typos. Gives ``clean_accuracy``;
    ``typo_success``;
    ``unknown_share``, the share of words put in by successful typos that the vocabulary does not have;
    ``nonsense_success``, with one word that no vocabulary has as the only candidate at each word; and
    ``known_success``, with only those typos that the vocabulary has.

    Args:
        n: test sentences, as in ``UnderTextAttacks``.
        typos: name of the recipe.
    """

    n: int
    typos: str = "typo-delete"

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Attacks the sample."""
        vocabulary: frozenset[str] = frozenset(getattr(model, "words"))  # noqa: B009 -- word-level models have them
        typos = recipe(self.typos, resources=text_resource)
        places = tuple(one for one in typos.constraints if isinstance(one, OnPositions))
        variants = {
            "typo": typos,
            "nonsense": replace(typos, transformations=(Nonsense(),), constraints=places),
            "known": replace(typos, constraints=(*typos.constraints, InVocabulary(vocabulary))),
        }
        found = attacked(model, some(lab, "test", self.n), variants, lab)
        put_in = [new for one in found["typo"] if one.status == "successful" for _, new in one.edits]
        unknown = [word.lower() not in vocabulary for word in put_in]
        metrics = {f"{name}_success": _numbers(outcomes).get("success", math.nan) for name, outcomes in found.items()}
        metrics["clean_accuracy"] = _right(found["typo"])
        metrics["unknown_share"] = sum(unknown) / len(unknown) if unknown else math.nan
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Nonsense:
    """One word without meaning in the place of every word."""

    name: str = "nonsense"

    def options(self, word: str) -> Sequence[str]:  # noqa: ARG002 -- all words alike
        """The word."""
        return (NONSENSE,)


@dataclass(frozen=True)
class InVocabulary:
    """Only words that a vocabulary has may be put in.

    Args:
        words: the vocabulary, in small letters.
    """

    words: frozenset[str] = field(repr=False)
    name: str = "known words"

    def allows(self, old: str, new: str) -> bool:  # noqa: ARG002 -- the new word decides
        """Tests whether the new word is known."""
        return new.lower() in self.words


def attacked(
    model: nn.Module, sentences: Sentences, recipes: dict[str, TextRecipe], lab: Site
) -> dict[str, list[TextOutcome]]:
    """Outcomes of several attacks on the same sentences, which share the memory of scored texts."""
    subject = victim(model)
    driver = Driver(subject)
    found = {}
    for name, one in recipes.items():

        def report(at: Progress, name: str = name) -> None:
            lab.report(at._replace(task=f"attack with {name}"))

        settings = AttackSettings(lab.seed, driver=driver, progress=report)
        found[name] = attack(
            subject, sentences.texts, sentences.labels.tolist(), one, ids=sentences.ids.tolist(), settings=settings
        )
    return found


def _right(outcomes: Sequence[TextOutcome]) -> float:
    """Accuracy on the clean texts."""
    return sum(one.before == one.label for one in outcomes) / len(outcomes)


def _numbers(outcomes: Sequence[TextOutcome]) -> Metrics:
    """Success, words changed and queries of one attack."""
    tried = [one for one in outcomes if one.status != "skipped"]
    won = [one for one in tried if one.status == "successful"]
    numbers = {"accuracy": (len(tried) - len(won)) / len(outcomes)}
    if tried:
        numbers["success"] = len(won) / len(tried)
        numbers["queries"] = sum(one.requested for one in tried) / len(tried)
        numbers["sent"] = sum(one.sent for one in tried) / len(tried)
    if won:
        numbers["words"] = sum(one.changed_fraction for one in won) / len(won)
    return numbers
