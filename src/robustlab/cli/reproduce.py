"""robustlab reproduce: do again what papers claim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show
from robustlab.cli.run import HOME, resumable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robustlab.studies import Outcome

EXAMPLE = "robustlab reproduce fgsm-training --seeds 3"


def reproduce(
    claims: Annotated[list[str] | None, typer.Argument(help="Names; default: all.", show_default=False)] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Say what is claimed and what is known so far; compute nothing.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="How many; default: as many as each claim says, 3 or more.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A dry run in seconds to minutes, kept apart: its numbers mean nothing.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", help="Directory; what is done there is not done again.", rich_help_panel=o.OUTPUT)
    ] = HOME / "claims",
    device: o.Device = "auto",
    json: o.Json = False,
) -> None:
    """Does again in small what papers claim, and says whether it comes out.

    Direction and smallest effect of each claim were written down before it was run. Reproduced: the 95 % t-interval
    over the seeds holds nothing smaller; not reproduced: it excludes the effect; else there is not enough evidence.
    Each result is kept as JSON as soon as it is there. Ctrl-C loses nothing; the same command goes on.
    """
    from robustlab.studies import FULL, QUICK, known
    from robustlab.studies import reproduce as again

    names = claims or ()
    if listed:
        _told(known(names, out=out), json=json)
        return
    budget = QUICK if quick else FULL
    with resumable(out), show.bars("reproduce") as report:
        found = again(names, out=out, seeds=seeds, budget=budget, device=device, progress=report)
    _told(found, json=json)
    if quick:
        show.say("These numbers are of a dry run and mean nothing.", "warning")


def _told(found: Sequence[Outcome], *, json: bool) -> None:
    """What is known of each claim, on standard output."""
    if json:
        show.machine([one.to_json() for one in found])
        return
    from robustlab.studies.claim_engine.table import words

    for one in found:
        show.paragraph(one.claim.name, words(one))
