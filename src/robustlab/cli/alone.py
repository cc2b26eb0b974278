"""Standard output for results alone: what a model or a library prints meanwhile goes to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO


class _Kept:
    """Destination of results while standard output is reserved for them."""

    put: Callable[[str], object] | None = None


def put(text: str) -> None:
    """Writes a result and ends its line."""
    if _Kept.put is None:
        print(text)
    else:
        _Kept.put(f"{text}\n")


@contextmanager
def results_alone() -> Iterator[None]:
    """Keeps standard output for what is ``put`` inside the block, so that it can be parsed.

    Prints of Python go to standard error, and where standard output is the process's own, so does what other languages
    and child processes write.
    """
    out = sys.stdout
    with redirect_stdout(sys.stderr), _descriptor(out) as kept:
        _Kept.put = (lambda text: _written(kept, text)) if kept is not None else out.write
        try:
            yield
        finally:
            _Kept.put = None


@contextmanager
def _descriptor(out: TextIO) -> Iterator[int | None]:
    """A copy of the descriptor of standard output, which is standard error's meanwhile; None where there is none."""
    kept = None
    if out is sys.__stdout__:
        with suppress(OSError, ValueError, AttributeError):
            out.flush()
            kept = os.dup(out.fileno())
            os.dup2(2, out.fileno())
    try:
        yield kept
    finally:
        if kept is not None:
            os.dup2(kept, out.fileno())
            os.close(kept)


def _written(descriptor: int, text: str) -> None:
    left = memoryview(text.encode("utf-8", "surrogateescape"))
    while left:
        left = left[os.write(descriptor, left) :]
