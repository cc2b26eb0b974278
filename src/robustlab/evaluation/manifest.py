"""Manifest of a run: written before the first batch, compared before a run is resumed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from robustlab.attacks.facts import left_out
from robustlab.core import Model, RunError
from robustlab.core.finding import Evidence, Finding
from robustlab.evaluation.identity import check_same, differences, identify, plain
from robustlab.evaluation.plan import BATCH_PLAN, Entry, Settings
from robustlab.evaluation.record import AttackInfo, DataInfo, ModelInfo, RunInfo, ThreatInfo
from robustlab.evaluation.store import Store
from robustlab.evaluation.subject import Subject, dtype_of_search
from robustlab.evaluation.upgrade import READABLE, SCHEMA_VERSION
from robustlab.runs.codec import decode, encode
from robustlab.runs.json_files import read_json
from robustlab.runs.resume import create_or_resume, readable

RESULTS = ("report.json", "corruptions.json", "natural.json", "mined.json", "explanations.json")
"""Results of each kind of run; natural.json is an older name of corruptions.json."""
CORRUPTIONS_MEASURED = "corruptions"
"""Value of ``measures`` in the manifest of a run over corrupted images."""
TEXTS_MEASURED = "texts"
"""Value of ``measures`` in the manifest of a run of attacks on texts."""
EXPLANATIONS_MEASURED = "explanations"
"""Value of ``measures`` in the manifest of a run of explanations."""


@dataclass(frozen=True)
class Manifest:
    """Facts about a run that are known before its first batch."""

    model: ModelInfo
    data: DataInfo
    """Its sha256 is empty: it is known once all examples were seen."""
    threat: ThreatInfo
    run: RunInfo
    attacks: tuple[AttackInfo, ...]
    eps: tuple[tuple[float, ...], ...]
    """Budgets of each attack."""
    parts: tuple[tuple[str, ...], ...]
    """Stages and restarts of each attack."""
    essentials: Evidence
    """Values that must be the same for a run to be resumed, by a name that a message can use."""
    level: float
    sealed: dict[str, str] | None = field(default_factory=dict)
    """SHA-256 of the parts of a finished run, by name; empty: not finished; None: an older version wrote it."""
    schema: int = SCHEMA_VERSION
    unstable: Finding | None = field(default=None, compare=False)
    """Finding that two readings of the data differ; not written."""
    weights_v1: str = field(default="", compare=False)
    """Digest of the model by the rule of older versions; not written."""


def describe(subject: Subject, ids: Tensor, drawn: str, plan: Sequence[Entry], settings: Settings) -> Manifest:
    """Describes a run that is about to start.

    Args:
        subject: model and data.
        ids: of the examples to be evaluated.
        drawn: how they were drawn.
        plan: the attacks.
        settings: of the run.
    """
    model, data, run, essentials, unstable, v1 = identify(subject, ids, drawn, settings, batch_plan=BATCH_PLAN)
    searched = dtype_of_search(settings.search_dtype, subject.model)
    run = replace(run, search_dtype=plain(searched or subject.dtype))
    attacks = tuple(AttackInfo(e.name, _repr(e.attack), e.targeted, left_out(e.attack)) for e in plan)
    essentials = {
        **essentials,
        "attacks": "; ".join(f"{a.name}: {a.repr}" for a in attacks),
        "eps": "; ".join(", ".join(f"{eps!r}" for eps in e.eps) for e in plan),
        "search dtype": run.search_dtype,
        "kept": settings.keep or "",
        "doctor": "on" if settings.doctor else "off",
    }
    threat = ThreatInfo(str(plan[0].threat.norm), subject.bounds)
    eps, parts = tuple(e.eps for e in plan), tuple(tuple(p.name for p in e.parts(e.eps[0], 0)) for e in plan)
    return Manifest(
        model, data, threat, run, attacks, eps, parts, essentials, settings.level, unstable=unstable, weights_v1=v1
    )


def create_or_resume_run(manifest: Manifest, store: Store) -> Manifest:
    """Writes the manifest of a new run, or reads that of one to be resumed.

    Args:
        manifest: of the present call.
        store: of the run.

    Returns: the manifest that counts: on resume the one that the run was begun with.
    Raises: RunError if the directory holds another run, naming the first differences, or something that is no run.
    """
    directory = store.directory

    def check(before: Manifest) -> None:
        if before.schema != SCHEMA_VERSION and not (directory / "report.json").exists():
            raise older(directory, before)
        check_same(directory, before.essentials, manifest.essentials, manifest.unstable, manifest.weights_v1)

    def free(_: Path) -> None:
        check_free(directory)
        if store.begun:
            raise RunError(f"{directory} holds outcomes without a manifest: choose another directory")

    own, durable = encode(manifest), store.durable
    before = create_or_resume(directory, own, read=read_manifest, check=check, free=free, durable=durable)
    if before is None:
        store.claim(manifest.run.id, adopt=False)
        return manifest
    store.claim(before.run.id, adopt=before.sealed is None)
    model, data = replace(manifest.model, name=before.model.name), replace(manifest.data, name=before.data.name)
    if before.schema != SCHEMA_VERSION:
        return before
    return replace(manifest, model=model, data=data, run=before.run, level=before.level, sealed=before.sealed)


def check_free(directory: Path) -> None:
    """Checks that a directory without a manifest holds no result.

    Raises: RunError naming the result.
    """
    found = [name for name in RESULTS if (directory / name).exists()]
    if found:
        raise RunError(
            f"{directory} holds {found[0]} without a manifest, so its run is unknown: choose another directory"
        )


def older(directory: Path, manifest: Manifest) -> RunError:
    """Error for a run of an older version that cannot go on."""
    return RunError(
        f"{directory} holds a run that an older version began (schema {manifest.schema}, now {SCHEMA_VERSION}): "
        "finish it with that version, or choose another directory"
    )


def check_alike(first: Manifest, own: Manifest, rank: int) -> None:
    """Checks that a process works on the same run as the first; only their devices may have other numbers.

    Raises: ValueError naming the first differences.
    """
    there, here = ({**one.essentials, "device": one.run.device.partition(":")[0]} for one in (first, own))
    found = differences(there, here)
    if found:
        raise ValueError(f"process {rank} differs from the first ({found}): give all processes the same arguments")


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a run directory.

    Raises: RunError if there is none, or it is damaged or of another version.
    """
    content = read_json(directory / "manifest.json")
    if content.get("measures") == CORRUPTIONS_MEASURED:
        raise RunError(
            f"{directory} holds a run over corrupted images, not one of attacks: read it with read_corruptions"
        )
    if content.get("measures") == TEXTS_MEASURED:
        raise RunError(f"{directory} holds a run of attacks on texts, not on images: read it with read_texts")
    if content.get("measures") == EXPLANATIONS_MEASURED:
        raise RunError(f"{directory} holds a run of explanations, not one of attacks: read it with read_explanations")
    with readable(directory, content, READABLE):
        return _consistent(decode(Manifest, {"sealed": None, **content}))


def _consistent(manifest: Manifest) -> Manifest:
    """The manifest, if budgets and stages belong to its attacks.

    Raises: ValueError if there are more or fewer of them, or an attack has none.
    """
    count = len(manifest.attacks)
    if not count or len(manifest.eps) != count or len(manifest.parts) != count:
        raise ValueError(f"it has {count} attacks, budgets of {len(manifest.eps)} and stages of {len(manifest.parts)}")
    if not all(manifest.eps) or not all(manifest.parts):
        raise ValueError("one of its attacks has no budget or no stage")
    return manifest


def searched_in(settings: Settings, model: Model, directory: Path) -> torch.dtype | None:
    """The precision that a run searches in: "auto" is what the run in the directory began with, if there is one."""
    if settings.search_dtype == "auto" and (directory / "manifest.json").exists():
        before = getattr(torch, read_manifest(directory).run.search_dtype, None)
        return before if isinstance(before, torch.dtype) else None
    return dtype_of_search(settings.search_dtype, model)


def _repr(attack: object) -> str:
    """The repr without the addresses that plain functions have in it."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(attack))
