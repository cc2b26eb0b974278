"""robustlab corruptions copy: a corrupted copy of a data set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from robustlab.cli import corruption_options as c
from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.defaults import default_of
from robustlab.cli.fields import from_fields
from robustlab.cli.run import resumable

if TYPE_CHECKING:
    from robustlab.evaluation import CopyManifest
    from robustlab.evaluation.copies.manifest import Format, Layout

_SETTINGS = "evaluation/copies/manifest.py", "CopySettings"
EXAMPLE = "robustlab corruptions copy fashion-mnist --out fashion-mnist-c"
LAYOUTS, FORMATS = ("arrays", "folders"), ("png", "jpeg")


@dataclass(frozen=True)
class Original:
    """The data that are copied, and the directory of the copy."""

    data: Annotated[str, typer.Argument(help="Name of a data set, or a folder with one folder per class.")] = (
        "fashion-mnist"
    )
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory of the copy; default: NAME-c.", rich_help_panel=o.OUTPUT)
    ] = None
    split: o.Split = "test"
    limit: o.Limit = None


@dataclass(frozen=True)
class Files:
    """Files of the copy."""

    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            help="arrays: NAME.npy as CIFAR-10-C; folders: NAME/SEVERITY/CLASS/* as ImageNet-C. Default: folders for "
            "folders, else arrays.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None
    image_format: Annotated[
        str,
        typer.Option(
            "--format", help="Format of image files: png keeps every value, or jpeg.", rich_help_panel=o.OUTPUT
        ),
    ] = default_of(*_SETTINGS, "format")
    quality: Annotated[
        int, typer.Option("--quality", min=1, max=100, help="Quality of JPEG.", rich_help_panel=o.OUTPUT)
    ] = default_of(*_SETTINGS, "quality")


@dataclass(frozen=True)
class Execution:
    """Seed, processes and output of the command."""

    seed: o.Seed = o.SEED
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes; default: as many as cores.", rich_help_panel=o.EXECUTION),
    ] = None
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Read a finished copy again and compare digests; write nothing.",
            rich_help_panel=o.EXECUTION,
        ),
    ] = False
    json: o.Json = False


@from_fields
def copy(original: Original, images: i.Images, corrupting: c.Corrupting, files: Files, execution: Execution) -> None:
    """Writes a corrupted copy of a data set: 15 corruptions at five severities, by default Fashion-MNIST-C.

    Ctrl-C or a crash loses nothing that is written: the same command resumes. At the end all files are read again and
    compared with the digests that were computed when they were written (SHA256SUMS, for sha256sum --check). Use the
    copy as --data corrupted:DIRECTORY. An evaluation needs no copy: robustlab corruptions evaluate corrupts in memory.
    """
    from robustlab.evaluation import CopySettings, write_corrupted

    place = original.out or Path(f"{Path(original.data).name}-c")
    if execution.check:
        _check(place)
        return
    names, severities = c.names(corrupting.corruptions), c.severities(corrupting.severities)
    _check_word("layout", files.layout, LAYOUTS)
    _check_word("format", files.image_format, FORMATS)
    variant = c.variant(corrupting.variant)
    examples = parse.data(original.data, original.split, size=images, limit=original.limit, seed=execution.seed)
    with resumable(place), show.bars() as bar:
        settings = CopySettings(
            layout=cast("Layout | None", files.layout),
            format=cast("Format", files.image_format),
            quality=files.quality,
            variant=variant,
            seed=execution.seed,
            workers=execution.workers or os.cpu_count() or 1,
            progress=lambda at: bar(at._replace(task=f"{at.task} {place}")),
        )
        manifest = write_corrupted(examples, place, corruptions=names, severities=severities, settings=settings)
    _print(manifest, place, json=execution.json)


def _check_word(option: str, typed: str | None, known: tuple[str, ...]) -> None:
    if typed is not None and typed not in known:
        from robustlab.core.text import choice

        raise typer.BadParameter(f"there is no {option} {typed!r}{choice(typed, known)}")


def _check(place: Path) -> None:
    """Reads a copy again and compares its digests."""
    from robustlab.evaluation import damaged_files

    with show.bars() as bar:
        wrong = damaged_files(place, lambda at: bar(at._replace(task=f"{at.task} {place}")))
    if wrong:
        for name in wrong[:10]:
            show.say(f"{place / name} is missing, or differs from what was written", "error")
        raise typer.Exit(2)
    show.say(f"All files of {place} are what was written", "good")


def _print(manifest: CopyManifest, place: Path, *, json: bool) -> None:
    from robustlab.runs.codec import encode

    if json:
        show.machine(encode(manifest))
        return
    images = manifest.n * len(manifest.corruptions) * len(manifest.severities)
    lines = [
        f"{len(manifest.corruptions)} corruptions at severities {', '.join(map(str, manifest.severities))}, "
        f"{manifest.variant}, seed {manifest.seed}",
        f"{images} images as {manifest.format} in {manifest.layout}; digests in {place / 'SHA256SUMS'}",
        *(f"not comparable: {info.not_comparable}" for info in manifest.corruptions if info.not_comparable),
        f"evaluate a model on it: robustlab corruptions evaluate MODEL --data corrupted:{place}",
    ]
    show.paragraph(f"{place}: corrupted copy of {manifest.name}", lines)
