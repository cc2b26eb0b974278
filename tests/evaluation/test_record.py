from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from robustlab.core.finding import Finding
from robustlab.evaluation.compare import Comparison
from robustlab.evaluation.record import (
    AttackInfo,
    AttackResult,
    ClassResult,
    CleanResult,
    Confusion,
    Curve,
    CurvePoint,
    DataInfo,
    Evaluation,
    GalleryItem,
    ModelInfo,
    Queries,
    Recheck,
    RunInfo,
    Sizes,
    Spread,
    StageResult,
    ThreatInfo,
    WorstCase,
)
from robustlab.runs.codec import encode
from robustlab.statistics.intervals import Interval


def interval(count: int, n: int) -> Interval:
    return Interval(count / n if n else math.nan, 0.1, 0.9, count, n)


def result(attack: str, eps: float) -> AttackResult:
    spread = Spread(0.1, 0.1, 0.1)
    return AttackResult(
        attack=attack,
        eps=eps,
        robust=interval(4, 10),
        success=interval(4, 8),
        target_reached=interval(1, 8),
        attacked=8,
        reused=1,
        nonfinite=0,
        outside=0,
        sizes=Sizes(spread, spread, spread, 4),
        queries=Queries(11.0, 10.0),
        seconds=1.5,
        per_class=(ClassResult(0, "zero", 5, 4, 2), ClassResult(1, "one", 5, 4, 2)),
        confusion=Confusion(((0, 0, 2), (0, 1, 3), (1, -1, 1))),
        mean_confidence=math.nan,
        stages=(StageResult("apgd-ce", 8, 4, 3, Queries(11.0, 10.0), 1.0),),
    )


def evaluation() -> Evaluation:
    classes = (ClassResult(0, "zero", 5, 4, 4), ClassResult(1, "one", 5, 4, 4))
    return Evaluation(
        model=ModelInfo("tiny", 10, "ab", 2, "float32"),
        data=DataInfo("digits", "test", 10, 100, "by hash", ("zero", "one"), "cd", (1, 8, 8)),
        threat=ThreatInfo("Linf", (0.0, 1.0)),
        run=RunInfo(
            id="r1",
            created="2026-01-01T00:00:00+00:00",
            command="evaluate",
            versions={"torch": "2"},
            seed=0,
            batch_size=4,
            batch_plan="in order",
            threads=1,
            device="cpu",
            dtype="float32",
            search_dtype="float32",
            hardware="cpu",
            seconds=2.0,
        ),
        attacks=(AttackInfo("PGD-10", "PGD(...)"),),
        clean=CleanResult(interval(8, 10), classes, Confusion(((0, 0, 4),)), 0.9, 0, 0.1),
        results=(result("PGD-10", 0.1), result("PGD-10", 0.2)),
        worst=(WorstCase(0.1, ("PGD-10",), interval(4, 10), interval(4, 8), classes),),
        curves=(Curve("PGD-10", (CurvePoint(0.1, interval(4, 10), 1, Recheck(1, 0)),)),),
        findings=(Finding("noise-as-good", "serious", "Noise.", {"noise": 0.5, "n": 10, "where": "a"}, "Look."),),
        gallery=(
            GalleryItem("adversarial/gallery.safetensors", 0, 3, "PGD-10", 0.1, 0, 0, 0.9, 1, 0.8, 0.1, 1.0, 2.0),
        ),
        directory=Path("somewhere"),
    )


def test_an_evaluation_survives_json_with_nan_as_null() -> None:
    before = evaluation()
    text = json.dumps(before.to_json(), allow_nan=False)
    after = Evaluation.from_json(json.loads(text))
    assert "NaN" not in text
    assert math.isnan(after.results[0].mean_confidence)
    assert after.to_json() == before.to_json()
    clean = replace(before, results=())
    assert Evaluation.from_json(clean.to_json()) == clean


def test_the_directory_is_not_part_of_the_result() -> None:
    assert "directory" not in evaluation().to_json()
    assert Evaluation.from_json(evaluation().to_json(), Path("here")).directory == Path("here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "schema 99"),
        ({"clean": None}, r"Evaluation.clean is None"),
        ({"threat": {"norm": "Linf", "bounds": [0.0]}}, r"bounds has 1 parts, expected 2"),
        ({"threat": {"norm": 3, "bounds": [0.0, 1.0]}}, r"ThreatInfo.norm is 3"),
        ({"findings": [{"code": "a", "severity": "bad"}]}, r"severity is 'bad'"),
    ],
)
def test_a_damaged_result_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Evaluation.from_json(evaluation().to_json() | change)


