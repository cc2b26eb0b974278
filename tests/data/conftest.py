"""Small published data sets in IDX format, and a local server that serves them correctly or with faults."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from robustlab.data.sources import PublishedFile


def idx_bytes(shape: tuple[int, ...], values: bytes) -> bytes:
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + values


IMAGES = idx_bytes((3, 28, 28), bytes(k % 256 for k in range(3 * 28 * 28)))
LABELS = idx_bytes((3,), bytes([2, 0, 9]))
CONTENT = {"images.gz": IMAGES, "labels.gz": LABELS}


@dataclass
class Site:
    """A web site with one folder per way to answer; counts the requests."""

    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def content() -> dict[str, bytes]:
    return dict(CONTENT)


@pytest.fixture
def published() -> tuple[PublishedFile, ...]:
    return tuple(PublishedFile(name, hashlib.sha256(raw).hexdigest()) for name, raw in CONTENT.items())


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is the protocol's
            _, way, name = self.path.split("/")
            state.asked.append(self.path)
            packed = gzip.compress(CONTENT[name])
            if way == "missing":
                self.send_error(404)
                return
            if way == "slow":
                time.sleep(0.5)
            body = {"truncated": packed[:-20], "cut": packed[:-20], "corrupt": _flipped(packed)}.get(way, packed)
            body = gzip.compress(CONTENT[name][::-1]) if way == "other" else body
            self.send_response(200)
            self.send_header("Content-Length", str(len(packed) if way == "truncated" else len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keeps the terminal quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()


def _flipped(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]
