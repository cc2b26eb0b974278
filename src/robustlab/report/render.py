"""Writes a report: one HTML file that needs nothing else, and the same numbers as JSON, Markdown and CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from robustlab.core.errors import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.compare import Comparison
from robustlab.evaluation.corruptions.compare import CorruptionComparison
from robustlab.evaluation.corruptions.record import CORRUPTION_SCHEMA, CorruptionEvaluation
from robustlab.evaluation.explanations.record import Explanations
from robustlab.evaluation.record import WORST, Evaluation, RunInfo
from robustlab.evaluation.text.compare import TextComparison
from robustlab.evaluation.text.record import TEXT_SCHEMA, TextEvaluation
from robustlab.evaluation.upgrade import SCHEMA_VERSION
from robustlab.report import map_curves, trace_panels, words
from robustlab.report import rows as rows_file
from robustlab.report.chart import mark_of
from robustlab.report.corruption_tables import corruption_csv, corruption_markdown
from robustlab.report.corruptions import corruption_page
from robustlab.report.explanation_tables import explanation_csv, explanation_markdown
from robustlab.report.explanations import explanation_page
from robustlab.report.heat import spoken
from robustlab.report.page import Page, page
from robustlab.report.rows import has_rows, write_rows
from robustlab.report.sections import exports
from robustlab.report.tables import to_csv, to_markdown
from robustlab.report.text_page import text_page
from robustlab.report.text_tables import text_csv, text_markdown, write_text_rows
from robustlab.runs.files import replace_atomically
from robustlab.runs.json_files import read_json

if TYPE_CHECKING:
    from jinja2 import Environment


class HasRun(Protocol):
    """Result of a run of any kind."""

    @property
    def run(self) -> RunInfo:
        """Facts that are needed to run it again."""


Fill: TypeAlias = Callable[[Path], None]
"""Writes the content of a file."""


@typed
def write(
    evaluations: Sequence[Evaluation],
    out: Path | str,
    *,
    comparisons: Sequence[Comparison] = (),
    eps: float | None = None,
    title: str | None = None,
) -> Path:
    """Writes ``report.html``, ``report.json``, ``report.md`` and ``report.csv``, and ``outcomes.csv``.

    ``outcomes.csv`` has a line per example, attack and eps; it is written where the runs still have their outcomes.

    In a run directory, the ``report.json`` of the run is left unchanged.

    Args:
        evaluations: one per model, shown side by side; all of the same norm and bounds.
        out: directory, made if it is not there. For a single evaluation it may be its run directory.
        comparisons: paired comparisons to be shown (``evaluation.compare``).
        eps: of the headline, in input units; None: the largest that all evaluations have.
        title: of the page; None: the names of the models and the data.

    Returns: the path of ``report.html``.

    Raises:
        ValueError: if there is no evaluation, or their norms or bounds differ.
        RunError: if the files cannot be written, or the directory is that of another run.
    """
    own = _own(Path(out), evaluations)
    content = page(evaluations, comparisons, eps=eps, title=title)
    rows: dict[str, Fill] = {rows_file.FILE: partial(write_rows, evaluations)} if has_rows(evaluations) else {}
    files = {} if own else {"report.json": to_json(evaluations, comparisons)}
    files |= {
        "report.csv": to_csv(evaluations),
        "report.md": to_markdown(content),
        "report.html": to_html(content),
    }
    return _written(Path(out), rows | _texts(exports(evaluations) | files))


@typed
def write_corruptions(
    evaluations: Sequence[CorruptionEvaluation],
    out: Path | str,
    *,
    comparisons: Sequence[CorruptionComparison] = (),
    attacked: Sequence[Evaluation] = (),
    title: str | None = None,
) -> Path:
    """Writes the report on corruptions: ``report.html``, ``report.md`` and ``report.csv``.

    With several models it writes ``corruptions.json`` with all of them too; a single one has it in its run directory.

    Args:
        evaluations: one per model, shown side by side.
        out: directory, made if it is not there. For a single evaluation it may be its run directory.
        comparisons: paired comparisons to be shown (``evaluation.compare_corruptions``).
        attacked: evaluations of the same models under attack, shown in one table with the corruptions.
        title: of the page; None: the names of the models and the data.

    Returns: the path of ``report.html``.

    Raises:
        ValueError: if there is no evaluation, or an attack was on none of the models.
        RunError: if the files cannot be written, the directory is that of another run, or pictures are gone.
    """
    own = _own(Path(out), evaluations)
    content = corruption_page(evaluations, comparisons, attacked=attacked, title=title)
    files = {"report.csv": corruption_csv(evaluations), "report.md": corruption_markdown(content)}
    if not own:
        files["corruptions.json"] = corruption_json(evaluations, comparisons)
    files["report.html"] = _environment().get_template("corruptions.html.j2").render(p=content)
    return _written(Path(out), _texts(files))


@typed
def write_texts(
    evaluations: Sequence[TextEvaluation],
    out: Path | str,
    *,
    comparisons: Sequence[TextComparison] = (),
    title: str | None = None,
) -> Path:
    """Writes the report on texts: ``report.html``, ``.json``, ``.md`` and ``.csv``, and ``outcomes.csv``.

    ``outcomes.csv`` has a line per recipe and text; it is written where the runs still have their outcomes. In a run
    directory, the ``report.json`` of the run is left unchanged.

    Args:
        evaluations: one per model, shown side by side.
        out: directory, made if it does not exist; for one evaluation it may be its own.
        comparisons: paired comparisons to be shown (``compare_texts``, ``compare_searches``).
        title: of the page; None: the names of the models and the data.

    Returns: the path of ``report.html``.

    Raises:
        ValueError: if there is no evaluation.
        RunError: if the files cannot be written, or the directory is that of another run.
    """
    own = _own(Path(out), evaluations)
    content = text_page(evaluations, comparisons, title=title)
    files = {"report.csv": text_csv(evaluations), "report.md": text_markdown(content)}
    if not own:
        files["report.json"] = text_json(evaluations, comparisons)
    files["report.html"] = _environment().get_template("text.html.j2").render(p=content)
    rows: dict[str, Fill] = {rows_file.FILE: partial(write_text_rows, evaluations)} if has_rows(evaluations) else {}
    return _written(Path(out), rows | _texts(files))


@typed
def write_explanations(result: Explanations, out: Path | str, *, title: str | None = None) -> Path:
    """Writes the report on explanations: ``report.html``, ``report.json``, ``report.md`` and ``report.csv``.

    Args:
        result: of one model, or of two.
        out: directory, made if it does not exist; it may be the run's own.
        title: of the page; None: the names of the models and the data.

    Returns: the path of ``report.html``.
    Raises: RunError if the files cannot be written, the directory is that of another run, or maps are gone.
    """
    _own(Path(out), [result])
    content = explanation_page(result, title=title)
    files = {
        "report.json": json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n",
        "report.csv": explanation_csv(result),
        "report.md": explanation_markdown(content),
        "report.html": _environment().get_template("explanations.html.j2").render(p=content),
    }
    return _written(Path(out), _texts(files))


def text_json(evaluations: Sequence[TextEvaluation], comparisons: Sequence[TextComparison] = ()) -> str:
    """The record as JSON: one evaluation, or a list of several with their comparisons."""
    if len(evaluations) == 1 and not comparisons:
        return json.dumps(evaluations[0].to_json(), indent=1) + "\n"
    record = {
        "schema": TEXT_SCHEMA,
        "evaluations": [e.to_json() for e in evaluations],
        "comparisons": [c.to_json() for c in comparisons],
    }
    return json.dumps(record, indent=1) + "\n"


def corruption_json(
    evaluations: Sequence[CorruptionEvaluation], comparisons: Sequence[CorruptionComparison] = ()
) -> str:
    """The record as JSON: one evaluation, or a list of several with their comparisons."""
    if len(evaluations) == 1 and not comparisons:
        return json.dumps(evaluations[0].to_json(), indent=1, ensure_ascii=False) + "\n"
    record = {
        "schema": CORRUPTION_SCHEMA,
        "evaluations": [e.to_json() for e in evaluations],
        "comparisons": [c.to_json() for c in comparisons],
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _texts(files: Mapping[str, str]) -> dict[str, Fill]:
    return {name: partial(_put, text) for name, text in files.items()}


def _own(directory: Path, evaluations: Sequence[HasRun]) -> bool:
    """Returns True if the directory is that of the only run in the report, so that it has its result already.

    Raises: RunError if it is that of another run, or the report is about several.
    """
    if not (directory / "manifest.json").exists():
        return False
    run = read_json(directory / "manifest.json").get("run")
    ids = {evaluation.run.id for evaluation in evaluations}
    if not isinstance(run, dict) or ids != {run.get("id")}:
        raise RunError(f"{directory} is the directory of a run of its own: choose another one for this report")
    return True


def _written(directory: Path, files: Mapping[str, Fill]) -> Path:
    """Writes the files of a report, the page last."""
    try:
        for name, fill in files.items():
            replace_atomically(directory / name, fill)
    except OSError as error:
        raise RunError(f"cannot write the report to {directory}: {error.strerror}; choose another directory") from error
    return directory / "report.html"


def to_json(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison] = ()) -> str:
    """The record as JSON: one evaluation, or a list of several with their comparisons."""
    if len(evaluations) == 1 and not comparisons:
        return json.dumps(evaluations[0].to_json(), indent=1, ensure_ascii=False) + "\n"
    record = {
        "schema": SCHEMA_VERSION,
        "evaluations": [e.to_json() for e in evaluations],
        "comparisons": [c.to_json() for c in comparisons],
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def to_html(content: Page) -> str:
    """The page as HTML; all text of users is escaped by the template engine."""
    return _environment().get_template("report.html.j2").render(p=content)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("robustlab.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("percent", "interval", "points", "budget", "number", "count", "duration", "p_value", "span", "real"):
        made.filters[name] = getattr(words, name)
    made.filters |= {"encodable": lambda text: text.encode("utf-8", "backslashreplace").decode()}
    made.filters |= {"evidence": _evidence, "day": lambda created: created[:10], "spoken": spoken}
    made.globals |= {
        "version": version("robustlab"),
        "mark_of": mark_of,
        "worst": WORST,
        "thin": words.THIN,
        "sample": words.sample,
    }
    made.globals |= {"map_size": (map_curves.WIDTH, map_curves.HEIGHT)}
    made.globals |= {"threat": _threat, "panel_size": (trace_panels.WIDTH, trace_panels.HEIGHT)}
    return made


def _evidence(value: float | int | str) -> str:
    return value if isinstance(value, str) else words.number(float(value))


def _threat(norm: str, eps: float) -> str:
    """The threat model in one sentence."""
    size = words.budget(eps)
    if norm == "Linf":
        return f"The attacker may change each input value by at most {size}."
    return f"The attacker may change an example by at most {size} in {norm} norm."


def _put(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
