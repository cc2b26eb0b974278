"""robustlab compare: two models on the same examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.show_natural import natural_comparisons

EXAMPLE = "robustlab compare runs/standard runs/hardened"
Run = Annotated[Path, typer.Argument(help="Directory of a finished run.", show_default=False)]


def compare(first: Run, second: Run, json: o.Json = False) -> None:
    """Compares two finished runs pair by pair (exact McNemar test), clean and at each eps that both have.

    Both must have evaluated the same examples. The difference is the second minus the first. Runs of
    robustlab evaluate --natural are compared corruption by corruption.
    """
    from robustlab.evaluation import compare as measure
    from robustlab.evaluation import compare_natural, is_natural

    if is_natural(first) and is_natural(second):
        pair = compare_natural(first, second)
        if json:
            show.machine(pair.to_json())
        else:
            natural_comparisons([pair])
        return
    found = measure(first, second)
    if json:
        show.machine([pair.to_json() for pair in found])
    else:
        show.comparisons(found)
