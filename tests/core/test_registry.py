"""Members of a kind by name: where they come from, and what is said of a name that nobody has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robustlab.core.registry import Registry

MODULE = """
from shapes_registry import SHAPES
SHAPES.register("{name}", {value})
"""


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def _installed(place: Path, group: str, **entries: str) -> None:
    """A distribution with entry points, as an installer leaves it."""
    info = place / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n", encoding="utf-8")
    lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n", encoding="utf-8")


def test_members_come_back_in_the_order_in_which_they_were_registered() -> None:
    shapes: Registry[int] = Registry("shape")
    assert shapes.register("square", 4) == 4
    shapes.register("line", 2)
    assert shapes.names() == tuple(shapes) == ("square", "line")
    assert shapes.members() == (4, 2)
    assert len(shapes) == 2
    assert shapes["line"] == shapes.get("line") == 2
    assert "line" in shapes
    assert "circle" not in shapes


@pytest.mark.parametrize("name", ["squar", "Square", "sqaure"])
def test_a_misspelt_name_is_answered_with_the_nearest(name: str) -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.register("line", 2)
    shapes.register("square", 4)
    with pytest.raises(ValueError, match=f"no shape is called '{name}'; did you mean square\\? There are line, square"):
        shapes.get(name)
    with pytest.raises(ValueError, match="no shape is called 'xyz': there are line, square"):
        shapes["xyz"]


def test_a_name_belongs_to_one_member() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.register("square", 4)
    shapes.register("square", 4)
    with pytest.raises(ValueError, match="two members are called 'square': give your shape another name"):
        shapes.register("square", 5)
    shapes.unregister("square")
    assert shapes.register("square", 5) == 5


def test_files_of_a_package_register_their_members_when_somebody_asks(on_path: Path) -> None:
    (on_path / "shapes").mkdir()
    (on_path / "shapes" / "__init__.py").touch()
    (on_path / "shapes_registry.py").write_text(
        "from robustlab.core.registry import Registry\nSHAPES = Registry('shape', 'shapes')\n", encoding="utf-8"
    )
    for file, value in (("b_square", 4), ("a_triangle", 3)):
        (on_path / "shapes" / f"{file}.py").write_text(MODULE.format(name=file, value=value), encoding="utf-8")
    import shapes_registry  # type: ignore[import-not-found]

    assert "shapes.a_triangle" not in sys.modules
    assert shapes_registry.SHAPES.names() == ("a_triangle", "b_square")
    assert shapes_registry.SHAPES["b_square"] == 4


def test_installed_packages_add_members_by_an_entry_point(on_path: Path) -> None:
    (on_path / "other.py").write_text("FIVE = 5\n", encoding="utf-8")
    _installed(on_path, "robustlab.shapes", pentagon="other:FIVE", hexagon="other:SIX")
    shapes: Registry[int] = Registry("shape", group="robustlab.shapes")
    shapes.register("line", 2)
    with pytest.warns(UserWarning, match=r"the shape 'hexagon' \(other:SIX\) is left out: AttributeError"):
        assert shapes.names() == ("line", "pentagon")
    assert shapes["pentagon"] == 5


def test_an_entry_point_may_be_a_module_that_registers_its_members(on_path: Path) -> None:
    (on_path / "shapes_registry.py").write_text(
        "from robustlab.core.registry import Registry\nSHAPES = Registry('shape', group='robustlab.more_shapes')\n",
        encoding="utf-8",
    )
    (on_path / "other.py").write_text(MODULE.format(name="octagon", value=8), encoding="utf-8")
    _installed(on_path, "robustlab.more_shapes", anything="other")
    import shapes_registry

    assert shapes_registry.SHAPES.names() == ("octagon",)


def test_names_that_come_first_are_in_front_of_those_of_other_packages() -> None:
    shapes: Registry[int] = Registry("shape", first=("square", "line"))
    for name, corners in (("line", 2), ("hexagon", 6), ("square", 4)):
        shapes.register(name, corners)
    assert shapes.names() == ("square", "line", "hexagon")
    assert shapes.members() == (4, 2, 6)


def test_a_listed_name_that_no_file_registers_fails_each_time_with_the_nearest() -> None:
    shapes: Registry[int] = Registry("shape", first=("square",))
    shapes.register("sqaure", 4)
    for _ in range(2):
        with pytest.raises(ValueError, match="'square' is listed and no file registers it; did you mean sqaure"):
            shapes.names()
