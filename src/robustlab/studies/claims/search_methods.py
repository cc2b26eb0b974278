"""Search methods of text attacks under equal constraints: which succeed, and what the order of words is worth."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.text_measures import UnderTextAttacks
from robustlab.studies.claim_engine.texts import TextAttack, TextNetwork
from robustlab.text import Beam, Genetic, Greedy, Swarm
from robustlab.text.parts import Search

_PAPER = (
    "Yoo, Morris, Lifland, Qi, Searching for a Search Method: Benchmarking Search Algorithms for Generating NLP "
    "Adversarial Examples, BlackboxNLP 2020"
)
_SETTING = "LSTM on movie reviews, WordNet substitutes with bounds on part of speech and similarity (released logs)"
_OURS = (
    "movie sentences, a word CNN started from GloVe; WordNet synonyms with a cosine of 0.5 or more in GloVe, no stop "
    "word and no word twice, the same for all searches, and no bound on the text as a whole; {n} test sentences, "
    "others for each of six seeds"
)
_FEW, _MANY = 100, 300
"""Test sentences for searches of many queries, and of few."""
ARM = Arm("word-cnn", TextNetwork())


def _found_by(search: Search) -> TextAttack:
    """The best synonyms that a search finds, in the same space for all."""
    return TextAttack("wordnet-delete", search, cosine=0.5)


def _measures(n: int, **searches: Search) -> tuple[UnderTextAttacks]:
    return (UnderTextAttacks(tuple((name, _found_by(search)) for name, search in searches.items()), n),)


def _of(metric: str) -> Term:
    return Term(ARM.name, metric)


def _more(search: str) -> Effect:
    what = {"beam": "beam of 8", "genetic": "genetic search", "swarm": "particle swarm"}[search]
    of, over = _of(f"{search}_success"), _of("delete_success")
    return Effect(f"success of attacks, {what} over greedy by deletion,", of, over, smallest=0.01)


ORDER = Claim(
    name="search-methods",
    statement="Under equal constraints, beam, genetic and particle swarm search succeed more often than greedy search "
    "in order of importance, which needs the fewest queries.",
    paper=_PAPER,
    published=f"{_SETTING}: success of beam 8 76.0 %, genetic 76.0 %, swarm 76.6 %, greedy by deletion 72.2 %, with "
    "222, 730, 1,179 and 35 queries",
    ours=_OURS.format(n=_FEW),
    arms=(ARM,),
    measures=_measures(_FEW, delete=Greedy("delete"), beam=Beam(8), genetic=Genetic(), swarm=Swarm()),
    effects=(
        _more("beam"),
        _more("genetic"),
        _more("swarm"),
        Effect(
            "queries, beam of 8 over greedy by deletion,",
            _of("beam_queries"),
            _of("delete_queries"),
            smallest=2.0,
            ratio=True,
        ),
        Effect(
            "queries, particle swarm over beam of 8,",
            _of("swarm_queries"),
            _of("beam_queries"),
            smallest=2.0,
            ratio=True,
        ),
    ),
    minutes=3,
    seeds=6,
)
RANDOM = Claim(
    name="random-word-order",
    statement="Greedy search in random order of the words succeeds nearly as often as in order of importance, but "
    "changes more words.",
    paper=_PAPER,
    published=f"{_SETTING}: success 71.8 % in random order, 72.2 % by deletion; 19.1 % and 15.7 % of the words changed",
    ours=_OURS.format(n=_MANY),
    arms=(ARM,),
    measures=_measures(_MANY, delete=Greedy("delete"), random=Greedy("random")),
    effects=(
        Effect(
            "success of attacks, random order over order by deletion,",
            _of("random_success"),
            _of("delete_success"),
            smallest=-0.03,
        ),
        Effect(
            "share of words changed, random order over order by deletion,",
            _of("random_words"),
            _of("delete_words"),
            smallest=1.1,
            ratio=True,
        ),
    ),
    minutes=3,
    seeds=6,
)

register_claim(ORDER, place=320)
register_claim(RANDOM, place=330)
