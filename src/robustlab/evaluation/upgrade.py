"""Results that an older version wrote, in the form of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

SCHEMA_VERSION = 3
READABLE = (1, 2, SCHEMA_VERSION)
Plain: TypeAlias = Mapping[str, Any]

_STAGE = {"standing": "still_robust"}
_TRACE = {"fell_at": "fooled_at", "looked_at": "points_seen"}


def upgraded(data: Mapping[str, object]) -> Mapping[str, object]:
    """A result as ``Evaluation.to_json`` writes it now.

    Version 1 has neither the passes of a stage nor the number of examples that are still robust after it; the latter
    follows from its counts. Version 2 has other names for some fields of stages and traces.

    Raises: ValueError for a version that cannot be read.
    """
    schema = data.get("schema")
    if schema == SCHEMA_VERSION:
        return data
    if schema not in READABLE:
        known = ", ".join(map(str, READABLE))
        raise ValueError(f"the result has schema {schema!r}, this version of robustlab reads {known}")
    if "results" not in data:
        return data
    try:
        results = [_result(one, schema) for one in _list(data["results"])]
        traces = [_renamed(one, _TRACE) for one in _list(data.get("traces", []))]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the result is damaged: {error!r} where a part of schema {schema} belongs") from error
    return {**data, "schema": SCHEMA_VERSION, "results": results, "traces": traces}


def _list(value: object) -> list[Plain]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r}")
    return value


def _result(result: Plain, schema: object) -> Plain:
    stages = _counted(result) if schema == 1 else [_renamed(one, _STAGE) for one in _list(result.get("stages", []))]
    return {**result, "stages": stages}


def _counted(result: Plain) -> list[Plain]:
    """Stages of version 1 with the examples that are still robust after each."""
    still_robust = result["success"]["n"] - result["reused"]
    stages: list[Plain] = []
    for stage in result["stages"]:
        still_robust -= stage["fooled"]
        stages.append({**stage, "still_robust": still_robust, "queries": {"forward": None, "backward": None}})
    return stages


def _renamed(part: Plain, names: Mapping[str, str]) -> Plain:
    missing = [name for name in names if name not in part]
    if missing:
        raise KeyError(missing[0])
    return {names.get(name, name): value for name, value in part.items()}
