"""Manifest of a run of attacks on texts: written first, compared before the run is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from robustlab.core import RunError
from robustlab.core.finding import Evidence
from robustlab.evaluation.identity import run_info
from robustlab.evaluation.manifest import TEXTS_MEASURED, check_free
from robustlab.evaluation.record import DataInfo, ModelInfo, RunInfo
from robustlab.evaluation.store import Store
from robustlab.evaluation.text.given import TextData, text_digest
from robustlab.evaluation.text.plan import BATCH_PLAN, TextSettings
from robustlab.evaluation.text.recipe_info import RecipeInfo, recipe_info
from robustlab.evaluation.text.record import TEXT_SCHEMA
from robustlab.runs.codec import decode, encode
from robustlab.runs.identity import check_same
from robustlab.runs.json_files import read_json
from robustlab.runs.resume import create_or_resume, readable
from robustlab.text import TextRecipe, Victim


@dataclass(frozen=True)
class TextManifest:
    """Facts about a run that are known before its first batch."""

    model: ModelInfo
    data: DataInfo
    run: RunInfo
    recipes: tuple[RecipeInfo, ...]
    queries: int | None
    resources: dict[str, str]
    essentials: Evidence
    """Values that must be the same for a run to be resumed, by a name that a message can use."""
    level: float
    sealed: dict[str, str] | None = field(default_factory=dict)
    """SHA-256 of the parts of a finished run, by name; empty: not finished."""
    measures: str = TEXTS_MEASURED
    schema: int = TEXT_SCHEMA


def describe(
    victim: Victim,
    data: TextData,
    ids: Sequence[int],
    drawn: str,
    recipes: Sequence[TextRecipe],
    settings: TextSettings,
) -> TextManifest:
    """Describes a run that is about to start.

    Args:
        victim: the classifier.
        data: all labelled texts.
        ids: of those to be attacked.
        drawn: how they were drawn.
        recipes: the attacks.
        settings: of the run.
    """
    infos, content = tuple(map(recipe_info, recipes)), data_digest(data, ids)
    resources = dict(sorted(settings.resources.items()))
    model = ModelInfo(settings.name or victim.name, 0, victim.digest, victim.classes, "")
    names = data.classes or victim.labels
    info = DataInfo(data.name, data.split, len(ids), len(data), drawn, tuple(names), content, ())
    essentials: Evidence = {
        "victim": victim.digest,
        "data": content,
        "number of examples": len(ids),
        "drawn": drawn,
        **{f"recipe {number}": repr(one) for number, one in enumerate(infos, 1)},
        "recipes": ", ".join(one.name for one in infos),
        "resources": "; ".join(f"{name} {version}" for name, version in resources.items()),
        "seed": settings.seed,
        "queries": "any number" if settings.queries is None else settings.queries,
        "batch size": settings.batch_size,
        "attacked field": settings.field,
        "target": "none" if settings.target is None else settings.target,
        "words": "by spaces" if settings.segment is None else getattr(settings.segment, "__qualname__", "own"),
    }
    run = run_info(settings, BATCH_PLAN, torch.device("cpu"), "")
    return TextManifest(model, info, run, infos, settings.queries, resources, essentials, settings.level)


def data_digest(data: TextData, ids: Sequence[int]) -> str:
    """SHA-256 of the digests of some texts with their labels."""
    return hashlib.sha256(b"".join(text_digest(data.texts[i], data.labels[i]) for i in ids)).hexdigest()


def create_or_resume_texts(manifest: TextManifest, store: Store) -> TextManifest:
    """Writes the manifest of a new run, or reads that of one to be resumed.

    Returns: the manifest that counts: on resume the one that the run was begun with.
    Raises: RunError if the directory holds another run, naming the first differences, or something that is no run.
    """
    directory = store.directory

    def check(before: TextManifest) -> None:
        check_same(directory, before.essentials, manifest.essentials)

    def free(_: Path) -> None:
        check_free(directory)
        if store.begun:
            raise RunError(f"{directory} holds outcomes without a manifest: choose another directory")

    before = create_or_resume(
        directory, encode(manifest), read=read_text_manifest, check=check, free=free, durable=store.durable
    )
    store.claim((before or manifest).run.id, adopt=False)
    if before is None:
        return manifest
    model, data = replace(manifest.model, name=before.model.name), replace(manifest.data, name=before.data.name)
    return replace(manifest, model=model, data=data, run=before.run, level=before.level, sealed=before.sealed)


def read_text_manifest(directory: Path) -> TextManifest:
    """The manifest of a run directory.

    Raises: RunError if there is none, or it is damaged, of another version, or of another kind of run.
    """
    content = read_json(directory / "manifest.json")
    if content.get("measures") != TEXTS_MEASURED:
        raise RunError(f"{directory} holds no run of attacks on texts: choose another directory")
    with readable(directory, content, (TEXT_SCHEMA,)):
        found = decode(TextManifest, content)
        if not found.recipes:
            raise ValueError("it names no recipes")
        return found
