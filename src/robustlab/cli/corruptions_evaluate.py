"""What ``robustlab evaluate --natural`` does, and how runs under corruptions are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from robustlab.cli import corruption_options as c
from robustlab.cli import parse, show
from robustlab.cli.codes import Code
from robustlab.cli.run import directory, inspected, resumable, serious
from robustlab.cli.show_corruptions import natural

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustlab.cli.images import Images
    from robustlab.core import Examples
    from robustlab.corruptions import Variant
    from robustlab.evaluation import CorruptedSets, CorruptionComparison, CorruptionEvaluation

VARIANTS = ("imagenet-c", "corrected", "cifar-c", "imagecorruptions")


@dataclass(frozen=True)
class Asked:
    """What was typed for an evaluation under corruptions."""

    corruptions: c.Corruptions = None
    severities: c.Severities = None
    variant: c.Variant = VARIANTS[0]
    clean: c.Clean = None
    baseline: c.Baseline = None
    attacked: c.Attacked = None
    subsets: c.Subsets = None

    @property
    def any(self) -> bool:
        """Whether anything was typed that belongs to corruptions."""
        return self != Asked()


def corruptions(typed: Sequence[str] | None) -> list[str] | None:
    """Names as typed: several with commas or by repeating the option; "all" for the 15 and the 4 extra ones.

    >>> corruptions(["fog,snow", "frost"])
    ['fog', 'snow', 'frost']
    """
    from robustlab.corruptions import CORRUPTIONS, EXTRA

    if typed is None:
        return None
    names = [name.strip() for word in typed for name in word.split(",") if name.strip()]
    if names == ["all"]:
        return [*CORRUPTIONS, *EXTRA]
    if not names:
        raise typer.BadParameter("no corruption was given: write --corruptions fog,snow, or all")
    return list(dict.fromkeys(names))


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


def variant(typed: str) -> Variant:
    """One of the variants."""
    if typed not in VARIANTS:
        from robustlab.core.text import choice

        raise typer.BadParameter(f"there is no variant {typed!r}{choice(typed, VARIANTS)}")
    return cast("Variant", typed)


@dataclass(frozen=True)
class Plain:
    """What was typed that every evaluation has."""

    model: str
    architecture: str | None
    classes: int | None
    data: str
    split: str
    images: Images
    limit: int | None
    batch_size: int | None
    seed: int
    device: str
    out: Path | None
    force: bool = False


def corruption_result(plain: Plain, asked: Asked) -> CorruptionEvaluation:
    """Evaluates a model under corruptions and writes its report."""
    from robustlab.evaluation import CorruptionSettings, evaluate_corruptions, read_run
    from robustlab.report import write_corruptions

    names, levels = corruptions(asked.corruptions), severities(asked.severities)
    kind, attacked = variant(asked.variant), [read_run(run) for run in asked.attacked or ()]
    subject = parse.model(
        plain.model, plain.architecture, plain.classes, parse.device(plain.device), size=plain.images.size
    )
    sets = _sets(plain, asked, subject)
    parse.fitting(subject, _examples(sets))
    subsets = _subsets(asked.subsets or (), sets, plain.split)
    place = directory(plain.out, plain.model, "natural", plain.data)
    with resumable(place), show.bars(f"evaluate {plain.model}") as progress:
        settings = CorruptionSettings(
            batch_size=plain.batch_size or 0,
            seed=plain.seed,
            name=plain.model,
            variant=kind,
            baseline=asked.baseline,
            subsets=subsets,
            progress=progress,
            inspected=inspected(plain.model, force=plain.force),
        )
        result = evaluate_corruptions(
            subject, sets, corruptions=names, severities=levels, n=plain.limit, out=place, settings=settings
        )
        page = write_corruptions([result], place, attacked=attacked)
    show.say(f"Report: {page}", "good")
    return result


def _sets(plain: Plain, asked: Asked, subject: nn.Module) -> Examples | CorruptedSets:
    """The data; images that were corrupted before get their clean ones."""
    from robustlab.data import CorruptedCopies
    from robustlab.evaluation import is_copy, read_copy, ready_made

    kind, _, path = plain.data.partition(":")
    if kind == "corrupted" and asked.clean is None and is_copy(Path(path)):
        return read_copy(path)
    examples = parse.data(plain.data, plain.split, size=plain.images, asker=(plain.model, subject))
    if isinstance(examples, CorruptedCopies):
        return ready_made(examples, None if asked.clean is None else parse.data(asked.clean, plain.split))
    if asked.clean is not None:
        raise typer.BadParameter("--clean goes with images that were corrupted before, as --data corrupted:PATH")
    return examples


def _examples(sets: Examples | CorruptedSets) -> Examples:
    """Those that speak for all."""
    from robustlab.evaluation import CorruptedSets

    return sets.examples if isinstance(sets, CorruptedSets) else sets


def _subsets(typed: Sequence[str], sets: Examples | CorruptedSets, split: str) -> Mapping[str, Tensor]:
    """Numbers, in the data, of the examples of other data sets."""
    from robustlab.evaluation import numbers_of

    return {name: numbers_of(parse.data(name, split), _examples(sets)) for name in typed}


def told(result: CorruptionEvaluation, fail_under: float | None, *, strict: bool, json: bool) -> None:
    """Shows a result on standard output, and ends with the exit code that a build gate looks at."""
    if json:
        show.marked(result)
    else:
        natural(result)
        show.findings([result])
    serious(result.findings, strict=strict)
    mean = result.mean_accuracy
    if fail_under is not None and not mean.low >= fail_under:
        said = f"mean accuracy under corruption {show.share(mean)}: the lower bound is below {fail_under:g}"
        show.say(said, "error")
        raise typer.Exit(Code.BELOW)


def compared(results: Sequence[CorruptionEvaluation]) -> list[CorruptionComparison]:
    """Every pair of evaluations that saw the same images, compared."""
    from robustlab.evaluation import compare_corruptions
    from robustlab.evaluation.corruptions.compare import same_images

    return [compare_corruptions(a, b) for a, b in combinations(results, 2) if same_images(a, b)]
