"""The notebook tool on small notebooks of its own."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

TOOL = Path(__file__).parents[2] / "notebooks" / "build.py"
SOURCE = """\
# %% [markdown]
# # A title

# %%
print(6 * 7, object())

# %% [markdown]
# ## Exercises

# %% tags=["solution"]
secret = 1
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool at work in a folder of its own with one source."""
    spec = importlib.util.spec_from_file_location("notebooks_build", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "notebooks_build", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "repository", lambda: "https://github.com/someone/something")
    (tmp_path / "01_title.py").write_text(SOURCE)
    return module


def execute_without_a_kernel(notebook: nbformat.NotebookNode, _seconds: int, _folder: Path) -> None:
    """Stands in for the kernel: what is printed is the source."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text=cell.source)]


def test_badge_and_installation_are_generated_from_the_address(tool: ModuleType, tmp_path: Path) -> None:
    notebook = tool.assemble(tmp_path / "01_title.py")
    badge, title, install = notebook.cells[:3]
    colab = "https://colab.research.google.com/github/someone/something/blob/main/notebooks/rendered/01_title.ipynb"
    assert f"({colab})" in badge.source
    assert title.source == "# A title"
    assert install.cell_type == "code"


def install_of(tool: ModuleType, folder: Path) -> str:
    source: str = tool.assemble(folder / "01_title.py").cells[2].source
    return source


def in_colab(cell: str, folder: Path, **surroundings: str) -> subprocess.CompletedProcess[str]:
    """Runs the installing cell as Colab would, in a folder, with pip held to what is there."""
    stub = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    target = {"PIP_TARGET": str(folder / "installed"), "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        [sys.executable, "-c", stub + cell],
        cwd=folder, env={**os.environ, **target, **surroundings}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def wheel(folder: Path, name: str, *metadata: str) -> None:
    """A wheel with nothing in it but one module."""
    info = f"{name}-9.9.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{name}-9.9-py3-none-any.whl", "w") as made:
        made.writestr(f"{name}_module.py", "")
        made.writestr(f"{info}/METADATA", head + "".join(f"{line}\n" for line in metadata))
        made.writestr(f"{info}/WHEEL", kind)
        made.writestr(f"{info}/RECORD", "")


