"""Finished runs, read from their directories: of attacks and under corruptions."""

from __future__ import annotations

from pathlib import Path

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.corruptions.manifest import read_corruption_manifest, record_of
from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.manifest import CORRUPTIONS_MEASURED, read_manifest
from robustlab.evaluation.record import Evaluation
from robustlab.evaluation.sealed import check_file, read_result
from robustlab.runs.json_files import read_json


@typed
def read_run(directory: str | Path) -> Evaluation:
    """The result of a finished run.

    Raises: RunError if there is no run, it is not finished, or its report is damaged, changed or of another run.
    """
    path = Path(directory)
    return read_result(path, read_manifest(path))


@typed
def is_corruption_run(directory: str | Path) -> bool:
    """Tests whether a directory holds a run over corrupted images."""
    path = Path(directory)
    return (path / "manifest.json").is_file() and read_json(path / "manifest.json").get(
        "measures"
    ) == CORRUPTIONS_MEASURED


@typed
def read_corruptions(directory: str | Path) -> CorruptionEvaluation:
    """The result of a finished run under corruptions.

    Raises: RunError if there is no run, it is not finished, or its record is damaged, changed or of another run.
    """
    path = Path(directory)
    manifest = read_corruption_manifest(path)
    name = record_of(manifest, path)
    if not (path / name).exists() or manifest.sealed == {}:
        raise RunError(f"the run in {path} is not finished: call evaluate_corruptions with the same arguments to go on")
    check_file(path, name, manifest.sealed)
    try:
        found = CorruptionEvaluation.from_json(read_json(path / name), path)
    except ValueError as error:
        raise RunError(f"{path / name} cannot be used: {error}; delete it and run the evaluation again") from error
    if found.run.id != manifest.run.id:
        raise RunError(
            f"{path / name} is the result of another run than the manifest.json next to it: run the evaluation again "
            "with the same arguments to write it anew"
        )
    return found
