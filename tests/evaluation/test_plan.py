from __future__ import annotations

import pytest
import torch

from robustlab.attacks import FGSM, PGD, AutoAttack, Restarts, Targeted, WorstOf, autoattack
from robustlab.core import Linf, ThreatModel, subset
from robustlab.evaluation.plan import CLEAN, Phase, batch_seed, batches, chosen, drawn, entries, rechecked

THREAT = ThreatModel(Linf(), 0.1)
PGD7 = PGD(THREAT, 7)


def test_names_are_unique() -> None:
    plan = entries([PGD7, PGD(THREAT, 7, 0.01), FGSM(THREAT), PGD(THREAT, 7, 0.02)], None)
    assert [e.name for e in plan] == ["PGD-7", "PGD-7 (2)", "FGSM", "PGD-7 (3)"]
    assert [e.name for e in entries({"mine": PGD7}, None)] == ["mine"]


def test_budgets_are_ascending_once_each_and_above_zero() -> None:
    (swept,) = entries([PGD7], [0.2, 0, 0.1, 0.2])
    (own,) = entries([PGD7], None)
    assert (swept.eps, own.eps) == ((0.1, 0.2), (0.1,))
    assert swept.at(0.2) == PGD(ThreatModel(Linf(), 0.2), 7)
    assert entries([PGD7], 0.3)[0].eps == (0.3,)


def test_an_attack_is_targeted_only_as_a_whole() -> None:
    towards = Targeted(PGD7)
    whole = entries([towards, Restarts(towards, 2), WorstOf((FGSM(THREAT), towards)), PGD7], None)
    assert [e.targeted for e in whole] == [True, True, False, False]
    suites = entries([AutoAttack(("a",), (towards,)), autoattack(THREAT)], None)
    assert [e.targeted for e in suites] == [False, False]


def test_batches_cut_ids_in_order() -> None:
    assert [b.tolist() for b in batches(torch.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    assert batches(torch.empty(0, dtype=torch.int64), 2) == ()


def test_a_drawn_sample_is_simple_and_random() -> None:
    ids, words = drawn(100, 10, 7)
    assert torch.equal(ids, subset(100, 10, 7))
    assert words == "simple random sample without replacement by a hash of the id, seed 7"
    assert drawn(100, None, 7)[1] == drawn(100, 100, 7)[1] == "all 100"


def test_who_is_chosen_depends_on_the_id_alone() -> None:
    ids = torch.arange(1000)
    some = chosen(ids, 100, "doctor", 0)
    assert torch.equal(some, some.sort().values)
    assert torch.equal(chosen(some, 50, "doctor", 0), chosen(ids, 50, "doctor", 0))
    assert not torch.equal(chosen(ids, 100, "gallery", 0), some)
    assert not torch.equal(chosen(ids, 100, "doctor", 1), some)


@pytest.mark.parametrize(("reused", "expected"), [(0, 0), (10, 10), (32, 32), (100, 32), (321, 33), (1000, 100)])
def test_a_tenth_is_rechecked_and_at_least_some(reused: int, expected: int) -> None:
    ids = torch.arange(reused) * 3
    again = rechecked(ids, 0, 0.1, 0)
    assert len(again) == expected
    assert set(again.tolist()) <= set(ids.tolist())


def test_every_batch_has_its_own_seed() -> None:
    passes = [CLEAN, Phase(0, 0.1, "run"), Phase(0, 0.1, "recheck"), Phase(0, 0.2, "run"), Phase(1, 0.1, "run")]
    passes += [Phase(0, 0.1, "run", 1, 0), Phase(0, 0.1, "run", 0, 1)]
    seeds = {batch_seed(seed, number, p) for seed in (0, 1) for number in (0, 1) for p in passes}
    assert len(seeds) == 4 * len(passes)
