"""Attacks change neither model nor inputs, in any mode, also when the model raises."""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.core import UserCodeError

if TYPE_CHECKING:
    from tests.properties.conftest import Case, Row


class Touchy(nn.Module):
    """BatchNorm, dropout, a buffer that counts, draws from every global generator; raises at a given call."""

    calls: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.norm, self.dropout = net, nn.BatchNorm2d(1), nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.raise_at = -1

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        random.random()
        np.random.rand()  # noqa: NPY002 -- the global generator is what the test is about
        if self.calls == self.raise_at:
            raise RuntimeError("planted")
        return cast("Tensor", self.dropout(self.net(self.norm(x))))


def touchy(case: Case, *, training: bool) -> Touchy:
    """In training mode, apart from one part, or in eval mode, apart from one part; with some gradients."""
    assert isinstance(case.model, nn.Module)
    model = Touchy(case.model).double().train(training)
    model.dropout.train(not training)
    first, second, *_ = model.parameters()
    first.grad = torch.ones_like(first)
    second.requires_grad_(False)
    return model


def state(model: nn.Module) -> list[object]:
    """All that must be as before, as plain values."""
    numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return [
        {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        [(p.requires_grad, None if p.grad is None else p.grad.tolist(), p._version) for p in model.parameters()],
        [(type(part), part.training) for part in model.modules()],
        [list(part._forward_hooks) + list(part._forward_pre_hooks) for part in model.modules()],
        [torch.get_rng_state().tolist(), random.getstate(), str(numpy)],
    ]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("stop", ["success", "never"])
def test_models_are_left_as_they_were(row: Row, case: Case, stop: str, *, training: bool) -> None:
    model = touchy(case, training=training)
    grad = next(model.parameters()).grad
    before = state(model)
    row.attack(model, case.x, case.y, stop="never" if stop == "never" else "success", ids=case.ids)
    assert state(model) == before
    assert next(model.parameters()).grad is grad


@pytest.mark.parametrize("raise_at", [1, 2, 3])
def test_models_that_raise_are_left_as_they_were(row: Row, case: Case, raise_at: int) -> None:
    model = touchy(case, training=True)
    before = state(model)
    model.raise_at = raise_at
    with pytest.raises(UserCodeError, match="planted") if raise_at == 1 else suppress(UserCodeError):
        row.attack(model, case.x, case.y)
    assert state(model) == before


def test_what_was_given_is_left_as_it_was(directed: Row, case: Case) -> None:
    given = case.x.requires_grad_(), case.y, case.target, case.ids
    before = [(tensor.detach().clone(), tensor._version) for tensor in given]
    case.under(directed.attack, target=case.target)
    for tensor, (values, version) in zip(given, before, strict=True):
        assert torch.equal(tensor, values)
        assert tensor._version == version
        assert tensor.grad is None


def test_the_answer_is_a_new_tensor_without_gradient(row: Row, case: Case) -> None:
    x_adv = row.at(0.0)(case.model, case.x.requires_grad_(), case.y)
    assert not x_adv.requires_grad
    assert x_adv.grad_fn is None
    assert x_adv.data_ptr() != case.x.data_ptr()
    x_adv.zero_()
    assert case.x.any()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
def test_a_backward_pass_that_waits_can_still_be_done(row: Row, case: Case, *, training: bool) -> None:
    assert isinstance(case.model, nn.Module)
    model = nn.Sequential(nn.BatchNorm2d(1), copy.deepcopy(case.model)).double().train(training)
    weight = next(model.parameters())
    loss = model(case.x).square().sum()
    (expected,) = torch.autograd.grad(loss, weight, retain_graph=True)
    row.attack(model, case.x, case.y)
    loss.backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode_the_answer_is_the_same(directed: Row, case: Case, mode: type) -> None:
    expected = case.under(directed.attack), case.under(directed.attack, target=case.target)
    with mode():
        x, y, target, ids = (tensor.clone() for tensor in (case.x, case.y, case.target, case.ids))
        answers = directed.attack(case.model, x, y, ids=ids), directed.attack(case.model, x, y, target=target, ids=ids)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert all(torch.equal(*pair) for pair in zip(answers, expected, strict=True))


def test_parameters_without_gradient_are_no_hindrance(row: Row, case: Case) -> None:
    expected = case.under(row.attack)
    assert isinstance(case.model, nn.Module)
    case.model.requires_grad_(False)
    assert torch.equal(case.under(row.attack), expected)


def test_anomaly_mode_has_nothing_to_say(row: Row, case: Case) -> None:
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        case.under(row.attack)
