"""Groups of layers from the bottom to the top, a new head, and the open groups of each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn

from robustlab.models import split_bn
from robustlab.training import layer_groups, new_head, sgd, standard
from robustlab.training.unfreezing import Layered, Unfreezing

MakeNet = Callable[..., nn.Sequential]


def names(model: nn.Module) -> list[str]:
    return [group.name for group in layer_groups(model)]


def test_efficientnet_is_divided_at_stem_blocks_head_and_classifier() -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("tf_efficientnet_lite0", num_classes=3)
    inner = ["conv_stem", *(f"blocks.{k}" for k in range(7)), "conv_head", "classifier"]
    assert names(net) == inner
    groups = layer_groups(nn.Sequential(nn.Identity(), net))
    assert [group.name for group in groups] == [f"1.{name}" for name in inner]
    assert groups[0].parts == (net.conv_stem, net.bn1)
    assert [id(p) for group in groups for p in group.parameters] == [id(p) for p in net.parameters()]


def test_every_parameter_is_in_one_group_also_shared_ones_and_those_of_the_module_itself() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Linear(4, 4), nn.Linear(4, 4)
            self.norm = nn.LayerNorm(4)
            self.last = nn.Linear(4, 2)
            self.again.weight = self.first.weight
            self.shift = nn.Parameter(torch.zeros(4))

    odd = Odd()
    groups = layer_groups(odd)
    assert [[p.numel() for p in group.parameters] for group in groups] == [[4, 16, 4], [4, 4, 4], [8, 2]]
    assert groups[0].parameters[0] is odd.shift
    assert groups[1].parts == (odd.again, odd.norm)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (nn.Linear(2, 2), [""]),
        (nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), ["1"]),
        (nn.Sequential(nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9)), nn.Linear(9, 2)), ["0.0", "0.1", "1"]),
        (nn.Sequential(nn.Linear(9, 90), nn.Sequential(nn.Dropout(), nn.Linear(90, 2))), ["0", "1"]),
    ],
)  # fmt: skip
def test_wrappers_are_looked_through_and_large_containers_divided(model: nn.Module, found: list[str]) -> None:
    assert names(model) == found


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(nn.Sequential(nn.Linear(2, 9), nn.BatchNorm1d(9), nn.Linear(9, 2)), nn.Linear(2, 30)),
        nn.Sequential(nn.BatchNorm1d(4)),
    ],
    ids=["norm behind", "container not quite half", "norm alone"],
)  # fmt: skip
def test_auxiliary_norms_are_with_the_main_ones_and_change_no_group(model: nn.Module) -> None:
    plain, split = layer_groups(model), layer_groups(split_bn(model, 3))
    assert [group.name for group in split] == [group.name for group in plain]
    beside = [2 * p.numel() for group in plain for part in group.parts for p in norms_in(part)]
    held = [sum(p.numel() for p in group.parameters) for group in split]
    assert sum(held) == sum(p.numel() for p in model.parameters()) + sum(beside)
    one = next(group for group, was in zip(split, plain, strict=True) if any(True for p in was.parts if norms_in(p)))
    assert any("aux" in name for part in one.parts for name, _ in part.named_parameters())


def norms_in(part: nn.Module) -> list[nn.Parameter]:
    """Parameters of normalisation layers."""
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [p for layer in part.modules() if isinstance(layer, norms) for p in layer.parameters()]


def test_a_model_without_parameters_has_no_groups() -> None:
    with pytest.raises(ValueError, match="a Flatten without parameters has no layers to train"):
        layer_groups(nn.Flatten())


def test_a_new_head_has_weights_of_its_seed_and_leaves_the_others_and_the_random_state_alone(make_net: MakeNet) -> None:
    net, before = make_net(), torch.get_rng_state()
    kept = [p.clone() for p in layer_groups(net)[0].parameters]
    made = [cast(nn.Linear, new_head(net, 3, seed=seed)[-1]).weight.clone() for seed in (0, 0, 1)]
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=0)
    assert not torch.equal(made[1], made[2])
    assert all(torch.equal(a, b) for a, b in zip(kept, layer_groups(net)[0].parameters, strict=True))
    new_head(net, 3)
    assert net[-1].in_features == 128
    torch.set_rng_state(before)
    new_head(net, 3, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_new_head_tells_a_timm_network_its_classes() -> None:
    timm = pytest.importorskip("timm")
    net: Any = new_head(timm.create_model("tf_efficientnet_lite0", num_classes=5), 3)
    assert net.num_classes == 3
    assert net.get_classifier().out_features == 3


@pytest.mark.parametrize(
    ("model", "classes", "said"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Conv2d(1, 2, 3)), 3, "the last layer of Sequential is not linear: give the"),
        (nn.Linear(4, 4), 3, "the last layer of Linear is not linear"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), 1, "at least 2 classes, got 1"),
    ],
)
def test_what_gets_no_new_head(model: nn.Module, classes: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        new_head(model, classes)


def test_rates_fall_from_the_top_down_by_group(make_net: MakeNet) -> None:
    net = make_net()
    optimizer = Layered(sgd(0.5), 0.1, (2,) * 4 + (1,) * 3 + (0,) * 2)(net.parameters())
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05, 0.005])
    held = [[id(p) for p in group["params"]] for group in optimizer.param_groups]
    assert held == [[id(p) for p in group.parameters] for group in reversed(layer_groups(net))]


@pytest.mark.parametrize(
    ("fraction", "openings"),
    [(0.5, {0.0: 2, 0.16: 2, 0.17: 3, 0.33: 3, 0.34: 4, 0.49: 4, 0.5: 5, 0.99: 5}), (1.0, {0.33: 2, 0.34: 3, 0.99: 4})],
)
def test_groups_open_from_the_top_at_equal_distances(fraction: float, openings: dict[float, int]) -> None:
    groups = layer_groups(nn.Sequential(*(nn.Linear(2, 2) for _ in range(5))))
    recipe = Unfreezing(standard(), groups, fraction=fraction)
    for progress, opened in openings.items():
        assert recipe.opened(progress) == opened
        recipe.arrange(progress)
        trained = [all(p.requires_grad for p in group.parameters) for group in groups]
        assert trained == [False] * (5 - opened) + [True] * opened


def test_all_groups_are_open_from_the_start_if_asked_for() -> None:
    groups = layer_groups(nn.Sequential(*(nn.Linear(2, 2) for _ in range(5))))
    assert Unfreezing(standard(), groups, fraction=0.0).opened(0.0) == 5
    assert Unfreezing(standard(), groups[-1:], fraction=0.5).opened(0.0) == 1