def test_a_missing_part_is_refused_by_name() -> None:
    data = evaluation().to_json()
    del data["worst"]
    with pytest.raises(ValueError, match="Evaluation has no 'worst'"):
        Evaluation.from_json(data)


def test_results_are_found_by_attack_and_eps() -> None:
    assert evaluation().result("PGD-10").eps == 0.2
    assert evaluation().result("PGD-10", 0.1).eps == 0.1
    with pytest.raises(ValueError, match=r"no result of 'FGSM'.*PGD-10"):
        evaluation().result("FGSM")


def test_a_comparison_is_plain_json() -> None:
    c = Comparison("a", "b", "clean", None, 4, 1, 1, 1, 1, 0.0, -0.5, 0.5, 1.0)
    assert json.loads(json.dumps(c.to_json()))["eps"] is None


def test_a_result_of_the_first_schema_is_read_with_counts_of_the_still_robust() -> None:
    old = evaluation().to_json() | {"schema": 1}
    first, second = result("PGD-10", 0.1), result("PGD-10", 0.2)
    stages = [{"stage": "a", "attacked": 7, "fooled": 3, "seconds": 1.0}]
    stages.append({"stage": "b", "attacked": 4, "fooled": 1, "seconds": 2.0})
    old["results"] = [{**encode(first), "stages": stages}, {**encode(second), "stages": []}]
    read = Evaluation.from_json(json.loads(json.dumps(old)))
    assert read.schema == 3
    assert [(s.stage, s.still_robust, s.seconds) for s in read.results[0].stages] == [("a", 4, 1.0), ("b", 3, 2.0)]
    assert math.isnan(read.results[0].stages[0].queries.forward)
    with pytest.raises(ValueError, match=r"the result is damaged: KeyError\('fooled'\) where a part of schema 1"):
        Evaluation.from_json(old | {"results": [{**encode(first), "stages": [{}]}]})


SECOND = """{
    "stages": [
        {"stage": "apgd-ce", "attacked": 7, "fooled": 3, "standing": 4, "queries": {"forward": 11.0, "backward": 10.0},
         "seconds": 1.0},
        {"stage": "square", "attacked": 4, "fooled": 1, "standing": 3, "queries": {"forward": 90.0, "backward": 0.0},
         "seconds": 2.0}
    ],
    "traces": [
        {"which": "hardest", "attack": "PGD-10", "stage": "apgd-ce", "eps": 0.2, "id": 5, "label": 1, "fell_at": null,
         "looked_at": 11, "points": [{"point": 0, "score": -1.0, "margin": -1.0, "size": 0.1, "gradient_norm": 2.0}]},
        {"which": "easiest", "attack": "PGD-10", "stage": "apgd-ce", "eps": 0.2, "id": 3, "label": 0, "fell_at": 2,
         "looked_at": 3, "points": []}
    ]
}"""


def test_a_result_of_the_second_schema_is_read_with_its_own_names() -> None:
    parts = json.loads(SECOND)
    first, second = (encode(result("PGD-10", eps)) for eps in (0.1, 0.2))
    results = [{**first, "stages": []}, {**second, "stages": parts["stages"]}]
    old = evaluation().to_json() | {"schema": 2, "results": results, "traces": parts["traces"]}
    read = Evaluation.from_json(json.loads(json.dumps(old)))
    assert read.schema == 3
    assert [(s.stage, s.still_robust, s.queries.forward) for s in read.results[1].stages] == [
        ("apgd-ce", 4, 11.0),
        ("square", 3, 90.0),
    ]
    assert [(t.which, t.fooled_at, t.points_seen) for t in read.traces] == [("hardest", None, 11), ("easiest", 2, 3)]
    assert read.traces[0].points[0].gradient_norm == 2.0
    assert Evaluation.from_json(read.to_json()).to_json() == read.to_json()


@pytest.mark.parametrize(
    ("traces", "message"), [([{"fell_at": 2}], r"KeyError\('looked_at'\)"), ([2], "TypeError"), ({}, "TypeError")]
)
def test_damaged_traces_of_the_second_schema_are_refused_in_one_sentence(traces: object, message: str) -> None:
    old = evaluation().to_json() | {"schema": 2, "results": [], "traces": traces}
    with pytest.raises(ValueError, match=f"the result is damaged: {message}.* where a part of schema 2 belongs"):
        Evaluation.from_json(old)
