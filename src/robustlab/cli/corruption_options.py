"""Options of ``robustlab corruptions`` and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from robustlab.cli import options as o

if TYPE_CHECKING:
    from robustlab import corruptions

PANEL = "Corruptions"
VARIANTS = ("imagenet-c", "corrected", "cifar-c", "imagecorruptions")

Names = Annotated[
    list[str] | None,
    typer.Option(
        "--corruptions",
        help="Names, several separated by commas or repeated; all: the 15 of ImageNet-C and its 4 extra "
        "ones. Default: the 15.",
        rich_help_panel=PANEL,
    ),
]
Severities = Annotated[
    str | None, typer.Option("--severities", help="As 1-5 or 1,3,5. Default: all five.", rich_help_panel=PANEL)
]
Variant = Annotated[
    str,
    typer.Option(
        "--variant",
        help="imagenet-c: as published, faults included; corrected: without the faults; cifar-c: constants for images "
        "of 32 x 32 pixels; imagecorruptions: as in that library, without frost and elastic_transform.",
        rich_help_panel=PANEL,
    ),
]
Clean = Annotated[
    str | None,
    typer.Option(
        "--clean",
        help="For data that are corrupted already: the data set that they were made from.",
        rich_help_panel=o.INPUT,
    ),
]
Subsets = Annotated[
    list[str] | None,
    typer.Option(
        "--subset",
        help="Data set whose examples get a line of their own, such as fashion-mnist-a; can be repeated.",
        rich_help_panel=o.INPUT,
    ),
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        help="Run of another model under the same corruptions: errors are reported relative to its errors.",
        rich_help_panel=o.OUTPUT,
    ),
]
Attacked = Annotated[
    list[Path] | None,
    typer.Option(
        "--attacked",
        help="Finished run of attacks on the same model, shown in the same table of the report; can be repeated.",
        rich_help_panel=o.OUTPUT,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size", min=1, help="Examples at a time; default: as many as fill 64 MiB.", rich_help_panel=o.EXECUTION
    ),
]
FailUnder = Annotated[float | None, o.fail_under("mean accuracy under corruption", 0.5)]


@dataclass(frozen=True)
class Corrupting:
    """Corruptions, as typed."""

    corruptions: Names = None
    severities: Severities = None
    variant: Variant = VARIANTS[0]


def names(typed: Sequence[str] | None) -> list[str] | None:
    """Names as typed: several with commas or by repeating the option; "all" for the 15 and the 4 extra ones.

    >>> names(["fog,snow", "frost"])
    ['fog', 'snow', 'frost']
    """
    from robustlab.corruptions import CORRUPTIONS, EXTRA

    if typed is None:
        return None
    found = [name.strip() for word in typed for name in word.split(",") if name.strip()]
    if found == ["all"]:
        return [*CORRUPTIONS, *EXTRA]
    if not found:
        raise typer.BadParameter("no corruption was given: write --corruptions fog,snow, or all")
    return list(dict.fromkeys(found))


def severities(typed: str | None) -> list[int] | None:
    """Severities as typed.

    >>> severities("1,3-5")
    [1, 3, 4, 5]
    """
    if typed is None:
        return None
    found: set[int] = set()
    for word in typed.split(","):
        first, dash, last = word.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise typer.BadParameter(f"severities {typed!r} are no numbers: write 1-5 or 1,3,5")
        found |= set(range(int(first), int(last if dash else first) + 1))
    if not found or not found <= {1, 2, 3, 4, 5}:
        wrong = sorted(found - {1, 2, 3, 4, 5})
        raise typer.BadParameter(f"severities are whole numbers from 1 to 5, got {wrong[0] if wrong else typed!r}")
    return sorted(found)


def variant(typed: str) -> corruptions.Variant:
    """One of the variants."""
    if typed not in VARIANTS:
        from robustlab.core.text import choice

        raise typer.BadParameter(f"there is no variant {typed!r}{choice(typed, VARIANTS)}")
    return cast("corruptions.Variant", typed)
