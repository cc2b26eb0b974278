"""The page on explanations: pictures, numbers and words from a recorded result."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robustlab.core import Linf, ThreatModel
from robustlab.core.finding import Finding
from robustlab.evaluation import ExplanationPlan, Explanations, ExplanationSettings, evaluate_explanations
from robustlab.evaluation.explanations.record import MapFinding
from robustlab.explain import MapAttack
from robustlab.report import save_maps, write_explanations
from robustlab.report.map_pictures import AGAINST, FOR, map_colours, scale_of


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Explanations:
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = network(0)(x).argmax(1)
    how = ExplanationSettings(
        batch_size=4, pictures=2, checked=3, attacked=3, name="<b>standard", other_name="hardened"
    )
    out = tmp_path_factory.mktemp("run")
    attack = MapAttack(ThreatModel(Linf(), 0.1), steps=2)
    plan = ExplanationPlan(
        ["gradient", "gradient-x-input"], checks=["randomisation-ignored", "zero-map"], attack=attack
    )
    return evaluate_explanations(network(0), (x, y), compare=network(1), plan=plan, out=out, settings=how)


@pytest.mark.slow
def test_the_page_shows_every_map_with_a_text_for_those_who_do_not_see_it(result: Explanations, tmp_path: Path) -> None:
    html = write_explanations(result, tmp_path).read_text()
    alts = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', html)
    assert len(alts) == len(set(alts)) == 2 * (1 + 2 * 2) + 2 * 2 * 4
    assert "What do these networks look at, and can I believe the picture?" in html
    assert "99th percentile" in html
    assert "&lt;b&gt;standard" in html
    assert "<b>standard" not in html
    assert {"report.html", "report.json", "report.md", "report.csv"} == {one.name for one in tmp_path.iterdir()}
    assert "hardened" in (tmp_path / "report.md").read_text()


def test_colours_say_the_sign_and_are_full_from_the_99th_percentile_on() -> None:
    pixels = torch.zeros(20, 20)
    pixels[0, :4] = torch.tensor([2.0, 8.0, -8.0, 1.0])
    assert scale_of(pixels) == pytest.approx(float(np.quantile(pixels.abs().numpy(), 0.99)))
    colours = map_colours(pixels)
    assert tuple(colours[0, 1]) == FOR
    assert tuple(colours[0, 2]) == AGAINST
    assert tuple(colours[5, 5]) == (255, 255, 255)
    assert map_colours(-pixels)[0, 1].tolist() == list(AGAINST)
    assert np.array_equal(map_colours(3 * pixels), colours)


def test_maps_of_zeros_with_few_values_or_not_finite_are_drawn() -> None:
    assert (map_colours(torch.zeros(4, 4)) == 255).all()
    one = torch.zeros(32, 32)
    one[3, 3] = -1
    assert tuple(map_colours(one)[3, 3]) == AGAINST
    one[0, 0] = torch.nan
    assert map_colours(one, torch.ones(1, 32, 32))[0, 0].tolist() == [0, 0, 0]
    shaded = map_colours(torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert shaded[0, 0, 0] < shaded[0, 1, 0] == 255


@pytest.mark.slow
def test_the_page_says_whether_to_believe_the_maps(result: Explanations, tmp_path: Path) -> None:
    html = write_explanations(result, tmp_path).read_text()
    assert "No check speaks against the maps of gradient and gradient-x-input" in html
    assert "Another map, the same answer" in html
    assert len(re.findall(r'aria-label="Rank correlation of maps', html)) == 2
    finding = Finding("randomisation-ignored", "serious", "It hardly changes.", {"n": 3}, "Show another.")
    wrong = replace(result, found=(MapFinding(1, "gradient", finding),))
    html = write_explanations(wrong, tmp_path).read_text()
    assert "Do not believe these maps" in html
    assert "Do not believe those of gradient: randomisation-ignored." in html
    assert "Show no maps of gradient" in html
    assert html.count("not to be believed") == 2
    html = write_explanations(replace(result, checked=(), attack=None), tmp_path).read_text()
    assert "The maps were not checked" in html


def test_maps_are_saved_as_pictures_on_demand(result: Explanations, tmp_path: Path) -> None:
    from PIL import Image

    save_maps(result, tmp_path)
    files = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "3").iterdir())
    assert files == sorted(
        f"3/{m}-{n}.png" for m in ("0-b-standard", "1-hardened") for n in ("gradient", "gradient-x-input")
    )
    with Image.open(tmp_path / "3" / "1-hardened-gradient.png") as image:
        assert image.size == (8, 8)
    with pytest.raises(ValueError, match="are no images"):
        save_maps(replace(result, data=replace(result.data, shape=(4,))), tmp_path)


@pytest.mark.slow
def test_without_its_directory_the_page_has_no_pictures(result: Explanations, tmp_path: Path) -> None:
    from robustlab.evaluation import Explanations as Record

    alone = Record.from_json(result.to_json())
    assert alone == result
    assert "<img" not in write_explanations(alone, tmp_path).read_text()
