"""Who, what, when and with what: written before the first batch, compared before a run is resumed."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import sys
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Examples, RunError
from robustlab.core.provenance import now, versions
from robustlab.evaluation.codec import decode, encode
from robustlab.evaluation.files import digest, disk, read_json, write_json
from robustlab.evaluation.intake import fetched
from robustlab.evaluation.parts import left_out
from robustlab.evaluation.plan import BATCH_PLAN, Entry, Settings, chosen
from robustlab.evaluation.record import (
    AttackInfo,
    DataInfo,
    Evidence,
    ModelInfo,
    RunInfo,
    ThreatInfo,
)
from robustlab.evaluation.store import Store
from robustlab.evaluation.subject import Subject
from robustlab.evaluation.upgrade import READABLE, SCHEMA_VERSION

_SAMPLED = 256  # examples whose content is compared on resume
_CHUNK = 1 << 26  # bytes


@dataclass(frozen=True)
class Manifest:
    """What is known of a run before its first batch."""

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
    """What must be the same for a run to be resumed, by a name that a message can use."""
    level: float
    schema: int = SCHEMA_VERSION


def describe(subject: Subject, ids: Tensor, drawn: str, plan: Sequence[Entry], settings: Settings) -> Manifest:
    """Describes a run that is about to start.

    Args:
        subject: model and data.
        ids: of the examples to be evaluated.
        drawn: how they were drawn.
        plan: the attacks.
        settings: of the run.
    """
    probe = fetched(subject.examples, chosen(ids, min(_SAMPLED, settings.batch_size), "batch", 0))
    few = subject.load(chosen(ids, min(32, settings.batch_size), "batch", 0))
    torch.manual_seed(settings.seed)  # a model that draws must answer alike when the run is resumed
    with torch.no_grad():
        logits = subject.model(few.x)
    answers = _sha256([logits])
    model = _model(subject, settings, logits.shape[1], answers)
    attacks = tuple(AttackInfo(e.name, _repr(e.attack), e.targeted, left_out(e.attack)) for e in plan)
    run = _run(subject, settings)
    essentials: Evidence = {
        "weights": model.sha256,
        "answers of the model": answers,
        "data": _content(probe, subject.examples),
        "number of examples": len(ids),
        "drawn": drawn,
        "attacks": "; ".join(f"{a.name}: {a.repr}" for a in attacks),
        "eps": "; ".join(", ".join(f"{eps!r}" for eps in e.eps) for e in plan),
        "seed": settings.seed,
        "batch size": settings.batch_size,
        "threads": run.threads,
        "device": run.device,
        "dtype": run.dtype,
        "search dtype": run.search_dtype,
        "kept": settings.keep or "",
        "doctor": "on" if settings.doctor else "off",
        "torch": run.versions["torch"],
    }
    data = _data(subject.examples, len(ids), drawn, tuple(probe.x.shape[1:]))
    threat = ThreatInfo(str(plan[0].threat.norm), subject.bounds)
    eps, parts = tuple(e.eps for e in plan), tuple(tuple(p.name for p in e.parts(e.eps[0], 0)) for e in plan)
    return Manifest(model, data, threat, run, attacks, eps, parts, essentials, settings.level)


def settle(manifest: Manifest, store: Store) -> Manifest:
    """Writes the manifest of a new run, or reads that of one to be resumed.

    Args:
        manifest: of what is asked for now.
        store: of the run.

    Returns: the manifest that counts: on resume the one that the run was begun with.
    Raises: RunError if the directory holds another run, naming the first differences, or something that is no run.
    """
    directory = store.directory
    path = directory / "manifest.json"
    if not path.exists():
        if store.begun:
            raise RunError(f"{directory} holds outcomes without a manifest: choose another directory")
        with disk(directory):
            write_json(path, encode(manifest), durable=store.durable)
        return manifest
    before = read_manifest(directory)
    if before.schema != SCHEMA_VERSION and not (directory / "report.json").exists():
        raise RunError(
            f"{directory} holds a run that an older version began (schema {before.schema}, now {SCHEMA_VERSION}): "
            "finish it with that version, or choose another directory"
        )
    found = _differences(before.essentials, manifest.essentials)
    if found:
        raise RunError(
            f"{directory} holds another run ({found}): choose another directory, or the same settings to go on with it"
        )
    return before


def check_alike(first: Manifest, own: Manifest, rank: int) -> None:
    """Whether a process is about to work on the same as the first; only their devices may have other numbers.

    Raises: ValueError naming the first differences.
    """
    there, here = ({**one.essentials, "device": one.run.device.partition(":")[0]} for one in (first, own))
    found = _differences(there, here)
    if found:
        raise ValueError(f"process {rank} evaluates something else than the first ({found}): give all of them the same")


def _differences(there: Evidence, here: Evidence) -> str:
    """The first of what is not the same, in words."""
    found = [
        f"{name} {_short(there.get(name))} there, {_short(value)} here"
        for name, value in here.items()
        if there.get(name) != value
    ]
    return "; ".join(found[:3])


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a run directory.

    Raises: RunError if there is none, or it is damaged or of another version.
    """
    content = read_json(directory / "manifest.json")
    try:
        if content.get("schema") not in READABLE:
            known = " and ".join(map(str, READABLE))
            raise ValueError(f"it has schema {content.get('schema')}, this version of robustlab reads {known}")
        return decode(Manifest, content)
    except ValueError as error:
        raise RunError(
            f"{directory / 'manifest.json'} cannot be used: {error}; start over in a new directory"
        ) from error


