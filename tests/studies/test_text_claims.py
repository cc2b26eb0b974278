"""Claims on text models: their training, and what attacks on texts measure."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from robustlab.data import Sentences
from robustlab.data.movie_sentences import Split
from robustlab.models import TfidfClassifier, WordCNN
from robustlab.runs import Progress
from robustlab.studies import CLAIMS, Arm, Budget, Effect, Term, reproduce
from robustlab.studies.claim_engine import lab as labs
from robustlab.studies.claim_engine import texts
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.text_measures import UnderTextAttacks, VocabularyOfTypos
from robustlab.studies.claim_engine.texts import AgainstAttack, TextAttack, TextNetwork, Tfidf, some
from robustlab.text import Greedy
from robustlab.text.constraints import WordCosine
from robustlab.text.vectors import Vectors
from robustlab.training import AdversarialTexts, adamw

GOOD, BAD = ("good", "great", "fine", "warm"), ("bad", "dull", "poor", "cold")
TEXTS = tuple(f"a {one} and {two} film" for words in (BAD, GOOD) for one in words for two in words)
TOY = Sentences(TEXTS, np.repeat([0, 1], 16), np.arange(32) + 100, ("negative", "positive"), "toy films")
SMALL = TextNetwork(vectors="", epochs=8, batch_size=8, optimizer=adamw(0.01))


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(split: Split) -> Sentences:
        return replace(TOY, name=f"toy films {split}")

    monkeypatch.setattr(labs, "_read", read)


class Keyword(nn.Module):
    """Calls a text positive if it has one word, and is less sure that it is not if it has another."""

    words = ("<unk>", "good", "film", "fim")

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        words = [text.split() for text in texts]
        positive = np.array([0.9 if "good" in some else 0.2 if "film" in some else 0.1 for some in words])
        return np.stack([1 - positive, positive], axis=1)


def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *given: tuple[str, int]) -> Lab:
    """A lab whose test sentences are these."""
    labels = np.array([label for _, label in given])
    sentences = Sentences(tuple(text for text, _ in given), labels, np.arange(len(given)), ("no", "yes"))
    monkeypatch.setattr(labs, "_read", lambda split: sentences)  # noqa: ARG005 -- all splits alike
    return Lab(tmp_path, 0, device="cpu")


def test_attacks_are_counted_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = site(tmp_path, monkeypatch, ("good film", 1), ("bald film", 0), ("dull film", 1), ("goood fun film now", 0))
    found = UnderTextAttacks((("typo", TextAttack("typo-delete")),), 4)(Keyword(), lab)
    assert found["clean_accuracy"] == 0.75, "the third is wrong from the start"
    assert found["typo_accuracy"] == 0.25, "nothing but the second withstands"
    assert found["typo_success"] == pytest.approx(2 / 3)
    assert found["typo_words"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert found["typo_queries"] >= found["typo_sent"] > 3


def test_another_search_takes_the_place_of_that_of_the_recipe() -> None:
    made = TextAttack("typo-delete", Greedy("random")).made()
    assert made.search == Greedy("random")
    assert made.constraints == TextAttack("typo-delete").made().constraints


def test_searches_draw_by_the_seed_of_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = site(tmp_path, monkeypatch, ("a good film with music and light", 1), ("so warm and good is this film", 1))
    measure = UnderTextAttacks((("random", TextAttack("typo-delete", Greedy("random"))),), 2)
    queries = {seed: measure(Keyword(), replace(lab, seed=seed))["random_queries"] for seed in range(4)}
    assert len(set(queries.values())) > 1
    assert queries[0] == measure(Keyword(), lab)["random_queries"]


def test_typos_are_compared_with_unknown_and_known_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = site(tmp_path, monkeypatch, ("good film", 1), ("goood film", 0), ("bald film", 0), ("fiilm now", 0))
    found = VocabularyOfTypos(4)(Keyword(), lab)
    assert found["clean_accuracy"] == 1.0
    assert found["typo_success"] == 0.5, "good is lost, goood becomes good"
    assert found["unknown_share"] == 0.5, "the film that the last became was no success"
    assert found["nonsense_success"] == 0.25, "no word without meaning is good"
    assert found["known_success"] == 0.25, "film may become fim, which changes nothing; goood good"


def test_samples_of_sentences_follow_the_seed_and_the_budget(tmp_path: Path) -> None:
    lab = Lab(tmp_path, 0)
    assert some(lab, "train") is not some(lab, "test", 5)
    chosen = some(lab, "test", 5)
    assert len(chosen) == 5
    assert chosen.ids.tolist() != some(replace(lab, seed=1), "test", 5).ids.tolist()
    small = replace(lab, budget=Budget("small", images=4, test=3))
    assert (len(some(small, "train", 10)), len(some(small, "test", 10))) == (4, 3)
    assert [TOY.texts[number - 100] for number in chosen.ids.tolist()] == list(chosen.texts)


def test_text_networks_learn_and_are_trained_once(tmp_path: Path) -> None:
    seen = list[Progress]()
    lab = Lab(tmp_path, 0, device="cpu", report=seen.append)
    first = lab.trained(SMALL)
    assert isinstance(first.last, WordCNN)
    steps = len(seen)
    again = lab.trained(SMALL)
    assert steps > 1
    assert len(seen) - steps <= 1, "nothing but the end is reported"
    assert all(torch.equal(value, again.last.state_dict()[name]) for name, value in first.last.state_dict().items())
    right = first.last(first.last.encode(TEXTS)).argmax(dim=1)
    assert right.tolist() == TOY.labels.tolist()
    other = replace(lab, seed=1).trained(SMALL).last
    assert isinstance(other, WordCNN)
    assert not torch.equal(other.head.weight, first.last.head.weight)


@pytest.mark.parametrize(("budget", "start", "epochs"), [(Budget("whole"), 1, 3), (Budget("one", epochs=1), 0, 1)])
def test_adversarial_training_is_planned_for_the_sentences_and_epochs(
    tmp_path: Path, budget: Budget, start: int, epochs: int
) -> None:
    network = replace(SMALL, recipe=AgainstAttack(TextAttack("typo-delete"), fraction=0.5), texts=8, epochs=3)
    lab = Lab(tmp_path, 4, budget, "cpu")
    recipe = network.recipe_for(lab)
    assert isinstance(recipe, AdversarialTexts)
    assert (recipe.start, recipe.epochs, recipe.fraction, recipe.seed) == (start, epochs, 0.5, 4)
    assert recipe.sentences.ids.tolist() == some(lab, "train", 8).ids.tolist()
    examples = network.examples(network.fresh(lab), lab)
    y = examples.batch(torch.arange(len(examples))).y
    assert y.tolist() == recipe.sentences.labels.tolist(), "rows of both are the same texts"


def test_networks_are_trained_against_an_attack(tmp_path: Path) -> None:
    lab = Lab(tmp_path, 0, device="cpu")
    plain = replace(SMALL, epochs=2)
    hardened = replace(plain, recipe=AgainstAttack(TextAttack("typo-delete", Greedy("gradient")), fraction=1.0))
    one, other = lab.trained(plain).last, lab.trained(hardened).last
    assert isinstance(one, WordCNN)
    assert isinstance(other, WordCNN)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_new_words_must_be_near_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    near = Vectors(("good", "god", "bad"), np.array([[1, 0], [1, 0.1], [-1, 0]], dtype=np.float32))
    monkeypatch.setattr(texts, "vectors", lambda name: near)  # noqa: ARG005 -- there is one
    rule = TextAttack("typo-delete", cosine=0.5).made().constraints[-1]
    assert isinstance(rule, WordCosine)
    assert [rule.allows("good", new) for new in ("god", "bad", "goo")] == [True, False, False]


def test_word_counts_are_fitted_without_the_loop(tmp_path: Path) -> None:
    found = Lab(tmp_path, 0, device="cpu").trained(Tfidf())
    assert isinstance(found.last, TfidfClassifier)
    assert found.last.probabilities(TEXTS).argmax(axis=1).tolist() == TOY.labels.tolist()


def test_claim_on_texts_is_reproduced_and_measured_once_for_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = next(claim for claim in CLAIMS if claim.name == "random-word-order")
    measure = UnderTextAttacks((("typo", TextAttack("typo-delete")),), 8)
    effect = Effect("success of typos", Term("cnn", "typo_success"), smallest=0.1)
    arms = (Arm("cnn", SMALL), Arm("tfidf", Tfidf()))
    claims = tuple(
        replace(like, name=name, arms=arms, measures=(measure,), effects=(effect,)) for name in ("one", "two")
    )
    monkeypatch.setattr(import_module("robustlab.studies.reproduce"), "CLAIMS", claims)
    one, two = reproduce(out=tmp_path, seeds=2, device="cpu")
    assert [unit.arm for unit in one.units] == ["cnn", "tfidf"] * 2
    assert all(unit.metrics["clean_accuracy"] == 1.0 for unit in one.units)
    assert [unit.metrics["typo_success"] for unit in one.units] == [unit.metrics["typo_success"] for unit in two.units]
    assert [unit.measuring_seconds for unit in one.units] == [unit.measuring_seconds for unit in two.units]
