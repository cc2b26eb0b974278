"""robustlab text: classifiers of texts."""

from __future__ import annotations

import typer

from robustlab.cli import text_train
from robustlab.cli.commands import register_command

EXAMPLE = text_train.EXAMPLE
text = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Classifiers of texts: trains them.",
)
text.command(epilog=f"Example: {text_train.EXAMPLE}")(text_train.train)


register_command("text", text, example=EXAMPLE)
