"""Options of evaluations under corruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustlab.cli.options import HOW

NATURAL = "Corruptions"

Natural = Annotated[
    bool,
    typer.Option("--natural", help="Under corruptions instead of attacks, made in memory.", rich_help_panel=NATURAL),
]
Corruptions = Annotated[
    list[str] | None,
    typer.Option(
        "--corruptions",
        help="By name, several by commas or repeated; all: with the 4 extra ones. Default: the 15 of ImageNet-C.",
        rich_help_panel=NATURAL,
    ),
]
Severities = Annotated[
    str | None, typer.Option("--severities", help="As 1-5 or 1,3,5. Default: all.", rich_help_panel=NATURAL)
]
Variant = Annotated[
    str,
    typer.Option(
        "--variant",
        help="imagenet-c: as published, faults included; corrected: without them; cifar-c: made for 32 x 32 pixels; "
        "imagecorruptions: of that library, without frost and elastic_transform.",
        rich_help_panel=NATURAL,
    ),
]
Clean = Annotated[
    str | None,
    typer.Option(
        "--clean", help="With images corrupted before: the data set that they were made of.", rich_help_panel=NATURAL
    ),
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        help="Run of another model under the same corruptions: errors are divided by its errors.",
        rich_help_panel=NATURAL,
    ),
]
Attacked = Annotated[
    list[Path] | None,
    typer.Option(
        "--attacked",
        help="Finished run of attacks on the same model, to stand in one table with the corruptions.",
        rich_help_panel=NATURAL,
    ),
]
Subsets = Annotated[
    list[str] | None,
    typer.Option(
        "--subset",
        help="Data set whose examples get a line of their own, as fashion-mnist-a.",
        rich_help_panel=NATURAL,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Examples at a time; default 128, with --natural what makes 64 MiB.",
        rich_help_panel=HOW,
    ),
]
