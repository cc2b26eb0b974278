"""The page on corruptions: recorded numbers, corruptions and attacks in one table, self-contained, text escaped."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from test_report_page import EVIL, Outline  # type: ignore[import-not-found]
from torch import nn

from robustlab.attacks import FGSM
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import (
    CorruptionEvaluation,
    CorruptionSettings,
    Evaluation,
    Finding,
    compare_corruptions,
    evaluate,
    evaluate_corruptions,
)
from robustlab.report import write_corruptions
from robustlab.report.heat import difference, heat
from robustlab.report.words import interval, percent

NAMES = ("gaussian_noise", "contrast", "speckle_noise")


def data() -> InMemory:
    x = torch.tensor(load_digits().images[:40] / 16, dtype=torch.float32)[:, None]
    return InMemory("digits", tuple(f"digit {k}" for k in range(10)), x, torch.tensor(load_digits().target[:40]).long())


def means(shift: float = 0.0) -> nn.Module:
    """Nearest class mean, its bias moved for one class."""
    x, y = data().x, data().y
    centres = torch.stack([x[y == k].flatten(1).mean(0) for k in range(10)])
    linear = nn.Linear(64, 10)
    linear.weight.data, linear.bias.data = 2 * centres, -(centres**2).sum(1)
    linear.bias.data[3] += shift
    return nn.Sequential(nn.Flatten(), linear)


@pytest.fixture
def two(tmp_path: Path) -> tuple[CorruptionEvaluation, CorruptionEvaluation]:
    """Two models on the same images."""
    how = CorruptionSettings(command="robustlab evaluate", subsets={"hard ones": torch.arange(7)})
    return (
        measured(means(), tmp_path / "plain", replace(how, name="plain")),
        measured(means(2.0), tmp_path / "leaning", replace(how, name="leaning")),
    )


def measured(model: nn.Module, out: Path, how: CorruptionSettings) -> CorruptionEvaluation:
    return evaluate_corruptions(model, data(), corruptions=NAMES, severities=(1, 3, 5), out=out, settings=how)


def attacked(model: nn.Module, name: str) -> Evaluation:
    from robustlab.evaluation import Settings

    return evaluate(model, data(), attacks=[FGSM(ThreatModel(Linf(), 0.1))], settings=Settings(name=name))


def drawn(path: Path) -> tuple[Outline, str]:
    page = Outline(path.read_text())
    return page, page.text.replace("\u202f", " ").replace("\u2212", "-")


@pytest.mark.slow
def test_one_model_shows_what_was_recorded(
    two: tuple[CorruptionEvaluation, CorruptionEvaluation], tmp_path: Path
) -> None:
    one = two[0]
    page, text = drawn(write_corruptions([one], tmp_path / "plain"))
    assert page.stack == []
    assert one.clean is not None
    for fraction in (one.clean.accuracy, one.mean_accuracy, one.families[0].accuracy, one.cell("contrast", 5).accuracy):
        assert percent(fraction.value).replace("\u202f", " ") in text or f"{100 * fraction.value:.0f}" in text
        assert interval(fraction) in path_text(tmp_path / "plain")
    assert "Errors are plain means, divided by no other model's" in text
    assert "7 real examples, unchanged" in text
    assert "The mean is over 2 corruptions and all severities" in text, "speckle noise is in no mean"
    for name in ("Gaussian noise", "Contrast", "Speckle noise", "Extra, in no mean", "digit 3"):
        assert name in text
    heats = [a for t, a in page.tags if t == "td" and (a.get("class") or "").startswith("cell")]
    assert len(heats) == 9
    assert len(page.all("img")) == 4 * 4
    assert {p.name for p in (tmp_path / "plain").glob("*.*")} >= {"report.html", "report.md", "report.csv"}


def path_text(directory: Path) -> str:
    return (directory / "report.html").read_text()


@pytest.mark.slow
def test_corruptions_and_attacks_of_the_same_weights_are_in_one_table(
    two: tuple[CorruptionEvaluation, CorruptionEvaluation], tmp_path: Path
) -> None:
    runs = [attacked(means(2.0), "any name"), attacked(means(), "other")]
    _, text = drawn(write_corruptions(two, tmp_path / "both", attacked=runs))
    rows = re.search(r"Attacked, Linf eps 0\.1.*", text)
    assert rows is not None
    fractions = [percent(run.worst[-1].robust.value).replace("\u202f", " ") for run in reversed(runs)]
    after = text[rows.start() : rows.start() + 200]
    assert re.findall(r"\d+\.\d %", after)[:2] == fractions, "in the order of the models, by their weights"
    assert "measured on other examples" not in text
    with pytest.raises(ValueError, match="of other weights"):
        write_corruptions(two[:1], tmp_path / "both", attacked=[attacked(means(1.0), "third")])


def test_only_significant_differences_are_shaded(
    two: tuple[CorruptionEvaluation, CorruptionEvaluation], tmp_path: Path
) -> None:
    comparison = compare_corruptions(*two)
    pairs = {(c.corruption, c.severity): c for c in comparison.cells}
    sure = replace(pairs["contrast", 5], difference=0.2, corrected=0.01)
    unsure = replace(pairs["contrast", 1], difference=-0.2, corrected=0.2)
    made = replace(comparison, cells=(*(c for c in comparison.cells if c.corruption != "contrast"), unsure, sure))
    table = difference(made, two[0].corruptions)
    row = next(row for _, rows in table.families for row in rows if row.name == "Contrast")
    assert [cell.text for cell in row.cells] == ["\u221220", "\u2013", "+20"]
    assert [cell.shade > 0 for cell in row.cells] == [False, False, True]
    assert row.cells[2].good
    _, text = drawn(write_corruptions(two, tmp_path / "both", comparisons=[comparison]))
    assert "leaning over plain" in text
    record = json.loads((tmp_path / "both" / "corruptions.json").read_text())
    assert [e["model"]["name"] for e in record["evaluations"]] == ["plain", "leaning"]
    assert record["comparisons"][0]["b"] == "leaning"


def test_the_darker_the_more_errors(two: tuple[CorruptionEvaluation, CorruptionEvaluation]) -> None:
    for _, rows in heat(two[0]).families:
        for row in rows:
            name = {"Gaussian noise": NAMES[0], "Contrast": NAMES[1], "Speckle noise": NAMES[2]}[row.name]
            shown = [(cell.text, cell.shade) for cell in row.cells]
            fractions = [two[0].cell(name, s).accuracy.value for s in (1, 3, 5)]
            assert shown == [(f"{100 * fraction:.0f}", 1 - fraction) for fraction in fractions]


def test_csv_and_markdown_have_the_same_numbers(
    two: tuple[CorruptionEvaluation, CorruptionEvaluation], tmp_path: Path
) -> None:
    write_corruptions(two, tmp_path / "both", comparisons=[compare_corruptions(*two)])
    rows = list(csv.DictReader((tmp_path / "both" / "report.csv").read_text().splitlines()))
    assert len(rows) == 2 * (1 + 9)
    found = {(row["model"], row["corruption"], row["severity"]): int(row["correct"]) for row in rows}
    for e in two:
        assert e.clean is not None
        assert found[e.model.name, "clean", "0"] == e.clean.accuracy.count
        for cell in e.cells:
            assert found[e.model.name, cell.corruption, str(cell.severity)] == cell.accuracy.count
    text = (tmp_path / "both" / "report.md").read_text()
    assert f"| Contrast | {' | '.join(cell.text for cell in heat(two[0]).families[1][1][0].cells)} |" in text
    assert "leaning over plain" in text


def test_corruption_errors_are_shown_with_what_they_are_divided_by(
    two: tuple[CorruptionEvaluation, CorruptionEvaluation], tmp_path: Path
) -> None:
    plain, _ = two
    how = CorruptionSettings(baseline=plain)
    other = evaluate_corruptions(
        means(2.0), data(), corruptions=NAMES, severities=(1, 3, 5), out=tmp_path / "n", settings=how
    )
    _, text = drawn(write_corruptions([other], tmp_path / "n"))  # fmt: skip
    assert other.errors.mce is not None
    assert percent(other.errors.mce.value).replace("\u202f", " ") in text
    assert "Corruption errors are divided by the errors of plain on 40 images of digits" in text
    assert "mCE" in text
    assert "plain means" not in text


def test_text_of_users_is_escaped_and_nothing_comes_from_outside(
    two: tuple[CorruptionEvaluation, CorruptionEvaluation], tmp_path: Path
) -> None:
    finding = Finding(EVIL, "serious", EVIL, {EVIL: EVIL}, EVIL)
    infos = tuple(replace(info, not_comparable=EVIL) for info in two[0].corruptions)
    made = [
        replace(
            e,
            model=replace(e.model, name=EVIL),
            data=replace(e.data, name=EVIL, classes=(EVIL,) * 10, drawn=EVIL),
            run=replace(e.run, command=EVIL),
            findings=(finding,),
            caveats=(EVIL,),
            corruptions=infos,
        )
        for e in two
    ]
    pair = replace(compare_corruptions(*two), a=EVIL, b=EVIL)
    page = Outline(write_corruptions(made, tmp_path / "out", comparisons=[pair], title=EVIL).read_text())
    assert {"script", "link", "iframe"} & {tag for tag, _ in page.tags} == set()
    assert all("onerror" not in attrs for _, attrs in page.tags)
    places = [value for _, attrs in page.tags for key, value in attrs.items() if key in {"src", "href"} and value]
    assert {place[:1] if place.startswith("#") else place[:15] for place in places} == {"#", "data:image/png;"}
    ids = [str(attrs["id"]) for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {place[1:] for place in places if place.startswith("#")} <= set(ids)
    assert page.stack == []


def test_without_clean_images_or_pictures_there_is_still_a_page(
    two: tuple[CorruptionEvaluation, CorruptionEvaluation], tmp_path: Path
) -> None:
    bare = replace(two[0], clean=None, per_class=tuple(replace(c, clean=None) for c in two[0].per_class), gallery=())
    page, text = drawn(write_corruptions([bare], tmp_path / "out"))
    assert "Clean accuracy" not in text
    assert "as it is" not in text
    assert page.all("img") == []
    with pytest.raises(ValueError, match="nothing to report"):
        write_corruptions([], tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write the report"):
        write_corruptions([bare], tmp_path / "file")
