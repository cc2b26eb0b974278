"""The command ``robustlab``: a front door, with no logic of its own."""

from robustlab.cli.main import app

__all__ = ["app"]
