"""Data as users give them, straight to ``evaluate`` and to training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from robustlab import PGD, Linf, ThreatModel, evaluate
from robustlab.data import InMemory
from robustlab.evaluation import Settings, evaluate_corruptions, inspect_inputs
from robustlab.evaluation.given import for_model
from robustlab.evaluation.record import Evaluation
from robustlab.models import load
from robustlab.report import words
from robustlab.training import Settings as Training
from robustlab.training import fit, sgd, standard

X, Y = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def measured(model: nn.Module, data: Any) -> Evaluation:  # noqa: ANN401 -- of each kind
    attack = PGD(ThreatModel(Linf(), 0.1), steps=2)
    return evaluate(model, data, attacks=[attack], settings=Settings(doctor=False, batch_size=8))


class Silent(Dataset[tuple[Tensor, int]]):
    """Says nothing about its classes."""

    def __init__(self, labels: list[int]) -> None:
        self.hidden = labels

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return X[range(12)[index]], self.hidden[index]


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: TensorDataset(X, Y),
        lambda: list(zip(X, Y.tolist(), strict=True)),
        lambda: {"image": X.numpy(), "label": Y.numpy()},
        lambda: {"test": TensorDataset(X, Y)},
        lambda: Silent(Y.tolist()),
    ],
    ids=["TensorDataset", "pairs", "dictionary", "splits", "silent"],
)
def test_every_kind_is_measured_alike(make: Callable[[], Any]) -> None:
    model = linear()
    assert measured(model, make()).worst[0].robust == measured(model, (X, Y)).worst[0].robust
    assert not any(f.severity == "serious" for f in inspect_inputs(model, make()) if f.code != "near-chance")


def test_the_model_says_the_classes_where_nothing_else_does() -> None:
    assert for_model(linear(), Silent([0] * 12)).classes == ("0", "1", "2")
    with pytest.raises(ValueError, match=r"neither the data nor the model .*shape \(1, 4, 4\).* number of classes"):
        for_model(nn.Conv2d(3, 2, 3), Silent([0] * 12))


def test_training_takes_what_users_have() -> None:
    weights = []
    for data in (InMemory("mine", ("0", "1", "2"), X, Y), TensorDataset(X, Y), (X, Y)):
        model = linear()
        fit(model, standard(), data, Training(epochs=1, batch_size=4, optimizer=sgd(0.1), seed=0))
        weights.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for other in weights[1:] for a, b in zip(weights[0], other, strict=True))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, size in enumerate([(300, 200), (180, 260), (64, 64)]):
        place = tmp_path / "photos" / f"class {number}"
        place.mkdir(parents=True)
        Image.new("RGB", size, (40 * number, 20, 90)).save(place / "x.jpg")
    return tmp_path / "photos"


@pytest.mark.slow
def test_photographs_of_all_sizes_are_framed_as_the_model_was_published(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=3).eval()
    attack = PGD(ThreatModel(Linf(), 0.1), steps=1)
    for data in (f"folder:{photos}", str(photos), photos):
        found = evaluate(net, data, attacks=[attack], out=tmp_path / "run", settings=Settings(doctor=False))
        assert found.data.shape == (3, 160, 160)
        assert found.data.framing == str(for_model(net, photos).preprocessing)  # type: ignore[attr-defined]
        assert "the central 160x160 cut out" in words.sample(found.data)


def test_a_networks_own_size_is_taken_for_corruptions_too(photos: Path) -> None:
    small = load("shallow-cnn", classes=3, channels=1, size=16)
    found = evaluate_corruptions(small, f"folder:{photos}", corruptions=["brightness"], severities=[1])
    assert found.data.shape == (1, 16, 16)
    assert found.data.framing.endswith("the central 16x16 cut out, in grey")
