"""Results are inside budget and bounds exactly, in every precision, shape and unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from robustlab.attacks import threat_of
from robustlab.core import Stop

if TYPE_CHECKING:
    from tests.properties.conftest import Case, Row

every_stop = pytest.mark.parametrize(("stop", "alone"), [("success", (0, 2)), ("never", (1, 4, 5))])
every_dtype = pytest.mark.parametrize(
    ("dtype", "stop"),
    [(torch.float16, "success"), (torch.bfloat16, "never"), (torch.float32, "success"), (torch.float64, "never")],
    ids=str,
)


@every_dtype
def test_inside_budget_and_bounds_exactly(row: Row, case: Case, dtype: torch.dtype, stop: Stop) -> None:
    case = case.to(dtype)
    x_adv = case.under(row.attack, stop=stop)
    threat = threat_of(row.attack)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (case.x.shape, dtype, case.x.device)
    assert isinstance(threat.eps, float)
    assert (threat.norm.size(x_adv.double() - case.x.double()) <= threat.eps).all()
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    assert (x_adv != case.x).flatten(1).any(dim=1).sum() >= 3


@every_dtype
def test_without_budget_the_input_comes_back(row: Row, case: Case, dtype: torch.dtype, stop: Stop) -> None:
    case = case.to(dtype)
    assert torch.equal(case.under(row.at(0.0), stop=stop), case.x)


@every_stop
def test_a_budget_per_example_is_the_budget_of_each_alone(
    row: Row, case: Case, stop: Stop, alone: tuple[int, ...]
) -> None:
    eps = threat_of(row.attack).eps
    assert isinstance(eps, float)
    each = tuple(eps * factor for factor in (1.0, 0.5, 0.0, 1.0, 2.0, 0.1, 1.0))
    in_batch = case.under(row.at(each), stop=stop)
    for i in alone:
        own = case.take(torch.tensor([i])).under(row.at(each[i]), stop=stop)
        assert torch.allclose(in_batch[i : i + 1], own, rtol=0, atol=1e-9)


def test_units_change_the_answer_by_their_factor_only(row: Row, case: Case) -> None:
    in_bytes = row.in_bytes()(lambda x: case.model(x / 255), 255 * case.x, case.y, ids=case.ids)
    assert torch.allclose(in_bytes / 255, case.under(row.attack), rtol=0, atol=1e-7)
    assert threat_of(row.in_bytes()).contains(255 * case.x, in_bytes).all()


def signals(classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(35, classes))


def pictures(classes: int) -> nn.Module:
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, classes)
    return nn.Sequential(*layers)


def table(classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Softplus(), nn.Linear(8, classes))


def volumes(classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), nn.Linear(12, classes))


SIGNAL, PICTURE, VOLUME = (2, 9), (3, 6, 9), (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("make", "shape", "classes"),
    [(signals, SIGNAL, 3), (pictures, PICTURE, 2), (pictures, PICTURE, 10), (table, (5,), 2), (volumes, VOLUME, 3)],
)
def test_any_shape_and_any_number_of_classes(
    row: Row, make: Callable[[int], nn.Module], shape: tuple[int, ...], classes: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        model, x = make(classes).eval(), row.suited(torch.rand(5, *shape))
    y = model(x).argmax(dim=1)
    x_adv = row.attack(model, x, y)
    assert x_adv.shape == x.shape
    assert threat_of(row.attack).contains(x, x_adv).all()
    if row.climbs and not row.picks:
        assert (row.climbs(model(x_adv), y) > row.climbs(model(x), y)).any()
    else:
        assert row.nearest or (x_adv != x).any()


def test_one_example_is_a_batch(row: Row, case: Case) -> None:
    one = case.take(torch.tensor([4]))
    assert one.under(row.attack).shape == (1, 1, 6, 8)


def test_the_memory_layout_is_kept_and_changes_nothing(row: Row, case: Case) -> None:
    x = case.x.expand(-1, 2, -1, -1).contiguous(memory_format=torch.channels_last)
    assert isinstance(case.model, nn.Module)
    model = nn.Sequential(nn.Conv2d(2, 1, 1), case.model).double().eval()
    x_adv = row.attack(model, x, case.y, ids=case.ids)
    assert x_adv.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(x_adv, row.attack(model, x.contiguous(), case.y, ids=case.ids), rtol=0, atol=1e-9)


def test_inputs_with_common_memory_are_not_changed(row: Row, case: Case) -> None:
    one = case.x[4:5].clone()
    shared = one.expand(7, -1, -1, -1)
    x_adv = row.attack(case.model, shared, case.y[4].expand(7), ids=case.ids)
    assert torch.equal(shared[0], case.x[4])
    assert torch.allclose(x_adv, row.attack(case.model, shared.clone(), case.y[4].repeat(7), ids=case.ids), atol=1e-9)
