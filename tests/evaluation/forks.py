"""Children of programs that kill runs: they do some work, or die at a step of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Status of a child that did some work."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killed(work: Callable[[], object], point: int, on_every: Callable[[Callable[[str], None]], None]) -> None:
    """Does some work in a child that kills itself at a step.

    Args:
        work: what the child does.
        point: number of the step, from 0.
        on_every: has a function called at every step, with its name.
    """
    left = [point]

    def die(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying() -> None:
        on_every(die)
        work()

    assert os.WTERMSIG(forked(dying)) == signal.SIGKILL
