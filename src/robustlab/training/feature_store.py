"""Rows of features and labels in files that only grow, so that a killed run can be resumed.

``x.f32`` and ``y.i64`` hold rows one after the other; ``rows.json`` holds the number of whole rows and a digest of
them.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.runs.files import write_atomically
from robustlab.runs.json_files import object_in
from robustlab.runs.lock import alone

_PIECE = 1 << 22  # bytes
Digest: TypeAlias = blake2b
SECONDS = 5.0
"""Longest work that a killed run loses."""


class Store:
    """A folder of rows.

    Args:
        place: folder of its own.
        shape: of the features of one example.
        examples: number of rows when it is full.
        of: source of the rows, as text in their digest: rows of another source are not used.
    """

    def __init__(self, place: Path, shape: torch.Size, examples: int, of: str = "") -> None:
        self.place, self.shape, self.examples = place, list(shape), examples
        self.features, self.labels, self.count = place / "x.f32", place / "y.i64", place / "rows.json"
        self.rows, self.of = 0, of
        self.digests = self._begun()

    def _begun(self) -> tuple[Digest, Digest]:
        """Digests of no rows yet."""
        return blake2b(self.of.encode(), digest_size=16), blake2b(self.of.encode(), digest_size=16)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Locks the store for this process; another one waits, and then uses the rows.

        Raises: RunError if it cannot be written.
        """
        with alone(self.place, wait=math.inf):
            self.rows = self._whole()
            if not self.rows:
                self.digests = self._begun()
            yield

    def _whole(self) -> int:
        """Number of rows whose digest is right."""
        try:
            head = cast("dict[str, Any]", object_in(self.count))
            rows = int(head["rows"])
            ours = head["shape"] == self.shape and 0 <= rows <= self.examples
            sizes = self.features.stat().st_size, self.labels.stat().st_size
            if not (ours and sizes[0] >= rows * self._width and sizes[1] >= rows * 8):
                return 0
            found = self._read(rows)
            whole = head.get("digests", found) == found  # older versions kept none
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return 0
        return rows if whole else 0

    def _read(self, rows: int) -> list[str]:
        """Digests of the first rows, to be continued by later ones."""
        self.digests = self._begun()
        for file, width, digest in zip((self.features, self.labels), (self._width, 8), self.digests, strict=True):
            left = rows * width
            with file.open("rb") as opened:
                while left and (piece := opened.read(min(left, _PIECE))):
                    digest.update(piece)
                    left -= len(piece)
        return self._hex()

    def _hex(self) -> list[str]:
        return [digest.hexdigest() for digest in self.digests]

    @property
    def _width(self) -> int:
        """Bytes of the features of one example."""
        return 4 * math.prod(self.shape)

    def start(self) -> None:
        """Forgets all rows."""
        self.count.unlink(missing_ok=True)
        self.rows, self.digests = 0, self._begun()

    @contextmanager
    def growing(self) -> Iterator[Growing]:
        """Opens the store to add rows; those that were added are kept, however the block ends.

        Raises: RunError if the disk is full.
        """
        try:
            with ExitStack() as stack:
                x, y = (
                    stack.enter_context(_end_at(file, self.rows * width))
                    for file, width in ((self.features, self._width), (self.labels, 8))
                )
                growing = Growing(self, x, y)
                stack.callback(growing.mark)
                yield growing
        except OSError as error:
            raise self._unwritable(error) from error

    def write_count(self) -> None:
        """Writes the number of whole rows and their digests."""
        text = json.dumps({"shape": self.shape, "rows": self.rows, "digests": self._hex()})
        write_atomically(self.count, text)

    def x(self) -> Tensor:
        """Features (rows, ...), float32, memory-mapped; changes of them stay in memory."""
        mapped = np.memmap(self.features, np.float32, "c", shape=(self.rows, *self.shape))
        return torch.from_numpy(mapped)

    def y(self) -> Tensor:
        """Labels (rows,), int64."""
        return torch.from_numpy(np.fromfile(self.labels, np.int64, self.rows))

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(f"{self.place} cannot be written: {error.strerror or error}; rows written so far are kept")


class Growing:
    """A store that is open for more rows."""

    def __init__(self, store: Store, x: BinaryIO, y: BinaryIO) -> None:
        self.store, self.x, self.y = store, x, y
        self.added, self.marked = 0, time.monotonic()

    def append(self, x: Tensor, y: Tensor) -> None:
        """Adds rows of features (N, ...) and labels (N,)."""
        found = x.float().cpu().contiguous().numpy().data, y.cpu().contiguous().numpy().data
        for file, digest, rows in zip((self.x, self.y), self.store.digests, found, strict=True):
            file.write(rows)
            digest.update(rows)
        self.added += len(y)
        if time.monotonic() - self.marked >= SECONDS:
            self.mark()

    def mark(self) -> None:
        """Writes the rows to the disk, then their number."""
        for file in (self.x, self.y):
            file.flush()
            os.fsync(file.fileno())
        self.store.rows += self.added
        self.added, self.marked = 0, time.monotonic()
        self.store.write_count()


@contextmanager
def _end_at(file: Path, size: int) -> Iterator[BinaryIO]:
    """A file, opened for writing behind its whole rows."""
    with file.open("r+b" if size else "w+b") as opened:
        opened.seek(size)
        yield opened
