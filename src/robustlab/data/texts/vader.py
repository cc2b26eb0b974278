"""Ratings of opinion words."""

from __future__ import annotations

from robustlab.data.packages import Installed, PythonPackage
from robustlab.data.sources import Mirror, PublishedFile
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource
from robustlab.data.texts.movie import VADER_SOURCE

TEXT_RESOURCES.register(
    "vader",
    TextResource(
        "7,506 words and emoticons with their sentiment from -4 to 4 (Hutto and Gilbert 2014)",
        "vaderSentiment 3.3.2",
        "MIT (C.J. Hutto)",
        434_304,
        (PublishedFile("vader_lexicon.txt", "1ec9c6e9ee19aade328f8beb393a6afa71a5bb3acf7d3cc22d4ef568df374bf5"),),
        lambda parts: [
            Installed("vaderSentiment"),
            Mirror(f"{VADER_SOURCE}/vaderSentiment", parts=parts),
            PythonPackage("vaderSentiment==3.3.2", "vaderSentiment"),
        ],
        "vaderSentiment==3.3.2",
    ),
)
