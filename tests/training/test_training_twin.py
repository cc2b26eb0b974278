"""The training twin of a model."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.training import Settings, fit, trades
from robustlab.training import training_twin as follower
from robustlab.training.training_twin import forget, training_twin

X = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class Residual(nn.Module):
    """A convolution whose output two layers take, BatchNorm without offset, and one after a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.other = nn.Conv2d(4, 4, 3, padding=1)
        self.bare = nn.BatchNorm2d(4, affine=False)
        self.dense = nn.Linear(256, 6)
        self.last = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv(x)
        return self.last(self.dense((first + self.bare(self.other(self.norm(first)))).flatten(1)))  # type: ignore[no-any-return]


class Branching(nn.Module):
    """A network whose path depends on the values, so that there is no twin."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.norm(self.conv(x))
        return h.mean(dim=(2, 3)) if x.mean() > 0 else h.amax(dim=(2, 3))


def disturb(model: nn.Module, seed: int) -> None:
    """Changes weights in place, and running statistics, as a training step does."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=draw), alpha=0.3)


@pytest.mark.parametrize("make", [Residual, lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3))])
def test_the_twin_follows_every_weight_and_statistic(make: Callable[[], nn.Module]) -> None:
    model = make().eval()
    disturb(model, 0)
    before = model(X)
    for seed in (1, 2, 3):
        twin = training_twin(model, X)
        assert twin.search is not model
        torch.testing.assert_close(twin.search(X), model(X), rtol=1e-4, atol=1e-5)
        disturb(model, seed)
        assert (model(X) - before).abs().max() > 1e-2  # so the disturbances are not too small to see


def test_a_model_that_decides_by_values_searches_with_itself() -> None:
    model = Branching().eval()
    assert training_twin(model, X).search is model


def test_norms_after_convolutions_are_folded(make_net: Callable[..., nn.Sequential]) -> None:
    twin = training_twin(make_net().eval(), X)
    assert isinstance(twin.search, nn.Module)
    assert not [part for part in twin.search.modules() if isinstance(part, nn.BatchNorm2d)]


def test_crafting_asks_for_no_gradient_of_weights(make_net: Callable[..., nn.Sequential]) -> None:
    model = make_net().eval()
    twin = training_twin(model, X)
    assert isinstance(twin.search, nn.Module)
    assert not [p for p in twin.search.parameters() if p.requires_grad]
    assert all(p.requires_grad for p in model.parameters())


def test_a_model_that_was_rebuilt_gets_another_twin(make_net: Callable[..., nn.Sequential]) -> None:
    model = make_net().eval()
    before = training_twin(model, X).search
    assert training_twin(model, X).search is before
    model[2] = nn.Tanh().eval()
    torch.testing.assert_close(training_twin(model, X).search(X), model(X), rtol=1e-4, atol=1e-5)
    after = training_twin(model, X).search
    forget(model)
    assert training_twin(model, X).search is not after


def test_in_training_mode_the_model_searches_with_itself(make_net: Callable[..., nn.Sequential]) -> None:
    model = make_net()
    assert training_twin(model, X).search is model
    model.eval()[1].train()
    assert training_twin(model, X).search is model


@pytest.mark.slow
def test_a_follower_does_not_keep_its_model_alive(make_net: Callable[..., nn.Sequential]) -> None:
    model = make_net().eval()
    training_twin(model, X)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_run_leaves_no_twin_behind(squares: InMemory, make_net: Callable[..., nn.Sequential]) -> None:
    """A twin belongs to a run: a model that is changed after the run gets a new one."""
    model, recipe, way = make_net(), trades(ThreatModel(Linf(), 0.1), steps=1), Settings(1)
    seen: list[bool] = []
    fit(model, recipe, squares, way, progress=lambda _: seen.append(model in follower._TWINS))
    assert all(seen)
    assert model not in follower._TWINS
