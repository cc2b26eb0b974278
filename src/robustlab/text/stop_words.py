"""Words that carry no content of their own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import cast

from robustlab.runs.json_files import json_in


@cache
def stop_words() -> frozenset[str]:
    """The 266 stop words of TextFooler, in small letters: "The" is none of them.

    Source: Jin, Jin, Zhou and Szolovits, Is BERT really robust?, AAAI 2020.
    """
    return frozenset(cast("list[str]", json_in(Path(__file__).with_name("stop_words.json"))))
