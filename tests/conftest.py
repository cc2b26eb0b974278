"""Names of parametrized tests that are the same in every process, and a collection that costs little."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest


def pytest_make_parametrize_id(val: object) -> str | None:
    """The length of bytes in place of their content: a compressed file holds the second it was made in."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Searches no examples in the docstrings of tests: those of the package alone are run."""
    found = yield
    return [one for one in found if type(one).__name__ != "DoctestModule"]


def pytest_collection_finish() -> None:
    """Takes all that was imported and collected out of later rounds of the garbage collector."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Gives it back: extensions look for objects that nobody freed when the process ends."""
    gc.unfreeze()
