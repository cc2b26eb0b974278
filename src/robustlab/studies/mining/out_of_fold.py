"""Out-of-fold predictions of networks: one file for each network and fold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core import Examples, RunError
from robustlab.data.cache import stored
from robustlab.data.wrapped import data_sha256
from robustlab.runs.progress import Progress, Report
from robustlab.runs.provenance import now
from robustlab.runs.tensors import save_tensors
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.measures import answers
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.mining.folds import OutsideFold


@dataclass(frozen=True)
class Work:
    """Settings for the training of the networks.

    Args:
        seed: of the folds, of weights and of training.
        budget: limits: of images, a simple random sample, and of epochs.
        device: "auto" takes the accelerator if there is one; or its name, or "cpu".
        progress: is called with the progress.
    """

    seed: int = 0
    budget: Budget = FULL
    device: str = "auto"
    progress: Report | None = None


def out_of_fold(networks: Mapping[str, Network], data: Examples, folds: int, *, out: Path, work: Work) -> Tensor:
    """Trains each network once for each fold on the other folds, and evaluates it on the examples of this one.

    The logits of a fold are saved at once, and interrupted training is resumed.

    Args:
        networks: by name; their own data sets are replaced by the folds.
        data: all examples.
        folds: their number.
        out: directory of the logits and the checkpoints.
        work: seed, budget, device.

    Returns: logits (networks, N, K), float32.
    Raises: RunError if the directory cannot be written, or logits are not finite.
    """
    lab = Lab(out / "networks", work.seed, work.budget, work.device, examples=data)
    whole = data_sha256(data)
    predictions = torch.full((len(networks), len(data), len(data.classes)), torch.nan)
    units = len(networks) * folds
    for number, name in enumerate(networks):
        for fold in range(folds):
            part = f"{name}, fold {fold + 1}"
            report = partial(_reported, work.progress, part, number * folds + fold, units)
            one = replace(networks[name], data=OutsideFold(fold, folds, work.seed))
            ids, logits = _stored_or_trained(
                out / name / f"fold-{fold}.safetensors", one, replace(lab, report=report), whole
            )
            predictions[number, ids] = logits
    if not bool(predictions.isfinite().all()):
        raise RunError(
            f"some networks in {out} gave NaN or infinity: lower their learning rate and choose another directory"
        )
    return predictions


def check_names(names: Mapping[str, Network]) -> None:
    """Refuses names that cannot be names of directories.

    Raises: ValueError with the name.
    """
    for name in names:
        if not re.fullmatch(r"[\w-][\w.-]*", name) or name == "networks":
            raise ValueError(f"{name!r} cannot be the name of a network: letters, digits, '-', '_' and '.' only")


def _stored_or_trained(path: Path, network: Network, lab: Lab, data: str) -> tuple[Tensor, Tensor]:
    """Numbers (n,) and logits (n, K) of a fold: from the file, if it belongs to this network and data, or computed.

    Args:
        path: of the file.
        network: definition of the training.
        lab: place of the training.
        data: SHA-256 of all examples.
    """
    mark = fingerprint(network, lab.budget, lab.seed)
    found = stored(path)
    if found is not None and found[1].get("network") == mark and _sound(*found, data):
        lab.report(Progress("kept", 1, 1, detail="done before"))
        return found[0]["ids"], found[0]["logits"]
    fold = network.data
    if not isinstance(fold, OutsideFold):
        raise TypeError(f"only networks trained on OutsideFold can be evaluated out of fold, got {fold!r}")
    part = fold.judged(lab.data("train"))
    trained = lab.trained(network)
    logits = torch.cat([batch.float() for batch, _ in answers(trained.last, part)])
    tensors = {"ids": part.rows, "logits": logits}
    metadata = {"network": mark, "seconds": f"{trained.seconds:.1f}", "created": now()}
    metadata["content"] = _content(tensors, mark, data)
    try:
        save_tensors(path, tensors, metadata)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; earlier results are kept") from error
    return part.rows, logits


def _sound(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], data: str) -> bool:
    """True if a file is intact and belongs to these data; files of older versions have no checksum."""
    if not {"ids", "logits"} <= tensors.keys():
        return False
    return "content" not in metadata or metadata["content"] == _content(tensors, metadata["network"], data)


def _content(tensors: Mapping[str, Tensor], network: str, data: str) -> str:
    """Checksum of a file's tensors, its network and its data."""
    found = hashlib.sha256(f"{network} {data}".encode())
    for name in ("ids", "logits"):
        found.update(repr(tuple(tensors[name].shape)).encode() + tensors[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def _reported(progress: Report | None, part: str, done: int, units: int, at: Progress) -> None:
    """Reports the finished networks, including the finished part of the current one."""
    if progress is not None:
        whole = done + at.fraction
        progress(Progress(at.task, whole, units, "networks", part, f"{part}: {at.detail}", metrics=at.metrics))
