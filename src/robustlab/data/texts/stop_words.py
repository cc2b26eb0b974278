"""Stop words; they come with robustlab."""

from __future__ import annotations

from pathlib import Path

from robustlab.data.sources import PublishedFile
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource

TEXT_RESOURCES.register(
    "stop-words",
    TextResource(
        "266 words without content of their own, the list of TextFooler (Jin et al. 2020)",
        "TextFooler, 2020",
        "MIT (Di Jin)",
        2446,
        (PublishedFile("stop_words.json", "a0b440433869df38715d1d4501d713c120abcdb36868f794122689b7f7ca5cc2"),),
        shipped=Path(__file__).parents[2] / "text",
    ),
)
