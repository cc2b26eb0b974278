"""Manifest of an evaluation of explanations: written first, compared before the run is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from robustlab.core import RunError
from robustlab.core.finding import Evidence, Finding
from robustlab.evaluation.explanations.plan import BATCH_PLAN, ExplanationSettings
from robustlab.evaluation.explanations.record import EXPLANATION_SCHEMA, InstrumentInfo
from robustlab.evaluation.identity import Identity, check_same, identify
from robustlab.evaluation.manifest import EXPLANATIONS_MEASURED
from robustlab.evaluation.record import DataInfo, ModelInfo, RunInfo
from robustlab.evaluation.subject import Subject
from robustlab.runs.codec import decode, encode
from robustlab.runs.files import sha256_of
from robustlab.runs.json_files import read_json, write_json
from robustlab.runs.resume import create_or_resume, readable

RECORD = "explanations.json"
_OF_MODEL = ("weights", "answers of the model", "dtype")
"""Essentials that each model has of its own."""


@dataclass(frozen=True)
class ExplanationManifest:
    """Facts about a run that are known before its first batch."""

    models: tuple[ModelInfo, ...]
    data: DataInfo
    """Its sha256 is empty: it is known once all examples were seen."""
    run: RunInfo
    methods: tuple[InstrumentInfo, ...]
    numbers: tuple[InstrumentInfo, ...]
    checks: tuple[InstrumentInfo, ...]
    attack: InstrumentInfo | None
    target: str
    score: str
    level: float
    essentials: Evidence
    """Values that must be the same for a run to be resumed, by a name that a message can use."""
    sealed: dict[str, str] | None = field(default_factory=dict)
    """SHA-256 of the files of a finished run, by path; empty: not finished."""
    measures: str = EXPLANATIONS_MEASURED
    schema: int = EXPLANATION_SCHEMA
    unstable: Finding | None = field(default=None, compare=False)
    """Finding that two readings of the data differ; not written."""


def describe(
    subjects: Sequence[Subject],
    ids: Tensor,
    drawn: str,
    instruments: Mapping[str, Sequence[InstrumentInfo]],
    settings: ExplanationSettings,
) -> ExplanationManifest:
    """Describes a run that is about to start.

    Args:
        subjects: one or two models, and the images.
        ids: of the images.
        drawn: how they were drawn.
        instruments: "methods", "numbers", "checks", and "attack", at most one.
        settings: of the run.
    """
    names = (settings.name, settings.other_name)
    found = [
        identify(one, ids, drawn, replace(settings, name=name), batch_plan=BATCH_PLAN)
        for one, name in zip(subjects, names, strict=False)
    ]
    first = found[0]
    essentials = {
        **_essentials(found),
        **{kind: "; ".join(f"{one.name}: {one.repr}" for one in some) for kind, some in instruments.items()},
        "target": settings.target,
        "score": settings.score,
        "pictures": settings.pictures,
        "checked images": settings.checked,
        "attacked images": settings.attacked,
    }
    return ExplanationManifest(
        models=tuple(one.model for one in found),
        data=first.data,
        run=first.run,
        methods=tuple(instruments["methods"]),
        numbers=tuple(instruments["numbers"]),
        checks=tuple(instruments["checks"]),
        attack=next(iter(instruments["attack"]), None),
        target=settings.target,
        score=settings.score,
        level=settings.level,
        essentials=essentials,
        unstable=first.unstable,
    )


def _essentials(found: Sequence[Identity]) -> Evidence:
    """Essentials of the first model, and those that the second one has of its own."""
    second = found[1].essentials if len(found) > 1 else {}
    others: Evidence = {f"{name} of the compared model": str(second.get(name, "none")) for name in _OF_MODEL}
    return {**found[0].essentials, **others}


def create_or_resume_explanations(
    manifest: ExplanationManifest, directory: Path, *, durable: bool
) -> ExplanationManifest:
    """Writes the manifest of a new run, or reads that of one to be resumed.

    Returns: the manifest that counts: on resume the one that the run was begun with.
    Raises: RunError if the directory holds another run, naming the first differences, or something that is no run.
    """

    def check(before: ExplanationManifest) -> None:
        check_same(directory, before.essentials, manifest.essentials, manifest.unstable)

    before = create_or_resume(directory, encode(manifest), read=read_explanation_manifest, check=check, durable=durable)
    if before is None:
        return manifest
    named = tuple(replace(own, name=old.name) for own, old in zip(manifest.models, before.models, strict=True))
    data = replace(manifest.data, name=before.data.name)
    return replace(manifest, models=named, data=data, run=before.run, level=before.level, sealed=before.sealed)


def seal(manifest: ExplanationManifest, directory: Path, files: Sequence[str]) -> None:
    """Records the digests of the files of a finished run in its manifest."""
    found = {name: sha256_of(directory / name) for name in files}
    if manifest.sealed != found:
        write_json(directory / "manifest.json", encode(replace(manifest, sealed=found)), durable=True)


def whole(manifest: ExplanationManifest, directory: Path) -> bool:
    """Tests that a run is finished and all its files are as they were sealed."""
    sealed = manifest.sealed or {}
    return RECORD in sealed and all(sha256_of(directory / name) == sha256 for name, sha256 in sealed.items())


def read_explanation_manifest(directory: Path) -> ExplanationManifest:
    """The manifest of a run directory.

    Raises: RunError if there is none, or it is damaged, of another version, or of another kind of run.
    """
    content = read_json(directory / "manifest.json")
    if content.get("measures") != EXPLANATIONS_MEASURED:
        raise RunError(f"{directory} holds no run of explanations: choose another directory")
    with readable(directory, content, (EXPLANATION_SCHEMA,)):
        found = decode(ExplanationManifest, content)
        if not found.models or not found.methods:
            raise ValueError("it names no models or no methods")
        return found
