"""Public names of each room, on which users may rely, compared with a stored list.

After a change that is meant, write the list anew and say it in CHANGELOG.md: ``python tests/test_public_api.py``.
"""

from __future__ import annotations

import json
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest

import robustlab

STORED = Path(__file__).with_name("api_surface.json")
SRC = Path(robustlab.__file__).parent
ROOMS = ["robustlab", *(f"robustlab.{path.parent.name}" for path in sorted(SRC.glob("*/__init__.py")))]


def surface() -> dict[str, list[str]]:
    """Public names by room, sorted."""
    return {room: sorted(import_module(room).__all__) for room in ROOMS}


def is_ours(thing: object) -> bool:
    """True for a class or function that is defined here, not for another name of a type of torch."""
    return (isclass(thing) or isfunction(thing)) and thing.__module__.startswith("robustlab.")


@pytest.fixture(scope="module")
def stored() -> dict[str, list[str]]:
    """The list as it was agreed."""
    names: dict[str, list[str]] = json.loads(STORED.read_text())
    return names


def test_every_room_is_in_the_stored_list(stored: dict[str, list[str]]) -> None:
    assert sorted(stored) == sorted(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_those_agreed(room: str, stored: dict[str, list[str]]) -> None:
    assert sorted(import_module(room).__all__) == stored[room], "if it is meant: python tests/test_public_api.py"


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_exist_once_and_say_what_they_are(room: str) -> None:
    module = import_module(room)
    assert len(set(module.__all__)) == len(module.__all__)
    assert module.__doc__
    silent = [name for name in module.__all__ if is_ours(getattr(module, name)) and not getattr(module, name).__doc__]
    assert not silent, f"{room}: public without a docstring"


def test_top_level_stays_small() -> None:
    assert len(robustlab.__all__) <= 12
    assert set(robustlab.__all__) <= set(dir(robustlab))


def test_unknown_top_level_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'PDG'"):
        _ = robustlab.PDG


if __name__ == "__main__":
    STORED.write_text(json.dumps(surface(), indent=2) + "\n")
