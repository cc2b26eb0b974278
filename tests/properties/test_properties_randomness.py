"""Draws belong to seed and example, not to batch, order or global generators; the same call gives the same bits."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from robustlab.core import Stop

if TYPE_CHECKING:
    from tests.properties.conftest import Case, Row

every_stop = pytest.mark.parametrize("stop", ["success", "never"])


@every_stop
def test_the_same_call_gives_the_same_bits(row: Row, case: Case, stop: Stop) -> None:
    first, again = (case.under(row.attack, stop=stop, seed=5) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(("stop", "some"), [("success", (0, 1, 2, 3)), ("never", (4, 5, 6))])
def test_a_batch_is_its_examples_one_by_one(row: Row, case: Case, stop: Stop, some: tuple[int, ...]) -> None:
    in_batch = case.under(row.attack, stop=stop, seed=3)
    alone = [case.take(torch.tensor([i])).under(row.attack, stop=stop, seed=3) for i in some]
    assert torch.allclose(in_batch[list(some)], torch.cat(alone), rtol=0, atol=1e-9)


def test_with_targets_too_a_batch_is_its_examples_one_by_one(directed: Row, case: Case) -> None:
    in_batch = case.under(directed.attack, target=case.target)
    for i in (1, 2, 5):
        one = case.take(torch.tensor([i]))
        assert torch.allclose(in_batch[i : i + 1], one.under(directed.attack, target=one.target), rtol=0, atol=1e-9)


@every_stop
def test_another_order_gives_the_same_answers_in_that_order(row: Row, case: Case, stop: Stop) -> None:
    order = torch.tensor([4, 2, 6, 0, 5, 3, 1])
    reordered = case.take(order).under(row.attack, stop=stop)
    assert torch.allclose(reordered, case.under(row.attack, stop=stop)[order], rtol=0, atol=1e-9)


def test_examples_without_ids_are_named_by_their_position(row: Row, case: Case) -> None:
    named = replace(case, ids=torch.arange(len(case.x))).under(row.attack)
    assert torch.equal(row.attack(case.model, case.x, case.y), named)


def test_consecutive_seeds_give_other_answers(drawing: Row, case: Case) -> None:
    answers = [case.under(drawing.attack, stop="never", seed=seed) for seed in (0, 1, 2)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert (answers[one] != answers[other]).any()


def test_attacks_without_draws_do_not_depend_on_the_seed(still: Row, case: Case) -> None:
    assert torch.equal(case.under(still.attack, seed=0), case.under(still.attack, seed=1))


def test_global_generators_are_neither_used_nor_changed(row: Row, case: Case) -> None:
    answers = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
            answers.append(case.under(row.attack))
            assert torch.equal(torch.get_rng_state(), states[0])
            assert random.getstate() == states[1]
            assert str(np.random.get_state()) == states[2]  # noqa: NPY002
    assert torch.equal(*answers)
