"""robustlab explain: attribution maps of a model, with numbers, intervals and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from robustlab.cli import explain_options as e
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.commands import register_command
from robustlab.cli.fields import from_fields
from robustlab.cli.images import Images
from robustlab.cli.run import directory, inspected, resumable, serious
from robustlab.cli.show_explanations import explanation_tables, found_findings

if TYPE_CHECKING:
    from robustlab.evaluation import ExplanationPlan, Explanations
    from robustlab.evaluation.explanations.plan import Target

EXAMPLE = "robustlab explain my_package.models:classifier --data folder:photos --compare my_package.models:hardened"


@dataclass(frozen=True)
class Sample:
    """Images, the model that is compared with, and names in reports."""

    compare: e.Compare = None
    limit: e.Limit = e.LIMIT
    quick: e.Quick = False
    batch_size: e.BatchSize = e.BATCH_SIZE
    name: o.Name = None


@dataclass(frozen=True)
class Ending:
    """Conditions that end the command with an exit code of their own, and more files."""

    force: o.Force = False
    strict: o.Strict = False
    png: e.Png = False


@from_fields
def explain(
    measured: o.Measured, images: Images, explaining: e.Explaining, sample: Sample, ending: Ending, run: o.Run
) -> None:
    """Makes attribution maps of a model by several methods, checks them, and measures them with intervals.

    With --compare, two models explain the same images, and their numbers are compared image by image. Writes the report
    (report.html, report.json, report.md, report.csv) and all maps as safetensors into the run's directory (default: a
    new one under runs/). Ctrl-C keeps what is finished; the same command with --out DIRECTORY resumes.
    """
    from robustlab.evaluation import ExplanationSettings, evaluate_explanations
    from robustlab.report import save_maps, write_explanations

    plan, place = _plan(explaining, quick=sample.quick), parse.device(run.device)
    model = parse.model(measured.model, measured.architecture, measured.classes, place, size=images.size)
    other = parse.model(sample.compare, None, measured.classes, place, size=images.size) if sample.compare else None
    examples = parse.data(measured.data, measured.split, size=images, named_model=(measured.model, model))
    for one in (model, *([] if other is None else [other])):
        parse.fitting(one, examples)
    home = directory(run.out, measured.model, "explain", measured.data)
    with resumable(home), show.bars(f"explain {measured.model}") as progress:
        settings = ExplanationSettings(
            batch_size=sample.batch_size,
            seed=run.seed,
            name=sample.name or measured.model,
            other_name=sample.compare or "",
            checked=explaining.checked,
            attacked=explaining.attacked,
            target=cast("Target", e.target(explaining.target)),
            progress=progress,
            inspected=inspected(measured.model, force=ending.force),
        )
        n = parse.at_most(_limit(sample), len(examples))
        result = evaluate_explanations(model, examples, compare=other, plan=plan, n=n, out=home, settings=settings)
        page = write_explanations(result, home)
        if ending.png:
            save_maps(result, home / "png")
    show.say(f"Report: {page}", "good")
    _print(result, json=run.json)
    serious(result.findings, strict=ending.strict)


def _limit(sample: Sample) -> int:
    return min(sample.limit, e.QUICK) if sample.quick and sample.limit == e.LIMIT else sample.limit


def _plan(explaining: e.Explaining, *, quick: bool) -> ExplanationPlan:
    """Methods, numbers, checks and the attack on maps, as typed."""
    from robustlab.evaluation import ExplanationPlan
    from robustlab.evaluation.explanations.plan import METHOD_NAMES
    from robustlab.explain import MapAttack

    usual = ExplanationPlan()
    methods = e.words(explaining.methods) or (e.QUICK_METHODS if quick else METHOD_NAMES)
    numbers, checks = e.words(explaining.numbers), e.words(explaining.checks)
    attacked = explaining.attacked and not (quick and explaining.attacked == e.ATTACKED)
    return ExplanationPlan(
        methods=e.built(methods, explaining.layer),
        numbers=usual.numbers if numbers is None else e.unless_none(numbers),
        checks=usual.checks if checks is None else e.unless_none(checks),
        attack=MapAttack(parse.threat("linf", parse.budgets([explaining.eps])[-1])) if attacked else None,
    )


def _print(result: Explanations, *, json: bool) -> None:
    """Prints the result on standard output."""
    if json:
        show.marked(result)
    else:
        explanation_tables(result)
        found_findings(result)


register_command("explain", explain, example=EXAMPLE)
