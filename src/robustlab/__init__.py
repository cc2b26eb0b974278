"""Measure, trust and improve the adversarial robustness of deep networks.

Each room has its own public names: ``from robustlab.attacks import PGD``. The most used ones are also here, fetched on
first use, so that ``import robustlab`` costs little more than ``import torch``.

Example:
    >>> import robustlab
    >>> robustlab.PGD(robustlab.ThreatModel(robustlab.Linf(), 8 / 255)).steps
    10
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustlab.attacks import FGSM, PGD
    from robustlab.core import L1, L2, Linf, ThreatModel
    from robustlab.evaluation import compare, evaluate
    from robustlab.training import fit

    __version__: str

__all__ = ["FGSM", "L1", "L2", "PGD", "Linf", "ThreatModel", "compare", "evaluate", "fit"]

_ROOMS = {
    "attacks": ("FGSM", "PGD"),
    "core": ("L1", "L2", "Linf", "ThreatModel"),
    "evaluation": ("compare", "evaluate"),
    "training": ("fit",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    """Fetches a public name from its room, or the version, on first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("robustlab")
    if name not in _HOME:
        raise AttributeError(
            f"module 'robustlab' has no attribute {name!r}; its rooms hold more: robustlab.attacks, ..."
        )
    return getattr(import_module(f"robustlab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """The names that can be had from here."""
    return sorted([*__all__, "__version__"])
