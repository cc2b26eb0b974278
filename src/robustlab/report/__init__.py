"""Draws what an evaluation recorded: one HTML page that needs nothing else, and JSON, Markdown and CSV."""

from robustlab.report.pictures import is_image_shape
from robustlab.report.render import write, write_natural
from robustlab.report.sheet import Row, sheet
from robustlab.report.tiles import tiles

__all__ = ["Row", "is_image_shape", "sheet", "tiles", "write", "write_natural"]
