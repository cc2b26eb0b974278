"""Stage by stage: who fell where, what it took, and how far the run is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torch import nn

from robustlab.attacks import FGSM, PGD, AutoAttack, RandomNoise, Restarts
from robustlab.core import Linf, ThreatModel
from robustlab.evaluation import Evaluation, Progress, Settings, evaluate

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits, Points, Threshold

THREAT = ThreatModel(Linf(), 0.1)


def test_progress_ends_at_one_and_counts_examples(points: type[Points], threshold: Threshold) -> None:
    seen: list[Progress] = []
    settings = Settings(batch_size=100, progress=seen.append)
    evaluate(threshold, points(250), attacks=[FGSM(THREAT)], eps=[0.05, 0.1], settings=settings)
    assert [(p.task, p.done, p.total) for p in seen[:3]] == [
        ("clean", 100, 250),
        ("clean", 200, 250),
        ("clean", 250, 250),
    ]
    assert {p.metrics["eps"] for p in seen if p.task == "FGSM"} == {0.05, 0.1}
    shares = [p.fraction for p in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_progress_says_stage_by_stage_who_fell(digits: Digits, standard: nn.Module, readable: Path) -> None:
    seen: list[Progress] = []
    suite = AutoAttack(("quick", "slow"), (PGD(THREAT, 2), Restarts(PGD(THREAT, 5), 2)))
    settings = Settings(batch_size=40, progress=seen.append, doctor=False)

    def run(settings: Settings) -> Evaluation:
        return evaluate(standard, digits.test, attacks={"both": suite}, n=100, out=readable, settings=settings)

    got = run(settings)
    ends = {p.part: p for p in seen if p.task == "both" and p.done == p.total}
    stages = got.results[0].stages
    assert list(ends) == ["quick", "slow, restart 1", "slow, restart 2"] == [s.stage for s in stages]
    assert [(p.total, p.metrics["fooled"], p.metrics["robust"]) for p in ends.values()] == [
        (s.attacked, s.fooled, s.still_robust) for s in stages
    ]
    assert stages[0].fooled > 0
    assert stages[-1].still_robust == got.results[0].robust.count
    clean, attacked = ([p for p in seen if p.task == what] for what in ("clean", "both"))
    assert clean[-1].metrics["fooled"] == 100 - got.clean.accuracy.count
    assert all(p.seconds_left >= 0 for p in attacked)
    assert attacked[-1].seconds_left == 0
    shares = [p.fraction for p in seen]
    assert shares == sorted(shares)
    assert max(p.fraction for p in attacked if p.part == "quick") < 0.5, "the first stage is 4 of 24 passes"
    again: list[Progress] = []
    (readable / "report.json").unlink()
    run(replace(settings, progress=again.append))
    assert [p._replace(seconds_left=0, overall=0) for p in again] == [
        p._replace(seconds_left=0, overall=0) for p in seen
    ]


def test_a_stage_says_what_it_took(digits: Digits, standard: nn.Module) -> None:
    suite = AutoAttack(("quick", "slow"), (FGSM(THREAT), RandomNoise(THREAT)))
    budgets = [0.02, 0.08]
    got = evaluate(standard, digits.test, attacks=[suite], eps=budgets, n=150, settings=Settings(doctor=False))
    for result in got.results:
        first, second = result.stages
        assert (first.attacked, second.attacked) == (result.attacked, first.still_robust)
        assert first.still_robust == got.clean.accuracy.count - result.reused - first.fooled
        assert second.still_robust == first.still_robust - second.fooled == result.robust.count
        assert 1 <= first.queries.backward <= 1.01
        spent = sum(s.queries.forward * s.attacked for s in result.stages)
        assert spent == pytest.approx(result.queries.forward * result.attacked)
        assert sum(s.seconds for s in result.stages) == pytest.approx(result.seconds)
    assert got.results[1].reused == got.results[0].success.count > 0
