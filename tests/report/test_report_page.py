"""The HTML page: complete, self-contained, escaped, honest about order."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustlab.core.errors import RunError
from robustlab.core.finding import Finding
from robustlab.evaluation.compare import Comparison
from robustlab.evaluation.record import Evaluation
from robustlab.report import write
from robustlab.report.pictures import selected

Recorder = Callable[..., Evaluation]
EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "link", "line", "circle", "rect", "path"}


class Outline(HTMLParser):
    """Tags with their attributes, in order; complains of tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_headline_shows_recorded_counts_with_interval_and_sample(recorded: Recorder, tmp_path: Path) -> None:
    page = Outline(write([recorded()], tmp_path / "out").read_text())
    text = page.text.replace("\u202f", " ")
    assert "90.0 %" in text
    assert "12.0 %" in text  # 24 of 200 under every attack at the largest eps
    assert "[7.8, 17.3]" in text
    assert "200 of 360 test examples (simple random sample by a hash of the id, seed 0)." in text
    assert "Robust accuracy at Linf eps 0.1" in text
    assert page.stack == []


def test_nothing_on_the_page_is_outside_it(recorded: Recorder, tmp_path: Path) -> None:
    html = write([recorded(), recorded("second")], tmp_path / "out").read_text()
    page = Outline(html)
    assert {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags} == set()
    places = [value for _, attrs in page.tags for key, value in attrs.items() if key in {"src", "href"} and value]
    assert {p[:1] if p.startswith("#") else p[:22] for p in places} == {"#", "data:image/png;base64,"[:22]}
    assert not re.search(r"url\(|@import", html)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {p[1:] for p in places if p.startswith("#")} <= ids
    assert len(ids) == len([1 for _, attrs in page.tags if "id" in attrs]), "ids are unique"


def test_text_of_users_is_escaped_wherever_it_is(recorded: Recorder, tmp_path: Path, serious: Finding) -> None:
    finding = replace(serious, title=EVIL, advice=EVIL, evidence={EVIL: EVIL})
    made = recorded(EVIL, classes=(EVIL, "b", "c", "d"), data=EVIL, findings=(finding,))
    made = replace(
        made, run=replace(made.run, command=EVIL, id=EVIL, hardware=EVIL), data=replace(made.data, drawn=EVIL)
    )
    other = replace(made, attacks=tuple(replace(a, repr=EVIL) for a in made.attacks))
    pair = Comparison(EVIL, EVIL, EVIL, 0.1, 200, 1, 1, 1, 1, 0.1, 0.0, 0.2, 0.5)
    page = Outline(write([made, other], tmp_path / "out", comparisons=[pair], title=EVIL).read_text())
    assert page.all("script") == []
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert {str(i["src"])[:5] for i in page.all("img")} == {"data:"}
    assert page.text.count("alert('x')") > 20
    assert page.stack == []
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "<script" not in markdown.replace("    <script", "", 2)  # commands are indented code


def test_findings_come_before_the_headline_serious_ones_first(
    recorded: Recorder, tmp_path: Path, serious: Finding
) -> None:
    mild = replace(serious, severity="warning", code="more-steps-help", title="More steps still help.")
    html = write([recorded(findings=(serious, mild))], tmp_path / "out").read_text()
    order = [html.index(text) for text in (serious.title, mild.title, "Robustness</h2>", "Security curve</h2>")]
    assert order == sorted(order)
    assert "Do not trust these numbers yet" in html
    assert serious.advice in html
    assert "row sum 1" in html
    assert "The doctor has no findings." not in html


def test_findings_of_one_kind_are_grouped(recorded: Recorder, tmp_path: Path, serious: Finding) -> None:
    mild = [replace(serious, severity=s, code="reuse", title=f"Seen at {s}.") for s in ("info", "warning")]
    models = [recorded(findings=(mild[0],)), recorded("second", findings=(mild[1],))]
    page = Outline(write(models, tmp_path / "out").read_text())
    assert len([1 for _, attrs in page.tags if (attrs.get("class") or "").startswith("finding")]) == 1
    assert page.text.index("Seen at warning.") < page.text.index("Seen at info.")
    assert page.text.count(serious.advice) == 1
    text = (tmp_path / "out" / "report.md").read_text()
    assert "(warning, `reuse`, second)" in text


def test_a_doctor_without_findings_is_mentioned(recorded: Recorder, tmp_path: Path) -> None:
    html = write([recorded()], tmp_path / "out").read_text()
    assert html.index("The doctor has no findings.") < html.index("Robustness</h2>")
    assert "Do not trust" not in html


def test_gallery_holds_the_recorded_pictures_and_the_amplification(recorded: Recorder, tmp_path: Path) -> None:
    made = recorded()
    page = Outline(write([made], tmp_path / "out").read_text())
    images = page.all("img")
    assert len(images) == 9
    assert all(i["alt"] for i in images)
    clean, change, adversarial = (_decode(str(i["src"])).astype(int) for i in images[:3])
    assert clean.shape == (8, 8)
    assert "\u00d74" in page.text  # changes reach 0.1, or a little more in float32: four times fit, five do not always
    assert np.abs((change - 127.5) / 4 - (adversarial - clean)).max() <= 1.5


