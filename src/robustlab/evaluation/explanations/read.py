"""Finished evaluations of explanations, read from their directories: results, maps and pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.explanations.manifest import RECORD, ExplanationManifest, read_explanation_manifest
from robustlab.evaluation.explanations.parts import Parts, path_of
from robustlab.evaluation.explanations.record import Explanations
from robustlab.evaluation.manifest import EXPLANATIONS_MEASURED
from robustlab.evaluation.sealed import check_file
from robustlab.explain import Maps
from robustlab.runs.json_files import read_json


@typed
def is_explanation_run(directory: str | Path) -> bool:
    """Tests whether a directory holds a run of explanations."""
    path = Path(directory) / "manifest.json"
    return path.is_file() and read_json(path).get("measures") == EXPLANATIONS_MEASURED


@typed
def read_explanations(directory: str | Path) -> Explanations:
    """The result of a finished run of explanations.

    Raises: RunError if there is no run, it is not finished, or its record is damaged, changed or of another run.
    """
    path = Path(directory)
    return result_in(path, read_explanation_manifest(path))


def result_in(path: Path, manifest: ExplanationManifest) -> Explanations:
    """The result that belongs to a manifest; errors as of ``read_explanations``."""
    if not (path / RECORD).exists() or not manifest.sealed:
        raise RunError(
            f"the run in {path} is not finished: call evaluate_explanations with the same arguments to go on"
        )
    check_file(path, RECORD, manifest.sealed)
    try:
        found = Explanations.from_json(read_json(path / RECORD), path)
    except ValueError as error:
        raise RunError(f"{path / RECORD} cannot be used: {error}; delete it and run the evaluation again") from error
    if found.run.id != manifest.run.id:
        raise RunError(
            f"{path / RECORD} is the result of another run than the manifest.json next to it: run the evaluation again "
            "with the same arguments to write it anew"
        )
    return found


@typed
def read_maps(result: Explanations, method: str, *, model: int = 0) -> tuple[Tensor, Maps]:
    """The maps of one model by one method, by image.

    Args:
        result: with its run directory.
        method: name in the run.
        model: 0, or 1 for the model that it was compared with.

    Returns: numbers of the images (N,), ascending, and their maps.

    Raises:
        ValueError: the run has no such method or model.
        RunError: it has no run directory, or files are missing or damaged.
    """
    known = [one.name for one in result.methods]
    if method not in known or not 0 <= model < len(result.models):
        raise ValueError(f"the run has no maps of {method!r} for model {model}; there are {', '.join(known)}")
    parts, count = files_of(result), -(-result.data.n // result.run.batch_size)
    found = [parts.known(path_of("maps", model, method, number)) for number in range(count)]
    made = [Maps(one["maps"], one["target"], method, one.get("change")) for one in found]
    return torch.cat([one["ids"] for one in found]), Maps.joined(made)


@typed
def read_attacked(result: Explanations, *, model: int = 0) -> dict[str, Tensor]:
    """The attacked images of one model.

    Args:
        result: with its run directory.
        model: 0, or 1 for the model that it was compared with.

    Returns: "ids" (M,), "x" and "x_adv" (M, ...), maps "before" and "after" (M, ...), "change" of the confidence,
        "kept" and "noise_kept" (M,), and distances of maps, such as "value of cosine-under-attack" (M,).

    Raises:
        ValueError: the maps of the run were not attacked, or it has no such model.
        RunError: it has no run directory, or files are missing or damaged.
    """
    if result.attack is None or not 0 <= model < len(result.models):
        raise ValueError(f"the run has no attacked maps of model {model}")
    files, count = files_of(result), -(-result.attacked // result.run.batch_size)
    found = [files.known(path_of("attacks", model, result.attack.name, number)) for number in range(count)]
    return {name: torch.cat([one[name] for one in found]) for name in found[0] if name != "seconds"}


@typed
def explained_pictures(result: Explanations) -> Tensor:
    """The images that a report shows, float32 (G, C, H, W) in [0, 1], in the order of ``result.pictures``.

    Raises: RunError if the result has no run directory, or they are missing or damaged.
    """
    return files_of(result).known(path_of("pictures", 0, "", 0))["x"] / 255


def files_of(result: Explanations) -> Parts:
    """Files of a result.

    Raises: RunError if it has no run directory.
    """
    if result.directory is None:
        raise RunError("this result has no run directory, so it has no maps: read it with read_explanations")
    return Parts(result.directory, result.run.id)
