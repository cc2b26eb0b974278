"""Results that an older version wrote, in the form of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)
Plain: TypeAlias = Mapping[str, Any]


def upgraded(data: Mapping[str, object]) -> Mapping[str, object]:
    """A result as ``Evaluation.to_json`` writes it now.

    Version 1 did not say how many passes a stage took, nor who stood after it; the latter follows from its counts.

    Raises: ValueError for a version that cannot be read.
    """
    schema = data.get("schema")
    if schema == SCHEMA_VERSION:
        return data
    if schema not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise ValueError(f"the result has schema {schema!r}, this version of robustlab reads {known}")
    if "results" not in data:
        return data
    try:
        return {**data, "schema": SCHEMA_VERSION, "results": [_result(one) for one in _list(data["results"])]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"the result is damaged: {error!r} where a part of schema {schema} belongs") from error


def _list(value: object) -> list[Plain]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r}")
    return value


def _result(result: Plain) -> Plain:
    standing, stages = result["success"]["n"] - result["reused"], []
    for stage in result["stages"]:
        standing -= stage["fooled"]
        stages.append({**stage, "standing": standing, "queries": {"forward": None, "backward": None}})
    return {**result, "stages": stages}
