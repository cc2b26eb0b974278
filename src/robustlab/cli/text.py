"""robustlab text: attacks on text classifiers."""

from __future__ import annotations

import typer

from robustlab.cli import text_attack, text_compare, text_evaluate, text_export, text_recipes, text_train
from robustlab.cli.commands import register_command

EXAMPLE = text_evaluate.EXAMPLE
text = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Text classifiers under attack.")
text.command(epilog=f"Example: {text_attack.EXAMPLE}")(text_attack.attack)
text.command(epilog=f"Example: {text_evaluate.EXAMPLE}")(text_evaluate.evaluate)
text.command(epilog=f"Example: {text_compare.EXAMPLE}")(text_compare.compare)
text.command(epilog=f"Example: {text_export.EXAMPLE}")(text_export.export)
text.command(epilog=f"Example: {text_recipes.EXAMPLE}")(text_recipes.recipes)
text.command(epilog=f"Example: {text_train.EXAMPLE}")(text_train.train)


register_command("text", text, example=EXAMPLE)
