"""Wall seconds of the sessions of a run: from its first call to the one that finishes it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from robustlab.runs.files import write_bytes
from robustlab.runs.json_files import json_in

SESSIONS = "sessions.json"


@dataclass
class Stopwatch:
    """Seconds since it was last read."""

    started: float = 0.0

    def start(self) -> None:
        """Begins to count."""
        self.started = perf_counter()

    def lap(self) -> float:
        """Seconds since the start, or since the last lap."""
        before, self.started = self.started, perf_counter()
        return self.started - before


class Clock:
    """Wall seconds of each session of a run, kept in its directory.

    Args:
        directory: of the run; sessions recorded there count, unless their file is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.path, self.sessions = directory / SESSIONS, _kept(directory / SESSIONS)
        self.watch: Stopwatch | None = None

    def start(self) -> None:
        """Begins a session."""
        self.sessions, self.watch = [*self.sessions, 0.0], Stopwatch()
        self.watch.start()

    def keep(self) -> tuple[float, int]:
        """Records the time so far, if a session was begun; returns seconds and number of all sessions."""
        if self.watch is not None:
            self.sessions[-1] += self.watch.lap()
            write_bytes(self.path, json.dumps(self.sessions).encode(), durable=False)
        return sum(self.sessions), len(self.sessions)


def _kept(path: Path) -> list[float]:
    """Seconds of earlier sessions; none if their file is missing or damaged."""
    try:
        found = json_in(path)
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) and all(map(_is_duration, found)) else []


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
