"""One tuple for all progress, and one bar that draws it."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from robustlab.runs import Progress, progress_bars
from robustlab.runs.progress import in_words


def drawn(*reports: Progress, title: str = "", terminal: bool = True) -> list[str]:
    """Lines that a terminal of 80 columns, or a pipe, shows in the end."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80, record=True)
    with progress_bars(title, console=console) as report:
        for at in reports:
            report(at)
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize(
    ("at", "fraction"),
    [
        (Progress("a", 1, 4), 0.25),
        (Progress("a", 1, 4, overall=0.9), 0.9),
        (Progress("a", 1, None), 0.0),
        (Progress("a", 0, 0), 1.0),
    ],
)
def test_the_fraction_of_the_whole_work(at: Progress, fraction: float) -> None:
    assert at.fraction == fraction


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (Progress("a", 1, 4), ""),
        (Progress("a", 3, 40, "files"), "3/40 files"),
        (Progress("a", 3, None, "files"), "3 files"),
        (Progress("a", 2_500_000, 5_000_000, "bytes"), "2.5/5.0 MB"),
        (Progress("a", 2_500_000, None, "bytes"), "2.5 MB"),
        (Progress("a", 1, 4, detail="fog 3", seconds_left=125), "fog 3; 2 min 05 s left"),
        (Progress("a", 1, 4, "files", detail="fog 3", seconds_left=math.nan), "fog 3"),
    ],
)
def test_the_text_next_to_the_bar(at: Progress, words: str) -> None:
    assert in_words(at).replace("\N{NARROW NO-BREAK SPACE}", " ") == words


def test_each_task_has_a_bar_and_a_pipe_gets_the_end_only() -> None:
    reports = Progress("fetch a", 1, 2, "files"), Progress("fetch b", 1, 2), Progress("fetch a", 2, 2, "files")
    first, second = drawn(*reports, terminal=False)
    assert [line.split()[:2] for line in (first, second)] == [["fetch", "a"], ["fetch", "b"]]
    assert "100%" in first
    assert first.endswith("2/2 files")
    assert "50%" in second


def test_a_title_joins_all_tasks_in_one_bar() -> None:
    (line,) = drawn(
        Progress("clean", 5, 5, overall=0.1), Progress("PGD", 5, 9, detail="[red]PGD[/red]", overall=0.5),
        title="evaluate net", terminal=False,
    )  # fmt: skip
    assert line.startswith("evaluate net")
    assert "50%" in line
    assert line.endswith("[red]PGD[/red]")


def test_nothing_is_drawn_where_nothing_is_reported() -> None:
    assert drawn(terminal=False) == []


def test_long_words_are_cut_and_the_bar_stays_whole() -> None:
    at = Progress("corruptions", 1, 2, detail="jpeg compression, " * 9)
    (line,) = drawn(at, title="evaluate runs/trades", terminal=False)
    assert len(line) <= 80
    assert line.count("━") == 10  # half of 20
    assert "50%" in line
    assert line.endswith("…")
