from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from robustlab.attacks import APGD, FGSM, PGD, AutoAttack, Square, trace
from robustlab.core import Linf, ThreatModel, subset
from robustlab.evaluation import Evaluation, Settings, evaluate
from robustlab.evaluation import traces as module

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits, Moved, Points, Threshold

THREAT = ThreatModel(Linf(), 0.08)
QUIET = Settings(doctor=False)


def test_the_hardest_and_the_easiest_example_are_looked_at(digits: Digits, standard: nn.Module, readable: Path) -> None:
    suite = AutoAttack(("first", "second"), (APGD(THREAT, 12), PGD(THREAT, 20)))
    got = evaluate(standard, digits.test, attacks={"suite": suite}, n=120, out=readable, settings=QUIET)
    hardest, easiest = got.traces
    assert (hardest.which, easiest.which) == ("hardest", "easiest")
    assert {(t.attack, t.stage, t.eps) for t in got.traces} == {("suite", "first", 0.08)}
    with sqlite3.connect(readable / "outcomes.sqlite") as database:
        fell = {i for (i,) in database.execute("SELECT id FROM outcomes WHERE fooled = 1")}
        query = "SELECT id FROM outcomes WHERE fooled = 1 AND stage = 0"
        early = {i for (i,) in database.execute(query)}
    assert hardest.id not in fell
    assert easiest.id in early
    assert (hardest.fooled_at, hardest.points_seen, len(hardest.points)) == (None, 13, 13)
    assert easiest.fooled_at == easiest.points[-1].point
    assert hardest.points[-1].margin < 0 < easiest.points[-1].margin
    assert all(p.size <= 0.08 for t in got.traces for p in t.points)
    assert (hardest.label, easiest.label) == (int(digits.y_test[hardest.id]), int(digits.y_test[easiest.id]))
    ids = torch.tensor([hardest.id])
    alone = trace(APGD(THREAT, 12), standard, digits.x_test[ids], digits.y_test[ids], ids=ids).rows
    assert [p.margin for p in hardest.points] == pytest.approx([row.margin for row in alone], abs=1e-4)


def test_no_standing_example_is_farther_ahead(digits: Digits, hardened: nn.Module) -> None:
    got = evaluate(hardened, digits.test, attacks=[PGD(THREAT, 10)], n=60, settings=QUIET)
    hardest, easiest = got.traces
    x, y = digits.x_test, digits.y_test
    ids = subset(len(y), 60)
    seen = trace(PGD(THREAT, 10), hardened, x[ids], y[ids], ids=ids)
    ends = {int(i): seen.of(int(i)) for i in ids}
    held = [rows[-1].margin for rows in ends.values() if not rows[-1].finished]
    assert hardest.points[-1].margin == pytest.approx(min(held), abs=1e-4)
    assert easiest.fooled_at is not None


def test_long_searches_are_thinned_out(digits: Digits, hardened: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POINTS", 10)
    got = evaluate(hardened, digits.test, attacks=[Square(THREAT, 95)], n=40, settings=QUIET)
    hardest = got.traces[0]
    assert hardest.points_seen == 96
    assert [p.point for p in hardest.points] == [*range(0, 95, 10), 95]
    assert all(math.isnan(p.gradient_norm) for p in hardest.points), "a search without gradients"


def test_what_cannot_be_watched_has_no_trace(points: type[Points], threshold: Threshold, moved: type[Moved]) -> None:
    assert evaluate(threshold, points(50), attacks=[moved(0.05)], settings=QUIET).traces == ()


def test_traces_survive_json(digits: Digits, standard: nn.Module) -> None:
    got = evaluate(standard, digits.test, attacks=[FGSM(THREAT)], n=30, settings=QUIET)
    assert len(got.traces) == 2
    assert Evaluation.from_json(got.to_json()).to_json() == got.to_json()
