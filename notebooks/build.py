"""Executes the notebooks' sources and writes or checks their rendered versions.

    python notebooks/build.py             execute all, write rendered/*.ipynb and rendered/exercises/*.ipynb
    python notebooks/build.py --check     execute all, fail if a source and its render differ or a cell raises
    python notebooks/build.py --only 03   the third one alone
    python notebooks/build.py --folder mine   those of another folder
    python notebooks/build.py --budget full   execute the long versions, one after the other, and write nothing

A source ``NN_title.py`` holds what is taught and nothing else. What is the same in every notebook is added here: the
Colab badge and the cell that installs robustlab there. Cells tagged ``solution`` are executed and shown folded in the
rendered notebook, and left open in the exercise version. Cells tagged ``stored`` print what comes with the package, so
``--check`` wants their output to be that of the render. A cell that draws begins with ``# alt:`` and a sentence for
those who do not see the figure; it goes into the render with the figure.
"""

from __future__ import annotations

import argparse
import base64
import io
import math
import os
import platform
import re
import sys
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
LARGEST = 1_000_000
"""Bytes of a rendered notebook."""
QUICK_SECONDS = 60
"""Time of a notebook in its quick budget on two cores; a longer one is reported and does not fail."""
CELL_SECONDS = {"quick": 300, "full": 3600}
"""Time limit of a cell in each budget; see --cell-seconds."""
HEAVY = 100_000
"""Bytes of a figure from which on it is stored with 256 colours."""
ALT = re.compile(r"# alt: (.+(?:\n#   .+)*)")
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
VOLATILE = re.compile(r" at 0x[0-9a-f]+|/tmp/ipykernel_\d+/\d+\.py")
INSTALL = """\
import sys

if "google.colab" in sys.modules:
    import pathlib
    import subprocess

    wheels = sorted(pathlib.Path().glob("robustlab-*.whl"))
    wanted = f"{{wheels[-1].resolve()}}[notebooks]" if wheels else "robustlab[notebooks] @ git+{repository}"
    if subprocess.run([sys.executable, "-m", "pip", "install", "-q", wanted], check=False).returncode:
        sys.exit(
            "robustlab cannot be installed from {repository}: run `make wheel` in a copy of the "
            "project, upload dist/robustlab-*.whl to this notebook's folder (the folder symbol on the left) and run "
            "this cell again."
        )
"""
OPEN = "# Your solution.\n"


class Outcome(NamedTuple):
    """Result of one notebook."""

    name: str
    seconds: float
    computed: float
    """Seconds of processor time, independent of other work on the machine; NaN where they are unknown."""
    faults: list[str]


def repository() -> str:
    """The project's address, from pyproject.toml."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def sources(folder: Path = HERE, only: Sequence[str] = ()) -> list[Path]:
    """Percent scripts of a folder by number, all or those whose name starts with one of ``only``."""
    found = sorted(folder.glob("[0-9][0-9]_*.py"))
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
            if exercise:
                cell.source = OPEN.rstrip()
            else:
                cell.metadata["jupyter"] = {"source_hidden": True}
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def execute(notebook: NotebookNode, seconds: int, folder: Path) -> None:
    """Runs all cells in place, in a folder; raises CellExecutionError or CellTimeoutError where a cell does."""
    NotebookClient(
        notebook, timeout=seconds, record_timing=False, resources={"metadata": {"path": str(folder)}}
    ).execute()
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            _cleaned(output, alt_of(cell))


def alt_of(cell: NotebookNode) -> str:
    """The sentence for those who do not see the cell's figure; "" if there is none."""
    found = ALT.match(cell.source)
    return re.sub(r"\n#   ", " ", found[1]) if found else ""


def _cleaned(output: NotebookNode, alt: str) -> None:
    """Removes text that differs from run to run, and adds the description of a figure."""
    if "text" in output:
        output["text"] = VOLATILE.sub("", output["text"])
    data = output.get("data", {})
    if "text/plain" in data:
        data["text/plain"] = VOLATILE.sub("", data["text/plain"])
    if "image/png" in data and alt:
        output.setdefault("metadata", {}).setdefault("image/png", {})["alt"] = alt
        data["text/plain"] = alt
        data["image/png"] = _light(data["image/png"])


def _light(png: str) -> str:
    """A picture of many bytes with 256 colours, others unchanged."""
    if len(png) < HEAVY:
        return png
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    into = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(into, "PNG", optimize=True)
    return base64.b64encode(into.getvalue()).decode()


def undescribed(notebook: NotebookNode) -> list[str]:
    """Figures without words for those who do not see them, and values that were dumped rather than printed."""
    faults = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            first = cell.source.splitlines()[0]
            if "image/png" in output.get("data", {}) and not alt_of(cell):
                faults.append(f"{cell.id} draws a figure without alt text: begin the cell with '# alt: ...': {first}")
            elif output.output_type == "execute_result":
                shown = output["data"].get("text/plain", "")[:40]
                faults.append(f"{cell.id} shows a raw value, {shown!r}: print what matters, or give it a name")
    return faults


