"""Victims of functions, modules and estimators: what they answer, and every answer that is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from torch import nn

from robustlab.core import Text, UserCodeError
from robustlab.models import WordCNN, fit_tfidf, vocabulary_of
from robustlab.text.victims import Victim, victim
from robustlab.text.victims.kinds import Rows

TEXTS = ["good film", "bad film", "the plot", "great cast", "dull cast", "goal scored", "shares fell", "new phone"]
FOUR = [0, 1, 2, 0, 1, 3, 2, 3]


def lengths(texts: list[Text]) -> list[float]:
    return [len(text) / 100 for text in texts]


def logits(texts: list[Text]) -> Rows:
    return np.array([[size, 1.0, -size] for size in lengths(texts)])


def softmax(rows: Rows) -> Rows:
    powers: Rows = np.exp(rows)
    found: Rows = powers / powers.sum(1, keepdims=True)
    return found


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (logits, lambda t: softmax(logits(t))),
        (lambda t: torch.tensor(logits(t)).float(), lambda t: softmax(logits(t))),
        (lambda t: logits(t).tolist(), lambda t: softmax(logits(t))),
        (lambda t: softmax(logits(t)), lambda t: softmax(logits(t))),
        (lambda t: softmax(logits(t)).round(3).tolist(), lambda t: softmax(logits(t)).round(3)),
        (lambda t: np.tanh(lengths(t)), lambda t: np.stack([1 - np.tanh(lengths(t)), np.tanh(lengths(t))], 1)),
        (
            lambda t: 5 - 20 * np.array(lengths(t)),
            lambda t: softmax(np.stack([np.zeros(len(t)), 5 - 20 * np.array(lengths(t))], 1)),
        ),
    ],
    ids=["logits", "tensor", "lists", "probabilities", "rounded", "one probability", "one logit"],
)
def test_functions_give_probabilities(
    function: Callable[[list[Text]], object], expected: Callable[[list[Text]], Rows]
) -> None:
    found = victim(function)
    texts: list[Text] = ["", "a", "some words " * 5]
    np.testing.assert_allclose(found.predict(texts), expected(texts), atol=1e-6)
    assert found.classes == expected(texts).shape[1]
    assert found.predict([]).shape == (0, found.classes)


def test_logits_that_happen_to_look_like_probabilities_later_stay_logits() -> None:
    found = victim(lambda texts: np.array([[len(text), 1.0] if len(text) > 5 else [0.5, 0.5] for text in texts]))
    np.testing.assert_allclose(found.predict(["abc"]), [[0.5, 0.5]])
    np.testing.assert_allclose(found.predict(["abcdef"])[0, 0], 1 / (1 + np.exp(-5.0)))
    odd = victim(lambda texts: np.array([[2.0, 0.0] if text == "odd" else [0.5, 0.5] for text in texts]))
    with pytest.raises(ValueError, match=r"2, 0 \(sum 2\) for text 1, 'odd'.*output='logits'"):
        odd.predict(["even", "odd"])


class Noisy:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: list[Text]) -> Rows:
        self.calls += 1
        return logits(texts) + 0.01 * self.calls * np.arange(3)


def failing(texts: list[Text]) -> Rows:
    raise RuntimeError(f"no {len(texts)}")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: np.array([len(x) % 2 for x in t]), "a label and no score"),
        (lambda t: ["positive" for _ in t], "'positive' for a text, a label and no score"),
        (lambda t: np.eye(2)[[len(x) % 2 for x in t]], "0 and 1 alone, which are labels"),
        (lambda t: np.array([float(len(x) % 2) for x in t]), "0 and 1 alone, which are labels"),
        (lambda t: np.ones((len(t), 1)), "one class alone"),
        (lambda t: logits(t)[:-1], r"shape \(7, 3\) for 8 texts"),
        (lambda t: logits(t).T, r"shape \(3, 8\) for 8 texts"),
        (lambda t: logits(t)[:, None], r"shape \(8, 1, 3\) for 8 texts"),
        (lambda _: 0.5, "returned a float, expected scores"),
        (lambda _: None, "returned a NoneType, expected scores"),
        (lambda t: {"logits": logits(t)}, "returned a dict, expected scores"),
        (lambda t: [[1.0] * (1 + len(x) % 2) for x in t], "rows of different lengths"),
        (lambda t: logits(t) * np.nan, "returned nan for text 0, 'A warm, funny"),
        (lambda t: np.where(np.arange(3) == 1, np.inf, logits(t)), "returned inf for text 0"),
        (Noisy(), "answers differently when it is called again"),
    ],
)
def test_answers_that_are_no_scores_are_refused(function: Callable[[list[Text]], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        victim(function)


def test_errors_of_the_function_name_it() -> None:
    with pytest.raises(
        UserCodeError, match=r"the victim failing cannot take 8 texts: RuntimeError: no 8 \(test_victims"
    ):
        victim(failing)


def test_later_answers_are_checked_too() -> None:
    found = victim(lambda texts: logits(texts)[:, : 2 if texts[0] == "short" else 3])
    with pytest.raises(ValueError, match="returned 2 scores for a text, but 3 before"):
        found.predict(["short"])
    late = victim(lambda texts: np.array([[np.nan if text == "odd" else 0.5, 1.0] for text in texts]))
    with pytest.raises(ValueError, match="returned nan for text 1, 'odd': scores must be finite"):
        late.predict(["even", "odd"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", None], r"text 1 is None \(NoneType\), expected a str"),
        ([b"a"], r"text 0 is b'a' \(bytes\)"),
        ([3], r"text 0 is 3 \(int\)"),
        ([("a", 1)], r"text 0 is \('a', 1\) \(tuple\)"),
        ([()], r"text 0 is \(\) \(tuple\)"),
        ("a text", "texts are a str, expected a list of str"),
    ],
)
def test_texts_that_are_none_are_refused(texts: list[Text], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        victim(logits).predict(texts)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LogisticRegression, "is the class LogisticRegression: give a fitted instance"),
        ("word-cnn", r"load the model first, robustlab.models.load\('word-cnn'\)"),
        (3, "the victim is a int, expected a function from a list of texts"),
        (nn.Linear(1, 2), "Linear is a torch module: give its tokenizer="),
    ],
)
def test_what_is_no_classifier_is_refused(model: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        victim(model)


def test_pairs_reach_the_function_as_tuples() -> None:
    seen: list[Text] = []

    def entails(texts: list[Text]) -> Rows:
        seen.extend(texts)
        return np.array([[len(field) for field in text] for text in texts]) / 10

    found = victim(entails, fields=2, classes=("no", "yes"))
    assert all(isinstance(text, tuple) and len(text) == 2 for text in seen)
    assert found.predict([("same", "size")]).tolist() == [[0.5, 0.5]]
    assert found.labels == ("no", "yes")
    with pytest.raises(ValueError, match="entails has 2 classes, but 3 are given"):
        victim(entails, fields=2, classes=3)


@pytest.mark.parametrize("labels", [[1, 0, 0, 1, 0, 0, 1, 1], FOUR, ["d", "b", "c", "a", "d", "b", "c", "a"]])
def test_pipelines_of_scikit_learn_keep_the_order_of_their_classes(labels: list[object]) -> None:
    probable = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, labels)
    found = victim(probable)
    np.testing.assert_allclose(found.predict(TEXTS), probable.predict_proba(TEXTS))
    assert found.labels == tuple(str(one) for one in sorted(set(labels), key=str))
    assert found.name == "TfidfVectorizer+LogisticRegression"
    decided = make_pipeline(TfidfVectorizer(), LinearSVC()).fit(TEXTS, labels)
    top = victim(decided).predict(TEXTS).argmax(1)
    assert [victim(decided).labels[k] for k in top] == [str(one) for one in decided.predict(TEXTS)]


def test_estimators_that_cannot_read_texts_are_named() -> None:
    with pytest.raises(UserCodeError, match="the victim LogisticRegression cannot take 8 texts"):
        victim(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    with pytest.raises(UserCodeError, match="NotFittedError"):
        victim(make_pipeline(TfidfVectorizer(), LogisticRegression()))


def test_digests_follow_what_is_fitted() -> None:
    def fitted(c: float = 1.0, texts: list[str] = TEXTS) -> str:
        return victim(make_pipeline(CountVectorizer(), LogisticRegression(C=c)).fit(texts, FOUR)).digest

    assert fitted() == fitted()
    assert len({fitted(), fitted(2.0), fitted(texts=[*TEXTS[:-1], "new telephone"])}) == 3
    assert victim(logits).digest == victim(logits).digest
    assert victim(logits).digest != victim(lambda texts: logits(texts), name="other").digest
    assert victim(logits).digest != victim(lambda texts: 2 * logits(texts), name="logits").digest


def modules() -> list[Victim]:
    torch.manual_seed(0)
    cnn = WordCNN(vocabulary_of(TEXTS), 4, width=8)
    return [victim(cnn, classes=("a", "b", "c", "d")), victim(fit_tfidf(TEXTS, FOUR, classes=4))]


@pytest.mark.parametrize("found", modules(), ids=lambda found: found.name)
def test_own_models_are_victims(found: Victim) -> None:
    rows = found.predict(TEXTS)
    assert rows.shape == (8, 4)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    assert found.name in ("WordCNN", "TfidfClassifier")


def test_own_models_know_their_lengths_and_limit() -> None:
    found = modules()[0]
    assert found.lengths is not None
    assert found.lengths(["good, film", "", "word " * 100]) == [3, 0, 100]
    assert (found.limit, found.decimals, found.labels) == (64, 6, ("a", "b", "c", "d"))
    assert found.digest == modules()[0].digest
    with torch.no_grad():
        cnn = WordCNN(vocabulary_of(TEXTS), 4, width=8)
    assert victim(cnn).digest != found.digest


class Bag(nn.Module):
    """Mean of embeddings with dropout, which eval mode switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, str]:
        return self.drop(self.table(ids).mean(1)), "more"


def letters(texts: list[Text]) -> torch.Tensor:
    rows = [[ord(letter) % 256 for letter in str(text)[:40].ljust(40)] for text in texts]
    return torch.tensor(rows)


def test_modules_with_a_tokenizer_are_used_without_a_trace() -> None:
    model = Bag().train()
    before = torch.get_rng_state()
    found = victim(model, tokenizer=letters)
    np.testing.assert_allclose(found.predict(["abc"]), softmax(model.table(letters(["abc"])).mean(1).detach().numpy()))
    assert model.training
    assert model.drop.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert found.predict(["abc"] * 600).shape == (600, 3)


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (lambda _: "ids", "returned a str that is no table of numbers"),
        (lambda texts: [[1] * len(text) for text in texts], "pad its rows to one length"),
        (lambda texts: letters(texts)[0], r"shape \(40,\) for 8 texts"),
        (lambda texts: letters(texts).float(), "the victim Bag cannot take 8 texts"),
    ],
)
def test_tokenizers_that_give_no_numbers_are_named(tokenizer: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        victim(Bag(), tokenizer=tokenizer)


def test_a_victim_stays_itself() -> None:
    found = victim(logits)
    assert victim(found) is found
