"""Files of a corrupted copy: each part of the work writes its own, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core import Examples, RunError
from robustlab.data.folder import ImageFolder
from robustlab.evaluation.copies.manifest import CLEAN, CopyManifest
from robustlab.evaluation.corruptions.corrupted_set import Cell, CorruptedSets
from robustlab.evaluation.input_checks import fetched
from robustlab.evaluation.plan import batches
from robustlab.runs.disk import disk
from robustlab.runs.files import replace_atomically, sha256_of, write_bytes
from robustlab.runs.json_files import read_json

PARTS = ".parts"
_IMAGES = 256
"""Images of a folder in one part of the work."""
_ROWS = 1024
_JPEG = {".jpg", ".jpeg"}


class Part(NamedTuple):
    """One part of the work."""

    cell: Cell
    number: int = 0
    """Number of a piece of the images of a cell, in the layout "folders"."""

    @property
    def name(self) -> str:
        """Name of the file with the digests of the part."""
        return f"{self.cell[0]}-{self.cell[1]}-{self.number:06d}.json"


@dataclass(frozen=True)
class Copier:
    """Writes the parts of a copy.

    Args:
        sets: the images.
        manifest: of the copy.
        directory: of the copy.
        quality: of JPEG.
    """

    sets: CorruptedSets
    manifest: CopyManifest
    directory: Path
    quality: int

    @property
    def parts(self) -> list[Part]:
        """All parts of the work."""
        pieces = 1 if self.manifest.layout == "arrays" else len(self.pieces)
        return [Part(cell, number) for cell in self.sets.cells for number in range(pieces)]

    @cached_property
    def pieces(self) -> tuple[Tensor, ...]:
        """Numbers of the images of each part, in the layout "folders"."""
        return batches(torch.arange(self.manifest.n), _IMAGES)

    def done(self, part: Part) -> bool:
        """Tests that an earlier session wrote a part, and that its intermediate files are unchanged."""
        if self._joined(part.cell[0]):
            return True
        written = self._written(part.name)
        if written is None or self.manifest.layout == "folders":
            return written is not None
        piece = self._part_of(part.cell)
        return bool(sha256_of(piece)) and written.get(piece.name) == sha256_of(piece)

    def _joined(self, corruption: str) -> bool:
        return self.manifest.layout == "arrays" and self._written(f"{corruption}.json") is not None

    def _written(self, name: str) -> dict[str, str] | None:
        """Digests of the files of a part; None if they were not recorded, or cannot be read."""
        try:
            found = read_json(self.directory / PARTS / name)
        except RunError:
            return None
        return {file: str(digest) for file, digest in found.items()}

    @property
    def files(self) -> set[str]:
        """Names of all files of a finished copy."""
        if self.manifest.layout == "arrays":
            return {"labels.npy", CLEAN, *(f"{name}.npy" for name, _ in self.sets.cells)}
        return {f"{name}/{severity}/{image}" for name, severity in self.sets.cells for image in self.names}

    def parts_of(self, files: Collection[str]) -> list[Part]:
        """The parts of the work that some files come from; labels and clean images come from none."""
        if self.manifest.layout == "arrays":
            return [part for part in self.parts if f"{part.cell[0]}.npy" in files]
        places = {
            f"{name}/{severity}/{self.names[i]}": Part((name, severity), number)
            for name, severity in self.sets.cells
            for number, ids in enumerate(self.pieces)
            for i in ids.tolist()
        }
        return list(dict.fromkeys(places[file] for file in files if file in places))

    def write(self, part: Part) -> Part:
        """Does one part of the work.

        Raises: RunError if it cannot be written; earlier parts are kept.
        """
        (self.directory / PARTS).mkdir(exist_ok=True)
        with disk(self.directory):
            sums = self._array(part.cell) if self.manifest.layout == "arrays" else self._files(part)
            self._file_sums(part.name, sums)
        return part

    def _file_sums(self, name: str, sums: dict[str, str]) -> None:
        write_bytes(self.directory / PARTS / name, json.dumps(sums).encode(), durable=False)

    def _array(self, cell: Cell) -> dict[str, str]:
        """The images of one cell as an array in the folder of parts."""
        piece = self._part_of(cell)
        replace_atomically(piece, lambda path: self._save(path, self.sets.cells[cell]))
        return {piece.name: sha256_of(piece)}

    def _part_of(self, cell: Cell) -> Path:
        return self.directory / PARTS / f"{cell[0]}-{cell[1]}.npy"

    def _save(self, path: Path, examples: Examples) -> None:
        channels, height, width = self.manifest.shape
        shape = (self.manifest.n, height, width, channels)
        made = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for ids in batches(torch.arange(self.manifest.n), _ROWS):
            made[ids[0] : ids[-1] + 1] = _levels(fetched(examples, ids).x)
        made.flush()

    def _files(self, part: Part) -> dict[str, str]:
        """Some images of one cell as files."""
        ids, sums = self.pieces[part.number], {}
        batch = fetched(self.sets.cells[part.cell], ids)
        for number, image in zip(ids.tolist(), _levels(batch.x), strict=True):
            name = f"{part.cell[0]}/{part.cell[1]}/{self.names[number]}"
            content, path = self._encoded(image), self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content, durable=False)
            sums[name] = hashlib.sha256(content).hexdigest()
        return sums

    @cached_property
    def names(self) -> Sequence[str]:
        """Class folder and file name of each image."""
        return list(_names(self.sets.examples, self.manifest.format.partition(" ")[0]))

    def _encoded(self, image: NDArray[np.uint8]) -> bytes:
        from PIL import Image

        buffer, grey = io.BytesIO(), image.shape[-1] == 1
        picture = Image.fromarray(image[..., 0] if grey else image)
        if self.manifest.format == "png":
            picture.save(buffer, "PNG")
        else:
            picture.save(buffer, "JPEG", quality=self.quality)
        return buffer.getvalue()

    def join(self, corruption: str) -> None:
        """Puts the severities of one corruption into one array, once all are there."""
        if self.manifest.layout != "arrays" or self._joined(corruption):
            return
        pieces = [self._part_of((corruption, s)) for s in self.manifest.severities]
        name = f"{corruption}.npy"
        with disk(self.directory):
            arrays = [np.load(piece, mmap_mode="r", allow_pickle=False) for piece in pieces]
            self._file_sums(f"{corruption}.json", {name: written(self.directory / name, arrays)})
            for piece in pieces:
                piece.unlink()

    def common_files(self) -> dict[str, str]:
        """Labels and clean images, in the layout "arrays"."""
        if self.manifest.layout != "arrays":
            return {}
        examples, clean, labels = self.sets.examples, [], []
        for ids in batches(torch.arange(self.manifest.n), _ROWS):
            batch = fetched(examples, ids)
            clean.append(_levels(batch.x))
            labels.append(batch.y.numpy())
        y = np.concatenate(labels).astype(np.int64)
        with disk(self.directory):
            sums = {"labels.npy": written(self.directory / "labels.npy", [y] * len(self.manifest.severities))}
            return sums | {CLEAN: written(self.directory / CLEAN, clean)}

    def sums(self) -> dict[str, str]:
        """Digests of all files, as they were written."""
        found: dict[str, str] = {}
        for path in sorted((self.directory / PARTS).glob("*.json")):
            found |= self._written(path.name) or {}
        pieces = {self._part_of(cell).name for cell in self.sets.cells} if self.manifest.layout == "arrays" else set()
        return {name: digest for name, digest in found.items() if name not in pieces}


def written(path: Path, arrays: Sequence[NDArray[np.generic]]) -> str:
    """Writes arrays one after the other as one ``.npy``; returns its SHA-256, taken as it is written."""
    digest, shape = hashlib.sha256(), (sum(map(len, arrays)), *arrays[0].shape[1:])

    def write(part: Path) -> None:
        head = io.BytesIO()
        described = np.lib.format.header_data_from_array_1_0(arrays[0]) | {"shape": shape, "fortran_order": False}
        np.lib.format.write_array_header_1_0(head, described)
        with part.open("wb") as file:
            for content in (head.getvalue(), *(one.tobytes() for one in arrays)):
                digest.update(content)
                file.write(content)

    replace_atomically(path, write)
    return digest.hexdigest()


def _levels(x: Tensor) -> NDArray[np.uint8]:
    """Images (N, C, H, W) in [0, 1] as levels (N, H, W, C)."""
    found: NDArray[np.uint8] = x.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return found


def _names(examples: Examples, format: str) -> Iterator[str]:
    """Class folder and file name of each image: those that it has, or its class and number."""
    suffix = ".png" if format == "png" else ".JPEG"
    if isinstance(examples, ImageFolder):
        alone = len({Path(path).with_suffix("") for path in examples.paths}) == len(examples.paths)
        for path in map(Path, examples.paths):
            kept = format == "jpeg" and path.suffix.lower() in _JPEG
            yield (path if kept else path.with_suffix(suffix) if alone else Path(f"{path}{suffix}")).as_posix()
        return
    folders = class_folders(examples)
    for ids in batches(torch.arange(len(examples)), _ROWS):
        batch = fetched(examples, ids)
        yield from (
            f"{folders[y]}/{number:06d}{suffix}" for number, y in zip(ids.tolist(), batch.y.tolist(), strict=True)
        )


def class_folders(examples: Examples) -> tuple[str, ...]:
    """Names of the class folders in the order of their numbers; none where ImageNet's synsets are the names."""
    if isinstance(examples, ImageFolder):
        used = {Path(path).parts[0] for path in examples.paths}
        return examples.classes if used <= set(examples.classes) else ()
    width = len(str(len(examples.classes) - 1))
    return tuple(f"{k:0{width}d}-{re.sub(r'[^0-9A-Za-z.-]+', '-', name)}" for k, name in enumerate(examples.classes))
