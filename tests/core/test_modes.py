from __future__ import annotations

import random
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.core import frozen


class Careless(nn.Module):
    """Draws from every global generator, counts its calls in a buffer and raises when it is told to."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.raises = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        random.random()
        np.random.rand()  # noqa: NPY002 -- the global generator is what the test is about
        if self.raises:
            raise RuntimeError("planted")
        return cast("Tensor", self.dropout(self.norm(self.first(x))))


@pytest.fixture
def model() -> Iterator[Careless]:
    """In mixed modes, with a gradient on one parameter and another without requires_grad."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Careless()
        model.norm.eval()
        model.first.weight.grad = torch.ones(3, 4)
        model.norm.weight.requires_grad_(False)
        yield model


def state(model: nn.Module) -> list[object]:
    """All that has to be as before, as plain values."""
    modes = [part.training for part in model.modules()]
    buffers = [buffer.tolist() for buffer in model.buffers()]
    gradients = [(p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in model.parameters()]
    numpy = np.random.get_state(legacy=False)["state"]["key"].tolist()  # noqa: NPY002
    return [modes, buffers, gradients, torch.get_rng_state().tolist(), random.getstate(), numpy]


@pytest.mark.parametrize("training", [None, True, False])
def test_everything_is_put_back(model: Careless, *, training: bool | None) -> None:
    before, grad = state(model), model.first.weight.grad
    with frozen(model, training=training):
        model(torch.rand(5, 4)).sum().backward()
        model.first.weight.requires_grad_(False)
        model.norm.weight.requires_grad_()
        model.dropout.train(not model.dropout.training)
        assert state(model) != before
    assert state(model) == before
    assert model.first.weight.grad is grad


def test_everything_is_put_back_when_the_model_raises(model: Careless) -> None:
    before = state(model)
    model.raises = True
    with pytest.raises(RuntimeError, match="planted"), frozen(model, training=True):
        model(torch.rand(5, 4))
    assert state(model) == before


@pytest.mark.parametrize("training", [True, False])
def test_each_module_is_put_into_the_mode(model: Careless, *, training: bool) -> None:
    with frozen(model, training=training):
        assert [part.training for part in model.modules()] == [training] * 4


def test_without_a_mode_the_modes_stay(model: Careless) -> None:
    with frozen(model):
        assert not model.norm.training
        assert model.dropout.training


def test_batch_statistics_of_training_mode_are_put_back() -> None:
    norm = nn.BatchNorm1d(3)
    norm(torch.rand(8, 3))
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with frozen(norm):
        norm(torch.rand(8, 3) + 5)
        assert not torch.equal(norm.get_buffer("running_mean"), before["running_mean"])
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


def test_a_replaced_buffer_is_the_old_one_again(model: Careless) -> None:
    calls = model.calls
    with frozen(model):
        model.calls = torch.ones(())
    assert model.calls is calls


@pytest.mark.parametrize("training", [True, False])
def test_a_graph_from_before_the_block_can_still_be_differentiated(*, training: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train(training)
    x = torch.rand(5, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(model(x).square().sum(), x, retain_graph=True)
    out = model(x)
    with frozen(model, training=True):
        model(torch.rand(5, 4))
    out.square().sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, expected)


def test_of_a_plain_function_the_random_state_is_kept() -> None:
    before = torch.get_rng_state()
    with frozen(lambda x: x + torch.rand(())):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
