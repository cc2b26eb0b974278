"""robustlab corruptions evaluate: accuracy of a model under common corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robustlab.cli import corruption_options as c
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.codes import Code
from robustlab.cli.fields import from_fields
from robustlab.cli.images import Images
from robustlab.cli.run import directory, inspected, resumable, serious
from robustlab.cli.show_corruptions import corruption_table

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustlab.core import Examples
    from robustlab.evaluation import CorruptedSets, CorruptionComparison, CorruptionEvaluation

EXAMPLE = "robustlab corruptions evaluate my_package.models:classifier --data folder:photos --limit 1000"


@dataclass(frozen=True)
class References:
    """Data sets and runs that are reported with the model's accuracy."""

    clean: c.Clean = None
    subsets: c.Subsets = None
    baseline: c.Baseline = None
    attacked: c.Attacked = None


@dataclass(frozen=True)
class Sample:
    """Number of examples, batch size, and the name of the model in reports."""

    limit: o.Limit = None
    batch_size: c.BatchSize = None
    name: o.Name = None


@dataclass(frozen=True)
class Gate:
    """Conditions that end the command with an exit code of their own."""

    fail_under: c.FailUnder = None
    force: o.Force = False
    strict: o.Strict = False


@from_fields
def evaluate(
    measured: o.Measured,
    images: Images,
    corrupting: c.Corrupting,
    references: References,
    sample: Sample,
    gate: Gate,
    run: o.Run,
) -> None:
    """Measures accuracy under common corruptions, by corruption and severity, with intervals.

    Images are corrupted in memory; no copy is needed. Writes corruptions.json and the report on corruptions
    (report.html, report.md, report.csv) into the run's directory (default: a new one under runs/). Ctrl-C keeps what is
    finished; the same command with --out DIRECTORY resumes.
    """
    from robustlab.evaluation import CorruptionSettings, evaluate_corruptions, read_run
    from robustlab.report import write_corruptions

    names, severities = c.names(corrupting.corruptions), c.severities(corrupting.severities)
    variant, attacked = c.variant(corrupting.variant), [read_run(one) for one in references.attacked or ()]
    subject, sets = _loaded(measured, images, references.clean, run.device)
    subsets = _subsets(references.subsets or (), sets, measured.split)
    name, place = sample.name or measured.model, directory(run.out, measured.model, "corruptions", measured.data)
    with resumable(place), show.bars(f"evaluate {measured.model}") as progress:
        settings = CorruptionSettings(
            batch_size=sample.batch_size or 0,
            seed=run.seed,
            name=name,
            variant=variant,
            baseline=references.baseline,
            subsets=subsets,
            progress=progress,
            inspected=inspected(measured.model, force=gate.force),
        )
        n = parse.at_most(sample.limit, len(_examples(sets)))
        result = evaluate_corruptions(
            subject, sets, corruptions=names, severities=severities, n=n, out=place, settings=settings
        )
        page = write_corruptions([result], place, attacked=attacked)
    show.say(f"Report: {page}", "good")
    _print(result, json=run.json)
    _end(result, gate)


def _loaded(
    measured: o.Measured, images: Images, clean: str | None, device: str
) -> tuple[nn.Module, Examples | CorruptedSets]:
    """The model, and the data that fit it."""
    subject = parse.model(
        measured.model, measured.architecture, measured.classes, parse.device(device), size=images.size
    )
    sets = _sets(measured, images, clean, subject)
    parse.fitting(subject, _examples(sets))
    return subject, sets


def _sets(measured: o.Measured, images: Images, clean: str | None, subject: nn.Module) -> Examples | CorruptedSets:
    """The data; images that are corrupted already come with their clean ones."""
    from robustlab.data import CorruptedCopies
    from robustlab.evaluation import is_copy, read_copy, ready_made

    kind, _, path = measured.data.partition(":")
    if kind == "corrupted" and clean is None and is_copy(Path(path)):
        return read_copy(path)
    examples = parse.data(measured.data, measured.split, size=images, named_model=(measured.model, subject))
    if isinstance(examples, CorruptedCopies):
        return ready_made(examples, None if clean is None else parse.data(clean, measured.split))
    if clean is not None:
        raise typer.BadParameter("--clean goes with images that are corrupted already, as --data corrupted:PATH")
    return examples


def _examples(sets: Examples | CorruptedSets) -> Examples:
    """The examples that size and classes are checked on."""
    from robustlab.evaluation import CorruptedSets

    return sets.examples if isinstance(sets, CorruptedSets) else sets


def _subsets(typed: Sequence[str], sets: Examples | CorruptedSets, split: str) -> Mapping[str, Tensor]:
    """Numbers, in the data, of the examples of other data sets."""
    from robustlab.evaluation import numbers_of

    return {name: numbers_of(parse.data(name, split), _examples(sets)) for name in typed}


def _print(result: CorruptionEvaluation, *, json: bool) -> None:
    """Prints the result on standard output."""
    if json:
        show.marked(result)
    else:
        corruption_table(result)
        show.findings([result])


def _end(result: CorruptionEvaluation, gate: Gate) -> None:
    """Ends with the exit code that a build gate reads."""
    serious(result.findings, strict=gate.strict)
    mean = result.mean_accuracy
    if gate.fail_under is not None and not mean.low >= gate.fail_under:
        measured = f"mean accuracy under corruption {show.fraction(mean)}"
        show.say(f"{measured}: the lower bound is below {gate.fail_under:g}", "error")
        raise typer.Exit(Code.BELOW)


def compared(results: Sequence[CorruptionEvaluation]) -> list[CorruptionComparison]:
    """Every pair of evaluations that saw the same images, compared."""
    from robustlab.evaluation import compare_corruptions
    from robustlab.evaluation.corruptions.compare import same_images

    return [compare_corruptions(a, b) for a, b in combinations(results, 2) if same_images(a, b)]
