"""Run directories: their default names, the words after an interrupt, and exit codes of build gates."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robustlab.cli.codes import Code
from robustlab.cli.interrupt import interrupted, parting
from robustlab.cli.show import fraction, say

if TYPE_CHECKING:
    from robustlab.evaluation import Comparison, Evaluation, Finding

HOME = Path("runs")


def directory(out: Path | None, *words: str) -> Path:
    """The directory that was typed, else one under runs/ with time and words in its name."""
    if out is not None:
        return out
    plain = [re.sub(r"[^\w.-]+", "-", Path(word).stem if "/" in word else word).strip("-.") for word in words]
    return HOME / "-".join([datetime.now().strftime("%Y%m%d-%H%M%S"), *filter(None, plain)])


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Turns Ctrl-C into exit code 130 and a line with the command that resumes."""
    words = f"Stopped. Finished work is kept; resume with: {_again(out)}"
    try:
        with parting(words):
            yield
    except BaseException as error:
        if not interrupted() and not isinstance(error, KeyboardInterrupt):
            raise
        say(words, "warning")
        raise typer.Exit(Code.STOPPED) from None


def _again(out: Path) -> str:
    typed = ["robustlab", *sys.argv[1:]]
    named = any(word == "--out" or word.startswith("--out=") for word in typed)
    return shlex.join(typed if named else [*typed, "--out", str(out)])


def tracked(result: Evaluation, place: Path) -> None:
    """Puts the numbers into TensorBoard and MLflow where they are installed, as training does."""
    from robustlab.training.trackers import scalars

    with scalars(place) as put:
        put("evaluate", 0, {"clean_accuracy": result.clean.accuracy.value})
        for number, worst in enumerate(result.worst):
            shares = {"robust_accuracy": worst.robust.value, "robust_accuracy_low": worst.robust.low, "eps": worst.eps}
            put("evaluate", number, shares)


def verdict(result: Evaluation, fail_under: float | None, *, strict: bool) -> None:
    """Ends with the exit code that a build gate reads."""
    serious(result.findings, strict=strict)
    from robustlab.core.words import budget

    worst = result.worst[-1]
    if fail_under is not None and not worst.robust.low >= fail_under:
        measured = f"robust accuracy {fraction(worst.robust)} at eps {budget(worst.eps)}"
        say(f"{measured}: the lower bound is below {fail_under:g}", "error")
        raise typer.Exit(Code.BELOW)


def inspected(name: str, *, force: bool) -> Callable[[Sequence[Finding]], None]:
    """Prints the findings about a model and its data before they are evaluated, and ends there if one is serious.

    Args:
        name: of the model.
        force: go on after a serious finding.
    """

    def report(findings: Sequence[Finding]) -> None:
        for one in findings:
            text = f"{name}: {one.title.removesuffix('.')} ({one.code}). {one.advice}"
            say(text, "plain" if one.severity == "info" else "warning")
        codes = [f.code for f in findings if f.severity == "serious"]
        if codes and not force:
            say(
                f"nothing was evaluated: the numbers would be meaningless ({', '.join(codes)}); --force evaluates "
                f"anyway",
                "error",
            )
            raise typer.Exit(Code.SERIOUS)

    return report


def serious(findings: Sequence[Finding], *, strict: bool) -> None:
    """Ends with an exit code of its own if a finding is serious and ``strict`` is set."""
    found = [f for f in findings if f.severity == "serious"]
    if strict and found:
        say(f"{len(found)} serious finding{'s' if len(found) > 1 else ''}: {found[0].title}", "error")
        raise typer.Exit(Code.SERIOUS)


def compared(results: Sequence[Evaluation]) -> list[Comparison]:
    """Every pair of evaluations that saw the same examples, compared."""
    from robustlab.evaluation import compare

    pairs = [(a, b) for a, b in combinations(results, 2) if a.data.sha256 == b.data.sha256 and a.threat == b.threat]
    return [found for a, b in pairs for found in compare(a, b)]
