"""Sessions of a run are counted, and their seconds added up."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from robustlab.runs import clock
from robustlab.runs.clock import SESSIONS, Clock


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading of the clock is a second later."""
    time = count(100.0)
    monkeypatch.setattr(clock, "perf_counter", lambda: next(time))


def test_seconds_of_all_sessions_are_added_up(tmp_path: Path) -> None:
    first = Clock(tmp_path)
    first.start()
    assert [first.keep(), first.keep()] == [(1.0, 1), (2.0, 1)]
    assert Clock(tmp_path).keep() == (2.0, 1), "no session was begun"
    second = Clock(tmp_path)
    second.start()
    assert second.keep() == (3.0, 2)
    assert json.loads((tmp_path / SESSIONS).read_text()) == [2.0, 1.0]


@pytest.mark.parametrize("text", ["{half", "{}", '["1"]', "[-1.0]", "[Infinity]", "[true]", "7"])
def test_damaged_sessions_count_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / SESSIONS).write_text(text)
    again = Clock(tmp_path)
    again.start()
    assert again.keep() == (1.0, 1)
