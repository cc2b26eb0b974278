"""Adversarial training on texts, in the form of A2T."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.text_measures import UnderTextAttacks
from robustlab.studies.claim_engine.texts import AgainstAttack, TextAttack, TextNetwork
from robustlab.text import Greedy

_TRAINED_ON = TextAttack("wordnet-delete", Greedy("gradient"), cosine=0.5)


def _gain(what: str, metric: str, smallest: float) -> Effect:
    return Effect(what, Term("adversarial", metric), Term("standard", metric), smallest=smallest)


CLAIM = Claim(
    name="text-adversarial-training",
    statement="Adversarial training on texts raises accuracy under the attack that it was trained with and under "
    "another, and hardly lowers accuracy on clean texts.",
    paper="Yoo, Qi, Towards Improving Adversarial Training of NLP Models, Findings of EMNLP 2021",
    published="BERT and RoBERTa on four data sets: more robust to the attack of the training and to others, and often "
    "more accurate (abstract; the numbers of the tables were not checked)",
    ours="movie sentences, a word CNN started from GloVe, 4 epochs; from the second, a fifth of the sentences is "
    "attacked before each epoch: WordNet synonyms with a cosine of 0.5 or more in GloVe, greedy, words by gradient, "
    "without bounds on part of speech and similarity; the other attack is PWWS, with all synonyms; 200 test sentences, "
    "others for each of six seeds",
    arms=(
        Arm("standard", TextNetwork()),
        Arm("adversarial", TextNetwork(AgainstAttack(_TRAINED_ON))),
    ),
    measures=(UnderTextAttacks((("trained", _TRAINED_ON), ("pwws", TextAttack("pwws"))), 200),),
    effects=(
        _gain("accuracy under the attack of the training, adversarial over standard,", "trained_accuracy", 0.03),
        _gain("accuracy under PWWS, adversarial over standard,", "pwws_accuracy", 0.01),
        _gain("accuracy on clean texts, adversarial over standard,", "clean_accuracy", -0.02),
    ),
    minutes=5,
    seeds=6,
)

register_claim(CLAIM, place=340)
