"""Measures of maps: closed forms on linear networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from robustlab.core import Examples, Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.explain import Case, Gradient, MapAttack
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.map_measures import OfMaps, Redrawn, Replaced, others
from robustlab.studies.claims.gradients_align import NUMBERS


def photographs() -> Examples:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(30, 1, 4, 4, generator=generator)
    return InMemory("noise", ("a", "b", "c"), x, torch.arange(30) % 3)


def test_alignment_of_a_linear_network_is_that_of_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    data = photographs()
    found = OfMaps(NUMBERS, 30)(model, Lab(tmp_path, 0, examples=data))
    x = data.batch(torch.arange(30)).x.flatten(1).double()
    last = model[1]
    assert isinstance(last, nn.Linear)
    first, second = (x @ last.weight.double().T + last.bias.double()).topk(2).indices.T
    weight = last.weight.detach().double()
    for name, slope in (("logit", weight[first]), ("margin", weight[first] - weight[second])):
        along = (x * slope).sum(1).abs() / slope.norm(dim=1)
        assert found[f"{name}_alignment"] == pytest.approx(float(along.mean()), rel=1e-6)
        assert found[f"{name}_alignment_cosine"] == pytest.approx(float((along / x.norm(dim=1)).mean()), rel=1e-6)


def test_images_without_the_number_are_left_out_and_counted(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    last = model[1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    found = OfMaps(NUMBERS[:1], 5)(model, Lab(tmp_path, 0, examples=photographs()))
    assert found == {"logit_alignment_undefined": 5.0}


def test_maps_of_a_linear_network_cannot_be_replaced(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    attack = MapAttack(ThreatModel(Linf(), 0.05), steps=3)
    found = Replaced(attack, 12, (("relu", None), ("soft", 5.0)))(model, Lab(tmp_path, 0, examples=photographs()))
    assert found["relu_own"] == pytest.approx(1)
    assert found["relu_target"] == pytest.approx(found["relu_before"])
    assert found["soft_target"] == pytest.approx(found["relu_target"])
    assert found["relu_kept"] == found["soft_agreement"] == 1


def test_the_other_example_is_the_next_one_of_another_class() -> None:
    assert others(torch.tensor([0, 0, 1, 2, 0])).tolist() == [2, 2, 3, 4, 2]
    assert others(torch.tensor([5, 5])).tolist() == [1, 0]


def test_likeness_of_maps_when_layers_are_drawn_anew(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    methods = (("gradient", Gradient()), ("input", _input))
    found = Redrawn(methods, 20)(model, Lab(tmp_path, 0, examples=photographs()))
    assert all(found[f"input_{name}"] == pytest.approx(1) for name in ("upper", "all", "upper_signed", "all_signed"))
    assert abs(found["gradient_all_signed"]) < 0.5
    lowest = Redrawn(methods[:1], 20, upper=3)(model, Lab(tmp_path, 0, examples=photographs()))
    assert lowest["gradient_upper"] == lowest["gradient_all"] != found["gradient_upper"]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def _input(case: Case) -> torch.Tensor:
    return case.x