def _decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_inputs_that_are_no_images_have_no_gallery(recorded: Recorder, tmp_path: Path) -> None:
    made = recorded()
    table = replace(made, data=replace(made.data, shape=(64,)))
    assert Outline(write([table], tmp_path / "out").read_text()).all("img") == []


def test_gallery_shows_the_headline_budget_and_every_attack(recorded: Recorder) -> None:
    item = recorded().gallery[0]
    items = [replace(item, attack=a, eps=e, id=i) for a in "ab" for e in (0.05, 0.1) for i in range(4)]
    chosen = selected(items, 3, 0.05)
    assert [(i.attack, i.eps, i.id) for i in chosen] == [("a", 0.05, 0), ("a", 0.05, 2), ("b", 0.05, 1)]
    assert {i.eps for i in selected(items, 3, 0.2)} == {0.1}
    assert selected([], 3, 0.1) == ()


def test_missing_gallery_file_is_named(recorded: Recorder, tmp_path: Path) -> None:
    made = recorded()
    assert made.directory
    (made.directory / made.gallery[0].file).unlink()
    with pytest.raises(RunError, match=r"gallery\.safetensors"):
        write([made], tmp_path / "out")


def test_many_classes_get_a_list_of_mistakes_instead_of_a_matrix(recorded: Recorder, tmp_path: Path) -> None:
    classes = tuple(f"kind {i}" for i in range(20))
    html = write([recorded(classes=classes)], tmp_path / "out").read_text()
    assert 'class="matrix"' not in html
    assert "Most frequent mistakes under PGD-10" in html


def test_logits_that_were_not_finite_have_their_own_column(recorded: Recorder, tmp_path: Path) -> None:
    made = recorded()
    results = tuple(replace(r, confusion=replace(r.confusion, cells=((0, -1, 7), (1, 1, 3)))) for r in made.results)
    html = write([replace(made, results=results)], tmp_path / "out").read_text()
    assert '<abbr title="not a number">NaN</abbr>' in html


def test_several_models_are_shown_side_by_side(recorded: Recorder, tmp_path: Path, comparison: Comparison) -> None:
    models = [recorded(), recorded("hardened", robust=(170, 160, 150))]
    page = Outline(write(models, tmp_path / "out", comparisons=[comparison]).read_text())
    text = page.text.replace("\u202f", " ")
    assert "Robustness of 2 models on digits" in text
    assert "hardened over small" in text
    assert "+63.0 [+55.0, +70.0]" in text
    assert "< 0.0001" in text
    wide = next(a for a in page.all("svg") if a.get("aria-labelledby") == "curve-760-t curve-760-d")
    assert wide["role"] == "img"
    assert "hardened: 90.0 % at 0, 85.0 % at 0.02" in text


@pytest.mark.parametrize("attacked", [True, False])
def test_the_links_lead_to_the_sections_in_their_order(
    recorded: Recorder, tmp_path: Path, comparison: Comparison, *, attacked: bool
) -> None:
    one = recorded() if attacked else replace(recorded(), results=(), worst=(), gallery=(), curves=())
    html = write([one], tmp_path / "out", comparisons=[comparison] if attacked else []).read_text()
    (navigation,) = re.findall(r'<nav aria-label="Sections">.*?</nav>', html)
    links = re.findall(r'href="#([a-z-]+)"', navigation)
    there = re.findall(r'<(?:section|p)[^>]* id="([a-z-]+)"', html)
    assert links == [name for name in there if name != "headline"]


def test_headline_can_be_another_eps(recorded: Recorder, tmp_path: Path) -> None:
    text = Outline(write([recorded()], tmp_path / "out", eps=0.05).read_text()).text.replace("\u202f", " ")
    assert "Robust accuracy at Linf eps 0.05" in text
    assert "45.0 %" in text
    with pytest.raises(ValueError, match=r"eps 0\.3 .* not measured for every model; there are 0\.02, 0\.05, 0\.1"):
        write([recorded()], tmp_path / "out", eps=0.3)


def test_different_examples_are_pointed_out(recorded: Recorder, tmp_path: Path) -> None:
    one, other = recorded(), recorded("other")
    other = replace(other, data=replace(other.data, sha256="ee" * 32))
    assert "not evaluated on the same examples" in write([one, other], tmp_path / "a").read_text()
    assert "not evaluated on the same examples" not in write([one, one], tmp_path / "b").read_text()


def test_different_threats_are_refused(recorded: Recorder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"L2 within .* and Linf within .*: write one report for each"):
        write([recorded(), recorded(norm="L2")], tmp_path)


def test_nothing_to_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to report"):
        write([], tmp_path)


def test_place_that_cannot_be_written_is_named(recorded: Recorder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write the report to .*file.*; choose another directory"):
        write([recorded()], tmp_path / "file")


def test_reproduction_has_command_versions_seeds_and_hashes(recorded: Recorder, tmp_path: Path) -> None:
    text = Outline(write([recorded()], tmp_path / "out").read_text()).text
    for part in ("robustlab evaluate small --data digits", "torch 2.11", "ab" * 32, "cd" * 32, "PGD-10(...)", "Seed"):
        assert part in text


def test_reuse_and_recheck_are_declared(recorded: Recorder, tmp_path: Path) -> None:
    html = write([recorded()], tmp_path / "out").read_text()
    assert 'class="m hollow"' in html
    assert "Of 60 such examples attacked after all, 6 were not fooled again" in html
