"""Files for other tools that evaluate and report write on request: JUnit, SARIF, a section for a model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustlab.cli import options as o
from robustlab.cli import show

if TYPE_CHECKING:
    from torch import nn

    from robustlab.core import Examples
    from robustlab.evaluation import Evaluation, TextEvaluation

Junit = Annotated[
    Path | None,
    typer.Option("--junit", help="Also write JUnit XML here, for a build server.", rich_help_panel=o.OUTPUT),
]
Sarif = Annotated[
    Path | None,
    typer.Option("--sarif", help="Also write the findings as SARIF here, for code scanning.", rich_help_panel=o.OUTPUT),
]
Card = Annotated[
    Path | None,
    typer.Option(
        "--model-card", help="Also write a section for a model card here (Markdown).", rich_help_panel=o.OUTPUT
    ),
]


@dataclass(frozen=True)
class Exports:
    """Files for other tools; None: not this one."""

    png: o.Png = False
    junit: Junit = None
    sarif: Sarif = None
    card: Card = None

    def pictures(self, result: Evaluation, model: nn.Module, examples: Examples) -> None:
        """Writes the images that fool the model as PNG files into ``png`` of the run's directory, with ``--png``."""
        from robustlab.evaluation import save_images

        if self.png and result.directory is not None:
            images = save_images(result, model, examples, result.directory / "png")
            words = (
                f"{images.fooled} of the {images.written} images in {images.directory} fool the model when loaded again"
            )
            show.say(f"{words}; index.csv lists them")

    def write(
        self, results: Sequence[Evaluation | TextEvaluation], *, fail_under: float | None = None, strict: bool = False
    ) -> None:
        """Writes each requested file.

        Raises: RunError if one cannot be written.
        """
        from robustlab.report import to_junit, to_model_card, to_sarif

        texts = {
            self.junit: partial(to_junit, results, fail_under=fail_under, strict=strict),
            self.sarif: partial(to_sarif, results, fail_under=fail_under),
            self.card: partial(to_model_card, results),
        }
        for path, text in texts.items():
            if path is not None:
                _put(path, text())
                show.say(f"Written: {path}", "good")


def _put(path: Path, text: str) -> None:
    from robustlab.core import RunError
    from robustlab.runs.files import write_atomically

    try:
        write_atomically(path, text)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; name another file") from error
