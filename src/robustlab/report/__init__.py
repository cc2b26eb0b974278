"""Draws what an evaluation recorded: an HTML page that needs nothing else, and JSON, Markdown, CSV, JUnit, SARIF."""

from robustlab.report.colours import OKABE_ITO, figure_style
from robustlab.report.junit import to_junit
from robustlab.report.map_files import save_maps
from robustlab.report.model_card import to_model_card
from robustlab.report.next_steps import next_steps
from robustlab.report.pictures import is_image_shape
from robustlab.report.render import write, write_corruptions, write_explanations, write_texts
from robustlab.report.sarif import to_sarif
from robustlab.report.sections import Content, Section, register_export, register_section
from robustlab.report.sheet import Row, sheet
from robustlab.report.tiles import tiles

__all__ = [
    "OKABE_ITO", "Content", "Row", "Section", "figure_style", "is_image_shape", "next_steps", "register_export",
    "register_section", "save_maps", "sheet", "tiles", "to_junit", "to_model_card", "to_sarif", "write",
    "write_corruptions", "write_explanations", "write_texts",
]  # fmt: skip
