"""robustlab corruptions: accuracy under common corruptions, and corrupted copies of data sets."""

from __future__ import annotations

import typer

from robustlab.cli import corruptions_copy, corruptions_evaluate
from robustlab.cli.commands import register_command

EXAMPLE = corruptions_evaluate.EXAMPLE
corruptions = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Common corruptions (noise, blur, weather, digital): evaluates a model under them, or writes a corrupted copy "
    "of a data set.",
)
corruptions.command(epilog=f"Example: {corruptions_evaluate.EXAMPLE}")(corruptions_evaluate.evaluate)
corruptions.command(epilog=f"Example: {corruptions_copy.EXAMPLE}")(corruptions_copy.copy)


register_command("corruptions", corruptions, example=EXAMPLE)
