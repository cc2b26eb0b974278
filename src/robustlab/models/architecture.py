"""Name and sizes of a model, as ``core.architecture`` keeps them and a weight file stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from robustlab.core.architecture import KEY, Architecture, architecture_of, described, faults
from robustlab.runs.json_files import parsed

__all__ = ["Architecture", "architecture_of", "described", "read_architecture"]
_MOST = 1 << 16  # bytes of JSON


def read_architecture(metadata: Mapping[str, str]) -> Architecture | None:
    """The architecture in the metadata of a weight file, with every value checked.

    Returns: None if the file has none.
    Raises: ValueError for broken JSON, and for values that no model of ours has.
    """
    if KEY not in metadata:
        return None
    found = parsed(metadata[KEY], most=_MOST)
    if not isinstance(found, dict):
        raise ValueError(f"it is a JSON {type(found).__name__}, not an object")
    wrong = faults(found)
    if wrong:
        raise ValueError("; ".join(wrong[:3]))
    return cast(Architecture, found)
