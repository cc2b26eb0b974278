"""Three recipes on real sentences agree with recorded outcomes of another implementation, row by row."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from robustlab.core.errors import DataError
from robustlab.data.movie_sentences import movie_sentences
from robustlab.models import TfidfClassifier
from robustlab.text import TextOutcome, Victim, attack, victim
from robustlab.text.recipes import recipe

REFERENCE = Path(__file__).parent / "reference"
SYNONYMS = REFERENCE / "wordnet_candidates.json"
"""From WordNet 3.0, so that another reader cannot be the reason of a difference."""


@cache
def tfidf() -> Victim:
    words = json.loads((REFERENCE / "victim_a_terms.json").read_text())
    arrays = np.load(REFERENCE / "victim_a.npz")
    model = TfidfClassifier(words)
    with torch.no_grad():
        for name in ("idf", "coef", "intercept"):
            part = getattr(model, name)
            part.copy_(torch.from_numpy(np.asarray(arrays[name])).reshape(part.shape))
    return victim(model, name="tfidf")


def outcomes(name: str) -> list[TextOutcome]:
    """Outcomes of a recipe on the first 200 sentences of the validation split."""
    try:
        sentences = movie_sentences("validation")
    except DataError as error:
        pytest.skip(str(error))
    table = json.loads(SYNONYMS.read_text())
    attacked = recipe(name, given={"wordnet": lambda word: table[word]})
    ids = cast("list[int]", sentences.ids[:200].tolist())
    return attack(tfidf(), sentences.texts[:200], sentences.labels[:200].tolist(), attacked, ids=ids)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["typo-delete", "wordnet-delete", "pwws"])
def test_outcomes_are_the_recorded_ones(name: str) -> None:
    expected = json.loads((REFERENCE / "parity.json").read_text())[name]
    found = [[one.id, one.status, one.requested, _digest(one)] for one in outcomes(name)]
    assert len(found) == len(expected) == 200
    assert [one for one, other in zip(found, expected, strict=True) if one != other] == []


def _digest(one: TextOutcome) -> str:
    """The beginning of the digest of the final text; "" for a skipped one."""
    return "" if one.status == "skipped" else hashlib.sha256(str(one.adversarial).encode()).hexdigest()[:16]


def test_input_reduction_leaves_one_word_of_a_linear_victim() -> None:
    try:
        sentences = movie_sentences("test")
    except DataError as error:
        pytest.skip(str(error))
    texts, labels = sentences.texts[:60], sentences.labels[:60].tolist()
    found = [one for one in attack(tfidf(), texts, labels, recipe("input-reduction")) if one.status != "skipped"]
    # the word that speaks most for the label never has to go
    assert {one.words - one.changed for one in found} == {1}
    assert all(one.prediction == one.label for one in found)
