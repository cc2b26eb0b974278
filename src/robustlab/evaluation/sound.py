"""Whether the rows of a run are what its batches committed: every batch keeps a digest of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from robustlab.evaluation.plan import CLEAN, Pass
from robustlab.evaluation.queries import KEY, Reader
from robustlab.runs.run_files import digest

Batch: TypeAlias = tuple[Any, ...]
"""Which batch: its ``Pass``, and its number in it."""
_PLACE = ", ".join(Pass._fields)
_HEAD = "n, forward, backward, file, digest, seconds"
_CLEAN = "id, label, prediction, confidence, correct, digest"
_OUTCOME = "id, fooled, prediction, confidence, target, inside, linf, l2, l1"
_COMMITTED = f"SELECT {_PLACE}, batch, content, {_HEAD} FROM batches ORDER BY {_PLACE}, batch"
_REUSED = f"SELECT {_PLACE}, batch, {_OUTCOME} FROM outcomes WHERE kind = 'reused' ORDER BY {_PLACE}, id"
_CLEAN_ROWS = f"SELECT {', '.join(map(repr, CLEAN))}, batch, {_CLEAN} FROM examples ORDER BY batch, id"
_ROWS = f"SELECT {_PLACE}, batch, {_OUTCOME} FROM outcomes WHERE kind != 'reused' ORDER BY {_PLACE}, batch, id"
_WIDTH = len(Pass._fields) + 1


class Content(NamedTuple):
    """How many rows there are of a batch, and what stands for them."""

    n: int
    digest: bytes


def batch_content(reader: Reader, passed: Pass, number: int, ids: Sequence[int], head: tuple[Any, ...]) -> bytes:
    """What stands for a batch whose rows were just written.

    Args:
        reader: of the database.
        passed: the pass that the batch belongs to.
        number: of the batch.
        ids: of its rows.
        head: its line in ``batches``, from ``n`` to ``seconds``, as the database gives it back.
    """
    some = (number, min(ids), max(ids))
    if passed == CLEAN:
        query = f"SELECT {_CLEAN} FROM examples WHERE batch = ? AND id BETWEEN ? AND ? ORDER BY id"
        return _signed((*passed, number, *head), _content(reader.all(query, *some)))
    query = f"SELECT {_OUTCOME} FROM outcomes WHERE {KEY} AND batch = ? AND id BETWEEN ? AND ? ORDER BY id"
    return _signed((*passed, number, *head), _content(reader.all(query, *passed, *some)))


def unsound(reader: Reader) -> list[Batch]:
    """The batches whose rows are not those that were committed, and those that rows name and nobody committed.

    Of batches of an older version only the number of rows is known.
    """
    found, committed = dict(_contents(reader)), reader.all(_COMMITTED)
    clean = _older_clean(reader, committed)
    lines = {line[:_WIDTH]: line[_WIDTH:] for line in committed}
    wrong = [key for key, line in lines.items() if key not in clean and not _same(key, line, found.get(key))]
    return [*wrong, *(key for key in found if key not in lines and key not in clean)]


def fingerprint(reader: Reader) -> str:
    """What stands for all rows and batches of a run, as they are in the database."""
    whole, found = hashlib.sha256(), dict(_contents(reader))
    for line in reader.all(_COMMITTED):
        whole.update(repr((line, found.pop(line[:_WIDTH], None))).encode())
    for rest in found.items():
        whole.update(repr(rest).encode())
    for row in (*reader.rows(_REUSED), *reader.rows("SELECT id, name FROM files ORDER BY id")):
        whole.update(repr(row).encode())
    return whole.hexdigest()


def _contents(reader: Reader) -> Iterator[tuple[Batch, Content]]:
    for query in (_CLEAN_ROWS, _ROWS):
        for key, rows in groupby(reader.rows(query), key=lambda row: row[:_WIDTH]):
            yield key, _content([row[_WIDTH:] for row in rows])


def _content(rows: Sequence[tuple[Any, ...]]) -> Content:
    return Content(len(rows), digest(repr(rows).encode()))


def _signed(line: tuple[Any, ...], rows: Content) -> bytes:
    return digest(repr((line, rows)).encode())


def _same(key: Batch, line: tuple[Any, ...], rows: Content | None) -> bool:
    """Whether rows are those of a line in ``batches``."""
    if rows is None:
        return False
    content, *head = line
    return bool(rows.n == head[0]) if content is None else _signed((*key, *head), rows) == content


def _older_clean(reader: Reader, committed: Sequence[tuple[Any, ...]]) -> set[Batch]:
    """Clean batches of an older version, whose rows do not say which batch is theirs, if there are as many as should.

    Among them is the batch without a number that such rows seem to belong to.
    """
    older = [line for line in committed if line[: len(CLEAN)] == CLEAN and line[_WIDTH] is None]
    count = reader.one("SELECT count(*) FROM examples WHERE batch IS NULL")[0]
    if count != sum(line[_WIDTH + 1] for line in older):
        return set()
    return {(*CLEAN, None), *(tuple(line[:_WIDTH]) for line in older)}
