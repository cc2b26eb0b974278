"""Executes the notebooks' sources and writes or checks their rendered versions.

    python notebooks/build.py             execute all, write rendered/*.ipynb and rendered/exercises/*.ipynb
    python notebooks/build.py --check     execute all, fail if a source and its render differ or a cell raises
    python notebooks/build.py --only 03   the third one alone

A source ``NN_title.py`` holds what is taught and nothing else. What is the same in every notebook is added here: the
Colab badge and the cell that installs robustlab there. Cells tagged ``solution`` are executed and shown folded in the
rendered notebook, and left open in the exercise version.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
RENDERED = HERE / "rendered"
LARGEST = 1_000_000
"""Bytes of a rendered notebook."""
QUICK_SECONDS = 60
"""What a notebook may take in its quick budget on two cores; more is said, not failed: machines differ."""
CELL_TIMEOUT = 300
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
VOLATILE = re.compile(r" at 0x[0-9a-f]+|/tmp/ipykernel_\d+/\d+\.py")
INSTALL = """\
import sys

if "google.colab" in sys.modules:
    import subprocess

    wanted = "robustlab[notebooks] @ git+{repository}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wanted], check=True)
"""
OPEN = "# Your solution.\n"


class Outcome(NamedTuple):
    """What became of one notebook."""

    name: str
    seconds: float
    faults: list[str]


def repository() -> str:
    """The project's address, which stands in pyproject.toml alone."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def sources(only: Sequence[str] = ()) -> list[Path]:
    """Percent scripts by number, all or those whose name starts with one of ``only``."""
    found = sorted(HERE.glob("[0-9][0-9]_*.py"))
    return [path for path in found if not only or path.name.startswith(tuple(only))]


def assemble(source: Path, *, exercise: bool = False) -> NotebookNode:
    """The notebook of a source before it is executed: badge and installation added, volatile parts fixed.

    Args:
        source: percent script ``NN_title.py``.
        exercise: with the cells tagged ``solution`` left open.

    Returns: a notebook whose cells have predictable ids.
    """
    notebook: NotebookNode = jupytext.read(source, fmt="py:percent")
    place = f"notebooks/rendered/{'exercises/' if exercise else ''}{source.stem}.ipynb"
    colab = re.sub(r"^https://github\.com/", "https://colab.research.google.com/github/", repository())
    front = [
        nbformat.v4.new_markdown_cell(f"[![Open in Colab]({BADGE})]({colab}/blob/main/{place})"),
        nbformat.v4.new_code_cell(INSTALL.format(repository=repository()).rstrip(), metadata={"tags": ["colab"]}),
    ]
    notebook.cells = [front[0], notebook.cells[0], front[1], *notebook.cells[1:]]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        if "solution" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True}
            cell.source = OPEN.rstrip() if exercise else cell.source
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def execute(notebook: NotebookNode) -> None:
    """Runs all cells in place, in this folder; raises CellExecutionError where a cell does."""
    NotebookClient(
        notebook, timeout=CELL_TIMEOUT, record_timing=False, resources={"metadata": {"path": str(HERE)}}
    ).execute()
    notebook.metadata.pop("language_info", None)
    for output in _outputs(notebook):
        if "text" in output:
            output["text"] = VOLATILE.sub("", output["text"])
        for kind, text in output.get("data", {}).items():
            if kind == "text/plain":
                output["data"][kind] = VOLATILE.sub("", text)


def _outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def differences(expected: NotebookNode, path: Path) -> list[str]:
    """Where a rendered notebook is not what its source says; outputs may differ, cells may not."""
    again = f"python notebooks/build.py --only {path.name[:2]}"
    if not path.exists():
        return [f"{path.name} is not rendered: {again}"]
    found = nbformat.read(path, as_version=4)
    same = [(c.cell_type, c.source) for c in found.cells] == [(c.cell_type, c.source) for c in expected.cells]
    return [] if same else [f"{path.parent.name}/{path.name} is not what its source says: {again}"]


def build(source: Path, *, check: bool) -> Outcome:
    """Executes one source, then writes its two notebooks or compares with them."""
    began = time.perf_counter()
    notebook, exercise = assemble(source), assemble(source, exercise=True)
    places = (RENDERED / f"{source.stem}.ipynb", RENDERED / "exercises" / f"{source.stem}.ipynb")
    try:
        execute(notebook)
    except CellExecutionError as error:
        return Outcome(source.stem, time.perf_counter() - began, [str(error)])
    faults = []
    for version, place in zip((notebook, exercise), places, strict=True):
        text = nbformat.writes(version) + "\n"
        if len(text.encode()) > LARGEST:
            faults.append(f"{place.name} has {len(text.encode()):,} bytes, more than {LARGEST:,}: smaller figures")
        elif check:
            faults += differences(version, place)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8", newline="\n")
    return Outcome(source.stem, time.perf_counter() - began, faults)


def orphans() -> list[str]:
    """Rendered notebooks whose source is gone."""
    known = {path.stem for path in sources()}
    return [f"{path.name} has no source: delete it" for path in RENDERED.rglob("*.ipynb") if path.stem not in known]


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds or checks the notebooks; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the rendered notebooks, write nothing")
    parser.add_argument("--only", nargs="*", default=[], metavar="NN", help="numbers of the notebooks (all)")
    parser.add_argument("--budget", choices=("quick", "full"), default="quick", help="ROBUSTLAB_BUDGET of the run")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="notebooks at a time")
    options = parser.parse_args(arguments)
    os.environ["ROBUSTLAB_BUDGET"] = options.budget
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # a hub's progress bar, which nobody sees here
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.jobs))
    faults = orphans()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(partial(build, check=options.check), sources(options.only)):
            late = f", more than {QUICK_SECONDS} s" if outcome.seconds > QUICK_SECONDS else ""
            print(
                f"{outcome.name}: {'FAILED' if outcome.faults else 'ok'} in {outcome.seconds:.0f} s{late}", flush=True
            )
            faults += outcome.faults
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
