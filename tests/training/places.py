"""Place of a training, from its progress reports."""

from __future__ import annotations

from robustlab.runs import Progress


def place_of(at: Progress) -> tuple[int, int]:
    """Epoch and step of the epoch, both from 1."""
    if not at.part:  # one pass over the data, without epochs
        return 1, int(at.done)
    epoch, epochs = map(int, at.part.removeprefix("epoch ").split("/"))
    assert at.total is not None
    return epoch, round(at.done - (epoch - 1) * at.total / epochs)
