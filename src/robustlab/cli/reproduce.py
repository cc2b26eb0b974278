"""robustlab reproduce: claims of papers, reproduced in small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.commands import register_command
from robustlab.cli.run import HOME, resumable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robustlab.studies import Outcome

EXAMPLE = "robustlab reproduce fgsm-training --seeds 3"


def reproduce(
    claims: Annotated[list[str] | None, typer.Argument(help="Names; default: all.", show_default=False)] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the claims and the results so far; compute nothing.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of seeds; default: as each claim states, 3 or more.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A dry run in seconds to minutes, kept apart: its numbers are not results.")
    ] = False,
    out: Annotated[
        Path,
        typer.Option("--out", help="Directory; finished parts in it are not computed again.", rich_help_panel=o.OUTPUT),
    ] = HOME / "claims",
    device: o.Device = o.DEVICE,
    json: o.Json = False,
) -> None:
    """Repeats experiments of papers at a small scale, and prints whether each claim is reproduced.

    Direction and smallest effect of each claim were fixed before it was run. Reproduced: the 95 % t-interval over the
    seeds has no smaller effect in it; not reproduced: it excludes the effect; otherwise there is not enough evidence.
    Each result is saved as JSON as soon as it is computed. Ctrl-C loses nothing; the same command resumes.
    """
    from robustlab.studies import FULL, QUICK, known
    from robustlab.studies import reproduce as again

    names = claims or ()
    if listed:
        _print(known(names, out=out), json=json)
        return
    budget = QUICK if quick else FULL
    with resumable(out), show.bars("reproduce") as report:
        found = again(names, out=out, seeds=seeds, budget=budget, device=device, progress=report)
    _print(found, json=json)
    if quick:
        show.say("These numbers are of a dry run and are not results.", "warning")


def _print(found: Sequence[Outcome], *, json: bool) -> None:
    """Prints the results of each claim."""
    if json:
        show.machine([one.to_json() for one in found])
        return
    from robustlab.studies.claim_engine.table import words

    for one in found:
        show.paragraph(one.claim.name, words(one))


register_command("reproduce", reproduce, example=EXAMPLE)
