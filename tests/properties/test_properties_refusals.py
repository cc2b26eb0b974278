"""Refusals of every attack: errors name the fault and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

if TYPE_CHECKING:
    from tests.properties.conftest import Case, Row

Answer = Callable[[Tensor], object]


def changed(x: Tensor, value: float) -> Tensor:
    x = x.clone()
    x[3, 0, 2, 1] = value
    return x


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: replace(c, x=c.x[:0], y=c.y[:0]), r"a batch \(N, ...\) with N >= 1, got shape \(0, 1, 6, 8\)"),
        (lambda c: replace(c, x=c.x[:, 0, 0, 0]), r"a batch \(N, ...\) with N >= 1, got shape \(7,\)"),
        (lambda c: replace(c, x=(255 * c.x).byte()), r"floating point in \(0.0, 1.0\), got torch.uint8.*write x / 255"),
        (lambda c: replace(c, x=changed(c.x, torch.nan)), "inputs contain NaN"),
        (lambda c: replace(c, x=changed(c.x, torch.inf)), "inputs contain NaN or infinite values"),
        (lambda c: replace(c, x=255 * c.x), r"inputs lie in \[0, 255\], outside the bounds \(0.0, 1.0\)"),
        (lambda c: replace(c, x=changed(c.x, -0.25)), r"inputs lie in \[-0.25, 1\], outside the bounds"),
        (lambda c: replace(c, y=c.y[:6]), r"labels must have shape \(7,\) like the inputs, got \(6,\)"),
        (lambda c: replace(c, y=c.y[:, None]), r"labels must have shape \(7,\) like the inputs, got \(7, 1\)"),
        (
            lambda c: replace(c, y=c.y + 3),
            r"labels (go up to 5, but|must be class numbers 0..3, got 3..5)",
        ),
        (lambda c: replace(c, y=c.y - 1), r"labels must be class numbers 0..(K-1|3), got -1"),
        (lambda c: replace(c, ids=c.ids[:3]), r"ids must have shape \(7,\) like the inputs, got \(3,\)"),
    ],
)
def test_inputs_and_labels_that_cannot_be(row: Row, case: Case, spoil: Callable[[Case], Case], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spoil(case).under(row.attack)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), r"targets must have shape \(7,\) like the inputs, got \(3,\)"),
        (torch.full((7,), 9), r"(labels go up to 9, but the model has 4 classes|must be class numbers 0..3, got 9)"),
    ],
)
def test_targets_that_cannot_be(directed: Row, case: Case, target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        case.under(directed.attack, target=target)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32], ids=str)
def test_labels_that_are_no_class_numbers(row: Row, case: Case, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"labels must be class numbers .* int64, got \(7,\) {dtype}"):
        replace(case, y=case.y.to(dtype)).under(row.attack)


def test_another_number_of_budgets_than_examples(row: Row, case: Case) -> None:
    with pytest.raises(ValueError, match="one eps per example: got 3 for 7 examples"):
        case.under(row.at((0.1, 0.1, 0.1)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda z: (z,), "the model returned a tuple, expected logits .* robustlab.models.adapted"),
        (lambda z: {"logits": z}, "the model returned a dict, expected logits .* robustlab.models.adapted"),
        (lambda z: z[:, 0], r"the model returned \(7,\) torch.float64 for 7 inputs"),
        (lambda z: z * torch.nan, "the model returned NaN"),
        (lambda z: torch.where(torch.arange(len(z))[:, None] == 1, torch.nan, z), "the model returned NaN"),
    ],
)
def test_models_that_do_not_answer_with_logits(row: Row, case: Case, answer: Answer, message: str) -> None:
    def model(x: Tensor) -> Tensor:
        return answer(case.model(x))  # type: ignore[return-value] # that is the fault

    with pytest.raises(ValueError, match=message):
        replace(case, model=model).under(row.attack)


def test_models_that_write_over_their_input(row: Row, case: Case) -> None:
    def model(x: Tensor) -> Tensor:
        x -= 0.1
        return case.model(x)

    before = case.x.clone()
    with pytest.raises((ValueError, RuntimeError), match=r"in place|in-place"):
        replace(case, model=model).under(row.attack)
    assert torch.equal(case.x, before)


def test_a_stop_that_is_none(row: Row, case: Case) -> None:
    with pytest.raises(ValueError, match="stop must be one of success, never, got 'sucess'"):
        case.under(row.attack, stop="sucess")  # type: ignore[arg-type] # that is the fault
