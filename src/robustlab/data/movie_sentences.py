"""10,568 sentences of film reviews, positive or negative as people rated them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.data.sentences import Numbers, Sentences
from robustlab.data.text_resources import text_resource
from robustlab.runs.progress import Report

_FILE = "movieReviewSnippets_GroundTruth.txt"
_TRAIN, _VALIDATION = 8454, 1057
Split = Literal["train", "validation", "test", "all"]


@typed
def movie_sentences(
    split: Split = "test", *, root: str | Path | None = None, progress: Report | None = None
) -> Sentences:
    """The sentences of a split, rated by people: 0 is negative, 1 positive.

    Each of the 10,605 sentences has a mean rating of -4 to 4; those rated 0 are left out.

    Args:
        split: "train" (8,454) and "validation" (1,057), in the order of the file; "test" (1,057), in the order in which
            they were drawn, so that its first n are a random sample; "all", in the order of the file.
        root: folder of the cache; None: ``$ROBUSTLAB_HOME`` or the platform's.
        progress: is informed of downloads.

    Returns: sentences whose ids are line numbers of the file, from 0.
    Raises: DataError if no place has the file.
    Source: Hutto and Gilbert, VADER, ICWSM 2014; sentences of Pang and Lee, ACL 2005.
    """
    path = text_resource("movie-sentences", root=root, progress=progress) / _FILE
    rows = [line.split("\t") for line in path.read_text(encoding="latin-1").split("\n")]
    if any(len(row) != 3 for row in rows):
        raise DataError(f"{path} is no table of three columns")
    ratings = np.array([float(row[1]) for row in rows])
    ids = _ids(np.flatnonzero(ratings), split)
    texts = tuple(rows[line][2].strip() for line in ids.tolist())
    labels = (ratings[ids] > 0).astype(np.int64)
    return Sentences(texts, labels, ids, ("negative", "positive"), f"movie sentences {split}")


def _ids(kept: Numbers, split: Split) -> Numbers:
    """Line numbers of a split.

    The stream of NumPy's old generator is frozen, so this split is the same with every version.
    """
    drawn = kept[np.random.RandomState(0).permutation(len(kept))]  # the new generator may change its stream
    ends = {"train": _TRAIN, "validation": _TRAIN + _VALIDATION, "test": len(kept)}
    if split == "all":
        return kept
    if split == "test":
        return drawn[ends["validation"] :]
    start = ends["train"] if split == "validation" else 0
    return np.sort(drawn[start : ends[split]])
