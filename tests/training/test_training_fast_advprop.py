"""Fast AdvProp: the parts of a batch, their routes, and the weight of each example."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Batch, Linf, Streams, ThreatModel, fold_in, taking
from robustlab.core.routes import routed_parts
from robustlab.data import InMemory
from robustlab.models import BatchNormCNN, split_bn
from robustlab.training import FastAdvProp, Settings, fast_advprop, fit
from robustlab.training.recipes.fast_advprop import divided

EPS = 0.1
THREAT = ThreatModel(Linf(), EPS)
DRAW = torch.Generator().manual_seed(9)
X = torch.rand(10, 1, 8, 8, generator=DRAW, dtype=torch.float64) * 0.6 + 0.2  # away from the bounds
BATCH = Batch(X, torch.randint(4, (10,), generator=DRAW), torch.arange(30, 40), 17)
MakeNet = Callable[..., nn.Sequential]


def _step(model: nn.Module, recipe: FastAdvProp, batch: Batch = BATCH) -> tuple[dict[str, float], list[Tensor]]:
    """The metrics of one step, and the inputs of its passes."""
    seen: list[Tensor] = []
    hook = model.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    model.train()
    found = recipe.step(model, batch, recipe.init(model), lambda loss: loss.backward())
    hook.remove()
    return found, seen


def test_a_fifth_of_the_batch_is_passed_twice_by_the_auxiliary_route_and_never_clean(make_net: MakeNet) -> None:
    model = split_bn(make_net(dropout=0.0).double())
    _, (clean, start, hard) = _step(model, fast_advprop(THREAT))
    assert torch.equal(clean, X[:8])
    for moved in (start, hard):
        assert moved.shape == X[8:].shape
        assert 0 < float((moved - X[8:]).abs().amax()) <= EPS + 1e-9
    counts = {"main": 1, "aux": 2}
    for part in routed_parts(model):
        norms = {"main": part.main, "aux": part.aux[0]}
        assert {name: int(cast(Tensor, norm.num_batches_tracked)) for name, norm in norms.items()} == counts


def test_the_step_goes_uphill_by_the_gradient_of_the_pass_that_trains(make_net: MakeNet) -> None:
    model = split_bn(make_net(dropout=0.0).double())
    apart = copy.deepcopy(model).train()
    _, (_, start, hard) = _step(model, fast_advprop(THREAT, step_size=0.03))
    assert torch.equal(start, THREAT.sample(X[8:], Streams(fold_in(17, 0xFA57), BATCH.ids[8:])))
    leaf = start.clone().requires_grad_()
    with taking(apart, 1):
        F.cross_entropy(apart(leaf), BATCH.y[8:]).backward()
    expected = THREAT.project(X[8:], start + 0.03 * cast(Tensor, leaf.grad).sign())
    assert torch.equal(hard, expected)


def test_each_example_counts_once_and_norms_learn_from_those_on_their_route(make_net: MakeNet) -> None:
    model = split_bn(make_net(dropout=0.0).double())
    apart = copy.deepcopy(model).train()
    found, (clean, start, hard) = _step(model, fast_advprop(THREAT))
    losses = [F.cross_entropy(apart(clean), BATCH.y[:8], reduction="sum")]
    with taking(apart, 1):
        losses += [0.5 * F.cross_entropy(apart(x), BATCH.y[8:], reduction="sum") for x in (start, hard)]
    (sum(losses, torch.zeros((), dtype=torch.float64)) / 10).backward()
    share = {id(weight): 0.8 for part in routed_parts(apart) for weight in part.main.parameters()}
    share |= {id(weight): 0.2 for part in routed_parts(apart) for weight in part.aux.parameters()}
    for weight, expected in zip(model.parameters(), apart.parameters(), strict=True):
        by_hand = cast(Tensor, expected.grad) / share.get(id(expected), 1.0)
        assert torch.allclose(cast(Tensor, weight.grad), by_hand, atol=1e-12)
    assert found["loss"] == pytest.approx(sum(loss.item() for loss in losses) / 10, rel=1e-5)


def test_gradients_of_earlier_parts_are_added_to(make_net: MakeNet) -> None:
    model = split_bn(make_net(dropout=0.0).double())
    _step(model, fast_advprop(THREAT))
    once = [cast(Tensor, weight.grad).clone() for weight in model.parameters()]
    for part in routed_parts(model):
        part.main.running_mean.zero_()  # type: ignore[operator]
    _step(model, fast_advprop(THREAT))
    for weight, before in zip(model.parameters(), once, strict=True):
        assert torch.allclose(cast(Tensor, weight.grad), 2 * before, atol=1e-9)
        assert not weight._backward_hooks


def test_a_part_too_small_for_statistics_is_left_out() -> None:
    for size, rest in ((100, 20), (10, 2), (7, 0), (3, 0), (1, 0)):
        some = Batch(torch.zeros(size, 1, 2, 2), torch.zeros(size, dtype=torch.int64), torch.arange(size), 5, 0.5)
        clean, other = divided(some, 0.2)
        assert (len(clean.x), len(other.x)) == (size - rest, rest)
        assert torch.equal(torch.cat([clean.ids, other.ids]), some.ids)
        assert (clean.seed, other.progress) == (5, 0.5)


def test_it_learns(squares: InMemory) -> None:
    model = split_bn(BatchNormCNN(4, 1, 8))
    history = fit(
        model, fast_advprop(ThreatModel(Linf(), 0.01)), squares, Settings(epochs=8, batch_size=16, device="cpu")
    )
    assert history.epochs[-1]["accuracy"] > 0.9
    assert history.epochs[-1]["adversarial_accuracy"] > 0.8


def test_what_it_cannot_do_it_says(make_net: MakeNet) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"fraction": 1.0}, "fraction of each batch"),
        ({"step_size": 0.0}, "step_size must be > 0"),
        ({"weights": (1.0, -1.0, 0.0)}, "weights are three numbers >= 0"),
        ({"smoothing": 1.0}, "smoothing"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            fast_advprop(THREAT, **options)
    with pytest.raises(ValueError, match="needs 2 routes"):
        fast_advprop(THREAT).init(make_net())
