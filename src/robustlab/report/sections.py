"""Registries of sections and files that were added to the report on attacks, one function each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.evaluation.record import Evaluation


class Content(NamedTuple):
    """Text and table of a section; both are escaped where they are shown."""

    note: str
    """A sentence above the table; "" for none."""
    head: tuple[str, ...] = ()
    """Titles of the columns; empty for no table."""
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page and of the Markdown file, after the built-in ones.

    Args:
        title: heading.
        content: function from evaluations to the content; it returns None to leave the section out.
    """

    title: str
    content: Callable[[Sequence[Evaluation]], Content | None]


class Shown(NamedTuple):
    """A section as a page shows it."""

    id: str
    title: str
    content: Content


Export = Callable[[Sequence[Evaluation]], str]
"""The text of a file that is written with every report."""

SECTIONS: Registry[Section] = Registry("section of the report", "robustlab.report", "robustlab.sections")
"""Sections that were added, by their address in the page."""
EXPORTS: Registry[Export] = Registry("file of the report", "robustlab.report", "robustlab.exports")
"""Files that were added, by name."""


@typed
def register_section(name: str, section: Section) -> None:
    """Adds a section to every report on attacks.

    Raises: ValueError if the name is taken, or is not made of small letters, digits and "-".
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"{name!r} cannot be the address of a section: use small letters, digits and '-'")
    SECTIONS.register(name, section)


@typed
def register_export(file: str, text: Export) -> None:
    """Adds a file to every report on attacks.

    Args:
        file: its name, without a folder.
        text: function from evaluations to the content of the file.

    Raises: ValueError if the name is taken, or has a folder in it.
    """
    if not re.fullmatch(r"\w[\w.-]*", file) or file.startswith("report."):
        raise ValueError(
            f"{file!r} cannot be a file of the report: use letters, digits, '.', '_' and '-', not report.*"
        )
    EXPORTS.register(file, text)


def sections(evaluations: Sequence[Evaluation]) -> tuple[Shown, ...]:
    """Sections that were added and have content.

    Raises: ValueError for a table whose rows and head differ in length.
    """
    added = ((name, SECTIONS[name]) for name in SECTIONS.names())
    shown = ((name, one.title, one.content(evaluations)) for name, one in added)
    kept = tuple(Shown(name, title, content) for name, title, content in shown if content is not None)
    for one in kept:
        if any(len(row) != len(one.content.head) for row in one.content.rows):
            raise ValueError(f"section {one.id!r} has rows that do not fit its {len(one.content.head)} columns")
    return kept


def exports(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Files that were added, by name."""
    return {name: EXPORTS[name](evaluations) for name in EXPORTS.names()}