def differences(expected: NotebookNode, path: Path) -> list[str]:
    """Differences of a rendered notebook from its source, in cells and in stored outputs; other outputs may differ."""
    again = f"python notebooks/build.py --only {path.name[:2]}"
    if not path.exists():
        return [f"{path.name} is not rendered: {again}"]
    found = nbformat.read(path, as_version=4)
    if [(c.cell_type, c.source) for c in found.cells] != [(c.cell_type, c.source) for c in expected.cells]:
        return [f"{path.parent.name}/{path.name} is not what its source says: {again}"]
    return [
        f"{path.parent.name}/{path.name}, {new.id}: what comes with the package is not what the render shows: {again}"
        for old, new in zip(found.cells, expected.cells, strict=True)
        if "stored" in new.metadata.get("tags", []) and _printed(old) != _printed(new)
    ]


def _printed(cell: NotebookNode) -> str:
    """The text that a cell printed."""
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


def processor() -> str:
    """The processor by its name, as far as the system names it, and the cores that may be used."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def build(source: Path, *, check: bool, budget: str = "quick", seconds: int = CELL_SECONDS["quick"]) -> Outcome:
    """Executes one source, then writes its two notebooks or compares with them; a full budget is only executed.

    Args:
        source: percent script ``NN_title.py``.
        check: compare with what is there, and write nothing.
        budget: "quick" or "full".
        seconds: that a cell may take.
    """
    began, computed = time.perf_counter(), _computed()
    notebook, exercise = assemble(source), assemble(source, exercise=True)
    faults = _executed(notebook, source, seconds)
    if not faults:
        faults = [f"{source.stem}, {fault}" for fault in undescribed(notebook)]
    if not faults and budget == "quick":
        faults = _compared_or_written(source, (notebook, exercise), check=check)
    return Outcome(source.stem, time.perf_counter() - began, _computed() - computed, faults)


def _computed() -> float:
    """Seconds of processor time of all kernels so far."""
    try:
        import resource
    except ImportError:  # not on Windows
        return math.nan
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _executed(notebook: NotebookNode, source: Path, seconds: int) -> list[str]:
    """Executes in the folder of the source; what went wrong, in words."""
    name = source.stem
    try:
        execute(notebook, seconds, source.parent)
    except CellTimeoutError:
        cell = next((c for c in reversed(notebook.cells) if c.get("execution_count")), notebook.cells[0])
        return [
            f"{name}: {cell.id} or the cell after it took more than {seconds} s on this machine ({processor()}): "
            "give it more with --cell-seconds N"
        ]
    except DeadKernelError:
        return [f"{name}: the kernel died, maybe for want of memory: run it alone with --only {name[:2]} --jobs 1"]
    except CellExecutionError as error:
        return [str(error)]
    return []


def _compared_or_written(source: Path, versions: Sequence[NotebookNode], *, check: bool) -> list[str]:
    faults, rendered = [], source.parent / "rendered"
    places = (rendered / f"{source.stem}.ipynb", rendered / "exercises" / f"{source.stem}.ipynb")
    for version, place in zip(versions, places, strict=True):
        text = nbformat.writes(version) + "\n"
        if len(text.encode()) > LARGEST:
            faults.append(f"{place.name} has {len(text.encode()):,} bytes, more than {LARGEST:,}: smaller figures")
        elif check:
            faults += differences(version, place)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8", newline="\n")
    return faults


def orphans(folder: Path = HERE) -> list[str]:
    """Rendered notebooks of a folder whose source is gone."""
    known = {path.stem for path in sources(folder)}
    rendered = sorted((folder / "rendered").rglob("*.ipynb"))
    return [f"{path.name} has no source: delete it" for path in rendered if path.stem not in known]


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds or checks the notebooks; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the rendered notebooks, write nothing")
    parser.add_argument("--folder", type=Path, default=HERE, help="of the sources and of rendered/ (this one)")
    parser.add_argument("--only", nargs="*", default=[], metavar="NN", help="numbers of the notebooks (all)")
    parser.add_argument("--budget", choices=("quick", "full"), default="quick", help="ROBUSTLAB_BUDGET of the run")
    parser.add_argument("--jobs", type=int, help="notebooks at a time (as many as cores, 4 at most; full: 1)")
    parser.add_argument("--cell-seconds", type=int, help="what a cell may take (300; full: 3600)")
    options = parser.parse_args(arguments)
    full = options.budget == "full"
    jobs = options.jobs or (1 if full else min(4, os.cpu_count() or 1))
    seconds = options.cell_seconds or CELL_SECONDS[options.budget]
    os.environ["ROBUSTLAB_BUDGET"] = options.budget
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # a hub's progress bar, which is not visible here
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    folder = options.folder.resolve()
    faults = orphans(folder)
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{options.budget} budget, {jobs} at a time: {processor()}", flush=True)
    work = partial(build, check=options.check, budget=options.budget, seconds=seconds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(work, sources(folder, options.only)):
            late = f", more than {QUICK_SECONDS} s" if outcome.seconds > QUICK_SECONDS and not full else ""
            took = f"{outcome.seconds:.0f} s, {outcome.computed:.0f} s of processor time"
            print(f"{outcome.name}: {'FAILED' if outcome.faults else 'ok'} in {took}{late}", flush=True)
            faults += outcome.faults
            for fault in outcome.faults:
                print(fault, flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
