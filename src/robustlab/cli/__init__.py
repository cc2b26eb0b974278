"""The command ``robustlab``: a front door, with no logic of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    app: typer.Typer

__all__ = ["app"]


def __getattr__(name: str) -> object:
    """Fetches the command on first use: interrupts are handled before it is loaded."""
    if name != "app":
        raise AttributeError(f"module 'robustlab.cli' has no attribute {name!r}")
    from robustlab.cli.main import built

    return built()
