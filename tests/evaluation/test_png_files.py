"""PNG files of a finished run: named, checked against the model, and counted."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustlab.attacks import FGSM, PGD, Uint8
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.evaluation import Evaluation, Settings, evaluate, save_images

EPS = 0.07


class Threshold(nn.Module):
    """Says 1 where the mean is above 0.5, and is as sure as it is far from it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = self.scale * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-score, score], 1)


def images(*levels: float) -> tuple[torch.Tensor, torch.Tensor]:
    means = torch.tensor(levels)
    return means[:, None, None, None].expand(-1, 3, 4, 4).contiguous(), (means > 0.5).long()


def run(data: tuple[torch.Tensor, torch.Tensor], out: Path, attack: object = None, **more: object) -> Evaluation:
    attacks = [attack or FGSM(ThreatModel(Linf(), EPS))]
    return evaluate(Threshold(), data, attacks=attacks, out=out, **more)  # type: ignore[arg-type]


def rows(place: Path) -> list[dict[str, str]]:
    with (place / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_fooled_example_becomes_a_file_that_is_shown_to_the_model(tmp_path: Path) -> None:
    data = images(0.45, 0.2, 0.56, 0.9)
    saved = save_images(run(data, tmp_path / "run"), Threshold(), data, tmp_path / "png")
    assert (saved.written, saved.fooled, saved.lost) == (2, 2, 0)
    found = rows(tmp_path / "png")
    assert [(row["id"], row["png"], row["fools_as_png"]) for row in found] == [("0", "0.png", "1"), ("2", "2.png", "1")]
    for row in found:
        values = np.asarray(Image.open(tmp_path / "png" / row["png"]), np.float32) / 255
        clean = float(data[0][int(row["id"])].mean())
        assert np.abs(values - clean).max() == pytest.approx(float(row["linf_as_png"]), abs=1e-6)
        assert (values.mean() > 0.5) != (clean > 0.5)


def test_what_rounding_undoes_is_written_and_said(tmp_path: Path) -> None:
    # 0.43 + 0.0711 = 0.5011 lies above the threshold; the nearest of 256 levels, 127.78 -> 128, too; 0.4292 does not.
    data = images(0.4301, 0.4306)
    result = run(data, tmp_path / "run", FGSM(ThreatModel(Linf(), 0.0701)))
    saved = save_images(result, Threshold(), data, tmp_path / "png")
    told = {row["id"]: row["fools_as_png"] for row in rows(tmp_path / "png")}
    level = {n: round(255 * (float(data[0][n].flatten()[0]) + 0.0701)) / 255 > 0.5 for n in (0, 1)}
    fooled = {str(n): str(int(level[n])) for n in (0, 1) if str(n) in told}
    assert told == fooled
    assert saved.fooled == sum(value == "1" for value in told.values())


def test_an_attack_on_8_bit_images_loses_nothing(tmp_path: Path) -> None:
    levels = torch.tensor([110, 120, 135, 141]) / 255
    data = images(*levels.tolist())
    result = run(data, tmp_path / "run", Uint8(PGD(ThreatModel(Linf(), EPS), steps=5)))
    saved = save_images(result, Threshold(), data, tmp_path / "png")
    assert saved.fooled == saved.written == result.data.n - result.worst[-1].robust.count


def test_each_eps_has_files_of_its_own(tmp_path: Path) -> None:
    data = images(0.45, 0.4)
    result = run(data, tmp_path / "run", eps=[0.06, 0.15])
    assert save_images(result, Threshold(), data, tmp_path / "small", eps=0.06).written == 1
    assert save_images(result, Threshold(), data, tmp_path / "large").written == 2
    with pytest.raises(ValueError, match=r"nothing was measured at eps 0.1; there are \[0.06, 0.15\]"):
        save_images(result, Threshold(), data, tmp_path / "other", eps=0.1)


def test_inputs_that_a_run_did_not_keep_are_counted_as_lost(tmp_path: Path) -> None:
    data = images(*torch.linspace(0.44, 0.49, 120).tolist())
    result = run(data, tmp_path / "run", settings=Settings(keep="gallery"))
    saved = save_images(result, Threshold(), data, tmp_path / "png")
    assert saved.written == 100
    assert saved.lost == 20


def test_without_a_directory_and_outside_of_images_it_is_refused(tmp_path: Path) -> None:
    data = images(0.45, 0.2)
    result = run(data, tmp_path / "run")
    with pytest.raises(RunError, match="evaluate with out="):
        save_images(Evaluation.from_json(result.to_json()), Threshold(), data, tmp_path / "png")
    wide = ThreatModel(Linf(), 0.3, bounds=(-1.0, 1.0))
    other = evaluate(Threshold(), data, attacks=[FGSM(wide)], out=tmp_path / "wide")
    with pytest.raises(ValueError, match=r"only images in \[0, 1\]"):
        save_images(other, Threshold(), data, tmp_path / "png")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunError):
        save_images(result, Threshold(), data, tmp_path / "png")