def test_the_installing_cell_acts_in_colab_alone_and_keeps_its_torch(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("subprocess.run", run)
    install = install_of(tool, tmp_path)
    exec(install, {})
    assert ran == []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.chdir(tmp_path)
    exec(install, {})
    wanted = "robustlab[notebooks] @ git+https://github.com/someone/something"
    assert ran == [[sys.executable, "-m", "pip", "install", "-q", wanted]], "no constraints: Colab has its own torch"


@pytest.mark.slow
def test_a_wheel_that_was_uploaded_is_installed_with_what_notebooks_need(tool: ModuleType, tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.mkdir()
    wheel(index, "drawing")
    wheel(tmp_path, "robustlab", "Provides-Extra: notebooks", 'Requires-Dist: drawing; extra == "notebooks"')
    done = in_colab(install_of(tool, tmp_path), tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
    assert done.returncode == 0, done.stderr
    installed = {path.name for path in (tmp_path / "installed").glob("*.py")}
    assert installed == {"robustlab_module.py", "drawing_module.py"}


@pytest.mark.slow
def test_where_the_address_cannot_be_reached_one_sentence_says_what_to_do(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "repository", lambda: "https://127.0.0.1:9/nobody/nothing")
    done = in_colab(install_of(tool, tmp_path), tmp_path)
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert said.startswith("robustlab cannot be installed from https://127.0.0.1:9/nobody/nothing: run `make wheel`")
    assert said.endswith("run this cell again.")


def test_make_makes_the_wheel_that_the_cell_asks_for() -> None:
    makefile = (TOOL.parents[1] / "Makefile").read_text()
    assert "\nwheel:" in makefile
    assert "--wheel-dir dist" in makefile


def test_exercises_keep_everything_but_the_solutions(tool: ModuleType, tmp_path: Path) -> None:
    full = [c.source for c in tool.assemble(tmp_path / "01_title.py").cells]
    open_one = [c.source for c in tool.assemble(tmp_path / "01_title.py", exercise=True).cells]
    assert "secret = 1" in full[-1]
    assert "secret" not in open_one[-1]
    assert open_one[1:-1] == full[1:-1]


def test_only_a_solution_that_is_shown_is_folded(tool: ModuleType, tmp_path: Path) -> None:
    def folded(*, exercise: bool) -> list[bool]:
        cells = tool.assemble(tmp_path / "01_title.py", exercise=exercise).cells
        return [bool(cell.metadata.get("jupyter", {}).get("source_hidden")) for cell in cells]

    assert folded(exercise=False) == [False] * 5 + [True]
    assert not any(folded(exercise=True)), "what is to be filled in must be seen"


def test_what_was_written_passes_the_check_and_a_changed_source_does_not(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "execute", execute_without_a_kernel)
    source = tmp_path / "01_title.py"
    assert [f"{again}"[:25] for again in tool.build(source, check=True).faults] == ["01_title.ipynb is not ren"] * 2
    assert tool.build(source, check=False).faults == []
    assert tool.build(source, check=True).faults == []
    source.write_text(SOURCE.replace("6 * 7", "6 * 8"))
    assert all("is not what its source says" in fault for fault in tool.build(source, check=True).faults)
    assert len(tool.build(source, check=True).faults) == 2


def test_rendering_twice_gives_the_same_bytes(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "execute", execute_without_a_kernel)
    texts = []
    for _ in range(2):
        tool.build(tmp_path / "01_title.py", check=False)
        texts.append((tmp_path / "rendered" / "01_title.ipynb").read_bytes())
    assert texts[0] == texts[1]


def test_a_rendered_notebook_has_a_largest_size(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "execute", execute_without_a_kernel)
    monkeypatch.setattr(tool, "LARGEST", 100)
    faults = tool.build(tmp_path / "01_title.py", check=False).faults
    assert "more than 100: smaller figures" in faults[0]
    assert not (tmp_path / "rendered").exists()


def test_a_render_without_source_is_a_fault(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "rendered").mkdir()
    (tmp_path / "rendered" / "09_gone.ipynb").write_text("{}")
    assert tool.orphans(tmp_path) == ["09_gone.ipynb has no source: delete it"]


@pytest.mark.slow
def test_a_cell_that_raises_is_a_fault_and_outputs_hold_nothing_volatile(tool: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "01_title.py"
    assert tool.build(source, check=False).faults == []
    rendered = nbformat.read(tmp_path / "rendered" / "01_title.ipynb", as_version=4)
    assert rendered.cells[3].outputs[0].text == "42 <object object>\n"
    assert "language_info" not in rendered.metadata
    source.write_text(SOURCE.replace("6 * 7", "6 / 0"))
    assert "ZeroDivisionError" in tool.build(source, check=True).faults[0]


OWN = """\
# %% [markdown]
# # A toy
#
# **Does a step along the gradient raise the loss?**
#
# The gradient points uphill, so a small step along it should.

# %%
import os

import matplotlib.pyplot as plt
import torch

from robustlab.core import Linf
from robustlab.report import figure_style

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# Steps of steepest ascent on a line have one length.

# %%
torch.manual_seed(SEED)
steps = torch.arange(4 if QUICK else 40)
losses = steps * Linf().steepest(torch.ones(1, 1))[0]
print(losses.tolist())

# %%
# alt: A straight line that rises from 0 to 3.
plt.plot(steps, losses)
plt.show()

# %%
assert losses[-1] - losses[0] > 2.5

# %% [markdown]
# ## What we saw
#
# The loss rises.
#
# ## Exercises
#
# Repeat it downhill.

# %% tags=["solution"]
assert -losses[-1] < -2.5
"""


@pytest.mark.slow
def test_a_notebook_of_another_folder_is_built_as_the_how_to_says(tmp_path: Path) -> None:
    (tmp_path / "01_toy.py").write_text(OWN, encoding="utf-8")
    build = [sys.executable, str(TOOL), "--folder", str(tmp_path), "--only", "01"]
    for arguments in ((), ("--check",)):
        done = subprocess.run([*build, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    toy = nbformat.read(tmp_path / "rendered" / "01_toy.ipynb", as_version=4)
    outputs = [output for cell in toy.cells for output in cell.get("outputs", [])]
    assert outputs[0].text == "[0.0, 1.0, 2.0, 3.0]\n"
    assert outputs[1].metadata["image/png"]["alt"] == "A straight line that rises from 0 to 3."
    exercise = nbformat.read(tmp_path / "rendered" / "exercises" / "01_toy.ipynb", as_version=4)
    assert exercise.cells[-1].source == "# Your solution."


STORED = """\
# %% [markdown]
# # A title

# %% tags=["stored"]
print("three seeds")

# %%
print("of this run")
"""


def test_outputs_that_come_with_the_package_are_compared_and_others_are_not(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"stored": "three seeds", "run": "0.71"}

    def execute(notebook: nbformat.NotebookNode, _seconds: int, _folder: Path) -> None:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                kind = "stored" if "stored" in cell.metadata.get("tags", []) else "run"
                cell.outputs = [nbformat.v4.new_output("stream", text=said[kind])]

    monkeypatch.setattr(tool, "execute", execute)
    source = tmp_path / "01_title.py"
    source.write_text(STORED)
    assert tool.build(source, check=False).faults == []
    said["run"] = "0.72"
    assert tool.build(source, check=True).faults == []
    said["stored"] = "0 seeds"
    faults = tool.build(source, check=True).faults
    assert [fault.partition(": ")[0] for fault in faults] == ["rendered/01_title.ipynb, cell-03"]
    assert "is not what the render shows: python notebooks/build.py --only 01" in faults[0]


def picture(width: int = 4) -> str:
    """A picture of noise as PNG."""
    from PIL import Image

    into = io.BytesIO()
    Image.frombytes("RGB", (width, width), os.urandom(3 * width * width)).save(into, "PNG")
    return base64.b64encode(into.getvalue()).decode()


@pytest.mark.parametrize(
    ("source", "alt"),
    [
        ("# alt: A line that falls.\nplt.show()", "A line that falls."),
        ("# alt: A line that falls\n#   and rises.\nplt.show()", "A line that falls and rises."),
        ("plt.show()", ""),
        ("x = 1  # alt: not at the beginning\nplt.show()", ""),
    ],
)
def test_a_figure_carries_its_words_or_is_a_fault(tool: ModuleType, source: str, alt: str) -> None:
    data = {"image/png": picture(), "text/plain": "<Figure size 640x480 with 1 Axes>"}
    cell = nbformat.v4.new_code_cell(source, outputs=[nbformat.v4.new_output("display_data", data=data)])
    tool._cleaned(cell.outputs[0], tool.alt_of(cell))
    faults = tool.undescribed(nbformat.v4.new_notebook(cells=[cell]))
    if alt:
        assert cell.outputs[0].metadata == {"image/png": {"alt": alt}}
        assert cell.outputs[0].data["text/plain"] == alt
        assert faults == []
    else:
        assert "draws a figure without alt text" in faults[0]


@pytest.mark.parametrize("shown", ["History(epochs=({'epoch': 1},))", "(0.69, 0.56)", "ShallowCNN(\n)"])
def test_a_raw_value_is_a_fault(tool: ModuleType, shown: str) -> None:
    output = nbformat.v4.new_output("execute_result", data={"text/plain": shown}, execution_count=1)
    cell = nbformat.v4.new_code_cell("fit(model)", outputs=[output])
    (fault,) = tool.undescribed(nbformat.v4.new_notebook(cells=[cell]))
    assert "shows a raw value" in fault


def test_heavy_pictures_get_fewer_colours_and_light_ones_stay(tool: ModuleType) -> None:
    from PIL import Image

    light, heavy = picture(), picture(300)
    assert tool._light(light) == light
    smaller = tool._light(heavy)
    assert len(smaller) < 0.6 * len(heavy)
    assert Image.open(io.BytesIO(base64.b64decode(smaller))).size == (300, 300)


def test_a_full_budget_is_executed_and_writes_nothing(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    monkeypatch.setattr(tool, "execute", lambda _, seconds, _folder: ran.append(seconds))
    assert tool.build(tmp_path / "01_title.py", check=False, budget="full", seconds=7).faults == []
    assert ran == [7]
    assert not (tmp_path / "rendered").exists()


def test_a_cell_that_takes_too_long_is_a_sentence(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(notebook: nbformat.NotebookNode, seconds: int, _folder: Path) -> None:
        notebook.cells[3].execution_count = 1
        raise tool.CellTimeoutError(f"A cell timed out after {seconds} seconds\nTraceback ...")

    monkeypatch.setattr(tool, "execute", execute)
    (fault,) = tool.build(tmp_path / "01_title.py", check=True, seconds=5).faults
    assert fault.startswith("01_title: cell-03 or the cell after it took more than 5 s on this machine (")
    assert fault.endswith("give it more with --cell-seconds N")
    assert "\n" not in fault


SOURCES = sorted(TOOL.parent.glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_notebook_is_quick_unless_told_draws_alike_and_says_what_it_draws(path: Path) -> None:
    text = path.read_text()
    assert 'QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"\n' in text
    assert "plt.rcParams.update(figure_style())\n" in text
    drawing = [cell for cell in re.split(r"(?m)^# %%.*\n", text) if "plt.show()" in cell]
    assert drawing
    assert all(cell.startswith("# alt: ") for cell in drawing)
    assert not re.findall(r"tab:\w+|fontsize=(?:\d|\"x)|precision=\"bf16\"", text), "see figure_style"
    for cell in re.split(r"(?m)^(?=# %%)", text):
        assert "known(" not in cell or "print(" not in cell or 'tags=["stored"]' in cell, cell
