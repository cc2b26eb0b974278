"""Recipes by name: what they are made of, what they lack, and that they run on real sentences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robustlab.core.errors import DataError
from robustlab.core.types import Text
from robustlab.data.text_resources import text_resource
from robustlab.text import AttackSettings, TextRecipe, Victim, Words, WordTable, attack, cut
from robustlab.text.parts import Costly
from robustlab.text.recipes import TEXT_RECIPES, RecipeSpec, recipe, recipe_table

HERE = partial(text_resource, fetch=False)
WEIGHTS = {
    "wonderful": 2.0,
    "great": 1.5,
    "good": 1.0,
    "fine": 0.5,
    "james": 0.4,
    "dull": -1.0,
    "bad": -1.5,
    "awful": -2.0,
}
TABLE = WordTable(("<unk>", *WEIGHTS), np.array([[0.0], *([value] for value in WEIGHTS.values())]))
SENTENCES = [
    "A wonderful little production, with great actors and good music.",
    "It is a dull, bad film; the actors are awful in it.",
    "This movie is not for everyone, but it is never dull and in 1999 Paris was good to James.",
]


def words_of(text: Text) -> list[str]:
    return list(cut(str(text)).words)


def predict(texts: Sequence[Text]) -> NDArray[np.float64]:
    sums = np.array([0.3 + sum(WEIGHTS.get(word.lower(), 0.0) for word in words_of(text)) for text in texts])
    positive = 1 / (1 + np.exp(-sums))
    return np.stack([1 - positive, positive], axis=1)


class Slopes:
    """Gradients of a linear victim: the probability of the other class, for each word."""

    table = TABLE

    def __call__(self, items: Sequence[tuple[Words, Text, int]]) -> list[NDArray[np.float64]]:
        return [np.full((len(words.words), 1), 1.0 - 2 * label) for words, _, label in items]


VICTIM = Victim(predict, 2, "linear", "linear", gradients=Slopes())
SHORT = AttackSettings(queries=300)
PLAIN = ("deepwordbug", "input-reduction", "checklist", "pruthi", "typo-delete", "hotflip-free", "gradient-coordinate",
         "bad-characters-lookalike", "bad-characters-invisible", "bad-characters-erased",
         "bad-characters-reordered", "viper")  # fmt: skip
REPLACED = ("pwws", "wordnet-delete", "textfooler+glove,minilm", "textbugger+minilm", "a2t+glove,minilm",
            "hotflip+glove", "hotflip-near+glove",
            "alzantot+glove,no-lm", "iga+glove", "pso+wordnet", "kuleshov+glove,no-lm")  # fmt: skip


def test_first_recipes_are_those_people_ask_for() -> None:
    names = list(TEXT_RECIPES)
    assert names[:10] == ["textfooler", "pwws", "textbugger", "deepwordbug", "a2t", "hotflip", "alzantot", "pso",
                          "input-reduction", "bae"]  # fmt: skip
    assert {*names} >= {one.partition("+")[0] for one in (*PLAIN, *REPLACED)}


def test_every_recipe_can_be_printed_and_says_what_it_lacks() -> None:
    rows = {row.name: row for row in recipe_table()}
    assert {*rows} >= {*PLAIN, *REPLACED}
    for name, row in rows.items():
        spec = TEXT_RECIPES[name.partition("+")[0]]
        assert all((row.goal, row.transformation, row.search, row.source))
        assert "\n" not in row.difference
        if name in PLAIN:
            assert row.lacks == ""
        else:
            assert row.lacks.startswith("files: ")
        assert row.verified == ("masked-model" not in spec.needs)
    assert rows["textfooler+glove,minilm"].transformation == "50 neighbours in GloVe"
    assert rows["textfooler"].transformation == "50 neighbours in counter-fitted vectors"


def test_a_missing_resource_gets_a_sentence() -> None:
    def nothing(name: str) -> Path:
        raise DataError(f"no {name} here: robustlab data --text {name}")

    with pytest.raises(ValueError, match="needs files: counter-fitted, use, tagger: give resources="):
        recipe("textfooler")
    with pytest.raises(DataError, match=r"given=.*; textfooler\+glove,minilm uses GloVe instead$"):
        recipe("textfooler", resources=nothing)
    with pytest.raises(DataError, match=r"needs WordNet: no wordnet here: robustlab data --text wordnet$"):
        recipe("pwws", resources=nothing)
    with pytest.raises(DataError, match="any Hugging Face masked model"):
        recipe("clare+minilm", resources=nothing)
    rows = {row.name: row.lacks for row in recipe_table(nothing)}
    assert "robustlab data --text glove" in rows["iga+glove"]
    assert rows["typo-delete"] == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("textfoler", "did you mean textfooler"), ("textfooler+bert", "has no substitute 'bert': there are glove"),
        ("pwws+glove", "pwws has none"), ("textfooler+", "has no substitute ''"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_recipe_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(name)


def test_resources_of_your_own_are_used() -> None:
    found = recipe("pwws", given={"wordnet": lambda word: ["sofa"] * (word == "couch")})
    assert found.transformations[0].options("couch") == ["sofa"]  # type: ignore[union-attr]
    assert (found.name, found.source) == ("pwws", TEXT_RECIPES["pwws"].source)
    swapped = recipe("pso+wordnet", given={"wordnet": lambda word: [word.upper()]})
    assert swapped.transformations[0].name == "WordNet synonyms"


def test_a_recipe_from_outside_is_known() -> None:
    spec = RecipeSpec(lambda _: recipe("typo-delete"), "mine", "my paper", "shorter")
    TEXT_RECIPES.register("mine", spec)
    try:
        assert (recipe("mine").name, recipe("mine").difference) == ("mine", "shorter")
        assert "mine" in [row.name for row in recipe_table()]
    finally:
        TEXT_RECIPES.unregister("mine")


MODELS = [one for one in REPLACED if "minilm" in one or one.startswith("hotflip")]
RUN = [*PLAIN, *(pytest.param(one, marks=pytest.mark.slow if one in MODELS else ()) for one in REPLACED)]


def _made(name: str) -> TextRecipe:
    try:
        return recipe(name, resources=HERE)
    except DataError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", RUN)
def test_recipes_run_offline_and_keep_their_constraints(name: str) -> None:
    made = _made(name)
    labels = [int(one) for one in predict(SENTENCES).argmax(1)]
    found = attack(VICTIM, SENTENCES, labels, made, settings=SHORT)
    assert {one.status for one in found} <= {"successful", "failed"}
    for one in found:
        original, final = cut(str(one.original)), str(one.adversarial)
        assert (one.prediction != one.label) == (one.status == "successful") or name == "input-reduction"
        for rule in made.constraints:
            if hasattr(rule, "positions") and one.changed:
                first = list(rule.positions(original, original))
                assert all(first[at] for at, _ in one.edits if at >= 0)
        limit = next((rule.limit(original) for rule in made.constraints if hasattr(rule, "limit")), len(original.words))
        assert one.changed <= limit
        assert one.changed or final == one.original
    assert any(one.edits for one in found) or "glove" in name  # few neighbours, or populations that use all queries
    assert attack(VICTIM, SENTENCES[1:], labels[1:], made, ids=[1, 2], settings=SHORT) == found[1:]


ODD = ["", "😀🎬", "...", "the", "the and of", "good", "g\u0301ood fi\u200blm", "שלום good עולם film", "GOOD!!! 100%",
       "a\u202eb good", "good\n\nfilm\tgood", "x" * 300 + " good", "don't 'good' well-made_film"]  # fmt: skip


@pytest.mark.parametrize("name", RUN)
def test_odd_texts_do_no_harm(name: str) -> None:
    labels = [int(one) for one in predict(ODD).argmax(1)]
    found = attack(VICTIM, ODD, labels, _made(name), settings=AttackSettings(queries=60))
    assert [one.original for one in found] == ODD
    assert all(one.requested <= 60 for one in found)


def test_costly_constraints_stand_last() -> None:
    for name in TEXT_RECIPES:
        spec = TEXT_RECIPES[name]
        made = recipe(name, given=dict.fromkeys([*spec.needs, "glove", "minilm"]) | {"masked-model": (None, None)})
        costly = [isinstance(one, Costly) for one in made.constraints]
        assert costly == sorted(costly)


def letters(texts: Sequence[str]) -> NDArray[np.float64]:
    """A sentence encoder that counts letters."""
    return np.array([[1.0, *(text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz")] for text in texts])


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A small masked model that has learnt three sentences."""
    pytest.importorskip("transformers")
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    lines = [one.lower() for one in SENTENCES]
    words = sorted({word for line in lines for word in words_of(line)} | {",", ".", ";"})
    path = tmp_path_factory.mktemp("masked") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    tokenizer = BertTokenizer(str(path))
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForMaskedLM(BertConfig(vocab_size=len(words) + 5, intermediate_size=64, **sizes))
    ids = tokenizer(lines, padding=True, return_tensors="pt")["input_ids"]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        hidden = ids.masked_fill((torch.rand(ids.shape) < 0.2) & (ids > 4), 4)
        loss = model(input_ids=hidden, labels=ids.masked_fill(ids == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.train(mode=False)
    return model, tokenizer


@pytest.mark.parametrize("name", ["bae+minilm", "bert-attack+minilm", "clare+minilm"])
def test_a_masked_model_that_is_given_attacks(name: str, masked: tuple[Any, Any]) -> None:
    given = {"masked-model": masked, "minilm": letters, "tagger": lambda texts: [["X"] * len(one) for one in texts]}
    made = recipe(name, given=given)
    labels = [int(one) for one in predict(SENTENCES).argmax(1)]
    found = attack(VICTIM, SENTENCES, labels, made, settings=SHORT)
    assert any(one.status == "successful" for one in found)
    known = {*masked[1].get_vocab()}
    assert all(word.lower() in known for one in found for _, word in one.edits if word and "attack" not in name)
    assert attack(VICTIM, SENTENCES[1:], labels[1:], made, ids=[1, 2], settings=SHORT) == found[1:]
    assert all(isinstance(one.adversarial, str) for one in attack(VICTIM, ODD, [1] * len(ODD), made, settings=SHORT))
