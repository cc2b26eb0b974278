"""Attacks on texts from the command line, on a classifier that counts words."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from robustlab.core import DataError
from robustlab.evaluation.text import instruments
from robustlab.evaluation.text.given import read_csv

Command = Callable[..., Any]
VICTIMS = '''
import numpy as np

GOOD, BAD = ("good", "great"), ("bad", "awful")


def counts(texts):
    """Probabilities by good and bad words."""
    found = np.array([sum(w in GOOD for w in t.split()) - sum(w in BAD for w in t.split()) for t in texts], float)
    positive = 1 / (1 + np.exp(-found - 0.1))
    return np.stack([1 - positive, positive], axis=1)


def made():
    return counts


def constant(texts):
    return np.full((len(texts), 2), [0.4, 0.6])


def failing(texts):
    raise RuntimeError("no memory")


nothing = 3
'''
WORDS = ("good film", "a great film", "bad film", "awful but short", "great and good", "so bad", "good so", "bad end")


@pytest.fixture
def texts(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def nothing(name: str, **_: object) -> Path:
        raise DataError(name)

    monkeypatch.setattr(instruments, "text_resource", nothing)  # the same on every machine
    (place / "words.py").write_text(VICTIMS)
    rows = [(text, int("bad" not in text and "awful" not in text)) for text in WORDS * 6]
    rows[0] = ("good film", 0)
    with (place / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return place


def evaluated(command: Command, out: str, *words: str, model: str = "words:counts") -> Any:  # noqa: ANN401 -- the output
    recipes = () if "--recipe" in words else ("--recipe", "deepwordbug")
    return command("text", "evaluate", model, "--data", "csv:reviews.csv", "--out", out, *recipes, *words)


def plain(text: str) -> str:
    return " ".join(text.replace("\u202f", " ").split())


def test_evaluate_writes_a_run_and_prints_both_success_rates(command: Command, texts: Path) -> None:
    done = evaluated(command, "one")
    assert done.code == 0, done.err
    assert "Report: one/report.html" in done.err
    stored = json.loads((texts / "one" / "report.json").read_text())
    (result,) = stored["results"]
    assert stored["clean"]["accuracy"]["count"] == 47
    assert f"{100 * result['success']['value']:.1f} %" in plain(done.out)
    assert f"{100 * result['success_or_wrong']['value']:.1f} %" in plain(done.out)
    names = {path.name for path in (texts / "one").iterdir()}
    assert {"report.html", "report.md", "report.csv", "outcomes.csv", "manifest.json", "outcomes.sqlite"} <= names
    assert "resume" not in evaluated(command, "one").err  # finished: read again


def test_json_alone_is_on_standard_output(command: Command, texts: Path) -> None:
    del texts
    found = json.loads(evaluated(command, "one", "--json", "--limit", "20").out)
    assert (found["data"]["n"], found["not_to_be_trusted"]) == (20, [])


def test_a_function_may_return_the_classifier(command: Command, texts: Path) -> None:
    del texts
    evaluated(command, "one")
    evaluated(command, "two", model="words:made")
    done = command("text", "compare", "one", "two", "--json")
    found = json.loads(done.out)
    assert [(one["measured"], one["difference"]) for one in found] == [("clean", 0.0), ("deepwordbug", 0.0)]


@pytest.mark.slow
def test_the_gate_is_the_lower_bound_of_accuracy_under_all_recipes(command: Command, texts: Path) -> None:
    evaluated(command, "one")
    low = json.loads((texts / "one" / "report.json").read_text())["worst"]["low"]
    assert evaluated(command, "one", "--fail-under", f"{max(low - 0.001, 0)}").code == 0
    failed = evaluated(command, "one", "--fail-under", f"{low + 0.001}", "--junit", "j.xml", "--sarif", "s.json")
    assert failed.code == 3
    assert "the lower bound is below" in failed.err
    suite = Xml.parse(texts / "j.xml").getroot()[0]
    assert suite.get("failures") == "1"
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["accuracy under all recipes"]
    rules = json.loads((texts / "s.json").read_text())["runs"][0]["results"]
    assert any(one["ruleId"] == "robust-accuracy" and "under all recipes" in one["message"]["text"] for one in rules)


def test_a_serious_fault_of_the_victim_ends_the_command_before_any_attack(command: Command, texts: Path) -> None:
    done = evaluated(command, "one", model="words:constant")
    assert done.code == 4
    assert "constant-victim" in done.err
    assert not (texts / "one").exists()
    forced = evaluated(command, "one", "--force", "--model-card", "card.md", model="words:constant")
    assert forced.code == 0
    assert "not to be trusted" in (texts / "card.md").read_text()
    assert evaluated(command, "one", "--force", "--strict", model="words:constant").code == 4


@pytest.mark.slow
def test_reports_lists_and_comparisons_know_runs_on_texts(command: Command, texts: Path) -> None:
    evaluated(command, "all/one", "--name", "first")
    evaluated(command, "all/two", "--name", "second", model="words:made")
    done = command("report", "all/one", "all/two", "--out", "both", "--model-card", "card.md")
    assert done.code == 0, done.err
    assert "Model against model" in (texts / "both" / "report.html").read_text()
    assert "accuracy under deepwordbug" in (texts / "card.md").read_text()
    listed = json.loads(command("runs", "all", "--json").out)
    assert [(one["model"], one["at"]) for one in listed] == [("first", "deepwordbug"), ("second", "deepwordbug")]
    assert "second over first" in plain(command("compare", "all/one", "all/two").out)
    mixed = command("report", "all/one", "all/none")
    assert mixed.code == 2


def test_searches_are_compared_under_equal_constraints_only(command: Command, texts: Path) -> None:
    del texts
    evaluated(command, "one", "--recipe", "deepwordbug", "--recipe", "typo-delete")
    done = command("text", "compare", "one", "--searches")
    assert done.code == 2
    assert "differ in the search alone" in done.err
    assert command("text", "compare", "one").code == 2


@pytest.mark.slow
def test_one_text_is_attacked_and_its_changes_marked(command: Command, texts: Path) -> None:
    done = command("text", "attack", "words:counts", "a good film", "--recipe", "deepwordbug")
    assert done.code == 0, done.err
    assert "deepwordbug: successful, 1 to 0" in plain(done.out) or "deepwordbug: failed, 1 to 1" in plain(done.out)
    assert "[-good-]" in done.out
    (texts / "lines.txt").write_text("good film\n\nbad film\n")
    both = command("text", "attack", "words:counts", "--file", "lines.txt", "--recipe", "deepwordbug", "--json")
    assert [one["original"] for one in json.loads(both.out)] == ["good film", "bad film"]
    assert command("text", "attack", "words:counts", "--recipe", "deepwordbug").code == 2


def test_annotators_get_a_sheet_and_it_is_read_back(command: Command, texts: Path) -> None:
    evaluated(command, "one")
    done = command("text", "export", "one", "--judgements", "sheet.csv", "--outcomes", "all.csv")
    assert done.code == 0, done.err
    with (texts / "sheet.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = json.loads((texts / "one" / "report.json").read_text())
    assert len(rows) == stored["results"][0]["successful"]
    with (texts / "all.csv").open(newline="") as file:
        outcomes = {row["id"]: row for row in csv.DictReader(file)}
    assert len(outcomes) == 48
    for row in rows:
        recorded = outcomes[row["item"].partition("/")[2]]
        assert {row["text_a"], row["text_b"]} == {recorded["original"], recorded["adversarial"]}
        first = row["text_a"] == recorded["original"]
        row |= {"same_meaning": "yes", "readable_a": "yes" if first else "no", "readable_b": "no" if first else "yes"}
        row |= {"class_a": recorded["label"], "class_b": recorded["label"]}
    rows[0]["same_meaning"] = "no"
    sides = {outcomes[row["item"].partition("/")[2]]["original"] == row["text_a"] for row in rows}
    assert sides == {True, False}
    with (texts / "sheet.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (found,) = json.loads(command("text", "export", "one", "--filled", "sheet.csv", "--json").out)
    n = len(rows)
    assert (found["same_meaning"]["count"], found["same_meaning"]["n"]) == (n - 1, n)
    assert (found["readable"]["count"], found["readable_originals"]["count"]) == (0, n)
    assert (found["same_class"]["count"], found["agreed"]["count"]) == (n, n)
    assert command("text", "export", "one").code == 2


BAD = {
    "no module": (("no_such:thing",), "no module 'no_such'"),
    "no name": (("words:missing",), "has no attribute 'missing'"),
    "no path": (("words",), "write package.module:name"),
    "no classifier": (("words:nothing",), "the victim is a int"),
    "failing": (("words:failing",), "no memory"),
    "data": (("words:counts", "--data", "imdb"), "there are no texts 'imdb'"),
    "file": (("words:counts", "--data", "csv:none.csv"), "none.csv cannot be read"),
    "column": (("words:counts", "--text-column", "review"), "has no column 'review'"),
    "recipe": (("words:counts", "--recipe", "textfoler"), "textfooler"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD.keys())
def test_wrong_words_get_a_sentence(command: Command, texts: Path, words: tuple[str, ...], message: str) -> None:
    del texts
    more = () if "--data" in words else ("--data", "csv:reviews.csv")
    recipe = () if "--recipe" in words else ("--recipe", "deepwordbug")
    done = command("text", "evaluate", words[0], *words[1:], *more, *recipe, "--out", "run")
    assert done.code == 2, done.err
    assert message in plain(done.err)


CSV = {
    "names": ("sentence,class\nfine,pos\nbad,neg\n", (["fine", "bad"], [1, 0], ("neg", "pos"))),
    "numbers": ("y,review\n1,fine\n0,bad\n", (["fine", "bad"], [1, 0], ())),
    "quotes": ('text,label\n"fine, really\nso",1\n', (["fine, really\nso"], [1], ())),
}


@pytest.mark.parametrize(("content", "expected"), CSV.values(), ids=CSV.keys())
def test_csv_files_are_read(content: str, expected: tuple[Any, ...], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(content)
    found = read_csv(tmp_path / "x.csv")
    assert (list(found.texts), list(found.labels), found.classes) == expected


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "text,label\nfine\n", "text,label\nfine,1,2\n", "", "\xff\xfe"])
def test_csv_files_without_texts_get_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.csv"):
        read_csv(tmp_path / "x.csv")


@pytest.mark.slow
def test_a_folder_of_hugging_face_is_a_victim(command: Command, texts: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    words = sorted({word for text in WORDS for word in text.split()} | {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    (texts / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, id2label={0: "worse", 1: "better"}, label2id={"worse": 0, "better": 1},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(texts / "bert")
    BertTokenizer(str(texts / "vocab.txt")).save_pretrained(texts / "bert")
    done = evaluated(command, "one", "--force", "--json", "--limit", "16", model="bert")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["model"]["name"], found["model"]["classes"]) == ("bert", 2)
    assert found["data"]["classes"] == ["worse", "better"]
