"""robustlab text export: outcomes of a run for spreadsheets and for annotators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show

EXAMPLE = "robustlab text export runs/standard --judgements judgements.csv"


def export(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.", show_default=False)],
    judgements: Annotated[
        Path | None,
        typer.Option("--judgements", help="CSV sheet to write: successes, both texts in random order, cells to fill."),
    ] = None,
    filled: Annotated[
        Path | None, typer.Option("--filled", help="Sheet that annotators filled in: print what they found.")
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option("--outcomes", help="CSV file to write: every text under every recipe.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Successes of each recipe in a sheet, at most.")] = 100,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> None:
    """Writes successes for annotators to judge, or every outcome; and sums up a sheet that was filled in.

    A filled sheet is read with the --count and --seed that it was written with.
    """
    from robustlab.evaluation import read_judgements, read_texts, write_judgements

    if judgements is None and filled is None and outcomes is None:
        raise typer.BadParameter("nothing to export was named: give --judgements, --filled or --outcomes")
    if outcomes is not None:
        from robustlab.report.text_tables import write_text_rows
        from robustlab.runs.files import replace_atomically

        result = read_texts(run)
        replace_atomically(outcomes, lambda path: write_text_rows([result], path))
        show.say(f"Written: {outcomes}", "good")
    if judgements is not None:
        rows = write_judgements(run, judgements, n=count, seed=seed)
        show.say(f"Written: {judgements}, {rows} successes to judge", "good")
    if filled is not None:
        found = read_judgements(run, filled, n=count, seed=seed)
        names = ("same_meaning", "same_class", "readable", "readable_originals", "agreed")
        if json:
            from robustlab.runs.codec import encode

            show.machine([encode(one) for one in found])
            return
        head = ["recipe", "same meaning", "same class", "readable", "originals readable", "originals agreed"]
        show.table(head, [[one.recipe, *(show.fraction(getattr(one, name)) for name in names)] for one in found])
