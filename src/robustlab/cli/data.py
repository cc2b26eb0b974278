"""robustlab data: a list of the data sets, and their download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import data_text, parse, show
from robustlab.cli import options as o
from robustlab.cli.commands import register_command

EXAMPLE = "robustlab data fashion-mnist"


def data(
    name: Annotated[str | None, typer.Argument(help="Data set to fetch, or folder to read; none: list all.")] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Files that attacks on texts need: list them, or fetch one or all by NAME.")
    ] = False,
    place: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="With --text: folder of yours with the files of NAME, or an archive: wheel, Debian package, zip, tar.",
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Lists the data sets and their places; with a name, fetches the data set and decodes every image of it.

    Images that cannot be read are listed, one line each, and the exit code is then 2.
    With --text the same for what attacks on texts need, such as word vectors: robustlab data --text glove.
    """
    if place is not None and (not text or name in {None, "all"}):
        raise ValueError("--from goes with --text and the name of one text resource")
    if text:
        data_text.show_text(name, place, json=json)
        return
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
    return f"here: {place} (from: {source})" if place else f"not here; source: {source}"


def _fetch(name: str, *, json: bool) -> None:
    """Reads all images of a data set and prints its contents."""
    from robustlab.core.errors import DataError
    from robustlab.data.check import check_examples
    from robustlab.runs.progress import Progress

    got = [parse.data(name, split) for split in _splits(name)]
    with show.bars() as bar:
        contents = [
            check_examples(e, lambda done, n, e=e: bar(Progress(f"read {e.name}", done, n, "examples")))  # type: ignore[misc]
            for e in got
        ]
    faults = [fault for one in contents for fault in one.faults]
    for fault in faults:
        show.say(fault)
    if faults:
        raise DataError(
            f"{len(faults)} of {sum(map(len, got))} examples of {name} cannot be read: repair or remove them"
        )
    rows = [
        (e.name, len(e), len(e.classes), _sizes(one.shapes), str(getattr(e, "sha256", "")))
        for e, one in zip(got, contents, strict=True)
    ]
    if json:
        keys = ("name", "n", "classes", "sizes", "sha256")
        show.machine([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        head = ["data set", "examples", "classes", "sizes", "SHA-256"]
        show.table(head, [[str(cell) for cell in row] for row in rows])


def _splits(name: str) -> tuple[str, ...]:
    """All parts of a data set."""
    from robustlab.data.folder import splits_of
    from robustlab.data.named import splits_of_name

    folder = Path(name.removeprefix("folder:")).expanduser()
    if folder.is_dir():
        return tuple(splits_of(folder)) or ("all",)
    return splits_of_name(name)


def _sizes(shapes: dict[tuple[int, ...], int]) -> str:
    """Height and width of all, or of the smallest and the largest, and the number of grey images."""
    grey = sum(count for shape, count in shapes.items() if len(shape) == 3 and shape[0] == 1)
    order = sorted({shape[-2:] for shape in shapes}, key=lambda side: (side[0] * side[-1], side))
    sides = " to ".join("x".join(map(str, side)) for side in dict.fromkeys((order[0], order[-1])))
    return sides + (f", {grey} of them grey" if 0 < grey < sum(shapes.values()) else "")


register_command("data", data, example=EXAMPLE)
