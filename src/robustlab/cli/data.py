"""robustlab data: which data sets there are, and fetch them."""

from __future__ import annotations

from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import parse, show

EXAMPLE = "robustlab data fashion-mnist"


def data(
    name: Annotated[str | None, typer.Argument(help="Data set to fetch, or folder to look at; none: list all.")] = None,
    json: o.Json = False,
) -> None:
    """Lists the data sets, where each is or would come from; with a name, fetches it and checks its content."""
    if name is not None:
        _fetch(name, json=json)
        return
    from robustlab.data import describe

    found = describe()
    if json:
        show.machine([one._asdict() for one in found])
        return
    for one in found:
        show.paragraph(one.name, [one.contents, f"licence: {one.licence}", _where(one.place, one.source)])


def _where(place: str | None, source: str) -> str:
    return f"here: {place} (from: {source})" if place else f"would come from: {source}"


def _fetch(name: str, *, json: bool) -> None:
    from pathlib import Path

    splits = ("train", "test") if name in {"fashion-mnist", "digits"} else ("all",)
    got = [parse.data(name, "test" if Path(name).is_dir() else split) for split in splits]
    rows = [(e.name, len(e), len(e.classes), str(getattr(e, "sha256", ""))) for e in got]
    if json:
        show.machine([dict(zip(("name", "n", "classes", "sha256"), row, strict=True)) for row in rows])
    else:
        show.table(["data set", "examples", "classes", "SHA-256"], [[str(cell) for cell in row] for row in rows])
