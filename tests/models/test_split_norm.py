"""Auxiliary norms: who sees which route, what stays shared, and what a plain timm model gets of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from torch import Tensor, nn

from robustlab.core import Routed, search_twin
from robustlab.core.routes import routed_parts
from robustlab.models import (
    BatchNormCNN,
    PatchMixer,
    ResidualCNN,
    ShallowCNN,
    exported,
    load,
    merged,
    normalised,
    save,
    split_bn,
    taking,
)

DRAW = torch.Generator().manual_seed(3)
GREY, COLOUR = (torch.rand(4, channels, 32, 32, generator=DRAW) for channels in (1, 3))


def _moved(model: nn.Module, route: int, shift: float) -> nn.Module:
    """The same model after some passes on one route, so that its norms differ from the others."""
    model.train()
    with taking(model, route), torch.no_grad():
        for _ in range(3):
            model(COLOUR + shift)
    return model.eval()


def _norms(model: nn.Module, route: int) -> list[nn.BatchNorm2d]:
    parts = ((part.main, *part.aux)[route] for part in routed_parts(model))
    return [cast("nn.BatchNorm2d", norm) for norm in parts]


def test_a_split_model_is_at_first_the_same_on_every_route() -> None:
    model = ResidualCNN(channels=1).eval()
    split = split_bn(model, routes=3)
    for route in range(3):
        with taking(split, route):
            assert torch.equal(split(GREY), model(GREY))
    assert not routed_parts(model)
    assert {part.routes for part in routed_parts(split)} == {3}


def test_a_pass_uses_and_changes_the_norms_of_its_route_alone() -> None:
    torch.manual_seed(0)
    split = split_bn(BatchNormCNN(channels=3, size=32).train(), routes=3)
    with taking(split, 2):
        split(COLOUR).sum().backward()
    for route in range(3):
        for norm in _norms(split, route):
            assert int(cast(Tensor, norm.num_batches_tracked)) == (route == 2)
            assert (norm.weight.grad is not None) == (route == 2)
    first = cast("nn.Conv2d", cast("nn.Sequential", split.features)[0])
    by_hand = first(COLOUR).mean(dim=(0, 2, 3))  # the first norm saw this, with a momentum of 0.1 from 0
    assert torch.allclose(cast(Tensor, _norms(split, 2)[0].running_mean), 0.1 * by_hand, atol=1e-6)
    assert torch.equal(cast(Tensor, _norms(split, 0)[0].running_mean), torch.zeros(32))


def test_the_route_is_put_back_however_the_block_ends() -> None:
    split = split_bn(BatchNormCNN())
    with taking(split, 1), taking(split, 0):
        assert {part.route for part in routed_parts(split)} == {0}
    with pytest.raises(KeyError, match="gone"), taking(split, 1):
        raise KeyError("gone")
    assert {part.route for part in routed_parts(split)} == {0}


def test_models_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(ValueError, match="ShallowCNN holds no BatchNorm to be split: AdvProp"):
        split_bn(ShallowCNN())
    with pytest.raises(ValueError, match=r"its norms are .*Norm.*, which keep no statistics of batches"):
        split_bn(timm.create_model("vit_tiny_patch16_224", num_classes=2, depth=1))
    with pytest.raises(ValueError, match="split already"):
        split_bn(split_bn(BatchNormCNN()))
    with pytest.raises(ValueError, match="at least one beside it, got 1"):
        split_bn(BatchNormCNN(), routes=1)
    for model, route, most in ((split_bn(BatchNormCNN()), 2, 1), (PatchMixer(), 1, 0)):
        message = f"route {route} does not lead through this .*, whose routes are 0 to {most}: make more"
        with pytest.raises(ValueError, match=message), taking(model, route):
            raise AssertionError("not reached")


def test_a_norm_by_itself_and_one_with_two_names_are_split_once() -> None:
    assert isinstance(split_bn(nn.BatchNorm1d(3)), Routed)
    norm = nn.BatchNorm1d(4)
    split = cast("nn.Sequential", split_bn(nn.Sequential(norm, nn.ReLU(), norm)))
    assert split[0] is split[2]
    plain = cast("nn.Sequential", merged(split))
    assert plain[0] is plain[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_100"])
def test_a_plain_timm_model_loads_exported_weights_and_gives_the_same_logits(name: str) -> None:
    kind = cast("dict[str, Any]", {"num_classes": 5})
    torch.manual_seed(1)
    split = split_bn(normalised(timm.create_model(name, **kind), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    _moved(_moved(split, 1, 3.0), 0, 0.5)
    plain = timm.create_model(name, **kind).eval()
    plain.load_state_dict(exported(split))  # strict
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    with torch.no_grad():
        assert torch.equal(plain((COLOUR - mean) / std), split(COLOUR))
        assert torch.equal(merged(split)(COLOUR), split(COLOUR))
        with taking(split, 1):
            assert not torch.allclose(plain((COLOUR - mean) / std), split(COLOUR), atol=1e-2)


def test_activations_inside_the_norms_of_timm_are_kept_on_every_route() -> None:
    net = timm.create_model("efficientnet_b0", num_classes=5).eval()
    inner = [part for part in net.modules() if type(part).__name__ == "BatchNormAct2d"]
    split = split_bn(net)
    for route in (0, 1):
        kinds = [[type(part).__name__ for part in norm.modules()] for norm in _norms(split, route)]
        assert kinds == [[type(part).__name__ for part in norm.modules()] for norm in inner]


@pytest.mark.slow
def test_the_search_twin_folds_the_norms_of_the_route_it_is_made_on() -> None:
    split = split_bn(timm.create_model("resnet18", num_classes=5))
    _moved(split, 1, 3.0)
    for route in (0, 1):
        with taking(split, route), torch.no_grad():
            twin, expected = search_twin(split, COLOUR), split(COLOUR)
        assert twin.distinct
        assert not any(isinstance(part, nn.BatchNorm2d) for part in cast("nn.Module", twin.search).modules())
        with torch.no_grad():  # outside the block
            assert torch.allclose(twin.searched(COLOUR), expected, rtol=1e-3, atol=1e-4)


def test_a_file_stores_the_number_of_routes_and_the_merged_one_is_plain(tmp_path: Path) -> None:
    split = _moved(split_bn(load("batchnorm-cnn", classes=4, channels=3, size=32), routes=3), 2, 1.0)
    save(split, tmp_path / "split.safetensors")
    again = load(checkpoint=tmp_path / "split.safetensors")
    for route in range(3):
        with taking(split, route), taking(again, route):
            assert torch.equal(split(COLOUR), again(COLOUR))
    save(merged(split), tmp_path / "plain.safetensors")
    plain = load(checkpoint=tmp_path / "plain.safetensors")
    assert isinstance(plain, BatchNormCNN)
    assert not routed_parts(plain)
    assert torch.equal(plain(COLOUR), split(COLOUR))
