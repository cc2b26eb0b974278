"""Data sets by their place: a name for ``load``, a folder, or a file of arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robustlab.core.errors import DataError
from robustlab.core.types import Examples
from robustlab.data.catalogue import FOLDER, load
from robustlab.data.class_order import class_folders
from robustlab.data.columns import of_names
from robustlab.data.folder import image_folder, splits_of
from robustlab.data.torchvision_sets import PREFIX
from robustlab.data.wrapped import Array, Wanted, brought

_ADVICE = {
    ".npy": "holds inputs without labels: give robustlab.data.examples(numpy.load(path), y), or one npz file with both",
    ".csv": "is a table: give robustlab.data.examples(pandas.read_csv(path), columns=('path', 'label'))",
    ".parquet": "is a table: give robustlab.data.examples(pandas.read_parquet(path), columns=('image', 'label'))",
    ".zip": "is an archive: unpack it, and give the folder",
    ".tar": "is an archive: unpack it, and give the folder",
    ".gz": "is an archive: unpack it, and give the folder",
    ".pt": "is a file of torch: give robustlab.data.examples(x, y) with what torch.load(path) gives",
    ".pth": "is a file of torch: give robustlab.data.examples(x, y) with what torch.load(path) gives",
    ".h5": "is a file of HDF5: give robustlab.data.examples(file['x'][:], file['y'][:]) with h5py.File(path) as file",
}


def at(place: str | Path, wanted: Wanted) -> Examples:
    """The data set at a place; for a folder with splits, the test set.

    Args:
        place: path of a folder of class folders, or of an npz file; or a name for ``load``, such as "folder:photos".
        wanted: settings given by the user.

    Raises: DataError if there is no data set.
    """
    bare = str(place).removeprefix(FOLDER)
    path = Path(bare).expanduser()
    if path.is_dir():
        return _folder(path, wanted)
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return _archive(path, wanted)
        advice = _ADVICE.get(path.suffix.lower(), "is no folder of images and no npz file: see docs/guide/data.md")
        raise DataError(f"{path} {advice}")
    if isinstance(place, Path) or str(place).startswith(FOLDER) or "/" in bare.partition(":")[0]:
        raise DataError(f"there is no folder {path}")
    framed = str(place).startswith(PREFIX) and wanted.framing is not None
    return load(str(place), size=wanted.framing if framed else None)


def _folder(path: Path, wanted: Wanted) -> Examples:
    parts = splits_of(path)
    split = next((name for name in ("test", "valid", "val") if name in parts), "all")
    classes: Sequence[str] | None = None if isinstance(wanted.classes, int) else wanted.classes
    found = image_folder(path, split=split, classes=classes, framing=wanted.framing)
    if isinstance(wanted.classes, int) and wanted.classes != len(found.classes):
        raise DataError(
            f"{found.root} has {len(class_folders(found.root))} class folders, not {wanted.classes}: give the names of "
            "all classes in their order"
        )
    return found


def _archive(path: Path, wanted: Wanted) -> Examples:
    """An npz file with images and labels; images with channels last, as usual in such files, are permuted."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} cannot be read as an npz file: it is damaged, or of another kind; write it again")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = of_names(file.files, wanted.columns, str(path))
            x, y = (np.asarray(file[str(name)]) for name in names)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as an npz file: {error}") from error
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(f"{path} holds objects instead of numbers: save plain arrays of one shape and type") from error
    return brought((_channels_first(x), y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y),
                   wanted._replace(name=wanted.name or path.stem))  # fmt: skip


def _channels_first(x: Array) -> Array:
    values = np.asarray(x)
    if values.ndim == 3 and values.dtype == np.uint8:
        return values[:, None]
    if values.ndim == 4 and values.shape[-1] in (1, 3) and values.shape[1] > 4:
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values
