"""Draws what an evaluation recorded: one HTML page that needs nothing else, and JSON, Markdown and CSV."""

from robustlab.report.render import write

__all__ = ["write"]
