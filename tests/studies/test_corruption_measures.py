"""Measures of claims on corrupted images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import Examples
from robustlab.data import examples
from robustlab.studies import Budget
from robustlab.studies.claim_engine.corruption_measures import OnMistakesOf, UnderCorruptions
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Fitted, Half, Learner, Network, Trained
from robustlab.training import standard


class Brightness(nn.Module):
    """A network of the mean alone: class 1 above a threshold."""

    def __init__(self, bar: float) -> None:
        super().__init__()
        self.bar = nn.Parameter(torch.tensor(bar))

    def forward(self, x: Tensor) -> Tensor:
        above = 50 * (x.flatten(1).mean(dim=1) - self.bar)
        return torch.stack([-above, above], dim=1)


@dataclass(frozen=True)
class Site(Lab):
    """Grey images of rising brightness; the other network has another threshold."""

    def data(self, split: str) -> Examples:
        del split
        x = torch.linspace(0, 1, 100)[:, None, None, None].expand(100, 1, 32, 32).contiguous()
        return examples((x, (x[:, 0, 0, 0] > 0.5).long()), classes=("dark", "bright"))

    def trained(self, network: Learner | Fitted) -> Trained:
        del network
        model = Brightness(0.3)
        return Trained(model, model, 0.0)


def test_corruptions_are_measured_by_family_and_severity(tmp_path: Path) -> None:
    found = UnderCorruptions(100, ("brightness", "contrast"))(Brightness(0.5), Site(tmp_path, 0))
    assert found["clean_accuracy"] == 1.0
    # Brightness adds 0.1 to 0.5: all of the 50 dark ones that come above the bar are then wrong.
    right = [1 - 0.1 * severity for severity in range(1, 6)]
    assert found["brightness_accuracy"] == pytest.approx(sum(right) / 5, abs=0.02)
    assert found["brightness_fall"] == pytest.approx(0.1, abs=0.02)
    assert found["contrast_accuracy"] == pytest.approx(1.0, abs=0.02)
    assert found["weather_accuracy"] == pytest.approx(found["brightness_accuracy"])
    assert found["corrupted_accuracy"] == pytest.approx((found["brightness_accuracy"] + found["contrast_accuracy"]) / 2)


def test_shared_mistakes_are_those_of_the_other_that_it_is_sure_of(tmp_path: Path) -> None:
    measure = OnMistakesOf(Network(standard()), 100)
    found = measure(Brightness(0.4), Site(tmp_path, 0))
    # The other one is wrong between 0.3 and 0.5, this one in the brighter half of that.
    assert found["shared_error"] == pytest.approx(0.5, abs=0.06)
    assert found["clean_error"] == pytest.approx(0.1, abs=0.02)
    surer = OnMistakesOf(Network(standard()), 100, confidence=0.999)(Brightness(0.4), Site(tmp_path, 0))
    assert surer["shared_error"] > found["shared_error"], "it is surest far above its bar"
    alone = measure(Brightness(0.6), Site(tmp_path, 0))
    assert alone["shared_error"] == 0.0


def test_halves_are_disjoint_and_follow_the_seed(tmp_path: Path) -> None:
    parts = {
        (other, seed): Half(other=other).examples(Site(tmp_path, seed)) for other in (False, True) for seed in (0, 1)
    }
    values = {key: set(part.batch(torch.arange(50)).x[:, 0, 0, 0].tolist()) for key, part in parts.items()}
    assert not values[False, 0] & values[True, 0]
    assert len(values[False, 0] | values[True, 0]) == 100
    assert values[False, 0] != values[False, 1]
    few = Half().examples(Site(tmp_path, 0, Budget("tiny", images=20)))
    assert len(few) == 10
