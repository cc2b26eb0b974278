"""Results of attacks on texts, against counts by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from text_toys import FREE, GREEDY, OPTIONS, RANDOM, VICTIM, Table, sentences, sums  # type: ignore[import-not-found]

from robustlab.core.types import Text
from robustlab.evaluation import Finding, TextData, TextEvaluation, TextSettings, evaluate_text, text_outcomes_of
from robustlab.evaluation.text.meaning import Meaning, exchanged
from robustlab.evaluation.text.recipe_info import described, recipe_info
from robustlab.statistics import clopper_pearson
from robustlab.text import KeepPrediction, Targeted, TextRecipe, Victim
from robustlab.text.victims.kinds import Predict, Rows

QUIET = TextSettings(meaning=None, command="test")


def by_code(evaluation: TextEvaluation) -> dict[str, str]:
    return {one.code: one.severity for one in evaluation.findings}


def test_both_success_rates_and_the_worst_case_are_counted_from_the_outcomes() -> None:
    found = evaluate_text(VICTIM, sentences(), recipes=[GREEDY, FREE], n=50, settings=QUIET)
    assert found.directory is not None
    rows = list(text_outcomes_of(found.directory))
    robust = {}
    for result in found.results:
        mine = [one for one in rows if one.recipe == result.recipe]
        states = [one.status for one in mine]
        successful, skipped, failed = (states.count(word) for word in ("successful", "skipped", "failed"))
        assert (result.successful, result.skipped, result.failed) == (successful, skipped, failed)
        assert min(successful, skipped, failed) > 0
        assert result.success == clopper_pearson(successful, successful + failed)
        assert result.success_or_wrong == clopper_pearson(successful + skipped, 50)
        assert result.accuracy == clopper_pearson(failed, 50)
        won = [one for one in mine if one.status == "successful"]
        assert result.changed.mean_fraction == pytest.approx(np.mean([one.changed / one.words for one in won]))
        assert result.changed.fraction_quantiles[2] == pytest.approx(
            np.median([one.changed / one.words for one in won])
        )
        tried = [one.requested for one in mine if one.status != "skipped"]
        assert result.queries.requested.mean == pytest.approx(np.mean(tried))
        assert result.queries.requested.max == max(tried)
        robust[result.recipe] = {one.id for one in mine if one.status == "failed"}
    assert found.worst.count == len(robust["greedy"] & robust["free"])
    assert found.clean.accuracy.count == 50 - found.results[0].skipped
    assert [cell.clean for cell in found.results[0].per_class] == [c.clean for c in found.clean.per_class]
    assert sum(cell.robust for cell in found.results[0].per_class) == found.results[0].failed
    assert [c.name for c in found.clean.per_class] == ["worse", "better"]


def test_recipes_are_paired() -> None:
    weak = replace(GREEDY, name="weak", transformations=(Table((("good", ("fine",)),)),))
    found = evaluate_text(VICTIM, sentences(200), recipes=[weak, GREEDY, RANDOM], settings=QUIET)
    pair = found.pairs[0]
    assert (pair.a, pair.b, pair.only_b, pair.differs) == ("weak", "greedy", 0, ("transformations",))
    assert pair.difference == pytest.approx(-pair.only_a / 200)
    assert pair.p_value == pytest.approx(2 * 0.5**pair.only_a)
    assert pair.corrected == pytest.approx(3 * pair.p_value)
    assert found.pairs[2].differs == ("search",)
    assert by_code(found)["recipes-differ"] == "info"
    alike = evaluate_text(VICTIM, sentences(), recipes=[GREEDY, RANDOM], settings=QUIET)
    assert "recipes-differ" not in by_code(alike)


def test_outcomes_do_not_depend_on_batches_or_on_other_recipes() -> None:
    def rows(batch: int, recipes: list[Any]) -> list[Any]:
        found = evaluate_text(
            VICTIM, sentences(), recipes=recipes, n=40, settings=replace(QUIET, batch_size=batch, seed=5)
        )
        assert found.directory is not None
        return [one for one in text_outcomes_of(found.directory) if one.recipe == "random"]

    first = rows(7, [GREEDY, RANDOM])
    assert len(first) == 40
    assert repr(rows(100, [RANDOM])) == repr(first)


def test_the_sample_is_the_one_that_evaluations_of_images_draw() -> None:
    from robustlab.core import subset

    found = evaluate_text(VICTIM, sentences(), recipes=[GREEDY], n=20, settings=replace(QUIET, seed=4))
    assert found.directory is not None
    assert [one.id for one in text_outcomes_of(found.directory)] == subset(60, 20, 4).tolist()
    assert found.data.population == 60
    assert any("40 of the 60 texts were left out" in one for one in found.caveats)


def test_a_targeted_recipe_and_one_that_keeps_the_prediction() -> None:
    aimed = replace(GREEDY, goal=Targeted())
    found = evaluate_text(VICTIM, sentences(), recipes=[aimed], settings=replace(QUIET, target=0))
    assert found.directory is not None
    assert {one.target for one in text_outcomes_of(found.directory)} == {0}
    with pytest.raises(ValueError, match="target"):
        evaluate_text(VICTIM, sentences(), recipes=[aimed], settings=QUIET)
    kept = evaluate_text(VICTIM, sentences(), recipes=[replace(GREEDY, goal=KeepPrediction())], settings=QUIET)
    assert kept.worst == kept.clean.accuracy  # a prediction that is kept stays right


def test_one_field_of_several_is_attacked() -> None:
    def pairs(texts: Sequence[Text]) -> Rows:
        return sums([text[1] for text in texts])  # type: ignore[no-any-return]

    victim = Victim(pairs, 2, "pairs", "function:pairs")
    texts = [("bad", "good film"), ("good", "bad film")]
    found = evaluate_text(victim, (texts, [1, 0]), recipes=[GREEDY], settings=replace(QUIET, field=1))
    assert found.directory is not None
    first = next(text_outcomes_of(found.directory))
    assert first.original == ("bad", "good film")
    assert first.adversarial[0] == "bad"


def test_the_report_survives_json() -> None:
    found = evaluate_text(VICTIM, sentences(), recipes=[GREEDY, FREE], settings=QUIET)
    again = TextEvaluation.from_json(found.to_json())
    assert repr(again) == repr(replace(found, directory=None))
    with pytest.raises(ValueError, match="this version of robustlab reads 1 of 'texts'"):
        TextEvaluation.from_json({**found.to_json(), "schema": 9})


# --- Meaning


def test_turned_opinions_and_distant_sentences_are_counted() -> None:
    scores = {"good": 1.9, "bad": -2.5, "poor": -2.1, "fine": 0.8}
    near = {"good film": 0.9}
    meaning = Meaning(
        lambda word: scores.get(word, 0.0), lambda pairs: [near.get(a, 0.8) for a, _ in pairs], 0.85, "words", "encoder"
    )
    recipe = replace(GREEDY, transformations=(Table((("good", ("poor",)), ("great", ("ok",)))),))
    data = TextData(["good film", "great film", "bad film", "good so"], [1, 1, 0, 1])
    found = evaluate_text(VICTIM, data, recipes=[recipe], settings=replace(QUIET, meaning=meaning))
    audit = found.results[0].audit
    assert audit.turned is not None
    assert audit.apart is not None
    assert audit.either is not None
    assert audit.similarity is not None
    # good film: turned and near; great film: not turned, apart; good so: "so" still speaks for it, so not fooled
    counts = (found.results[0].successful, audit.turned.count, audit.apart.count, audit.either.count)
    won = [one.original for one in text_outcomes_of(found.directory or "") if one.status == "successful"]
    assert counts == (len(won), sum("good" in one for one in won), sum(one != "good film" for one in won), len(won))
    assert audit.similarity.max == pytest.approx(0.9)
    assert not any("Not measured" in one for one in found.caveats)


def test_only_pairs_of_words_that_replace_each_other_turn_an_opinion() -> None:
    scores = {"good": 2.0, "bad": -2.0, "awful": -3.0, "dull": -0.9}
    meaning = Meaning(lambda word: scores.get(word, 0.0))
    text = "A good but awful film"
    assert meaning.turned(text, [(1, "bad")])
    assert not meaning.turned(text, [(1, "nice"), (3, "bad")])  # awful became bad, good a word without sign
    assert not meaning.turned(text, [(1, "bad"), (1, "nice")])  # the last word counts
    assert not meaning.turned(text, [(1, "dull")])  # below 1
    assert meaning.turned(text, [(1, ""), (-1, "bad")])  # one deleted, one inserted
    assert not meaning.turned(text, [(1, "")])
    assert Meaning().turned(text, [(1, "bad")]) is None
    assert exchanged(text, [(2, "yet"), (4, "")]) == [("but", "yet")]


def test_what_is_not_measured_is_said() -> None:
    found = evaluate_text(
        VICTIM, sentences(), recipes=[GREEDY], settings=replace(QUIET, meaning=Meaning(missing=("bring it",)))
    )
    assert any("Not measured: whether the meaning is kept" in one and "bring it" in one for one in found.caveats)
    assert found.results[0].audit.either is None


# --- Findings


def fault(predict: Predict, **more: object) -> TextEvaluation:
    victim = replace(Victim(predict, 2, "faulty", "function:faulty"), **more)  # type: ignore[arg-type]
    return evaluate_text(victim, sentences(120), recipes=[GREEDY], settings=QUIET)


def test_a_sound_victim_has_no_findings() -> None:
    assert by_code(evaluate_text(VICTIM, sentences(120), recipes=[GREEDY], settings=QUIET)) == {}


def test_a_victim_that_draws_is_found() -> None:
    rng = np.random.default_rng(0)

    def noisy(texts: Sequence[Text]) -> Rows:
        rows = sums(texts) + rng.random((len(texts), 2)) * 1e-3
        return rows / rows.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]

    assert by_code(fault(noisy))["random-outputs"] == "serious"


def test_a_victim_that_depends_on_the_batch_is_found() -> None:
    def padded(texts: Sequence[Text]) -> Rows:
        rows = sums(texts)
        longest = max(len(text) for text in texts)
        share = np.array([len(text) / longest for text in texts])[:, None]
        return share * rows + (1 - share) / 2  # type: ignore[no-any-return]

    assert by_code(fault(padded))["padding-dependent"] == "serious"


def test_a_victim_that_does_not_read_is_found() -> None:
    assert by_code(fault(lambda texts: np.full((len(texts), 2), [0.4, 0.6])))["constant-victim"] == "serious"


def test_labels_in_another_order_are_found() -> None:
    texts, labels = sentences(120)
    found = evaluate_text(VICTIM, (texts, [1 - label for label in labels]), recipes=[GREEDY], settings=QUIET)
    assert by_code(found)["near-chance"] == "serious"


def test_labels_are_numbered_as_the_victims_classes_by_name() -> None:
    texts, labels = sentences(120)
    other = TextData(texts, [1 - label for label in labels], classes=("Better", "worse"))
    found = evaluate_text(VICTIM, other, recipes=[GREEDY], settings=QUIET)
    same = evaluate_text(VICTIM, (texts, labels), recipes=[GREEDY], settings=QUIET)
    assert found.clean.accuracy == same.clean.accuracy
    assert found.data.classes == ("worse", "better")
    assert by_code(found) == {}


def test_classes_of_other_names_are_found() -> None:
    texts, labels = sentences(120)
    found = evaluate_text(VICTIM, TextData(texts, labels, classes=("neg", "pos")), recipes=[GREEDY], settings=QUIET)
    assert by_code(found) == {"class-names-differ": "warning"}
    assert found.data.classes == ("neg", "pos")


def test_texts_that_are_cut_are_found() -> None:
    found = fault(sums, limit=5, lengths=lambda texts: [len(text.split()) for text in texts])
    assert by_code(found)["words-unseen"] == "warning"
    evidence = next(one.evidence for one in found.findings if one.code == "words-unseen")
    assert evidence["longer"] == sum(len(text.split()) > 5 for text in sentences(120)[0])


def test_a_success_rate_of_few_texts_is_found() -> None:
    found = evaluate_text(VICTIM, sentences(20), recipes=[GREEDY], settings=QUIET)
    assert by_code(found)["few-attacked"] == "warning"


def test_findings_come_first() -> None:
    seen: list[str] = []

    def stop(findings: Sequence[Finding]) -> None:
        seen.extend(one.code for one in findings)
        raise KeyError

    victim = Victim(lambda texts: np.full((len(texts), 2), [0.4, 0.6]), 2, "constant", "function:constant")
    with pytest.raises(KeyError):
        evaluate_text(victim, sentences(), recipes=[GREEDY], settings=replace(QUIET, inspected=stop))
    assert "constant-victim" in seen


# --- Input


class Sentences:
    texts = ("good film", "bad film")
    labels = np.array([1, 0])
    name = "mine"


def test_data_of_several_kinds_is_taken() -> None:
    found = evaluate_text(VICTIM, Sentences(), recipes=[GREEDY], settings=QUIET)
    assert (found.data.name, found.data.n) == ("mine", 2)


BAD: dict[str, tuple[Any, str]] = {
    "none": (None, "data must be"),
    "texts alone": (["good"], "data must be"),
    "one text": (("good", [1]), "one label for each text"),
    "too few labels": ((["good", "bad"], [1]), "got 1 for 2 texts"),
    "None as text": ((["good", None], [1, 0]), "text 1 is None"),
    "bytes": (([b"good"], [1]), "text 0 is"),
    "names": ((["good"], ["positive"]), "label 0 is"),
    "flags": ((["good"], [True]), "label 0 is True"),
    "another kind": ((["good", "bad"], [1, 2]), r"the label of text 1 is 2, but sums has the classes 0\.\.1"),
    "negative": ((["good"], [-1]), "the label of text 0 is -1"),
    "nothing": (([], []), "holds no examples"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_bad_data_gets_a_sentence(data: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate_text(VICTIM, data, recipes=[GREEDY], settings=QUIET)


@pytest.mark.parametrize("recipes", [[], "greedy"])
def test_recipes_must_be_listed(recipes: list[TextRecipe]) -> None:
    with pytest.raises(ValueError, match="recipes"):
        evaluate_text(VICTIM, sentences(), recipes=recipes, settings=QUIET)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"queries": 0}, {"level": 1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TextSettings(**wrong)


def test_progress_reaches_the_end() -> None:
    seen: list[float] = []
    how = replace(QUIET, batch_size=25, progress=lambda at: seen.append(at.overall))
    evaluate_text(VICTIM, sentences(), recipes=[GREEDY, FREE], settings=how)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


# --- Recipes as data


def test_a_recipe_in_words_says_all_its_parts() -> None:
    info = recipe_info(GREEDY)
    assert info.goal == "Untargeted()"
    assert info.search == "Greedy(ranking='delete', closest=False)"
    assert "'good'" in info.transformations[0]
    assert info.comparable(recipe_info(RANDOM))
    assert info.differs(recipe_info(FREE)) == ("constraints",)
    assert not info.comparable(recipe_info(FREE))


def test_long_values_are_named_by_their_content() -> None:
    @dataclass(frozen=True)
    class Words:
        words: Any

    many = [str(number) for number in range(500)]
    first = described(Words(frozenset(many)))
    assert len(first) < 100
    assert described(Words(frozenset(reversed(many)))) == first
    assert described(Words(frozenset(many[1:]))) != first
    assert described(Words(np.arange(500.0))) != described(Words(np.arange(1.0, 501.0)))
    assert described(Words(tuple(OPTIONS) * 9)) != described(Words(tuple(OPTIONS) * 8))
    assert " at 0x" not in described(Words(object()))


def test_what_a_part_remembers_is_no_part_of_it() -> None:
    @dataclass
    class Encoder:
        path: str
        known: dict[str, int] = field(default_factory=dict, init=False)

    encoder = Encoder("somewhere")
    before = described(encoder)
    encoder.known["text"] = 1
    assert described(encoder) == before
