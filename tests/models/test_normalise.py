"""The first layers on inputs of any number of axes: channels are axis 1."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import search_twin
from robustlab.models import Normalise, normalised
from robustlab.models.layers import Enlarge
from robustlab.models.transfer import Colour

MEAN, STD = (0.1, 0.5, 0.9), (0.2, 1.0, 4.0)


def inputs(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (4, 3, 7), (5, 3, 3), (4, 3, 5, 6), (4, 3, 3, 3), (2, 3, 4, 5, 6)])
def test_each_channel_is_normalised_by_its_own_values(shape: tuple[int, ...]) -> None:
    x = inputs(*shape)
    out = Normalise(MEAN, STD)(x)
    assert out.shape == x.shape
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        assert torch.equal(out[:, channel], (x[:, channel] - mean) / std)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 1), r"for 3 channels, but the inputs \(4, 1\) have 1 channels on axis 1: give \(N, 3, ...\)$"),
        ((4, 4, 3), r"\(4, 4, 3\) have 4 channels on axis 1: .* x\.movedim\(-1, 1\)$"),
        ((4, 7, 7, 3), r"have 7 channels on axis 1: .* x\.movedim\(-1, 1\)$"),
        ((3, 7, 6), r"\(3, 7, 6\) have 7 channels on axis 1: .* x\[None\]$"),
        ((4, 1, 7, 7), r"have 1 channels on axis 1"),
        ((4, 4, 7, 7), r"have 4 channels on axis 1"),
        ((2, 5, 3, 5, 6), r"have 5 channels on axis 1"),
        ((3,), r"\(3,\) have no channels on axis 1: .* x\[None\]$"),
        ((), r"\(\) have no channels on axis 1"),
    ],
)
def test_another_number_of_channels_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Normalise(MEAN, STD)(inputs(*shape))


def test_one_value_is_not_meant_for_several_channels() -> None:
    assert Normalise((0.5,), (0.5,))(torch.ones(2, 1, 9)).unique().tolist() == [1.0]
    with pytest.raises(ValueError, match=r"for 1 channels, but the inputs .* have 3 channels"):
        Normalise((0.5,), (0.5,))(inputs(2, 3, 4, 4))
    with pytest.raises(ValueError, match="give one of each per channel"):
        Normalise((), ())


@pytest.mark.parametrize(("layer", "norm", "size"), [(nn.Conv1d, nn.BatchNorm1d, 1), (nn.Conv2d, nn.BatchNorm2d, 2)])
def test_a_normalised_model_keeps_its_folded_twin(layer: type[nn.Module], norm: type[nn.Module], size: int) -> None:
    net = nn.Sequential(layer(3, 4, 3), norm(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3**size, 5))
    model, x = normalised(net, MEAN, STD).eval(), inputs(4, 3, *[5] * size)
    search = search_twin(model, x).search
    assert isinstance(search, nn.Module)
    assert not any(isinstance(part, norm) for part in search.modules())
    torch.testing.assert_close(search(x), model(x))
    with pytest.raises(ValueError, match="for 3 channels"):
        search(inputs(4, 2, *[5] * size))


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8), (2, 3), (2, 3, 4, 5, 6)])
def test_only_images_are_enlarged_and_only_grey_ones_coloured(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"only images \(N, C, H, W\) can be enlarged to 16 pixels"):
        Enlarge(16)(inputs(*shape))
    with pytest.raises(ValueError, match=r"grey images \(N, 1, H, W\) are expected"):
        Colour(3)(inputs(*shape))
    with pytest.raises(ValueError, match=r"grey images \(N, 1, H, W\) are expected"):
        Colour(3)(inputs(2, 3, 8, 8))
