"""Rated sentences of film reviews."""

from __future__ import annotations

from robustlab.data.packages import Inside, PythonPackage
from robustlab.data.sources import Mirror, PublishedFile
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource

_INNER = "hutto_ICWSM_2014"
VADER_SOURCE = "https://raw.githubusercontent.com/cjhutto/vaderSentiment/master"

TEXT_RESOURCES.register(
    "movie-sentences",
    TextResource(
        "10,605 sentences of film reviews, each rated by people (Hutto and Gilbert 2014, after Pang and Lee)",
        "vaderSentiment 3.3.2",
        "MIT (C.J. Hutto)",
        1_383_098,
        (
            PublishedFile(
                "movieReviewSnippets_GroundTruth.txt",
                "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
            ),
        ),
        lambda parts: [
            Inside(Mirror(f"{VADER_SOURCE}/additional_resources", parts=parts), f"{_INNER}.tar.gz", _INNER),
            Inside(
                PythonPackage(
                    "vaderSentiment==3.3.2",
                    "vaderSentiment-3.3.2/additional_resources",
                    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
                ),
                f"{_INNER}.tar.gz",
                _INNER,
            ),
        ],
    ),
)
