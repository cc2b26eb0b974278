"""Report on texts: what is marked, escaped and counted."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from robustlab.core import RunError
from robustlab.core.types import Text
from robustlab.evaluation import Meaning, TextEvaluation, TextSettings, compare_texts, evaluate_text, text_outcomes_of
from robustlab.report import write_texts
from robustlab.report.text_marks import Piece, compared, plain_marks
from robustlab.text import Greedy, TextRecipe, Untargeted, Victim
from robustlab.text.victims.kinds import Rows

WORDS = ("good", "bad", "fine", "<b>film</b>", "a")


def scored(texts: Sequence[Text]) -> Rows:
    found = np.array([str(text).split().count("good") - str(text).split().count("bad") for text in texts])
    positive = 1 / (1 + np.exp(-2.0 * found))
    return np.stack([1 - positive, positive], axis=1)


@dataclass(frozen=True)
class Odd:
    """Words with a character that cannot be seen, or a letter that looks like another."""

    name: str = "odd"

    def options(self, word: str) -> Sequence[str]:
        return [f"{word[:1]}\u200b{word[1:]}", word.replace("o", "\u043e")]


@dataclass(frozen=True)
class Swap:
    """Good for bad."""

    name: str = "swap"

    def options(self, word: str) -> Sequence[str]:
        return {"good": ["bad"]}.get(word, [])


ODD = TextRecipe("odd & <i>", Untargeted(), (Odd(),), (), Greedy(), "a paper", "It is <short>")
SWAP = replace(ODD, name="swap", transformations=(Swap(),), difference="")


def run(out: Path, name: str = "toy <script>", **settings: object) -> TextEvaluation:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(1, 8))) for _ in range(60)]
    texts[0] = "good \u202eevil\u202c good"
    labels = scored(texts).argmax(axis=1).tolist()
    how = TextSettings(meaning=None, command="robustlab text evaluate 'a < b'")
    return evaluate_text(
        Victim(scored, 2, name, f"function:{name}"), (texts, labels), recipes=[ODD, SWAP], out=out,
        settings=replace(how, **settings),  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TextEvaluation:
    return run(tmp_path_factory.mktemp("texts") / "run")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def page(evaluation: TextEvaluation) -> str:
    assert evaluation.directory is not None
    return write_texts([evaluation], evaluation.directory).read_text()


def test_the_page_has_every_number(finished: TextEvaluation) -> None:
    html = page(finished)
    for result in finished.results:
        for one in (result.accuracy, result.success, result.success_or_wrong):
            assert f"{100 * one.value:.1f}\u202f%" in html
        assert f"{result.successful} / {result.failed} / {result.skipped}" in html
    assert f"{100 * finished.worst.low:.1f}, {100 * finished.worst.high:.1f}" in html
    assert "It was not measured whether the successes keep the meaning." in html


def test_texts_and_names_are_escaped(finished: TextEvaluation) -> None:
    html = page(finished)
    assert "<b>film" not in html
    assert "&lt;b&gt;film&lt;/b&gt;" in html
    assert "<script" not in html
    assert "odd &amp; &lt;i&gt;" in html
    assert "\u202e" not in html


def test_changed_words_are_marked_and_what_cannot_be_seen_is_named(finished: TextEvaluation) -> None:
    html = page(finished)
    assert "<del>good</del>" in html
    assert "<ins>bad</ins>" in html
    assert '<code class="unseen">ZERO WIDTH SPACE</code>' in html or "cyrillic small letter o" in html
    assert html.count('<article class="case g1">') == sum(item.recipe == "swap" for item in finished.gallery) > 0


def test_one_recipe_can_be_shown_alone(finished: TextEvaluation) -> None:
    html = page(finished)
    assert "#r-1:checked ~ .cases > .case:not(.g1){display:none}" in html
    assert re.search(r'<input type="radio" name="recipe" id="r-all" checked>', html)
    assert "default-src 'none'" in html


def test_a_row_for_every_outcome(finished: TextEvaluation) -> None:
    page(finished)
    assert finished.directory is not None
    rows = table(finished.directory / "outcomes.csv")
    recorded = list(text_outcomes_of(finished.directory))
    assert len(rows) == len(recorded) == 2 * 60
    for row, one in zip(rows, recorded, strict=True):
        assert (row["recipe"], int(row["id"]), row["status"]) == (one.recipe, one.id, one.status)
        assert row["adversarial"] == one.adversarial
        assert int(row["requested"]) == one.requested
    summary = {row["recipe"]: row for row in table(finished.directory / "report.csv")}
    assert float(summary["swap"]["success"]) == pytest.approx(finished.results[1].success.value)
    assert float(summary["clean"]["accuracy"]) == finished.clean.accuracy.value
    assert float(summary["all recipes"]["accuracy"]) == finished.worst.value


def test_markdown_shows_changes_without_colours(finished: TextEvaluation) -> None:
    page(finished)
    assert finished.directory is not None
    text = (finished.directory / "report.md").read_text()
    assert r"\[-good-\]" in text
    assert "{+bad+}" in text
    assert "robustlab text evaluate 'a < b'" in text
    assert "<b>" not in text


def test_the_run_keeps_its_own_result(finished: TextEvaluation, tmp_path: Path) -> None:
    assert finished.directory is not None
    before = (finished.directory / "report.json").read_bytes()
    page(finished)
    assert (finished.directory / "report.json").read_bytes() == before
    other = run(tmp_path / "other", "second", seed=1)
    with pytest.raises(RunError, match="a run of its own"):
        write_texts([other], finished.directory)
    with pytest.raises(ValueError, match="nothing to report"):
        write_texts([], tmp_path)


def test_several_models_are_shown_side_by_side(finished: TextEvaluation, tmp_path: Path) -> None:
    other = run(tmp_path / "other", "second")
    html = write_texts([finished, other], tmp_path / "both", comparisons=compare_texts(finished, other)).read_text()
    assert "Model against model" in html
    assert "Robustness of 2 classifiers" in html
    record = json.loads((tmp_path / "both" / "report.json").read_text())
    assert [len(record[name]) for name in ("evaluations", "comparisons")] == [2, 3]
    assert "not evaluated on the same texts" not in html


def test_a_measured_meaning_is_shown(tmp_path: Path) -> None:
    scores = {"good": 2.0, "bad": -2.0}
    meaning = Meaning(
        lambda word: scores.get(word, 0.0), lambda pairs: [0.5] * len(pairs), 0.85, "words 1", "encoder 2"
    )
    found = run(tmp_path / "run", meaning=meaning)
    html = page(found)
    assert "opinion turned" in html
    assert "below 0.85" in html
    assert "words 1" in html
    audit = found.results[1].audit.turned
    assert audit is not None
    assert (audit.count, audit.n) == (found.results[1].successful,) * 2
    assert "Decide whether swap is an attack: 100.0" in html


def test_findings_open_the_page(tmp_path: Path) -> None:
    constant = Victim(lambda texts: np.full((len(texts), 2), [0.4, 0.6]), 2, "constant", "function:constant")
    data = (["good"] * 30, [1] * 30)
    found = evaluate_text(constant, data, recipes=[SWAP], out=tmp_path, settings=TextSettings(meaning=None))
    html = page(found)
    assert html.index("Do not trust these numbers yet") < html.index("Robustness</h2>")
    assert "Resolve the serious findings before quoting the numbers (constant-victim)" in html


# --- Marks


def visible(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if not piece.hidden)


@pytest.mark.parametrize(
    ("original", "adversarial"),
    [
        ("A good film", "A bad film"),
        ("A good film", "A film"),
        ("film", "a film"),
        ("It's   fine, really - fine.\n", "It's   fine, really - fi ne.\n"),
        ("", "x"),
        ("...", "..."),
        ("\U0001f469\u200d\U0001f4bb codes", "\U0001f469\u200d\U0001f4bb kodes"),
    ],
)
def test_pieces_make_up_the_texts(original: str, adversarial: str) -> None:
    first, second = compared(original, adversarial)
    assert visible(first) == original
    assert visible(second) == adversarial
    assert {piece.kind for piece in first} <= {"same", "gone"}
    assert {piece.kind for piece in second} <= {"same", "new"}


def test_only_changed_words_are_marked() -> None:
    first, second = compared("A good film, so good", "A good movie, so bad")
    assert [piece.text for piece in first if piece.kind == "gone"] == ["film", "good"]
    assert [piece.text for piece in second if piece.kind == "new"] == ["movie", "bad"]
    assert plain_marks(second) == "A good {+movie+}, so {+bad+}"
    assert plain_marks(first) == "A good [-film-], so [-good-]"


HIDDEN = {
    "zero width": ("good", "go\u200bod", "{+go<ZERO WIDTH SPACE>od+}"),
    "joiner": ("good", "go\u200dod", "{+go<ZERO WIDTH JOINER>od+}"),
    "override": ("good", "\u202egood", "<RIGHT-TO-LEFT OVERRIDE>"),
    "soft hyphen": ("good", "go\xadod", "SOFT HYPHEN"),
    "no-break space": ("good", "go\xa0od", "NO-BREAK SPACE"),
    "tag": ("good", "good\U000e0041", "TAG LATIN CAPITAL LETTER A"),
    "escape": ("good", "go\x1bod", "ESCAPE"),
    "half": ("good", "go\ud800od", "U+D800"),
}


@pytest.mark.parametrize(("original", "adversarial", "words"), HIDDEN.values(), ids=HIDDEN.keys())
def test_characters_that_cannot_be_seen_are_named(original: str, adversarial: str, words: str) -> None:
    shown = plain_marks(compared(original, adversarial)[1])
    assert words in shown
    shown.encode()


def test_letters_that_look_like_others_are_named() -> None:
    second = compared("good", "g\u043eod")[1]
    assert second[0].note == "\u043e: cyrillic small letter o"
    assert compared("caf\u00e9 good", "caf\u00e9 bad")[1][0].note == ""


@pytest.mark.slow
def test_long_texts_are_marked_to_their_end() -> None:
    text = "word " * 20_000
    first, second = compared(text, text + "end")
    assert visible(first) == text
    assert visible(second) == text + "end"
