"""The input doctor on normalisations: missing, for another range, or another than the weights were trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from robustlab.evaluation import inspect_inputs
from robustlab.models import normalised

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits

Moments = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Moments = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: Moments = ((0.5,) * 3, (0.5,) * 3)


class Trained(nn.Module):
    """A sound classifier of grey images, as one of colour images that was trained on (x - mean) / std.

    Beyond the range that it was trained on it goes astray: what is darker than black gets brighter again.
    """

    def __init__(
        self, sound: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], published: bool = False
    ) -> None:
        super().__init__()
        self.sound, self.shift, self.scale = sound, torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        if published:
            self.pretrained_cfg = {"mean": mean, "std": std, "first_conv": "conv"}

    def forward(self, x: Tensor) -> Tensor:
        """Colour images in their own units to logits."""
        seen = (x * self.scale + self.shift).mean(dim=1, keepdim=True)
        logits: Tensor = self.sound(1 - (1 - seen.abs()).abs())
        return logits


@pytest.fixture
def colours(digits: Digits) -> tuple[Tensor, Tensor]:
    return digits.x_test.expand(-1, 3, -1, -1).contiguous(), digits.y_test


@pytest.mark.parametrize(("trained", "given"), [(HALF, IMAGENET), (IMAGENET, HALF)])
@pytest.mark.parametrize("published", [False, True])
def test_another_normalisation_than_that_of_the_weights_is_found(
    trained: Moments,
    given: Moments,
    published: bool,
    colours: tuple[Tensor, Tensor],
    standard: nn.Module,
) -> None:
    network = Trained(standard, *trained, published=published)
    right, wrong = (normalised(network, *units).eval() for units in (trained, given))
    assert inspect_inputs(right, colours) == ()
    found = inspect_inputs(wrong, colours)
    assert [f.code for f in found if f.severity == "serious"] == ["model-normalises-otherwise"]
    assert found[-1].evidence["other"] >= found[-1].evidence["accuracy"]  # type: ignore[operator]


def test_a_missing_normalisation_to_minus_one_to_one_is_found(
    colours: tuple[Tensor, Tensor], standard: nn.Module
) -> None:
    found = inspect_inputs(Trained(standard, (0.9,) * 3, (0.5,) * 3).eval(), colours)
    assert found[-1].code == "model-expects-normalised"
    bare = inspect_inputs(Trained(standard, *HALF, published=True).eval(), colours)
    assert [f.code for f in bare] == ["model-normalises-otherwise"]
    assert "published with mean [0.5, 0.5, 0.5] and std [0.5, 0.5, 0.5]" in bare[0].title


def test_what_costs_too_little_accuracy_to_be_seen_is_seen_in_the_loss(
    colours: tuple[Tensor, Tensor], standard: nn.Module
) -> None:
    near = ((0.5,) * 3, (0.65,) * 3)
    silent = normalised(Trained(standard, *HALF), *near).eval()
    assert inspect_inputs(silent, colours) == ()
    (found,) = inspect_inputs(normalised(Trained(standard, *HALF, published=True), *near).eval(), colours)
    assert found.code == "model-normalises-otherwise"
    assert found.evidence["better"] > 2 * found.evidence["worse"]  # type: ignore[operator]


def test_a_network_trained_anew_with_its_own_normalisation_is_left_alone(
    colours: tuple[Tensor, Tensor], standard: nn.Module
) -> None:
    own = Trained(standard, (0.3,) * 3, (0.4,) * 3)
    own.pretrained_cfg = {"mean": IMAGENET[0], "std": IMAGENET[1]}  # of the weights that it did not take
    assert inspect_inputs(normalised(own, (0.3,) * 3, (0.4,) * 3).eval(), colours) == ()
    grey = nn.Sequential(standard)
    grey.pretrained_cfg = {"mean": IMAGENET[0], "std": IMAGENET[1]}  # type: ignore[assignment]
    assert inspect_inputs(grey.eval(), (colours[0][:, :1], colours[1])) == ()


def test_an_untrained_network_is_near_chance_and_no_more(colours: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    fresh = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    fresh.pretrained_cfg = {"mean": HALF[0], "std": HALF[1]}  # type: ignore[assignment]
    assert [f.code for f in inspect_inputs(fresh.eval(), colours)] == ["near-chance"]


def test_where_examples_do_not_decide_the_configuration_is_a_warning(
    colours: tuple[Tensor, Tensor], standard: nn.Module
) -> None:
    class Standardised(Trained):
        """Blind to contrast and light, but for a trace."""

        def forward(self, x: Tensor) -> Tensor:
            low, high = x.amin(dim=(1, 2, 3), keepdim=True), x.amax(dim=(1, 2, 3), keepdim=True)
            trace = 1e-3 * (x[:, :1, 4:5, 4:5] - 0.2)
            logits: Tensor = self.sound(((x - low) / (high - low)).mean(dim=1, keepdim=True) + trace)
            return logits

    few = (colours[0][:60], colours[1][:60])
    grey = ((0.5,) * 3, (0.3,) * 3)
    (found,) = inspect_inputs(normalised(Standardised(standard, *HALF, published=True), *grey).eval(), few)
    assert (found.code, found.severity) == ("model-normalises-otherwise", "warning")
    assert "60 examples do not decide which is right" in found.title
