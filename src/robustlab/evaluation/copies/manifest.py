"""Manifest of a corrupted copy of a data set: ``manifest.json`` is written first, ``SHA256SUMS`` last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core import DataError, Examples, RunError
from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.corruptions import Variant
from robustlab.data import InMemory
from robustlab.data.folder import ImageFolder
from robustlab.data.ready_made import CorruptedCopies, cifar_c, corrupted_folders
from robustlab.evaluation.corruptions.corrupted_set import CorruptedSets, ready_made
from robustlab.evaluation.corruptions.record import CorruptionInfo
from robustlab.runs.codec import decode, encode
from robustlab.runs.disk import disk, inside
from robustlab.runs.files import sha256_of, write_bytes
from robustlab.runs.identity import check_same
from robustlab.runs.json_files import read_json, write_json
from robustlab.runs.progress import Progress, Report
from robustlab.runs.resume import create_or_resume

COPY = "nothing: a corrupted copy"
"""Value of ``measures`` in the manifest of a copy."""
SUMS = "SHA256SUMS"
CLEAN = "clean/images.npy"
"""The images before they were corrupted, in the layout "arrays"."""
_SCHEMA = 1

Layout: TypeAlias = Literal["arrays", "folders"]
"""One array per corruption, as in CIFAR-10-C; or folders of image files, as in ImageNet-C."""
Format: TypeAlias = Literal["png", "jpeg"]


@typed
@dataclass(frozen=True)
class CopySettings:
    """Settings of a corrupted copy.

    Args:
        layout: "arrays" (``NAME.npy`` and ``labels.npy``, as CIFAR-10-C), "folders" (``NAME/SEVERITY/CLASS/*``, as
            ImageNet-C); None: folders for a folder of images, arrays for the rest if all five severities are wanted.
        format: of image files: "png" keeps every value, "jpeg" is the format of ImageNet-C.
        quality: of JPEG.
        variant: of the corruptions that are given by name.
        seed: of all random draws.
        workers: processes that work at the same time.
        progress: called after every part.
        command: the call, for the manifest; empty: the command line of the process.
    """

    layout: Layout | None = None
    format: Format = "png"
    quality: int = 85
    variant: Variant = "imagenet-c"
    seed: int = 0
    workers: int = 1
    progress: Report | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.layout not in (None, "arrays", "folders") or self.format not in ("png", "jpeg"):
            raise ValueError(f"layouts are arrays and folders, formats png and jpeg; got {self.layout}, {self.format}")
        if self.workers < 1 or not 1 <= self.quality <= 100:
            raise ValueError(f"workers must be at least 1 and quality in 1..100, got {self.workers} and {self.quality}")


@dataclass(frozen=True)
class CopyManifest:
    """Facts about a copy that are known before its first file."""

    name: str
    """Name of the data set that it is made of."""
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    """Names of the class folders in the order of their numbers; empty: none, or named by ImageNet's synsets."""
    n: int
    shape: tuple[int, ...]
    """Shape of one image (C, H, W)."""
    corruptions: tuple[CorruptionInfo, ...]
    severities: tuple[int, ...]
    variant: str
    seed: int
    layout: Layout
    format: str
    """Format of the files: "npy", "png", or "jpeg" with its quality."""
    created: str
    command: str
    versions: dict[str, str]
    essentials: Evidence
    """Values that must be the same for the copy to go on, by a name that a message can use."""
    sums: str = ""
    """SHA-256 of ``SHA256SUMS``; empty: not finished, or made by an older version."""
    measures: str = COPY
    schema: int = _SCHEMA


def create_or_resume_copy(manifest: CopyManifest, directory: Path) -> CopyManifest:
    """Writes the manifest of a new copy, or reads that of one that goes on.

    Raises: RunError if the directory holds another copy, naming the first differences, or something else.
    """

    def check(before: CopyManifest) -> None:
        check_same(directory, before.essentials, manifest.essentials)

    return create_or_resume(directory, encode(manifest), read=read_copy_manifest, check=check) or manifest


def seal(manifest: CopyManifest, directory: Path, *, whole: bool) -> CopyManifest:
    """Records the digest of ``SHA256SUMS`` in the manifest once all files were checked, else an empty one.

    Args:
        manifest: of the copy.
        directory: of the copy.
        whole: whether all files were found intact.
    """
    sealed = replace(manifest, sums=sha256_of(directory / SUMS) if whole else "")
    if sealed != manifest:
        with disk(directory):
            write_json(directory / "manifest.json", encode(sealed), durable=True)
    return sealed


@typed
def is_copy(directory: Path) -> bool:
    """Tests whether a directory holds a corrupted copy of robustlab."""
    path = directory / "manifest.json"
    return path.is_file() and read_json(path).get("measures") == COPY


def read_copy_manifest(directory: Path) -> CopyManifest:
    """The manifest of a copy.

    Raises: RunError if there is none, or it is damaged or of another version.
    """
    content = read_json(directory / "manifest.json")
    if content.get("measures") != COPY or content.get("schema") != _SCHEMA:
        raise RunError(f"{directory} holds no corrupted copy that this version of robustlab reads")
    try:
        found = decode(CopyManifest, content)
        if len(found.shape) != 3 or found.shape[0] not in (1, 3) or min(*found.shape, found.n) < 1:
            raise ValueError(f"it has {found.n} images of shape {found.shape}")
        return found
    except ValueError as error:
        raise RunError(f"{directory / 'manifest.json'} cannot be used: {error}; make the copy again") from error


def write_sums(directory: Path, sums: dict[str, str]) -> None:
    """Writes the digests of all files, as ``sha256sum --check`` reads them; with it the copy is finished."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    with disk(directory):
        write_bytes(directory / SUMS, lines.encode(), durable=True)


def read_sums(directory: Path) -> dict[str, str]:
    """Digests by file name.

    Raises: RunError if the copy is not finished, or the digests were changed.
    """
    path = directory / SUMS
    if not path.is_file():
        raise RunError(f"the copy in {directory} is not finished: make it with the same arguments to go on")
    sealed = read_copy_manifest(directory).sums
    if sealed and sha256_of(path) != sealed:
        raise RunError(f"{path} was changed: make the copy again with the same arguments to mend it")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): make the copy again") from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


@typed
def damaged_files(directory: Path, progress: Report | None = None) -> tuple[str, ...]:
    """Names of the files of a finished copy that are missing or were changed.

    Raises: RunError if the copy is not finished.
    """
    return tuple(_wrong(directory, read_sums(directory), progress))


def _wrong(directory: Path, sums: dict[str, str], progress: Report | None) -> Iterator[str]:
    for number, (name, digest) in enumerate(sums.items(), start=1):
        if sha256_of(inside(directory, name)) != digest:
            yield name
        if progress is not None:
            progress(Progress("check", number, len(sums), "files"))


@typed
def read_copy(directory: str | Path) -> CorruptedSets:
    """A finished corrupted copy as a data set under corruptions, with its classes by name and its clean images.

    Raises:
        RunError: there is no copy, or it is not finished.
        DataError: its files do not fit together.
    """
    root = Path(directory)
    manifest = read_copy_manifest(root)
    read_sums(root)
    if manifest.layout == "folders":
        copies, clean = _folders(root, manifest), None
    else:
        copies = cifar_c(root, classes=manifest.classes)
        x = torch.from_numpy(_array(root / CLEAN, np.uint8, 4)).permute(0, 3, 1, 2).contiguous()
        y = torch.from_numpy(_array(root / "labels.npy", np.int64, 1)[: manifest.n])
        clean = _clean(manifest, x, y, root)
    sets = ready_made(copies, clean)
    infos = {info.name: info for info in manifest.corruptions}
    if not infos.keys() >= {info.name for info in sets.corruptions}:
        raise RunError(f"{root} holds corruptions that are not in its manifest: make the copy again")
    known = tuple(infos[info.name] for info in sets.corruptions)
    return CorruptedSets(f"{manifest.name}, corrupted copy", sets.cells, known, manifest.variant, clean)


def _clean(manifest: CopyManifest, x: Tensor, y: Tensor, root: Path) -> InMemory:
    """The images before they were corrupted."""
    try:
        return InMemory(manifest.name, manifest.classes, x, y, str(root))
    except ValueError as error:
        raise DataError(f"the files in {root} do not fit together: {error}") from error


def _array(path: Path, dtype: type[np.generic], ndim: int) -> NDArray[Any]:
    """An array in a file; nothing in it is unpickled."""
    try:
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array: {error}") from error
    if found.dtype != dtype or found.ndim != ndim:
        raise DataError(f"{path} holds {found.dtype} of shape {found.shape}, which no copy has: make it again")
    return found


def _folders(root: Path, manifest: CopyManifest) -> CorruptedCopies:
    """The cells of a copy in folders, their classes by the names that the data set has for them."""
    copies = corrupted_folders(root, channels=manifest.shape[0], classes=manifest.folders or None)
    cells: dict[tuple[str, int], Examples] = {
        cell: replace(folder, classes=manifest.classes)
        for cell, folder in copies.cells.items()
        if isinstance(folder, ImageFolder)
    }
    return CorruptedCopies(copies.name, cells)
