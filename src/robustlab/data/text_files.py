"""The user's own files of labelled texts, read as columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from robustlab.core.errors import DataError
from robustlab.data.class_order import class_folders
from robustlab.runs.json_files import json_in, parsed

Table: TypeAlias = Mapping[str, Sequence[object]]
"""Columns by name, all of the same length."""
_LARGEST = 1 << 28
"""Characters of a field of a table."""
SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""Folders of each split."""


def table_in(path: Path) -> Table:
    """Columns of a CSV, TSV, JSON, JSON lines or parquet file, chosen by its suffix.

    Raises: DataError if it is missing, of another kind, damaged or not UTF-8.
    """
    read = _READERS.get(path.suffix.lower())
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if read is None:
        kinds = ", ".join(_READERS)
        raise DataError(f"{path} is no table of texts: give one of {kinds}, or a folder of .txt files per class")
    try:
        return read(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except (csv.Error, ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def folder_table(path: Path, split: str, classes: Sequence[str] | None) -> Table:
    """Texts and class names of a folder with a sub-folder of ``.txt`` files per class.

    Args:
        path: of the folder; it may have folders train, validation (valid, val, dev) and test, which have those of the
            classes.
        split: the one to read, where there are any; without any, all of it is read as "test" or "all".
        classes: names of the sub-folders to read; None: all.

    Raises: DataError if there are none.
    """
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    root = _split_folder(path, split)
    folders = class_folders(root)
    chosen = folders if classes is None else [name for name in folders if name in classes]
    files = [file for name in chosen for file in sorted((root / name).glob("*.txt"))]
    if not files:
        raise DataError(f"{root} has no class folders with .txt files: put the texts of each class into its own folder")
    return {"text": [_text(file) for file in files], "label": [file.parent.name for file in files]}


def _split_folder(path: Path, split: str) -> Path:
    there = {name: path / one for name, every in SPLITS.items() for one in every if (path / one).is_dir()}
    if not there:
        if split not in {"test", "all"}:
            raise DataError(f"{path} has no folder {split!r}: all of it is read as split 'test'")
        return path
    if split not in there:
        raise DataError(f"{path} has the splits {', '.join(there)}, not {split!r}: ask for one of them")
    return there[split]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def _csv(path: Path) -> Table:
    return _rows(path, ",", csv.QUOTE_MINIMAL)


def _tsv(path: Path) -> Table:
    """A table with tabs; where quotation marks do not enclose whole fields, they are part of the texts."""
    try:
        table = _rows(path, "\t", csv.QUOTE_MINIMAL)
    except (csv.Error, ValueError):
        return _rows(path, "\t", csv.QUOTE_NONE)
    # Two marks that belong to different texts enclose the tabs between them.
    mixed = any("\t" in str(value) for column in table.values() for value in column)
    return _rows(path, "\t", csv.QUOTE_NONE) if mixed else table


def _rows(path: Path, delimiter: str, quoting: int) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as file, _long_fields():
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
        names = next(reader, [])
        columns: dict[str, list[object]] = {name.strip(): [] for name in names}
        if len(columns) < len(names):
            raise ValueError("its first line names a column twice")
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise ValueError(f"line {reader.line_num} has {len(row)} columns, the first line {len(names)}")
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return columns


@contextmanager
def _long_fields() -> Iterator[None]:
    """Python's reader takes fields of up to 128 KiB only, unless a larger limit is set."""
    before = csv.field_size_limit(_LARGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _json(path: Path) -> Table:
    return of_records(json_in(path), "entry")


def _json_lines(path: Path) -> Table:
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    records = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                records.append(parsed(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return of_records(records, "line")


def of_records(records: object, what: str) -> Table:
    """Columns of a list of dictionaries; each must have all names of the first.

    Raises: ValueError for anything else.
    """
    if not isinstance(records, Sequence) or not all(isinstance(one, Mapping) for one in records):
        raise ValueError('it is no list of records such as {"text": "good", "label": 1}')
    names = list(records[0]) if records else []
    for number, one in enumerate(records, 1):
        missing = [name for name in names if name not in one]
        if missing:
            raise ValueError(f"{what} {number} has no {missing[0]!r}, the first has")
    return {str(name): [one[name] for one in records] for name in names}


def _parquet(path: Path) -> Table:
    import pyarrow.parquet

    columns: Table = pyarrow.parquet.read_table(path).to_pydict()
    return columns


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
