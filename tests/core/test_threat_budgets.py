"""Values of a budget: one number, or one per example; nothing per channel or pixel, and no masks."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
import typer

from robustlab.attacks import PGD
from robustlab.cli.parse import budgets
from robustlab.core import L2, Linf, ThreatModel
from robustlab.evaluation import evaluate
from robustlab.evaluation.plan import entries

CHANNELS = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
NESTED: list[object] = [
    CHANNELS,
    CHANNELS.numpy(),
    CHANNELS[None],
    ((0.1, 0.2), (0.3, 0.4)),
    [CHANNELS, 0.1],
    torch.ones(4, 3, 8, 8),
    torch.ones(3, dtype=torch.bool),
    np.ones((8, 8), dtype=bool),
    True,
    None,
    "0.1",
    {"red": 0.1},
    0.1 + 0j,
]


@pytest.mark.parametrize("eps", NESTED, ids=lambda eps: repr(eps)[:20])
def test_eps_is_a_number_or_one_per_example(eps: object) -> None:
    with pytest.raises(
        ValueError, match=r"one number for all inputs, or one per example.* masks, are not offered; got"
    ):
        ThreatModel(L2(), cast("float", eps))


@pytest.mark.parametrize("eps", [one for one in NESTED if one is not None], ids=lambda eps: repr(eps)[:20])
def test_the_budgets_of_an_evaluation_are_numbers(eps: object) -> None:
    with pytest.raises(
        ValueError, match=r"one number for all inputs, or several to be tried in turn; .* masks, are not"
    ):
        entries([PGD(ThreatModel(L2(), 0.1))], cast("float", eps))
    with pytest.raises(ValueError, match="one number for all inputs"):
        evaluate(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)),
            (torch.rand(4, 3, 2, 2), torch.arange(4) % 2),
            attacks=[PGD(ThreatModel(L2(), 0.1))],
            eps=cast("float", eps),
        )


@pytest.mark.parametrize(
    "bounds",
    [
        (CHANNELS, CHANNELS + 1),
        (CHANNELS.numpy(), CHANNELS.numpy() + 1),
        torch.zeros(2, 3),
        np.zeros((2, 3, 1, 1)),
        ((0, 0, 0), (1, 1, 1)),
        [(0, 1), (0, 1), (0, 1)],
        (0.0, None),
        None,
        "01",
        ("0", "1"),
        (False, True),
    ],
    ids=lambda bounds: repr(bounds)[:20],
)
def test_bounds_are_two_numbers(bounds: object) -> None:
    with pytest.raises(
        ValueError, match=r"two numbers for all inputs, \(low, high\); bounds per channel or pixel are not"
    ):
        ThreatModel(Linf(), 0.1, cast("tuple[float, float]", bounds))


@pytest.mark.parametrize("bounds", [1.0, (0.0,), (0.0, 1.0, 2.0), torch.zeros(3), np.zeros(1)], ids=repr)
def test_bounds_are_no_more_than_two(bounds: object) -> None:
    with pytest.raises(ValueError, match=r"bounds must be two numbers, \(low, high\), got"):
        ThreatModel(Linf(), 0.1, cast("tuple[float, float]", bounds))


SAME: list[object] = [0.5, np.float64(0.5), np.float32(0.5), torch.tensor(0.5), np.array(0.5), torch.tensor(0.5).half()]
ROWS: list[object] = [
    (0.5, 1),
    [0.5, 1.0],
    torch.tensor([0.5, 1.0]),
    np.array([0.5, 1]),
    (torch.tensor(0.5), np.int64(1)),
]


@pytest.mark.parametrize("eps", SAME, ids=repr)
def test_numbers_of_any_library_are_numbers(eps: object) -> None:
    assert ThreatModel(L2(), cast("float", eps)) == ThreatModel(L2(), 0.5)
    assert type(ThreatModel(L2(), cast("float", eps)).eps) is float
    assert entries([PGD(ThreatModel(L2(), 0.1))], cast("float", eps))[0].eps == (0.5,)
    assert ThreatModel(L2(), 0.1, cast("tuple[float, float]", (np.float32(0), torch.tensor(2)))) == ThreatModel(
        L2(), 0.1, (0.0, 2.0)
    )
    assert ThreatModel(L2(), 0.1, cast("tuple[float, float]", np.array([0, 2]))) == ThreatModel(L2(), 0.1, (0.0, 2.0))


@pytest.mark.parametrize("eps", ROWS, ids=repr)
def test_one_per_example_may_come_in_any_row(eps: object) -> None:
    assert ThreatModel(L2(), cast("float", eps)).eps == (0.5, 1.0)
    assert entries([PGD(ThreatModel(L2(), 0.1))], cast("float", eps))[0].eps == (0.5, 1.0)


def test_three_numbers_are_of_three_examples_not_of_channels() -> None:
    x, y = torch.full((5, 3, 2, 2), 0.5), torch.zeros(5, dtype=torch.int64)
    with pytest.raises(ValueError, match="one eps per example: got 3 for 5 examples; budgets per channel or pixel"):
        PGD(ThreatModel(Linf(), (0.1, 0.2, 0.3)), 1)(lambda x: x.flatten(1)[:, :2], x, y)


@pytest.mark.parametrize("typed", ["(0.1,0.2,0.3)", "[0.1,0.2]", "0.1:0.2:0.3", "(8/255)"])
def test_the_command_takes_one_number_for_all_channels(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"is no number: write 0.1 or 8/255; it is one number for all inputs"):
        budgets([typed])
