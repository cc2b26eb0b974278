"""A corruption whose images have changed has a version in what its results are filed under."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import RunError
from robustlab.corruptions import CORRUPTIONS
from robustlab.evaluation import evaluate_corruptions, write_corrupted
from robustlab.studies.claim_engine.corruption_measures import UnderCorruptions
from robustlab.studies.claim_engine.definition import described


def data(side: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """Images of two kinds, bright at the top or below, and a network that tells them apart."""
    x = torch.zeros(40, 1, side, side)
    x[::2, :, : side // 2], x[1::2, :, side // 2 :] = 0.6, 0.6
    linear = nn.Linear(side * side, 2)
    linear.weight.data = torch.stack([x[0].flatten(), x[1].flatten()])
    return nn.Sequential(nn.Flatten(), linear).eval(), (x, torch.arange(40) % 2)


@pytest.mark.parametrize(("side", "told"), [(40, ", version=2)"), (28, "'imagenet-c')")])
def test_a_run_of_another_version_is_not_resumed(side: int, told: str, tmp_path: Path) -> None:
    model, given = data(side)
    found = evaluate_corruptions(model, given, corruptions=["snow", "fog"], severities=[1], out=tmp_path)
    first, second = (info.repr for info in found.corruptions)
    assert first.endswith(told)
    assert second == "Corrupt(name='fog', variant='imagenet-c')"
    again = evaluate_corruptions(model, given, corruptions=["snow", "fog"], severities=[1], out=tmp_path)
    assert again.cells == found.cells
    path = tmp_path / "manifest.json"
    before = path.read_text().replace(", version=2)", ")")
    path.write_text(before if side == 40 else before.replace("'imagenet-c')", "'imagenet-c', version=2)"))
    with pytest.raises(RunError, match="corruptions"):
        evaluate_corruptions(model, given, corruptions=["snow", "fog"], severities=[1], out=tmp_path)


def test_a_copy_says_the_version(tmp_path: Path) -> None:
    _, given = data(40)
    made = write_corrupted(given, tmp_path, corruptions=["snow"], severities=[1])
    assert made.corruptions[0].repr.endswith("version=2)")
    assert "version=2" in json.loads((tmp_path / "manifest.json").read_text())["essentials"]["corruptions"]


def test_claims_name_versions_of_images_of_their_size_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert described(UnderCorruptions(1000)) == "UnderCorruptions(n=1000)"
    monkeypatch.setattr("robustlab.studies.claim_engine.corruption_measures._SIDE", 64)
    changed = UnderCorruptions(1000, CORRUPTIONS)
    assert changed.versions == ("Corrupt(name='snow', variant='imagenet-c', version=2)",)
    assert described(changed) != "UnderCorruptions(n=1000)"
    assert described(UnderCorruptions(1000, ("fog",))) == "UnderCorruptions(n=1000, names=('fog'))"
