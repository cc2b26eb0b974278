"""Identity of a run: model, examples and machine, recorded by every run and compared before it goes on."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Examples, RunError
from robustlab.core.finding import Evidence, Finding
from robustlab.core.modes import seed_generators
from robustlab.core.weights import bare, state_of
from robustlab.evaluation.input_checks import REREAD
from robustlab.evaluation.plan import chosen
from robustlab.evaluation.record import DataInfo, ModelInfo, RunInfo
from robustlab.evaluation.subject import Subject, first_answer
from robustlab.runs import identity
from robustlab.runs.provenance import now, versions

_SAMPLED = 256  # examples whose content is compared on resume
_ANSWERED = "logits:"  # before the digest of a model without weights, which is that of its answers


class RunSettings(Protocol):
    """Settings that every kind of run has."""

    @property
    def batch_size(self) -> int:
        """Examples per batch."""

    @property
    def seed(self) -> int:
        """Seed of every random draw."""

    @property
    def name(self) -> str:
        """Name of the model in reports; empty: its class or function."""

    @property
    def command(self) -> str:
        """Call, as recorded; empty: the command line of the process."""


class Identity(NamedTuple):
    """Facts about a run of any kind that are known before its first batch."""

    model: ModelInfo
    data: DataInfo
    """Its sha256 is empty: it is known once all examples were seen."""
    run: RunInfo
    essentials: Evidence
    """Values that must be the same for a run to be resumed, by a name that a message can use."""
    unstable: Finding | None = None
    """Finding that two readings of the data differ."""
    weights_v1: str = ""
    """Digest of the model by the rule of older versions."""


def identify(subject: Subject, ids: Tensor, drawn: str, settings: RunSettings, *, batch_plan: str) -> Identity:
    """Records the identity of a model, its examples and the machine.

    Args:
        subject: model and data.
        ids: of the examples to be evaluated.
        drawn: how they were drawn.
        settings: of the run.
        batch_plan: one phrase on how examples are put into batches.
    """
    probe = subject.readings.read(chosen(ids, min(_SAMPLED, settings.batch_size), "batch", 0))
    some = chosen(ids, min(REREAD, settings.batch_size), "batch", 0)
    unstable, few = subject.readings.steady(some), subject.load(some)
    seed_generators(settings.seed)  # a model that draws must answer alike when the run is resumed
    logits = first_answer(subject.model, few.x)
    answers = identity.values_sha256([logits])
    model, run = _model(subject, settings, logits.shape[1], answers), _run(subject, settings, batch_plan)
    essentials: Evidence = {
        "weights": model.sha256,
        "answers of the model": answers,
        "data": _content(probe, subject.examples),
        "number of examples": len(ids),
        "drawn": drawn,
        "seed": settings.seed,
        "batch size": settings.batch_size,
        "threads": run.threads,
        "device": run.device,
        "dtype": run.dtype,
        "torch": run.versions["torch"],
    }
    data = _data(subject.examples, len(ids), drawn, tuple(probe.x.shape[1:]))
    return Identity(model, data, run, essentials, unstable, _v1(subject, model))


def check_same(
    directory: Path, before: Evidence, here: Evidence, unstable: Finding | None = None, weights_v1: str = ""
) -> None:
    """Refuses to go on in a directory that holds a run with other values.

    Args:
        directory: of the run.
        before: values that must be the same, as recorded.
        here: the same values of the present call.
        unstable: finding that two readings of the data differ, so that nothing can be compared.
        weights_v1: digest of the model by the rule of older versions.

    Raises: RunError naming the first differences.
    """
    if "weights" in here:
        here = {
            **here,
            "weights": identity.as_recorded(before.get("weights"), str(here["weights"]), lambda: weights_v1),
        }
    there, now_here = _comparable(before, here)
    if there != now_here and unstable is not None:
        raise RunError(f"{directory} cannot be resumed. {unstable.title} {unstable.advice}")
    identity.check_same(directory, there, now_here)


def differences(there: Evidence, here: Evidence) -> str:
    """The first differences, in words."""
    return identity.differences(*_comparable(there, here))


def _comparable(there: Evidence, here: Evidence) -> tuple[dict[str, object], dict[str, object]]:
    """Values of both that can be compared: on other inputs, answers of the model cannot."""
    other_data = "data" in here and there.get("data") != here["data"]
    names = [name for name, value in here.items() if not (other_data and _by_answers(name, value))]
    return {name: there.get(name) for name in names}, {name: here[name] for name in names}


def _by_answers(name: str, value: object) -> bool:
    """Tests whether a value is a digest of the answers of the model."""
    return name == "answers of the model" or (name == "weights" and str(value).startswith(_ANSWERED))


def _content(probe: Batch, examples: Examples) -> str:
    own = getattr(examples, "sha256", None)
    if isinstance(own, str):
        return own
    return hashlib.sha256(b"".join(identity.row_digests(probe))).hexdigest()


def _model(subject: Subject, settings: RunSettings, classes: int, answers: str) -> ModelInfo:
    model = subject.model
    if not isinstance(model, nn.Module):
        name = settings.name or getattr(model, "__name__", type(model).__name__)
        return ModelInfo(name, 0, f"{_ANSWERED}{answers}", classes, plain(subject.dtype))
    name, state = settings.name or type(bare(model)).__name__, state_of(model)
    sha256 = identity.state_digest(state) if state else f"{_ANSWERED}{answers}"
    return ModelInfo(name, sum(p.numel() for p in model.parameters()), sha256, classes, plain(subject.dtype))


def _v1(subject: Subject, known: ModelInfo) -> str:
    """The digest of a model by the rule of older versions."""
    if not isinstance(subject.model, nn.Module) or known.sha256.startswith(_ANSWERED):
        return known.sha256
    return identity.v1_of_reports(state_of(subject.model))


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
        str(getattr(examples, "preprocessing", "")),
    )


def _run(subject: Subject, settings: RunSettings, batch_plan: str) -> RunInfo:
    return run_info(settings, batch_plan, subject.device, plain(subject.dtype))


def run_info(settings: RunSettings, batch_plan: str, device: torch.device, dtype: str) -> RunInfo:
    """Facts about a run of any kind that begins now.

    Args:
        settings: of the run.
        batch_plan: one phrase on how examples are put into batches.
        device: that the model computes on.
        dtype: precision of the model; "": unknown.
    """
    return RunInfo(
        id=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
        created=now(),
        command=settings.command or shlex.join(sys.argv),
        versions=versions(),
        seed=settings.seed,
        batch_size=settings.batch_size,
        batch_plan=batch_plan,
        threads=torch.get_num_threads(),
        device=str(device),
        dtype=dtype,
        search_dtype=dtype,
        hardware=_hardware(device),
        seconds=0.0,
    )


def plain(dtype: torch.dtype) -> str:
    """A dtype's name."""
    return str(dtype).removeprefix("torch.")


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
