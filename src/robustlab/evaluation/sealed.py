"""Finished runs: digests of their parts are sealed in the manifest, and checked when they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from robustlab.core import RunError
from robustlab.evaluation.manifest import Manifest, older, read_manifest
from robustlab.evaluation.queries import Reader
from robustlab.evaluation.record import Evaluation, RunInfo
from robustlab.evaluation.results import assemble
from robustlab.evaluation.sound import fingerprint, unsound
from robustlab.evaluation.store import Store
from robustlab.evaluation.upgrade import SCHEMA_VERSION
from robustlab.runs.codec import encode
from robustlab.runs.disk import disk
from robustlab.runs.files import sha256_of
from robustlab.runs.json_files import read_json, write_json

REPORT = "report.json"
OUTCOMES = "rows of outcomes.sqlite"


class Sealed(Protocol):
    """Manifest of a run of any kind whose rows are in a store."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def run(self) -> RunInfo:
        """Facts that are needed to run it again."""

    @property
    def sealed(self) -> dict[str, str] | None:
        """SHA-256 of the parts of a finished run; empty: not finished; None: an older version wrote it."""


class Result(Protocol):
    """Result of a run of any kind."""

    @property
    def run(self) -> RunInfo:
        """Facts that are needed to run it again."""


R = TypeVar("R", bound=Result)


def seal(manifest: Sealed, store: Store, files: tuple[str, ...]) -> None:
    """Records the digests of a finished run in its manifest.

    Args:
        manifest: of the run.
        store: of the run.
        files: names of its files, relative to the run directory, without those that the database lists.
    """
    with disk(store.directory):
        found = {name: sha256_of(store.directory / name) for name in files}
        found[OUTCOMES] = fingerprint(store.reader)
        whole = replace(manifest, sealed=found)
        write_json(store.directory / "manifest.json", encode(whole), durable=store.durable)


def broken(manifest: Sealed, directory: Path, reader: Reader) -> list[str]:
    """Names of the parts that differ from their seal."""
    if not manifest.sealed:
        return [REPORT]
    with disk(directory):
        here = {name: sha256_of(directory / name) for name in manifest.sealed if name != OUTCOMES}
        here[OUTCOMES] = fingerprint(reader)
    return [name for name, sha256 in {REPORT: "", OUTCOMES: "", **manifest.sealed}.items() if here.get(name) != sha256]


def read_result(directory: Path, manifest: Manifest) -> Evaluation:
    """The result of a finished run, if it is the one that this run wrote.

    Raises: RunError if the run is not finished, or the file is damaged, changed, or of another run.
    """
    return result_of(directory, manifest, Evaluation.from_json)


def result_of(directory: Path, manifest: Sealed, read: Callable[[Mapping[str, object], Path | None], R]) -> R:
    """The result of a finished run of any kind, if it is the one that this run wrote.

    Args:
        directory: of the run.
        manifest: of the run.
        read: from the content of its file, and the directory, to the result; it raises ValueError.

    Raises: RunError if the run is not finished, or the file is damaged, changed, or of another run.
    """
    path = directory / REPORT
    if not path.exists() or manifest.sealed == {}:
        raise RunError(
            f"the run in {directory} is not finished: call evaluate with the same arguments to go on with it"
        )
    check_file(directory, REPORT, manifest.sealed)
    try:
        found = read(read_json(path), directory)
    except ValueError as error:
        raise RunError(f"{path} cannot be used: {error}; delete it and run evaluate again") from error
    if found.run.id != manifest.run.id:
        raise RunError(
            f"{path} is the result of another run ({found.run.id}) than the manifest.json next to it "
            f"({manifest.run.id}): run evaluate again with the same arguments to write it anew"
        )
    return found


def check_file(directory: Path, name: str, sealed: Mapping[str, str] | None) -> None:
    """Checks a file of a finished run against its seal; runs of older versions have none.

    Raises: RunError if it is not.
    """
    if sealed and name in sealed and sha256_of(directory / name) != sealed[name]:
        raise RunError(
            f"{directory / name} is not what the run wrote: run the evaluation again with the same arguments to write "
            "it anew"
        )


def check_rows(directory: Path, reader: Reader, manifest: Sealed | None = None) -> None:
    """Checks the rows of a run against their seal; runs of older versions have none.

    Args:
        directory: of the run.
        reader: of its rows.
        manifest: of the run; None: it is one of attacks on inputs, and the manifest is read.

    Raises: RunError if they are not.
    """
    sealed = (manifest or read_manifest(directory)).sealed
    if sealed is None:
        return
    with disk(directory):
        whole = fingerprint(reader) == sealed.get(OUTCOMES) if sealed else not unsound(reader)
    if not whole:
        raise RunError(
            f"the rows in {directory / 'outcomes.sqlite'} are not those that the run wrote: run evaluate again with "
            "the same arguments to mend them"
        )


def older_result(manifest: Manifest, store: Store) -> Evaluation | None:
    """The result of a run that an older version finished; None if its rows give another result and it must go on.

    Raises: RunError if it cannot go on.
    """
    try:
        found = read_result(store.directory, manifest)
        drawn = assemble(manifest, store.reader)
    except RunError:
        found = None
    if found is not None and (found.worst, found.clean.accuracy) == (drawn.worst, drawn.clean.accuracy):
        return found
    if manifest.schema != SCHEMA_VERSION:
        raise older(store.directory, manifest)
    return None
