"""Transformations that look words up, leave them out, or ask a gradient or a masked model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from robustlab.text import WordTable, cut
from robustlab.text.passages import matched_case, passage
from robustlab.text.transformations import (
    Contract,
    DeleteWord,
    Expand,
    GradientSwaps,
    MaskedModel,
    Neighbours,
    Synonyms,
)
from robustlab.text.transformations.checklist import CONTRACTIONS


class Ring:
    """Vectors on a ring: neighbours of a word are the next ones."""

    words = ("good", "fine", "great", "nice")

    def neighbours(self, word: str, n: int) -> Sequence[tuple[str, float]]:
        if word not in self.words:
            return []
        at = self.words.index(word)
        return [(self.words[(at + step) % 4], 1 - step / 4) for step in range(1, 4)][:n]


def test_neighbours_come_in_the_case_of_the_word() -> None:
    assert Neighbours(Ring(), 2).options("fine") == ["great", "nice"]
    assert Neighbours(Ring(), 2).options("Fine") == ["Great", "Nice"]
    assert Neighbours(Ring(), 1).options("FINE") == ["GREAT"]
    assert Neighbours(Ring(), 2).options("film") == []


@pytest.mark.parametrize(
    ("word", "model", "expected"),
    [
        ("fine", "Good", "Fine"), ("XI", "eleven", "xi"), ("fine", "GOOD", "FINE"), ("fine", "I", "Fine"),
        ("fine", "McGee", "fine"), ("fine", "3rd", "fine"), ("fine", "42", "fine"), ("", "Good", ""),
        ("fine", "", "fine"), ("élan", "Good", "Élan"),
    ],
)  # fmt: skip
def test_case(word: str, model: str, expected: str) -> None:
    assert matched_case(word, model) == expected


def test_synonyms_leave_the_word_itself_out() -> None:
    table = {"film": ["movie", "film", "picture"]}
    assert Synonyms(lambda word: table.get(word, [])).options("film") == ["movie", "picture"]
    assert Synonyms(lambda word: table.get(word, []), "My dictionary").name == "My dictionary synonyms"


def test_the_last_word_stays() -> None:
    assert [one.text for one in DeleteWord().rewrites(cut("A good film."), 1)] == ["A film."]
    assert DeleteWord().rewrites(cut("(film)"), 0) == []


def test_contractions_go_there_and_back() -> None:
    text = cut("She is late, and I can not wait.")
    short = Contract().rewrites(text, 0)
    assert [one.text for one in short] == ["She's late, and I can not wait."]
    assert Expand().options("She's") == ["She is"]
    assert [one.text for one in Contract().rewrites(text, 5)] == ["She is late, and I can't wait."]
    assert [len(Contract().rewrites(text, at)) for at in range(8)] == [1, 0, 0, 0, 0, 1, 0, 0]
    assert Contract().rewrites(cut("He - is"), 0) == []
    assert short[0].edits == ((1, ""), (0, "She's"))
    for long, contraction in CONTRACTIONS.items():
        assert Expand().options(contraction) == [long]
        assert [one.text for one in Contract().rewrites(cut(long), 0)] == [contraction]
    assert Expand().options("CAN'T") == ["Can not"] or Expand().options("film") == []


def test_a_passage_has_the_words_around_one() -> None:
    text = cut("(0 1, 2 3 4 5 6 7 8 9)")
    assert passage(text, 4, 3) == "3 4 5"
    assert passage(text, 4, 4) == "2 3 4 5"
    assert passage(text, 0, 3) == "0 1, 2"
    assert passage(text, 9, 3) == "7 8 9"
    assert passage(text, 5, 15) == "0 1, 2 3 4 5 6 7 8 9"
    assert passage(cut("..."), 0, 15) == "..."


def test_the_best_swaps_are_those_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    words = ("<pad>", "<unk>", "good", "bad", "two words", "42", "film", "awful", ".")
    table = WordTable(words, random.normal(size=(len(words), 5)))
    text, slopes = cut("Good old film"), random.normal(size=(3, 5))
    place = {0: 2, 1: 1, 2: 6}
    gains = {
        (at, word): slopes[at] @ (table.vectors[words.index(word)] - table.vectors[place[at]])
        for at in range(3)
        for word in ("good", "bad", "film", "awful")
        if word != text.words[at].lower()
    }
    order = sorted(gains, key=lambda one: -gains[one])
    for top in (1, 4, 100):
        found = GradientSwaps(top).swaps(text, [0, 1, 2], slopes, table)
        assert [one.edits for one in found] == [(one,) for one in order[:top]]
    assert [one.edits[0][0] for one in GradientSwaps(3).swaps(text, [2], slopes, table)] == [2, 2, 2]
    assert GradientSwaps(3).swaps(text, [], slopes, table) == []
    each = GradientSwaps(2, each=True).swaps(text, [0, 1, 2], slopes, table)
    assert [one.edits[0] for one in each] == [pair for at in range(3) for pair in [p for p in order if p[0] == at][:2]]


def test_swaps_are_chosen_among_neighbours() -> None:
    table = WordTable(("good", "fine", "great", "nice", "awful"), np.array([[1.0], [2.0], [3.0], [4.0], [9.0]]))
    text, slopes = cut("A Good film"), np.ones((3, 1))
    near = GradientSwaps(5, among=Neighbours(Ring(), 3))
    assert [one.edits for one in near.swaps(text, [1], slopes, table)] == [
        ((1, one),) for one in ("nice", "great", "fine")
    ]
    # cosines of the ring: 3/4, 1/2, 1/4
    some = GradientSwaps(5, among=Neighbours(Ring(), 3, least=0.5))
    assert [one.edits for one in some.swaps(text, [0, 1, 2], slopes, table)] == [((1, "great"),), ((1, "fine"),)]
    assert near.swaps(text, [0], slopes, table) == []


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> MaskedModel:
    """A masked model that puts the words of its vocabulary in alphabetical order, whatever is around."""
    pytest.importorskip("transformers")
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "bad", "film", "good", "the", "##s", "42", "."]
    path = tmp_path_factory.mktemp("masked") / "vocab.txt"
    path.write_text("\n".join(words))
    tokenizer = BertTokenizer(str(path))
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes))
    with torch.no_grad():
        model.cls.predictions.transform.LayerNorm.weight.zero_()
        model.cls.predictions.bias.copy_(-torch.arange(float(len(words))))
    return MaskedModel(model, tokenizer, count=3)


def _texts(masked: MaskedModel, items: list[tuple[str, int]], **changes: object) -> list[list[str]]:
    found = replace(masked, **cast("Any", changes)).proposals([(cut(text), at) for text, at in items])
    return [[one.text for one in some] for some in found]


def test_a_masked_model_fills_gaps(masked: MaskedModel) -> None:
    items = [("The good film.", 1), ("The", 0), ("good " * 300, 299)]
    first, second, third = _texts(masked, items)
    assert first == ["The a film.", "The bad film.", "The film film."]
    assert second == ["A", "Bad", "Film"]
    assert third[1] == "good " * 299 + "bad "
    assert _texts(masked, items[:1], gap="insert") == [
        ["The a good film.", "The bad good film.", "The film good film."]
    ]
    assert _texts(masked, [*items[:1], ("The film", 1)], gap="merge") == [["The a.", "The bad.", "The film."], []]
    # e^-5 and e^-6 of the sum of e^-n over 13 pieces
    share = np.exp(-np.arange(13)) / np.exp(-np.arange(13)).sum()
    assert _texts(masked, items[:1], least=share[6] * 0.999) == [["The a film.", "The bad film."]]


def test_a_masked_model_joins_pieces(masked: MaskedModel) -> None:
    found = _texts(masked, [("The films", 1)], gap="keep", count=200)[0]
    tokens = masked.tokenizer.convert_ids_to_tokens(range(13))
    pairs = [(a + b, a, b) for a in range(5, 10) for b in range(13)]
    joined = [tokens[a] + tokens[b].removeprefix("##") for _, a, b in sorted(pairs)]
    expected = [f"The {one}" for one in dict.fromkeys(joined) if one.isalnum()]
    assert found == expected


def test_a_masked_model_keeps_its_mode(masked: MaskedModel) -> None:
    masked.model.train()
    _texts(masked, [("The film", 1)])
    assert masked.model.training
    masked.model.eval()