def row_digests(batch: Batch) -> list[bytes]:
    """What stands for each example's input and label."""
    rows = batch.x.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
    return [
        digest(row.data) + int(y).to_bytes(8, "little", signed=True)
        for row, y in zip(rows, batch.y.tolist(), strict=True)
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:60] + "…" + text[-50:]


def _repr(attack: object) -> str:
    """The repr without the addresses that plain functions have in it."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(attack))


def _content(probe: Batch, examples: Examples) -> str:
    own = getattr(examples, "sha256", None)
    if isinstance(own, str):
        return own
    return hashlib.sha256(b"".join(row_digests(probe))).hexdigest()


def _sha256(tensors: Iterable[Tensor], labels: Iterable[str] = ()) -> str:
    found = hashlib.sha256("\n".join(labels).encode())
    for tensor in tensors:
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        for start in range(0, raw.numel(), _CHUNK):
            found.update(raw[start : start + _CHUNK].numpy().data)
    return found.hexdigest()


def _model(subject: Subject, settings: Settings, classes: int, answers: str) -> ModelInfo:
    model = subject.model
    name = settings.name or getattr(model, "__name__", type(model).__name__)
    if not isinstance(model, nn.Module):
        return ModelInfo(name, 0, f"logits:{answers}", classes, _plain(subject.dtype))
    state = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    labels = [f"{key} {value.dtype} {tuple(value.shape)}" for key, value in state.items()]
    sha256 = _sha256(state.values(), labels) if state else f"logits:{answers}"
    return ModelInfo(name, sum(p.numel() for p in model.parameters()), sha256, classes, _plain(subject.dtype))


def _data(examples: Examples, n: int, drawn: str, shape: tuple[int, ...]) -> DataInfo:
    split = getattr(examples, "split", "")
    return DataInfo(
        examples.name,
        split if isinstance(split, str) else "",
        n,
        len(examples),
        drawn,
        tuple(examples.classes),
        "",
        shape,
    )


def _run(subject: Subject, settings: Settings) -> RunInfo:
    return RunInfo(
        id=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
        created=now(),
        command=settings.command or shlex.join(sys.argv),
        versions=versions(),
        seed=settings.seed,
        batch_size=settings.batch_size,
        batch_plan=BATCH_PLAN,
        threads=torch.get_num_threads(),
        device=str(subject.device),
        dtype=_plain(subject.dtype),
        search_dtype=_plain(settings.search_dtype or subject.dtype),
        hardware=_hardware(subject.device),
        seconds=0.0,
    )


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
