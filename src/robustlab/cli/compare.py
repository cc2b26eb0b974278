"""robustlab compare: two models on the same examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show

EXAMPLE = "robustlab compare runs/standard runs/hardened"
Run = Annotated[Path, typer.Argument(help="Directory of a finished run.", show_default=False)]


def compare(first: Run, second: Run, json: o.Json = False) -> None:
    """Compares two finished runs pair by pair (exact McNemar test), clean and at each eps that both have.

    Both must have evaluated the same examples. The difference is the second minus the first.
    """
    from robustlab.evaluation import compare as measure

    found = measure(first, second)
    if json:
        show.machine([pair.to_json() for pair in found])
    else:
        show.comparisons(found)
