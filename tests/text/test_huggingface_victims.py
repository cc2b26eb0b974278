"""Victims from Hugging Face: sequence classifiers and pipelines made on the fly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    TextClassificationPipeline,
)

from robustlab.core import Text
from robustlab.text import cut
from robustlab.text.victims import victim

WORDS = [
    *("the", "film", "was", "good", "##ness", "##s", "dull", "bad", "match"),
    *("shares", "not", "and", ",", ".", "!", "a", "i", "it", "is"),
]
VOCABULARY = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
TEXTS = ["The goodness was dull!", "bad", "", "a film and a match and shares", "it is not good, is it."]
NAMES = {0: "world", 1: "sports", 2: "business", 3: "science"}
SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
}


def bert(classes: int = 4, **more: object) -> Any:  # noqa: ANN401 -- not typed by transformers
    torch.manual_seed(0)
    names = {k: NAMES[k] for k in range(classes)}
    config = BertConfig(id2label=names, label2id={v: k for k, v in names.items()}, **SIZES, **more)  # type: ignore[arg-type]
    model: Any = BertForSequenceClassification(config)
    nn.init.normal_(model.get_input_embeddings().weight)
    nn.init.normal_(model.classifier.weight, std=0.5)
    return model


def words() -> Any:  # noqa: ANN401
    return BertTokenizer(vocab=VOCABULARY)


def alone(model: Any, tokenizer: Any, text: Text) -> np.ndarray[Any, Any]:  # noqa: ANN401
    fields = (text,) if isinstance(text, str) else text
    with torch.no_grad():
        logits = model.eval()(**tokenizer(*fields, return_tensors="pt", truncation=True, max_length=24)).logits
    found: np.ndarray[Any, Any] = logits.softmax(1)[0].numpy()
    return found


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("texts", [TEXTS, [(one, "good film") for one in TEXTS]], ids=["texts", "pairs"])
def test_sequence_classifiers_give_what_each_text_gets_alone(classes: int, texts: list[Text]) -> None:
    model, tokenizer = bert(classes).train(), words()
    found = victim(model, tokenizer=tokenizer, fields=1 if isinstance(texts[0], str) else 2)
    rows = found.predict([*texts, *texts[::-1]])
    assert model.training
    expected = np.array([alone(model, tokenizer, text) for text in texts])
    np.testing.assert_allclose(rows, [*expected, *expected[::-1]], atol=1e-5)
    assert found.labels == tuple(NAMES[k] for k in range(classes))
    assert (found.limit, found.decimals) == (24, 6)
    assert found.lengths is not None
    assert found.lengths(["good", "good " * 50, "goodness"]) == [3, 52, 4]


def others() -> list[Any]:
    torch.manual_seed(1)
    makes: list[Any] = [DistilBertConfig, RobertaConfig, DistilBertForSequenceClassification]
    distil = makes[0](vocab_size=len(VOCABULARY), dim=16, n_layers=1, n_heads=2, hidden_dim=24, num_labels=3)
    robert: Any = RobertaForSequenceClassification(makes[1](pad_token_id=0, num_labels=3, **SIZES))
    return [makes[2](distil).eval(), robert.eval()]


@pytest.mark.parametrize("model", others(), ids=lambda model: type(model).__name__)
def test_other_models_get_the_arguments_that_they_take(model: Any) -> None:  # noqa: ANN401
    found = victim(model, tokenizer=words())
    with torch.no_grad():
        given = words()(TEXTS[3], return_tensors="pt")
        given.pop("token_type_ids", None)
        expected = model(**given).logits.softmax(1)
    np.testing.assert_allclose(found.predict(TEXTS)[3:4], expected, atol=1e-5)
    assert found.limit == (512 if "Distil" in found.name else 24 - 1)
    assert found.predict(["good " * 600]).shape == (1, 3)


def pipeline() -> Any:  # noqa: ANN401
    make: Any = TextClassificationPipeline
    return make(model=bert().eval(), tokenizer=words())


def test_pipelines_keep_the_order_of_the_classes() -> None:
    given = pipeline()
    found = victim(given)
    for text, row in zip(TEXTS, found.predict(TEXTS), strict=True):
        scores = {one["label"]: one["score"] for one in given(text, top_k=None)}
        np.testing.assert_allclose(row, [scores[NAMES[k]] for k in range(4)], atol=1e-6)
    assert found.gradients is not None
    pairs = victim(given, fields=2)
    scores = {one["label"]: one["score"] for one in given({"text": "a film", "text_pair": "bad"}, top_k=None)}
    np.testing.assert_allclose(pairs.predict([("a film", "bad")])[0], [scores[NAMES[k]] for k in range(4)], atol=1e-6)


class Shouting(TextClassificationPipeline):
    def preprocess(self, inputs: Any, **how: Any) -> Any:  # type: ignore[override]  # noqa: ANN401
        return super().preprocess(f"not {inputs}", **how)


def test_pipelines_with_steps_of_their_own_answer_by_themselves() -> None:
    given: Any = Shouting(model=bert().eval(), tokenizer=words())  # type: ignore[no-untyped-call]
    found = victim(given)
    scores = {one["label"]: one["score"] for one in given("good", top_k=None)}
    np.testing.assert_allclose(found.predict(["good"])[0], [scores[NAMES[k]] for k in range(4)], atol=1e-6)
    assert found.gradients is None
    assert found.digest != victim(pipeline()).digest


def test_gradients_of_pieces_are_summed() -> None:
    model = bert().double()
    found = victim(model, tokenizer=words())
    assert found.gradients is not None
    text: Text = ("bad!", "The goodness was dull")
    cut_words, weight, step = cut(text[1]), model.get_input_embeddings().weight, 1e-5
    (grad,) = found.gradients([(cut_words, text, 2)])
    for word, pieces in enumerate([["the"], ["good", "##ness"], ["was"], ["dull"]]):
        rows = [VOCABULARY[piece] for piece in pieces]
        with torch.no_grad():
            kept, moved = weight.clone(), []
            for sign in (1, -1):
                weight[rows] = kept[rows]
                weight[rows, 3] += sign * step
                moved.append(-np.log(found.predict([text])[0, 2]))
            weight.copy_(kept)
        np.testing.assert_allclose(grad[word, 3], (moved[0] - moved[1]) / (2 * step), rtol=1e-5, atol=1e-9)
    assert found.gradients.table is not None
    assert found.gradients.table.words == tuple(word for word in WORDS if "#" not in word)


def decoder() -> Any:  # noqa: ANN401
    tokens = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["<unk>", *WORDS])}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=tokens, unk_token="<unk>", model_max_length=16)


def test_decoders_need_a_token_for_padding() -> None:
    torch.manual_seed(0)
    make: Any = GPT2Config
    config = make(
        vocab_size=len(WORDS) + 2,
        n_positions=16,
        n_embd=8,
        n_layer=1,
        n_head=2,
        num_labels=3,
        bos_token_id=None,
        eos_token_id=None,
    )
    model: Any = GPT2ForSequenceClassification(config)
    tokenizer = decoder()
    with pytest.raises(
        ValueError, match=r"no token for padding: set tokenizer.pad_token, and model.config.pad_token_id"
    ):
        victim(model, tokenizer=tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    model.config.pad_token_id = tokenizer.pad_token_id
    for side in ("left", "right"):
        tokenizer.padding_side = side
        found = victim(model, tokenizer=tokenizer)
        texts: list[Text] = ["good film", "the match and the shares", "not bad is it good"]
        np.testing.assert_allclose(found.predict(texts), [found.predict([text])[0] for text in texts], atol=1e-5)
        assert found.gradients is not None
        items = [(cut(str(text)), text, 0) for text in texts]
        for item, grad in zip(items, found.gradients(items), strict=True):
            np.testing.assert_allclose(grad, found.gradients([item])[0], atol=1e-5)


class Plain(nn.Module):
    """A module of the user's own that takes token numbers alone, without a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(len(VOCABULARY), 3)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.table(numbers).mean(1).softmax(1)
        return scores


def test_modules_of_the_user_get_what_they_take() -> None:
    torch.manual_seed(0)
    found = victim(Plain(), tokenizer=words())
    np.testing.assert_allclose(found.predict(["good film"]).sum(), 1, atol=1e-6)
    assert found.gradients is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: victim(bert(problem_type="multi_label_classification"), tokenizer=words()),
            "several labels at a time",
        ),
        (lambda: victim(bert(1), tokenizer=words()), "num_labels=1.*regression"),
        (lambda: victim(bert()), "give its tokenizer="),
        (lambda: victim(bert(), tokenizer=words()).predict([("a", "b", "c")]), "one field or a pair"),
        (lambda: victim(bert(), tokenizer=words()).predict(["a", ("a", "b")]), "got texts of 1 to 2"),
    ],
)
def test_what_is_no_classifier_of_one_label_is_refused(make: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=message):
        make()
