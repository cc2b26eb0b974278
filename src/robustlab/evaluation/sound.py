"""Check that the rows of a run are those that its batches committed, by the digest that every batch keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from robustlab.evaluation.plan import CLEAN, Phase
from robustlab.evaluation.queries import (
    Reader,
    batch_rows,
    committed,
    rows_by_batch,
    uncommitted_rows,
    unnumbered_examples,
)
from robustlab.runs.files import digest

Batch: TypeAlias = tuple[Any, ...]
"""Key of a batch: its ``Phase``, and its number in it."""
_WIDTH = len(Phase._fields) + 1


class Content(NamedTuple):
    """Number of the rows of a batch, and their digest."""

    n: int
    digest: bytes


def batch_content(reader: Reader, phase: Phase, number: int, ids: Sequence[int], head: tuple[Any, ...]) -> bytes:
    """Digest of a batch whose rows were just written.

    Args:
        reader: of the database.
        phase: the pass that the batch belongs to.
        number: of the batch.
        ids: of its rows.
        head: its line in ``batches``, from ``n`` to ``seconds``, as the database gives it back.
    """
    return _signed((*phase, number, *head), _content(batch_rows(reader, phase, number, min(ids), max(ids))))


def unsound(reader: Reader) -> list[Batch]:
    """Batches whose rows are not those that were committed, and batches that rows name but were never committed.

    Of batches of an older version only the number of rows is known.
    """
    found, there = dict(_contents(reader)), committed(reader)
    clean = _older_clean(reader, there)
    lines = {line[:_WIDTH]: line[_WIDTH:] for line in there}
    wrong = [key for key, line in lines.items() if key not in clean and not _same(key, line, found.get(key))]
    return [*wrong, *(key for key in found if key not in lines and key not in clean)]


def fingerprint(reader: Reader) -> str:
    """Digest of all rows and batches of a run in the database."""
    whole, found = hashlib.sha256(), dict(_contents(reader))
    for line in committed(reader):
        whole.update(repr((line, found.pop(line[:_WIDTH], None))).encode())
    for rest in found.items():
        whole.update(repr(rest).encode())
    for row in uncommitted_rows(reader):
        whole.update(repr(row).encode())
    return whole.hexdigest()


def _contents(reader: Reader) -> Iterator[tuple[Batch, Content]]:
    for key, rows in groupby(rows_by_batch(reader), key=lambda row: row[:_WIDTH]):
        yield key, _content([row[_WIDTH:] for row in rows])


def _content(rows: Sequence[tuple[Any, ...]]) -> Content:
    return Content(len(rows), digest(repr(rows).encode()))


def _signed(line: tuple[Any, ...], rows: Content) -> bytes:
    return digest(repr((line, rows)).encode())


def _same(key: Batch, line: tuple[Any, ...], rows: Content | None) -> bool:
    """Tests that rows are those of a line in ``batches``."""
    if rows is None:
        return False
    content, *head = line
    return bool(rows.n == head[0]) if content is None else _signed((*key, *head), rows) == content


def _older_clean(reader: Reader, lines: Sequence[tuple[Any, ...]]) -> set[Batch]:
    """Clean batches of an older version, whose rows have no batch number, if their number is right.

    Among them is the batch without a number that such rows seem to belong to.
    """
    older = [line for line in lines if line[: len(CLEAN)] == CLEAN and line[_WIDTH] is None]
    if unnumbered_examples(reader) != sum(line[_WIDTH + 1] for line in older):
        return set()
    return {(*CLEAN, None), *(tuple(line[:_WIDTH]) for line in older)}
