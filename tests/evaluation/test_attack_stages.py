from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from robustlab.attacks import (
    APGD,
    APGDT,
    EOT,
    FAB,
    FABT,
    FGSM,
    PGD,
    AutoAttack,
    RandomNoise,
    Restarts,
    Square,
    Targeted,
    WorstOf,
    autoattack,
)
from robustlab.attacks.facts import label, left_out, passes_needed
from robustlab.core import L1, L2, Attack, Linf, Norm, ThreatModel, dlr
from robustlab.evaluation import Settings, evaluate
from robustlab.evaluation.stages import parts
from robustlab.evaluation.store import reading
from robustlab.runs.tensors import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.evaluation.conftest import Digits

THREAT = ThreatModel(Linf(), 0.1)
PGD7 = PGD(THREAT, 7)
SMALL = AutoAttack(
    ("apgd-ce", "fab", "square"),
    (
        Restarts(APGD(THREAT, 4), 2),
        WorstOf((FAB(THREAT, 3), Restarts(FAB(THREAT, 3, random_start=True), 2))),
        Square(THREAT, 30),
    ),
)
"""Every kind of nesting that the versions have, with few steps."""


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (FGSM(THREAT), "FGSM"),
        (PGD7, "PGD-7"),
        (Restarts(PGD7, 5), "PGD-7 x5"),
        (Targeted(Restarts(PGD7, 2)), "targeted PGD-7 x2"),
        (WorstOf((FGSM(THREAT), PGD7)), "worst of FGSM, PGD-7"),
        (APGD(THREAT), "APGD-100"),
        (APGD(THREAT, score=dlr), "APGD-DLR-100"),
        (APGDT(THREAT, 7), "APGD-T-7"),
        (FABT(THREAT), "FAB-T-100"),
        (Square(THREAT), "Square-5000"),
        (EOT(APGD(THREAT)), "EOT APGD-100"),
        (autoattack(THREAT), "AutoAttack standard"),
        (autoattack(ThreatModel(L1(), 12.0), "plus"), "AutoAttack plus"),
        (autoattack(THREAT, "rand"), "AutoAttack rand"),
        (autoattack(ThreatModel(L2(), 0.5), "quick"), "AutoAttack quick"),
        (SMALL, "AutoAttack of apgd-ce, fab, square"),
    ],
)
def test_labels_are_short(attack: Attack, expected: str) -> None:
    assert label(attack) == expected


def test_parts_number_stages_and_restarts() -> None:
    found = list(parts(WorstOf((FGSM(THREAT), Restarts(RandomNoise(THREAT), 2))), 5))
    assert [(p.stage, p.restart) for p in found] == [(0, 0), (1, 0), (1, 1)]
    assert found[0].seed == 5
    assert len({p.seed for p in found}) == 3


def test_a_suite_has_a_part_for_each_run_of_each_stage() -> None:
    found = list(parts(SMALL, 0))
    assert [(p.name, p.stage, p.restart) for p in found] == [
        ("apgd-ce, restart 1", 0, 0),
        ("apgd-ce, restart 2", 0, 1),
        ("fab, restart 1", 1, 0),
        ("fab, restart 2", 1, 1),
        ("fab, restart 3", 1, 2),
        ("square", 2, 0),
    ]
    assert [p.seed for p in found if p.restart == 0] == [SMALL.seed_of(stage, 0) for stage in range(3)]
    assert len({p.seed for p in found}) == len(found)
    assert [p.name for p in parts(autoattack(THREAT), 0)] == ["apgd-ce", "apgd-t", "fab-t", "square"]


@pytest.mark.slow
@pytest.mark.parametrize("attack", [SMALL, WorstOf(SMALL.attacks), Restarts(RandomNoise(THREAT), 3)], ids=label)
def test_a_suite_evaluated_part_by_part_finds_what_it_finds_as_a_whole(
    attack: Attack, digits: Digits, standard: nn.Module, tmp_path: Path
) -> None:
    x, y = digits.x_test[:60], digits.y_test[:60]
    with torch.no_grad():
        ids = (standard(x).argmax(1) == y).nonzero()[:, 0]
    whole = attack(standard, x[ids], y[ids], ids=ids, seed=3)
    with torch.no_grad():
        fallen = standard(whole).argmax(1) != y[ids]
    settings = Settings(doctor=False, seed=3, batch_size=60)
    evaluate(standard, (x, y), attacks=[attack], out=tmp_path, settings=settings)
    kept: dict[int, list[torch.Tensor]] = {}
    for path in sorted((tmp_path / "adversarial").glob("00-*.safetensors")):
        tensors = read_tensors(path)
        for number, x_adv in zip(tensors["ids"].tolist(), tensors["x_adv"], strict=True):
            kept.setdefault(number, []).append(x_adv)
    with reading(tmp_path) as reader:
        fooled = reader.ids("SELECT id FROM outcomes WHERE fooled = 1 ORDER BY id")
    assert torch.equal(fooled, ids[fallen])
    assert 0 < len(fooled) < len(ids)
    for number, x_adv, fell in zip(ids.tolist(), whole, fallen.tolist(), strict=True):
        own = kept[number]
        assert torch.equal(own[-1], x_adv) if fell else any(torch.equal(one, x_adv) for one in own)


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=str)
def test_only_the_quick_suite_says_what_it_leaves_out(norm: Norm) -> None:
    threat = ThreatModel(norm, 0.5)
    quick = autoattack(threat, "quick")
    assert left_out(quick) == ("FAB-T", "Square")
    assert left_out(autoattack(threat)) == left_out(PGD(threat)) == ()
    assert left_out(replace(quick, names=("a", "b"))) == ()


@pytest.mark.parametrize(
    ("attack", "classes", "expected"),
    [
        (FGSM(THREAT), 10, 2),
        (PGD7, 10, 14),
        (Restarts(PGD7, 3), 10, 42),
        (WorstOf((FGSM(THREAT), PGD7)), 10, 16),
        (APGDT(THREAT), 10, 1800),
        (APGDT(THREAT), 3, 400),
        (FAB(THREAT), 10, 1300),
        (FABT(THREAT), 1000, 3600),
        (Square(THREAT), 10, 5000),
        (EOT(APGD(THREAT), 20), 10, 4000),
        (autoattack(THREAT), 10, 200 + 1800 + 3600 + 5000),
    ],
)
def test_the_cost_of_an_attack_that_fails(attack: Attack, classes: int, expected: int) -> None:
    assert passes_needed(attack, classes) == expected


@pytest.mark.slow
def test_the_cost_is_what_is_counted(digits: Digits, hardened: nn.Module) -> None:
    tiny = replace(THREAT, eps=0.001)
    for attack in (PGD(tiny, 5), APGD(tiny, 20), APGDT(tiny, 20), FAB(tiny, 20), FABT(tiny, 20), Square(tiny, 200)):
        got = evaluate(hardened, digits.test, attacks=[attack], n=50, settings=Settings(doctor=False)).results[0]
        spent = got.queries.forward + got.queries.backward
        assert spent == pytest.approx(passes_needed(attack, 10), rel=0.25), label(attack)
