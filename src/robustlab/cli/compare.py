"""robustlab compare: a paired test of two models on the same examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.commands import register_command
from robustlab.cli.show_corruptions import corruption_comparisons
from robustlab.cli.text_compare import compare as compare_runs_on_texts

EXAMPLE = "robustlab compare runs/standard runs/hardened"
Run = Annotated[Path, typer.Argument(help="Directory of a finished run.", show_default=False)]


def compare(first: Run, second: Run, json: o.Json = False) -> None:
    """Compares two finished runs by the exact McNemar test, on clean examples and at each eps that both have.

    Both runs must have evaluated the same examples. The difference is the second minus the first. Two runs of
    robustlab corruptions evaluate are compared by corruption and severity, two of robustlab text evaluate by recipe.
    """
    from robustlab.evaluation import compare as measure
    from robustlab.evaluation import compare_corruptions, is_corruption_run, is_text_run

    if is_corruption_run(first) and is_corruption_run(second):
        pair = compare_corruptions(first, second)
        if json:
            show.machine(pair.to_json())
        else:
            corruption_comparisons([pair])
        return
    if is_text_run(first) and is_text_run(second):
        compare_runs_on_texts([first, second], searches=False, json=json)
        return
    found = measure(first, second)
    if json:
        show.machine([pair.to_json() for pair in found])
    else:
        show.comparisons(found)


register_command("compare", compare, example=EXAMPLE)
