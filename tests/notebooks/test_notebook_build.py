"""The notebook tool on small notebooks of its own."""

from __future__ import annotations

import importlib.util
import sys
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
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "RENDERED", tmp_path / "rendered")
    monkeypatch.setattr(module, "repository", lambda: "https://github.com/someone/something")
    (tmp_path / "01_title.py").write_text(SOURCE)
    return module


def execute_without_a_kernel(notebook: nbformat.NotebookNode) -> None:
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


def test_the_installing_cell_acts_in_colab_alone_and_keeps_its_torch(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", lambda command, **_: ran.append(command))
    install = tool.assemble(tmp_path / "01_title.py").cells[2].source
    exec(install, {})
    assert ran == []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(install, {})
    wanted = "robustlab[notebooks] @ git+https://github.com/someone/something"
    assert ran == [[sys.executable, "-m", "pip", "install", "-q", wanted]], "no constraints: Colab has its own torch"


def test_exercises_keep_everything_but_the_solutions(tool: ModuleType, tmp_path: Path) -> None:
    full = [c.source for c in tool.assemble(tmp_path / "01_title.py").cells]
    open_one = [c.source for c in tool.assemble(tmp_path / "01_title.py", exercise=True).cells]
    assert "secret = 1" in full[-1]
    assert "secret" not in open_one[-1]
    assert open_one[1:-1] == full[1:-1]


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
    assert tool.orphans() == ["09_gone.ipynb has no source: delete it"]


@pytest.mark.slow
def test_a_cell_that_raises_is_a_fault_and_outputs_hold_nothing_volatile(tool: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "01_title.py"
    assert tool.build(source, check=False).faults == []
    rendered = nbformat.read(tmp_path / "rendered" / "01_title.ipynb", as_version=4)
    assert rendered.cells[3].outputs[0].text == "42 <object object>\n"
    assert "language_info" not in rendered.metadata
    source.write_text(SOURCE.replace("6 * 7", "6 / 0"))
    assert "ZeroDivisionError" in tool.build(source, check=True).faults[0]
