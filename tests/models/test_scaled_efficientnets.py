"""EfficientNets at small sizes: stride, width and noise by name, the right normalisation, files that tell it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from torch import Tensor, nn

from robustlab.core.routes import routed_parts
from robustlab.core.twin import search_twin
from robustlab.models import efficientnet, exported, load, names, save, split_bn
from robustlab.models.scaled import Fit, fitted_name, of_width

GREY = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(4))
B = [f"efficientnet_b{n}" for n in range(8)]
LITE = [f"efficientnet_lite{n}" for n in range(5)]


def _side_after_stem(model: nn.Module, size: int) -> int:
    seen: list[int] = []
    conv = cast("nn.Conv2d", model.get_submodule("model.conv_stem"))
    hook = conv.register_forward_hook(lambda _, __, out: seen.append(out.shape[-1]))
    with torch.no_grad():
        model(torch.rand(1, conv.in_channels, size, size))
    hook.remove()
    return seen[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("timm:efficientnet_b0,stride=1,width=0.25", 28),
        ("timm:efficientnet_b0,stride=2,width=0.25", 14),
        ("timm:efficientnet_b0", 32),  # enlarged to 64 pixels
        ("tf_efficientnet_lite0,stride=1", 28),
        ("efficientnet-lite0,stride=1", 28),
        ("efficientnet-lite0,stride=2,width=0.5", 14),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_keep_their_size_once_the_stride_is_given(name: str, side: int, channels: int) -> None:
    model = load(name, classes=7, channels=channels, size=28)
    assert _side_after_stem(model, 28) == side
    with torch.no_grad():
        assert model(torch.rand(2, channels, 28, 28)).shape == (2, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*B, *LITE])
def test_width_one_is_the_published_network(name: str) -> None:
    with torch.device("meta"):
        ours, published = of_width(name, 1.0), timm.create_model(name)
    shapes = [{key: tuple(value.shape) for key, value in net.state_dict().items()} for net in (ours, published)]
    assert shapes[0] == shapes[1]


def test_half_the_width_has_about_a_quarter_of_the_weights_and_as_many_layers() -> None:
    with torch.device("meta"):
        half, whole = (of_width("efficientnet_b2", width, num_classes=10) for width in (0.5, 1.0))
    counts = [sum(p.numel() for p in net.parameters()) for net in (half, whole)]
    assert 0.22 < counts[0] / counts[1] < 0.32
    assert [*half.state_dict()] == [*whole.state_dict()]


def test_a_plain_timm_network_loads_the_weights_and_gives_the_same_logits() -> None:
    model = split_bn(load("efficientnet_b0,stride=1", classes=5, channels=1, size=28))
    plain = timm.create_model("efficientnet_b0", num_classes=5, in_chans=1).eval()
    cast("nn.Conv2d", plain.conv_stem).stride = (1, 1)
    plain.load_state_dict(exported(model))
    normalise = model.get_submodule("normalise")
    with torch.no_grad():
        assert torch.equal(plain(normalise(GREY)), model(GREY))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["timm:efficientnet_b0,stride=1,width=0.25,dropout=0.5,drop_path=0.2", "resnet18,stride=1"]
)
def test_a_file_stores_stride_width_noise_and_routes(name: str, tmp_path: Path) -> None:
    model = split_bn(load(name, classes=4, channels=1, size=28, seed=3))
    save(model, tmp_path / "some.safetensors")
    again = load(checkpoint=tmp_path / "some.safetensors")
    assert vars(again)["architecture"] == vars(model)["architecture"]
    assert {part.routes for part in routed_parts(again)} == {2}
    with torch.no_grad():
        assert torch.equal(again(GREY), model(GREY))


def test_noise_is_there_in_training_alone() -> None:
    model = load("efficientnet_b0,stride=2,width=0.25,dropout=0.5,drop_path=0.5", classes=4, channels=1, size=28)
    assert cast(Any, model.get_submodule("model")).drop_rate == 0.5
    rates = [cast(Any, part).drop_prob for part in model.modules() if type(part).__name__ == "DropPath"]
    assert rates == sorted(rates)  # linearly more towards the end
    assert 0.4 < rates[-1] < 0.5
    with torch.no_grad():
        assert torch.equal(model(GREY), model(GREY))


def test_the_search_twin_folds_its_norms() -> None:
    model = load("efficientnet_b0,stride=1,width=0.25", classes=4, channels=1, size=28)
    twin = search_twin(model, GREY)
    assert not any("BatchNorm" in type(part).__name__ for part in cast("nn.Module", twin.search).modules())


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("tf_efficientnet_b0.ap_in1k", (0.5, 0.5, 0.5)),
        ("tf_efficientnet_b0.ns_jft_in1k", (0.485, 0.456, 0.406)),
        ("tf_efficientnet_b0.in1k", (0.485, 0.456, 0.406)),
        ("efficientnet_b0.ra_in1k", (0.485, 0.456, 0.406)),
    ],
)
def test_each_checkpoint_gets_its_own_normalisation(
    name: str, mean: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = timm.create_model

    def created(bare: str, *, pretrained: bool, **more: Any) -> nn.Module:  # noqa: ANN401
        assert pretrained  # without a hub
        return original(bare, pretrained=False, **more)

    monkeypatch.setattr(timm, "create_model", created)
    model = load(f"timm:{name}", pretrained=True)
    assert cast(Tensor, model.get_submodule("normalise").mean).flatten().tolist() == pytest.approx(mean)
    deviation = 0.5 if mean[0] == 0.5 else 0.229
    assert float(cast(Tensor, model.get_submodule("normalise").std)[0]) == pytest.approx(deviation)


def test_all_advprop_checkpoints_take_inputs_from_minus_one_to_one() -> None:
    found = timm.list_pretrained("*.ap_in1k")
    assert len(found) >= 8
    for name in found:
        cfg = cast(Any, timm.get_pretrained_cfg(name))
        assert (*cfg.mean, *cfg.std) == (0.5,) * 6, name


def test_options_that_cannot_be_say_so() -> None:
    for word in ("stride", "stride=one", "depth=2", "width=-1"):
        with pytest.raises(ValueError, match=rf"'{word}' in .* is none of stride=1, width=0.5"):
            load(f"efficientnet_b0,{word}")
    with pytest.raises(ValueError, match="1 or 2, got 4 in 'efficientnet_b0,stride=4'"):
        load("efficientnet_b0,stride=4", classes=2)
    with pytest.raises(ValueError, match=r"width must be > 0, dropout and drop_path in \[0, 1\)"):
        load("efficientnet_b0,dropout=1", classes=2)
    with pytest.raises(ValueError, match=r"width is for efficientnet_b0 to b7 .* got 'resnet18'"):
        load("resnet18,width=0.5", classes=2)
    with pytest.raises(ValueError, match=r"efficientnet_b0 with width 0\.5: set pretrained=False"):
        load("efficientnet_b0,width=0.5", pretrained=True)
    with pytest.raises(ValueError, match="does not begin with a convolution of stride 1 or 2"):
        load("vit_tiny_patch16_224,stride=1", classes=2)
    with pytest.raises(ValueError, match="did you mean"):
        load("efficientnet_bo,stride=1", classes=2)


def test_a_name_has_the_options_that_differ_from_the_published_network() -> None:
    for text, fit in (
        ("efficientnet_b0", Fit()),
        ("efficientnet_b0,stride=1", Fit(1)),
        ("efficientnet_b0,width=0.5,drop_path=0.2", Fit(width=0.5, drop_path=0.2)),
    ):
        assert fitted_name(text) == ("efficientnet_b0", fit)
        assert f"efficientnet_b0{fit}" == text
    assert "timm:NAME" in names()


@pytest.mark.skipif(efficientnet.weights_path() is None, reason="the weights' package is not installed")
def test_published_weights_fit_another_stride() -> None:
    near, far = (load(f"efficientnet-lite0{fit}", pretrained=True, channels=3, size=32) for fit in (Fit(1), Fit(2)))
    assert torch.equal(near.get_parameter("model.conv_stem.weight"), far.get_parameter("model.conv_stem.weight"))
    assert (_side_after_stem(near, 32), _side_after_stem(far, 32)) == (32, 16)
