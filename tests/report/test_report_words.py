"""Numbers as text, and the files for machines."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from robustlab.evaluation.compare import Comparison
from robustlab.evaluation.record import Evaluation
from robustlab.report import render, write
from robustlab.report.chart import NARROW, WIDE, Frame, attacked, chart
from robustlab.report.words import NOTHING, budget, count, duration, interval, number, p_value, percent, points
from robustlab.statistics.intervals import Interval

Recorder = Callable[..., Evaluation]


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u2212", "-")


@pytest.mark.parametrize(
    ("eps", "text"),
    [
        (8 / 255, "8/255"),
        (0.1, "0.1"),
        (0.2, "0.2"),
        (0.0, "0"),
        (1.0, "1"),
        (3.0, "3"),
        (2 / 255, "2/255"),
        (2 / 255 + 2**-23, "2/255"),
    ],
)
def test_eps_is_written_as_it_was_typed(eps: float, text: str) -> None:
    assert budget(eps) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.001, "< 0.01 s"),
        (0.42, "0.42 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert plain(duration(seconds)) == text


def test_fractions_and_counts() -> None:
    assert plain(percent(0.8957)) == "89.6 %"
    assert percent(math.nan) == duration(math.nan) == number(math.nan) == points(math.nan) == NOTHING
    assert interval(Interval(0.5, 0.187, 0.813, 5, 10)) == "[18.7, 81.3]"
    assert plain(points(-0.051)) == "-5.1"
    assert plain(count(123456)) == "123 456"
    assert (number(12.25), number(41.0), plain(number(12345.6))) == ("12.2", "41", "12 346")
    assert (plain(p_value(1e-9)), p_value(0.0123), p_value(1.0)) == ("< 0.0001", "0.012", "1")


def test_single_evaluation_is_stored_as_it_is_and_can_be_read_back(recorded: Recorder, tmp_path: Path) -> None:
    made = recorded()
    write([made], tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert Evaluation.from_json(stored) == made


def test_several_are_stored_as_a_list(recorded: Recorder, tmp_path: Path, comparison: Comparison) -> None:
    pair = [recorded(), recorded("hardened")]
    write(pair, tmp_path / "out", comparisons=[comparison])
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [Evaluation.from_json(e) for e in stored["evaluations"]] == pair
    assert stored["comparisons"][0]["only_b"] == 130


def test_csv_has_a_line_per_model_attack_and_eps(recorded: Recorder, tmp_path: Path) -> None:
    write([recorded("=1+1"), recorded("b")], tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "report.csv").read_text())))
    assert len(rows) == 2 * (1 + 3 * 3 + 3)
    assert rows[0]["model"] == "'=1+1", "no spreadsheet may run a name"
    worst = next(r for r in rows if r["attack"] == "worst case" and r["eps"] == "0.1")
    assert (worst["correct"], worst["n"], worst["accuracy"]) == ("24", "200", "0.12")


def test_markdown_has_the_headline_and_neutral_names(recorded: Recorder, tmp_path: Path) -> None:
    write([recorded("a|b_*c*")], tmp_path / "out")
    text = plain((tmp_path / "out" / "report.md").read_text())
    assert r"| a\|b\_\*c\* | 90.0 % [85.0, 93.8] | 12.0 % [7.8, 17.3] |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in tables} <= {4, 5, 6, 7}


def test_curve_places_points_where_they_were_measured(recorded: Recorder) -> None:
    curve = recorded().curves[-1]
    drawn = chart([("small", curve)], WIDE, id="c", title="t", axis=attacked("Linf"), headline=0.1)
    marks = drawn.lines[0].marks
    assert [m.x for m in marks] == pytest.approx([WIDE.x(e / 0.1) for e in (0.0, 0.02, 0.05, 0.1)])
    assert [m.y for m in marks] == pytest.approx([WIDE.y(s) for s in (0.9, 0.75, 0.45, 0.12)], abs=0.01)
    assert all(m.high < m.y < m.low for m in marks), "upwards is smaller in a drawing"
    assert [m.hollow for m in marks] == [False, False, True, True]
    assert drawn.headline == WIDE.x(1)


@pytest.mark.parametrize("frame", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("eps", [8 / 255, 254 / 255, 0.1, 0.123456, 12.0])
def test_no_label_of_a_curve_is_cut_at_its_edge(recorded: Recorder, eps: float, frame: Frame) -> None:
    curve = recorded().curves[-1]
    one = replace(curve, points=(curve.points[0], replace(curve.points[1], eps=eps)))
    drawn = chart([("small", one)], frame, id="c", title="t", axis=attacked("Linf"), headline=eps)
    source = "{% from 'curve.svg.j2' import curve with context %}{{ curve(c) }}"
    svg = render._environment().from_string(source).render(c=drawn)
    texts = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(\w+)">([^<]+)<', svg)
    assert budget(eps) in [label for *_, label in texts]
    for x, anchor, label in texts:
        right = float(x) + 7 * len(label) * {"middle": 0.5, "end": 0}[anchor]
        assert right <= frame.width, label


def test_labels_that_would_overlap_are_left_out_but_never_the_last(recorded: Recorder) -> None:
    curve = recorded().curves[-1]
    many = replace(curve, points=tuple(replace(curve.points[0], eps=i / 255) for i in range(30)))
    drawn = chart([("small", many)], NARROW, id="c", title="t", axis=attacked("Linf"), headline=0.1)
    places = [t.at for t in drawn.x_ticks]
    assert drawn.x_ticks[-1].label == "29/255"
    assert min(b - a for a, b in pairwise(places)) >= 20
    assert len(places) < 12


def test_model_without_a_curve_leaves_its_colour_to_itself(recorded: Recorder) -> None:
    curve = recorded().curves[-1]
    drawn = chart([("none", None), ("some", curve)], WIDE, id="c", title="t", axis=attacked("Linf"), headline=0.1)
    assert [(line.series, line.name) for line in drawn.lines] == [(1, "some")]
