"""Traces: every point of every driver, with numbers that can be computed again from the points."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, APGDT, FABT, PGD, Restarts, Square, Trace, WorstOf, autoattack, trace
from robustlab.core import L2, Attack, Linf, ThreatModel, cross_entropy

LINF = ThreatModel(Linf(), 0.05)


class Linear(nn.Module):
    """A linear model of four classes on five values."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(torch.randn(5, 4, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def _examples() -> tuple[nn.Module, Tensor, Tensor]:
    model = Linear().eval()
    x = torch.rand(12, 5, generator=torch.Generator().manual_seed(4)) * 0.8 + 0.1
    return model, x, model(x).argmax(dim=1)


def _traced(attack: Attack, ids: Tensor | None = None) -> tuple[nn.Module, Tensor, Tensor, Trace]:
    model, x, y = _examples()
    return model, x, y, trace(attack, model, x, y, seed=3, ids=ids)


ATTACKS: list[Attack] = [
    PGD(LINF, 6),
    APGD(LINF, 6),
    APGDT(LINF, 5),
    FABT(LINF, 4),
    Square(LINF, 9),
    Restarts(PGD(ThreatModel(L2(), 0.1), 4), 2),
    autoattack(LINF, "quick"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_a_trace_does_not_change_the_attack(attack: Attack) -> None:
    model, x, y, traced = _traced(attack)
    assert torch.equal(traced.x_adv, attack(model, x, y, seed=3))
    assert {row.id for row in traced.rows} == set(range(len(x)))
    for example in range(len(x)):
        assert [row.point for row in traced.of(example)] == list(range(len(traced.of(example))))


def test_the_numbers_of_a_trace_are_those_of_its_points() -> None:
    ids = torch.tensor([40, 7, 9, 100, 1, 2, 3, 4, 5, 6, 8, 10])
    attack = PGD(ThreatModel(Linf(), 0.02), 4, random_start=False)
    model, x, y, traced = _traced(attack, ids)
    weight = model.get_parameter("weight").detach()
    for row, name in enumerate(ids.tolist()):
        first = traced.of(name)[0]
        z, label = x[row] @ weight, int(y[row])
        others = torch.cat([z[:label], z[label + 1 :]])
        slope = weight @ (z.softmax(0) - nn.functional.one_hot(y[row], 4))
        assert first.size == 0
        assert first.target == -1
        assert first.score == pytest.approx(float(cross_entropy(z[None].detach(), y[row][None])), rel=1e-5)
        assert first.margin == pytest.approx(float(others.max() - z[label]), rel=1e-5)
        assert first.gradient_norm == pytest.approx(float(slope.norm()), rel=1e-4)
        last = traced.of(name)[-1]
        assert last.size == pytest.approx(float((traced.x_adv[row] - x[row]).abs().max()), rel=1e-5)
        assert last.finished == bool((traced.x_adv[row] @ weight).argmax() != y[row])
        if not last.finished:
            assert len(traced.of(name)) == 5
            assert math.isnan(last.gradient_norm), "the last point is only scored"


def test_a_finished_example_has_no_more_points() -> None:
    traced = _traced(PGD(ThreatModel(Linf(), 0.4), 8))[3]
    counts = [[row.finished for row in traced.of(example)] for example in range(12)]
    assert any(len(one) < 9 for one in counts)
    assert all(not any(one[:-1]) for one in counts)


def test_targets_are_recorded() -> None:
    traced = _traced(APGDT(ThreatModel(Linf(), 1e-3), 3))[3]
    assert {row.target for row in traced.of(0)} == set(range(4)) - {int(_examples()[2][0])}


def test_parts_are_counted_on() -> None:
    small = ThreatModel(Linf(), 1e-4)
    traced = _traced(WorstOf((PGD(small, 2), PGD(small, 3))))[3]
    assert [row.point for row in traced.of(5)] == list(range(7))


def test_an_example_named_twice_is_refused() -> None:
    model, x, y = _examples()
    with pytest.raises(ValueError, match="ids name an example twice"):
        trace(PGD(LINF), model, x[:2], y[:2], ids=torch.tensor([1, 1]))
