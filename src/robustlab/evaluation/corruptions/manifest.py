"""Manifest of a run under corruptions: written first, compared before the run is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from robustlab.core import RunError
from robustlab.core.finding import Evidence, Finding
from robustlab.evaluation.corruptions.corrupted_set import CorruptedSets
from robustlab.evaluation.corruptions.record import CORRUPTION_SCHEMA, CorruptionInfo
from robustlab.evaluation.identity import RunSettings, check_same, identify
from robustlab.evaluation.manifest import CORRUPTIONS_MEASURED
from robustlab.evaluation.record import DataInfo, ModelInfo, RunInfo
from robustlab.evaluation.subject import Subject
from robustlab.runs.codec import decode, encode
from robustlab.runs.files import sha256_of
from robustlab.runs.json_files import read_json, write_json
from robustlab.runs.resume import create_or_resume, readable

RECORD = "corruptions.json"
RECORD_V1 = "natural.json"
"""Name that older versions gave to the record."""
BATCH_PLAN = "ids ascending, cut into batches; each read once and classified under all corruptions"


@dataclass(frozen=True)
class CorruptionManifest:
    """Facts about a run that are known before its first batch."""

    model: ModelInfo
    data: DataInfo
    """Its sha256 is empty: it is known once all examples were seen."""
    run: RunInfo
    corruptions: tuple[CorruptionInfo, ...]
    severities: tuple[int, ...]
    variant: str
    clean: bool
    """True if there are clean images."""
    essentials: Evidence
    """Values that must be the same for a run to be resumed, by a name that a message can use."""
    sealed: dict[str, str] | None = field(default_factory=dict)
    """SHA-256 of the files of a finished run, by name; empty: not finished; None: an older version wrote it."""
    measures: str = CORRUPTIONS_MEASURED
    schema: int = CORRUPTION_SCHEMA
    unstable: Finding | None = field(default=None, compare=False)
    """Finding that two readings of the data differ; not written."""
    weights_v1: str = field(default="", compare=False)
    """Digest of the model by the rule of older versions; not written."""


def describe(
    subject: Subject, sets: CorruptedSets, ids: Tensor, drawn: str, settings: RunSettings
) -> CorruptionManifest:
    """Describes a run that is about to start.

    Args:
        subject: model and clean images, or the first ones there are.
        sets: the corrupted images.
        ids: of the examples to be evaluated.
        drawn: how they were drawn.
        settings: of the run.
    """
    model, data, run, essentials, unstable, v1 = identify(subject, ids, drawn, settings, batch_plan=BATCH_PLAN)
    essentials = {
        **essentials,
        "corruptions": "; ".join(f"{info.name}: {info.repr}" for info in sets.corruptions),
        "severities": ", ".join(map(str, sets.severities)),
        "variant": sets.variant,
        "clean images": "yes" if sets.clean is not None else "no",
    }
    return CorruptionManifest(
        model,
        data,
        run,
        sets.corruptions,
        sets.severities,
        sets.variant,
        sets.clean is not None,
        essentials,
        unstable=unstable,
        weights_v1=v1,
    )


def create_or_resume_corruptions(manifest: CorruptionManifest, directory: Path, *, durable: bool) -> CorruptionManifest:
    """Writes the manifest of a new run, or reads that of one to be resumed.

    Returns: the manifest that counts: on resume the one that the run was begun with.
    Raises: RunError if the directory holds another run, naming the first differences, or something that is no run.
    """

    def check(before: CorruptionManifest) -> None:
        check_same(directory, before.essentials, manifest.essentials, manifest.unstable, manifest.weights_v1)

    before = create_or_resume(directory, encode(manifest), read=read_corruption_manifest, check=check, durable=durable)
    if before is None:
        return manifest
    model, data = replace(manifest.model, name=before.model.name), replace(manifest.data, name=before.data.name)
    return replace(manifest, model=model, data=data, run=before.run, sealed=before.sealed)


def seal(manifest: CorruptionManifest, directory: Path, files: Sequence[str]) -> None:
    """Records the digests of the files of a finished run in its manifest.

    Args:
        manifest: of the run.
        directory: of the run.
        files: their names.
    """
    found = {name: sha256_of(directory / name) for name in files}
    if manifest.sealed != found:
        write_json(directory / "manifest.json", encode(replace(manifest, sealed=found)), durable=True)


def record_of(manifest: CorruptionManifest, directory: Path) -> str:
    """Name of the record of a run: the one that was sealed, else the one that is there."""
    names = manifest.sealed or [name for name in (RECORD, RECORD_V1) if (directory / name).exists()]
    return RECORD_V1 if RECORD_V1 in names and RECORD not in names else RECORD


def read_corruption_manifest(directory: Path) -> CorruptionManifest:
    """The manifest of a run directory.

    Raises: RunError if there is none, or it is damaged, of another version, or of another kind of run.
    """
    content = read_json(directory / "manifest.json")
    if content.get("measures") != CORRUPTIONS_MEASURED:
        raise RunError(f"{directory} holds no run over corrupted images: choose another directory")
    with readable(directory, content, (CORRUPTION_SCHEMA,)):
        found = decode(CorruptionManifest, {"sealed": None, **content})
        if not found.corruptions or not found.severities:
            raise ValueError("it names no corruptions")
        return found
