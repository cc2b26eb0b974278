"""robustlab data --text: what attacks on texts need."""

from __future__ import annotations

from pathlib import Path

from robustlab.cli import show

_SHOWN = 12
"""Digits of a digest."""


def show_text(name: str | None, folder: Path | None, *, json: bool) -> None:
    """Lists all text resources, or fetches one or all and lists these.

    Raises: DataError if one of those fetched is nowhere; the others are fetched before.
    """
    from robustlab.data import TEXT_RESOURCES, describe_text

    wanted = tuple(TEXT_RESOURCES) if name in {None, "all"} else (str(name),)
    lacking = _fetch(wanted, folder) if name is not None else []
    found = [one for one in describe_text() if one.name in wanted]
    if json:
        show.machine([one._asdict() for one in found])
    else:
        for one in found:
            facts = f"{one.version}, {_size(one.size)}, SHA-256 {one.sha256[:_SHOWN]}, licence: {one.licence}"
            where = f"here: {one.place}" if one.place else f"not here; {one.command}"
            show.paragraph(one.name, [one.contents, facts, where])
    if lacking:
        raise lacking[0]


def _fetch(names: tuple[str, ...], folder: Path | None) -> list[Exception]:
    """Fetches text resources, and returns the errors of those that are nowhere."""
    from robustlab.core.errors import DataError
    from robustlab.data import text_resource

    lacking: list[Exception] = []
    with show.bars() as bar:
        for name in names:
            try:
                text_resource(name, folder=folder, progress=bar)
            except DataError as error:
                lacking.append(error)
    return lacking


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
