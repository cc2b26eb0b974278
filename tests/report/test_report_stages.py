"""Examples fooled by each stage, traces of the attack, and caveats of the quick suite."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from robustlab.evaluation.record import Evaluation, Queries, StageResult, TracePoint, TraceRecord
from robustlab.report import write
from robustlab.report.stages import stage_tables
from robustlab.report.trace_panels import HEIGHT, trace_panels

Recorder = Callable[..., Evaluation]
EVIL = "<script>alert(1)</script>"


def staged(made: Evaluation, name: str = "square") -> Evaluation:
    """PGD-10 as an attack of two stages, with traces of two examples; 30 were reused, 24 are still robust."""
    stages = (
        StageResult("apgd-ce", 150, 120, 30, Queries(60.5, 60.0), 1.2),
        StageResult(name, 30, 6, 24, Queries(5001.0, 0.0), 3.4),
    )
    results = tuple(
        replace(r, stages=stages, reused=30, attacked=150) if (r.attack, r.eps) == ("PGD-10", 0.1) else r
        for r in made.results
    )
    hard = tuple(TracePoint(i, 0.1 * i, -4.0 + 0.02 * i, 0.001 * i, math.nan) for i in range(101))
    easy = (TracePoint(0, 0.5, -1.0, 0.0, 2.0), TracePoint(1, 3.0, 0.5, 0.1, math.nan))
    traces = (
        TraceRecord("hardest", "PGD-10", "apgd-ce", 0.1, 17, 1, None, 101, hard),
        TraceRecord("easiest", "PGD-10", "apgd-ce", 0.1, 4, 2, 1, 2, easy),
    )
    return replace(made, results=results, traces=traces)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("\u202f", " ").split())


def test_the_page_shows_examples_fooled_by_each_stage(recorded: Recorder, tmp_path: Path) -> None:
    html = write([staged(recorded())], tmp_path).read_text()
    section = words(html[html.index('id="stages"') : html.index('id="curve"')])
    assert "PGD-10, Linf eps 0.1" in section
    assert "wrong without any attack 20 180 fooled at a smaller eps 30 150" in section
    assert "apgd-ce gradient steps up the loss 150 120 30 120 1.2 s" in section
    assert "square random squares, no gradients 30 6 24 5001 3.4 s" in section
    assert '<i style="width:15.0%"></i><b style="left:15.0%;width:60.0%"></b>' in html, "30 and 120 of 200"
    assert 'href="#stages"' in html


def test_bars_follow_each_other_without_a_gap(recorded: Recorder) -> None:
    (table,) = stage_tables(staged(recorded()), 0.1)
    assert [r.still_robust_percent + r.fooled_percent for r in table.rows] == [100.0, 90.0, 75.0, 15.0]
    assert [r.still_robust for r in table.rows] == [180, 150, 30, 24]
    assert stage_tables(staged(recorded()), 0.05) == ()


def test_attacks_without_stages_have_no_section(recorded: Recorder, tmp_path: Path) -> None:
    html = write([recorded()], tmp_path).read_text()
    assert 'id="stages"' not in html
    assert 'id="traces"' not in html


def test_markdown_and_csv_have_the_stages(recorded: Recorder, tmp_path: Path) -> None:
    write([staged(recorded(), "=square|")], tmp_path)
    text = (tmp_path / "report.md").read_text().replace("\u202f", " ")
    assert "## Examples fooled by each stage: small under PGD-10, Linf eps 0.1" in text
    assert "| apgd-ce | 150 | 120 | 30 | 120 | 1.2 s |" in text
    assert "## Trace of the attack on small: the hardest example" in text
    assert "| 100 | 10 | -2 | 0.1 |" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    first, last = [r for r in rows if r["stage"]]
    assert (first["attack"], first["eps"], first["attacked"], first["fooled"]) == ("PGD-10", "0.1", "150", "120")
    assert (last["stage"], last["correct"], last["accuracy"]) == ("'=square|", "24", "0.12")


def test_text_of_users_in_stages_and_traces_is_escaped(recorded: Recorder, tmp_path: Path) -> None:
    made = staged(recorded(classes=(EVIL, EVIL, EVIL, "d")), EVIL)
    made = replace(made, caveats=(EVIL,), traces=tuple(replace(t, stage=EVIL) for t in made.traces))
    html = write([made, recorded("other")], tmp_path).read_text()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 8


def test_a_trace_ends_with_its_outcome(recorded: Recorder) -> None:
    hard, easy = trace_panels(staged(recorded()))
    assert hard.words == (
        "Number 17, one, under apgd-ce, eps 0.1. Still robust after 101 points, with a margin of 2 logits."
    )
    assert easy.words.endswith("Fooled after one step, with a negative margin of 0.5 logits.")
    assert [p.name for p in hard.panels] == [
        "loss that is maximised",
        "negative margin, logits",
        "size of the perturbation",
    ], "no gradient was computed"
    assert len(easy.panels) == 4
    assert [r.point for r in hard.rows] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_points_of_a_trace_are_drawn_at_their_values(recorded: Recorder) -> None:
    margin = trace_panels(staged(recorded()))[0].panels[1]
    places = [tuple(map(float, place.split(","))) for place in margin.path.split()]
    assert (margin.bottom, margin.top, margin.mark_name) == ("-4", "0", "fooled")
    assert places[0][1] == HEIGHT - 5
    assert margin.mark == 5
    assert places[-1][1] == pytest.approx(HEIGHT / 2), "half way from -4 to 0"
    assert margin.dots == (places[-1],)


def test_caveats_are_below_the_headline(recorded: Recorder, tmp_path: Path) -> None:
    caveat = "The quick suite leaves out Square."
    html = write([replace(recorded(), caveats=(caveat,)), recorded("other")], tmp_path).read_text()
    assert html.index('id="headline"') < html.index(caveat) < html.index('id="curve"')
    assert caveat in (tmp_path / "report.md").read_text()
