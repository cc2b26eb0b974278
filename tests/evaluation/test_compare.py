from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD
from robustlab.core import L2, Attack, Linf, RunError, ThreatModel
from robustlab.evaluation import WORST, Evaluation, Settings, compare, evaluate
from robustlab.statistics import mcnemar

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits, Points

THREAT = ThreatModel(Linf(), 0.1)
ATTACKS: list[Attack] = [FGSM(THREAT), PGD(THREAT, 5)]


@dataclass(frozen=True)
class Between:
    """Says class 1 above a value of its own."""

    value: float

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self.value - x, x - self.value], dim=1)


def evaluated(value: float, data: object, **kwargs: object) -> Evaluation:
    arguments = {
        "attacks": ATTACKS,
        "eps": [0.05, 0.1],
        "settings": Settings(doctor=False, name=f"at {value}"),
        **kwargs,
    }
    return evaluate(Between(value), data, **arguments)  # type: ignore[arg-type]  # put together above


def right(value: float, data: Points, eps: float) -> Tensor:
    """Correctness by the closed form on each point, also when it moves by eps."""
    batch = data.batch(torch.arange(len(data)))
    x = batch.x[:, 0].double()
    correct = (x > value) == (batch.y == 1)
    return correct & ((x - value).abs() > eps)


@pytest.mark.slow
def test_pairs_are_counted_as_in_the_closed_form(points: type[Points]) -> None:
    data = points(300)
    found = compare(evaluated(0.5, data), evaluated(0.62, data))
    assert [(c.attack, c.eps) for c in found] == [
        ("clean", None),
        ("FGSM", 0.05), ("PGD-5", 0.05), (WORST, 0.05),
        ("FGSM", 0.1), ("PGD-5", 0.1), (WORST, 0.1),
    ]  # fmt: skip
    for c in found:
        a, b = right(0.5, data, c.eps or 0.0), right(0.62, data, c.eps or 0.0)
        assert (c.a, c.b, c.n) == ("at 0.5", "at 0.62", 300)
        assert (c.only_a, c.only_b, c.both) == (int((a & ~b).sum()), int((b & ~a).sum()), int((a & b).sum()))
        assert c.neither == int((~a & ~b).sum())
        assert c.difference == pytest.approx((int(b.sum()) - int(a.sum())) / 300)
        assert c.p_value == mcnemar(c.only_a, c.only_b)
        assert c.low <= c.difference <= c.high
    assert found[0].p_value < 0.001
    assert found[0].high < 0


def test_a_model_equals_itself(points: type[Points]) -> None:
    one = evaluated(0.5, points(50))
    assert all((c.only_a, c.only_b, c.difference, c.p_value) == (0, 0, 0.0, 1.0) for c in compare(one, one))


def test_run_directories_can_be_compared(points: type[Points], tmp_path: Path) -> None:
    data = points(60)
    one = evaluated(0.5, data, out=tmp_path / "a")
    two = evaluated(0.55, data, out=tmp_path / "b")
    assert compare(tmp_path / "a", str(tmp_path / "b")) == compare(one, two)


def test_only_what_both_ran_is_compared(points: type[Points]) -> None:
    data = points(60)
    one = evaluated(0.5, data)
    two = evaluated(0.5, data, eps=[0.1, 0.2], attacks=[FGSM(THREAT)])
    assert [(c.attack, c.eps) for c in compare(one, two)] == [("clean", None), ("FGSM", 0.1)]
    other = evaluated(0.5, data, attacks={"FGSM": PGD(THREAT, 7), "PGD-5": PGD(THREAT, 5)})
    assert [(c.attack, c.eps) for c in compare(one, other)] == [("clean", None), ("PGD-5", 0.05), ("PGD-5", 0.1)]


def test_a_worst_case_is_compared_only_over_the_same_attacks(points: type[Points]) -> None:
    one, two = evaluated(0.5, points(60)), evaluated(0.5, points(60), attacks=[*ATTACKS, PGD(THREAT, 7)])
    assert {c.attack for c in compare(one, two)} == {"clean", "FGSM", "PGD-5"}


def test_other_examples_are_refused(points: type[Points]) -> None:
    one, two = evaluated(0.5, points(60)), evaluated(0.5, points(60), n=50)
    with pytest.raises(ValueError, match=r"the examples differ, 60 of points \(all 60\) and 50 of points .*same data"):
        compare(one, two)
    third = evaluated(0.5, points(60), attacks=[FGSM(ThreatModel(L2(), 0.1))])
    with pytest.raises(ValueError, match="the threats differ"):
        compare(one, third)


def test_what_has_no_outcomes_is_refused(points: type[Points], tmp_path: Path) -> None:
    one = evaluated(0.5, points(60))
    with pytest.raises(RunError, match=r"the evaluation of at 0.5 has no run directory"):
        compare(one, replace(one, directory=None))
    with pytest.raises(RunError, match=r"holds no outcomes.sqlite"):
        compare(one, replace(one, directory=tmp_path))


def test_a_hardened_model_is_told_from_a_standard_one(digits: Digits, standard: nn.Module, hardened: nn.Module) -> None:
    settings = Settings(doctor=False)
    results = [
        evaluate(model, digits.test, attacks=[PGD(THREAT, 10)], n=300, settings=settings)
        for model in (standard, hardened)
    ]
    clean, attacked = compare(*results)
    assert attacked.p_value < 0.001
    assert attacked.low > 0
    assert clean.p_value > attacked.p_value
