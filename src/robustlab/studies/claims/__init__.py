"""Statements of the literature that a computer can check: one file for each, found in this folder."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from robustlab.studies.claim_engine.claim import CATALOGUE, Claim, by_place


def _of_this_folder() -> tuple[Claim, ...]:
    """The claims that the files of this folder register."""
    for found in iter_modules(__path__, f"{__name__}."):
        import_module(found.name)
    return by_place(CATALOGUE.registered())


CLAIMS = _of_this_folder()
"""All claims of the package, in the order of the workshop."""


def added() -> tuple[Claim, ...]:
    """Claims that other modules and packages have registered."""
    return tuple(claim for claim in by_place(CATALOGUE.members()) if claim not in CLAIMS)


__all__ = ["CLAIMS", "added"]
