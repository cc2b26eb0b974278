"""Typos against word-level models: an attack on their vocabulary."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.text_measures import VocabularyOfTypos
from robustlab.studies.claim_engine.texts import TextNetwork, Tfidf

_ARMS = (Arm("word-cnn", TextNetwork()), Arm("tfidf", Tfidf()))


def _effects(arm: str, model: str) -> tuple[Effect, ...]:
    typo = Term(arm, "typo_success")
    return (
        Effect(
            f"{model}: share of typos that its vocabulary does not have,", Term(arm, "unknown_share"), smallest=0.75
        ),
        Effect(
            f"{model}: success with one word without meaning in place of all typos over that with typos,",
            Term(arm, "nonsense_success"),
            typo,
            smallest=-0.05,
        ),
        Effect(
            f"{model}: success with all typos over that with typos that its vocabulary has,",
            typo,
            Term(arm, "known_success"),
            smallest=0.3,
        ),
    )


CLAIM = Claim(
    name="typos-and-vocabulary",
    statement="Typo attacks on word-level models succeed because they put in words that the vocabulary does not have: "
    "any unknown word does as well, and known ones do not.",
    paper="Pruthi, Dhingra, Lipton, Combating Adversarial Misspellings with Robust Word Recognition, ACL 2019, "
    "section 1; the comparison with words without meaning is ours",
    published="two typos in a sentence bring BiLSTMs and BERT to chance; most of them lead to the token of unknown "
    "words (no number); BERT on film reviews: one typo lowers accuracy from 90.3 % to 45.8 %",
    ours="movie sentences, a word CNN started from GloVe and logistic regression on word counts; greedy search over "
    "all swaps of neighbouring letters and deletions of one, on any number of words; 250 test sentences, others for "
    "each of six seeds",
    arms=_ARMS,
    measures=(VocabularyOfTypos(250),),
    effects=(*_effects("word-cnn", "word CNN"), *_effects("tfidf", "word counts")),
    minutes=2,
    seeds=6,
)

register_claim(CLAIM, place=350)
