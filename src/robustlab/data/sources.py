"""Sources of published files; bytes of each are used only if the checksum matches."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import shlex
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeAlias

from robustlab.core.errors import DataError
from robustlab.runs.progress import Progress, Report

Reader: TypeAlias = Callable[[str], bytes]
"""From a file's name to its (packed) bytes; raises DataError or OSError."""

_TIMEOUT = 20.0  # seconds without a byte
_CHUNK = 1 << 18
_LISTS = " (is the package list there? 'apt-get update' makes it)"


@dataclass(frozen=True)
class PublishedFile:
    """A file by its name, and the SHA-256 of its content, unpacked where a source packs it by gzip."""

    name: str
    sha256: str


class Source(Protocol):
    """A place to try."""

    def __str__(self) -> str:
        """Name in messages."""

    def opened(self, progress: Report | None) -> AbstractContextManager[Reader]:
        """A context that gives a reader of the place's files."""


@dataclass(frozen=True)
class Folder:
    """Files on this machine, packed or not."""

    path: Path

    def __str__(self) -> str:
        return f"folder {self.path}"

    @contextmanager
    def opened(self, progress: Report | None = None) -> Iterator[Reader]:  # noqa: ARG002 (nothing to wait for)
        """Reads from the folder."""
        if not self.path.is_dir():
            raise DataError("no such folder")
        yield self._read

    def _read(self, name: str) -> bytes:
        for path in (self.path / name, self.path / name.removesuffix(".gz")):
            if path.is_file():
                return path.read_bytes()
        raise DataError(f"{name} is not in it")


@dataclass(frozen=True)
class Mirror:
    """A web address with the files.

    Args:
        url: address of the folder with the files.
        timeout: seconds without a byte after which it is given up.
        parts: folder that keeps what arrived of a broken download, for the next try to go on from; None: nothing is.
    """

    url: str
    timeout: float = _TIMEOUT
    parts: Path | None = None

    def __str__(self) -> str:
        return f"download from {self.url}"

    @contextmanager
    def opened(self, progress: Report | None = None) -> Iterator[Reader]:
        """Reads over HTTP."""
        yield lambda name: self._read(name, progress)

    def _read(self, name: str, progress: Report | None) -> bytes:
        address = f"{self.url.rstrip('/')}/{name}"
        if not address.startswith(("http://", "https://")):
            raise DataError("not an http address")
        if self.parts is None:
            return self._asked(address, name, io.BytesIO(), progress)
        self.parts.mkdir(parents=True, exist_ok=True)
        part = self.parts / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.part"
        with part.open("a+b") as kept:
            content = self._asked(address, name, kept, progress)
        part.unlink()
        return content

    def _asked(self, address: str, name: str, kept: IO[bytes], progress: Report | None) -> bytes:
        """The file, of which the first bytes may be kept already."""
        there = kept.seek(0, io.SEEK_END)
        request = urllib.request.Request(address, headers={"Range": f"bytes={there}-"} if there else {})
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                    kept.truncate(0)
                return _received(answer, name, kept, progress)
        except urllib.error.HTTPError as error:
            error.close()
            if there and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                kept.truncate(0)
                return self._asked(address, name, kept, progress)
            raise DataError(f"{name}: the server answered {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise DataError(f"{name}: {error.reason}") from error
        except http.client.HTTPException as error:
            raise DataError(f"{name}: the connection broke off ({error!r})") from error


def _received(answer: http.client.HTTPResponse, name: str, kept: IO[bytes], progress: Report | None) -> bytes:
    """The whole content, once all of the answer is kept."""
    at = kept.seek(0, io.SEEK_END)
    told = answer.headers.get("Content-Length")
    length = at + int(told) if told else None
    while chunk := answer.read(_CHUNK):
        at += kept.write(chunk)
        if progress is not None:
            progress(Progress(f"fetch {name}", at, length, "bytes"))
    if length is not None and at != length:
        raise DataError(f"{name}: truncated, {at} of {length} bytes arrived")
    kept.seek(0)
    return kept.read()


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package, fetched and unpacked in a temporary folder, without root and without installing it."""

    package: str
    folder: str

    def __str__(self) -> str:
        return f"Debian package {self.package} (apt-get download)"

    @contextmanager
    def opened(self, progress: Report | None = None) -> Iterator[Reader]:
        """Fetches and unpacks the package, then reads from the unpacked folder."""
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise DataError("this machine has no apt-get")
        with tempfile.TemporaryDirectory(prefix="robustlab-") as scratch:
            run(["apt-get", "download", self.package], scratch, _LISTS)
            for archive in Path(scratch).glob("*.deb"):
                run(["dpkg", "-x", str(archive), "unpacked"], scratch)
            with Folder(Path(scratch, "unpacked", self.folder)).opened(progress) as read:
                yield read


def run(command: Sequence[str], folder: str, hint: str = "", seconds: float = 300) -> None:
    """Runs another program in a folder.

    Raises: DataError with its last line, and the hint, if it fails or takes longer than so many seconds.
    """
    words = shlex.join(command)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"'{words}' took more than {seconds:.0f} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise DataError(f"'{words}' failed: {last[0]}{hint}")


def fetch(files: Sequence[PublishedFile], source: Source, progress: Report | None = None) -> list[bytes]:
    """All files from one source, unpacked and checked.

    Raises: DataError if a file is missing, truncated, damaged or has other content.
    """
    with source.opened(progress) as read:
        return [_checked(file, _unpacked(file.name, read(file.name))) for file in files]


def _unpacked(name: str, packed: bytes) -> bytes:
    if packed[:2] != b"\x1f\x8b":
        return packed
    try:
        return gzip.decompress(packed)
    except EOFError as error:
        raise DataError(f"{name}: truncated, the packed data ends after {len(packed)} bytes") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: damaged ({error})") from error


def _checked(file: PublishedFile, content: bytes) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataError(f"{file.name}: not the published file, SHA-256 {found[:12]}… instead of {file.sha256[:12]}…")
    return content


def first_that_works(
    what: str, files: Sequence[PublishedFile], sources: Sequence[Source], progress: Report | None = None
) -> tuple[list[bytes], str]:
    """Tries the sources in order.

    Returns: the contents of the files, and the name of their source.
    Raises: DataError that lists each source with its error, if none has them.
    """
    reasons = []
    for source in sources:
        try:
            return fetch(files, source, progress), str(source)
        except (DataError, OSError) as error:
            reasons.append(f"  - {source}: {error}")
    raise DataError(f"{what} is not available. Tried, in order:\n" + "\n".join(reasons))
