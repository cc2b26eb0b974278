"""robustlab text attack: one text, or some from a file, attacked and printed with the changed words marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli import text_options as t
from robustlab.cli.fields import from_fields
from robustlab.cli.show_texts import text_outcome

if TYPE_CHECKING:
    from robustlab.text import Victim

EXAMPLE = 'robustlab text attack my_package.models:classify "A warm, funny film." --recipe deepwordbug'


@from_fields
def attack(
    model: t.Model,
    text: Annotated[str | None, typer.Argument(help="The text.", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="File with a text on each line.", rich_help_panel=o.INPUT)
    ] = None,
    label: Annotated[
        int | None,
        typer.Option(
            "--label", min=0, help="True class of the texts; default: what the model says.", rich_help_panel=o.INPUT
        ),
    ] = None,
    recipe: t.Recipes = None,
    queries: t.Queries = None,
    target: t.Target = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    json: o.Json = False,
) -> None:
    """Attacks a text and prints it with the changed words marked: [-taken away-] and {+put there+}."""
    from robustlab.evaluation.text.instruments import recipes_of
    from robustlab.runs.codec import encode
    from robustlab.text import AttackSettings
    from robustlab.text import attack as attacked

    texts, victim = _texts(text, file), t.victim(model, device)
    chosen, _ = recipes_of(t.recipes(recipe))
    labels = _labels(victim, texts, label)
    aims = None if target is None else [target] * len(texts)
    found = []
    for one in chosen:
        how = AttackSettings(seed=seed, queries=queries)
        outcomes = attacked(victim, texts, labels, one, target=aims, settings=how)
        found += [{"recipe": one.name, **encode(outcome)} for outcome in outcomes]
        if not json:
            for outcome in outcomes:
                text_outcome(one.name, outcome, victim.labels)
    if json:
        show.machine(found)


def _texts(text: str | None, file: Path | None) -> list[str]:
    if (text is None) == (file is None):
        raise typer.BadParameter("give one text, or --file with a text on each line")
    if file is None:
        return [text or ""]
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read as UTF-8 text: {error}") from error
    if not any(lines):
        raise typer.BadParameter(f"{file} holds no text")
    return [line for line in lines if line]


def _labels(victim: Victim, texts: Sequence[str], label: int | None) -> list[int]:
    if label is None:
        return [int(one) for one in victim.predict(texts).argmax(axis=1)]
    return [label] * len(texts)
