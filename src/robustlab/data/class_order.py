"""The order of classes, from a file or from the folder that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from robustlab.core.errors import DataError
from robustlab.runs.json_files import parsed

Aliases: TypeAlias = tuple[str, ...]
"""Names of one class: its folder may bear any of them, the last is shown."""
JUNK = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"})
"""Folders that programs leave behind."""


def is_synset(name: str) -> bool:
    """True for the name of a folder that is a WordNet number, such as n02123045."""
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()


def class_folders(root: Path) -> list[str]:
    """Names of the sub-folders that can be classes, by alphabet, without hidden ones and those of programs."""
    return sorted(
        entry.name
        for entry in root.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in JUNK
    )


def ordered(classes: Sequence[str] | str | Path) -> tuple[Aliases, ...]:
    """Classes in the order of their numbers.

    Args:
        classes: names; or the path of a folder, whose sub-folders are the classes by alphabet (or those of its
            "train"); or of a text file with a name per line ("n02123045 tabby cat" is a synset and a name); or of a
            JSON file: a list of names, ``{"cat": 0}`` or ``{"0": ["n02123045", "tabby"]}``.

    Raises: DataError if the file has no such list, or a name twice.
    """
    if isinstance(classes, str | Path):
        place = Path(classes).expanduser()
        found = _of_folder(place) if place.is_dir() else _of_file(place)
    else:
        place, found = Path("classes"), tuple((name,) for name in classes)
    every = [alias for aliases in found for alias in set(aliases[:1])]
    twice = sorted({name for name in every if every.count(name) > 1}) if len(set(every)) < len(every) else []
    if twice:
        raise DataError(f"{place} names the class {twice[0]} twice: each class has one number")
    if not found:
        raise DataError(f"{place} names no class")
    return found


def _of_folder(place: Path) -> tuple[Aliases, ...]:
    inner = place / "train"
    root = inner if inner.is_dir() and class_folders(inner) else place
    return tuple((name,) for name in class_folders(root))


def _of_file(place: Path) -> tuple[Aliases, ...]:
    try:
        text = place.read_text(encoding="utf-8-sig")
        if place.suffix.lower() == ".json":
            return _of_json(parsed(text))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{place} has no order of classes ({reason}): give a folder of class folders, a text file with a "
            'name per line, or JSON as ["cat", "dog"] or {"cat": 0, "dog": 1}'
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and all(is_synset(line.split()[0]) for line in lines):
        return tuple(tuple(line.split(maxsplit=1)) for line in lines)
    return tuple((line,) for line in lines)


def _of_json(value: object) -> tuple[Aliases, ...]:
    if isinstance(value, list):
        return tuple(_aliases(one) for one in value)
    if not isinstance(value, Mapping):
        raise ValueError(f"it holds a {type(value).__name__}")
    pairs: dict[int, Aliases]
    if all(isinstance(number, int) for number in value.values()):
        pairs = {number: (name,) for name, number in value.items()}
    else:
        pairs = {int(number): _aliases(names) for number, names in value.items()}
    if sorted(pairs) != list(range(len(value))):
        raise ValueError(f"its numbers are not 0..{len(value) - 1}, each once")
    return tuple(pairs[number] for number in range(len(value)))


def _aliases(value: object) -> Aliases:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
