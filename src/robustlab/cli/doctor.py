"""robustlab doctor: faults that make a robust accuracy wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.codes import Code
from robustlab.cli.commands import register_command
from robustlab.cli.fields import from_fields

if TYPE_CHECKING:
    from robustlab.evaluation import Adapted, Finding

EXAMPLE = "robustlab doctor my_package.models:classifier --data folder:photos --eps 8/255 --strict"


@dataclass(frozen=True)
class Attacking:
    """The attack that is examined, and its budget."""

    attack: Annotated[
        str, typer.Option("--attack", help="The attack that is examined: {attacks}.", rich_help_panel=o.INPUT)
    ] = "pgd"
    eps: Annotated[str, typer.Option("--eps", help="Budget, as 0.1 or 8/255.", rich_help_panel=o.INPUT)] = "8/255"
    norm: o.Norm = "linf"
    steps: o.Steps = 40


@from_fields
def doctor(
    measured: o.Measured,
    images: i.Images,
    attacking: Attacking,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Size of the sample.", rich_help_panel=o.INPUT)] = 128,
    seed: o.Seed = o.SEED,
    device: o.Device = o.DEVICE,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adaptive",
            help="Also run the attack that the findings call for; prints both accuracies.",
            rich_help_panel=o.EXECUTION,
        ),
    ] = False,
    surrogate: Annotated[
        str | None,
        typer.Option(
            "--surrogate",
            help="Another model for the same task, named like the first or NAME=CHECKPOINT; its adversarial images "
            "are tried on the model, too.",
            rich_help_panel=o.EXECUTION,
        ),
    ] = None,
    strict: o.Strict = False,
    json: o.Json = False,
) -> None:
    """Finds faults of a model, its data and an attack that would make a robust accuracy wrong.

    With --adaptive, robust accuracy is also measured under the attack that fits the findings.
    """
    from robustlab.evaluation import Settings, diagnose, run_adaptive

    threat = parse.threat(attacking.norm, parse.budgets([attacking.eps])[-1])
    place, settings = parse.device(device), Settings(seed=seed)
    attack = parse.attack(attacking.attack, threat, steps=attacking.steps)
    model, classes, size = measured.model, measured.classes, images.size
    subject = parse.model(model, measured.architecture, classes, place, size=size)
    other = parse.model(surrogate, None, classes, place, size=size) if surrogate else None
    examples = parse.data(measured.data, measured.split, size=images, named_model=(model, subject))
    found = diagnose(subject, examples, attack=attack, n=limit, settings=settings, surrogate=other)
    adapted = (
        run_adaptive(subject, examples, attack=attack, findings=found, n=limit, settings=settings, surrogate=other)
        if adapt
        else None
    )
    _print(found, adapted, json=json)
    if strict and any(f.severity == "serious" for f in found):
        raise typer.Exit(Code.SERIOUS)


def _print(found: Sequence[Finding], adapted: Adapted | None, *, json: bool) -> None:
    """Prints the findings, and robust accuracy under the adaptive attack."""
    if json:
        plain = [asdict(finding) for finding in found]
        show.machine(plain if adapted is None else {"findings": plain, "adaptive": adapted.to_json()})
        return
    show.diagnosis(found)
    if adapted is not None:
        from robustlab.report.words import p_value, points

        rows = [
            ["the attack", show.fraction(adapted.before)],
            ["and the adaptive attack", show.fraction(adapted.after)],
        ]
        show.table(["robust accuracy under", "accuracy"], rows, title=f"Adaptive attack: {adapted.name}")
        span = f"[{points(adapted.low)}, {points(adapted.high)}]"
        show.paragraph(f"Difference {points(adapted.difference)} points {span}, p {p_value(adapted.p_value)}.", [])


register_command("doctor", doctor, example=EXAMPLE)
